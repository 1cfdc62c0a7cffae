//! SIP and tel URIs (RFC 3261 section 19.1, RFC 3966).
use std::net::{IpAddr, Ipv6Addr};

use super::address::Params;
use super::lexical::{is_host, is_token, number};

/// What kind of URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other; the parts stay empty.
    Other,
}

/// The parts of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part without password, or the number of a `tel:` URI.
    pub user: Option<&'a str>,
    /// The host without brackets.
    pub host: &'a str,
    /// The port, when stated.
    pub port: Option<u16>,
    /// Parameters after the host.
    pub params: Params<'a>,
    /// What follows `?`.
    pub headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Parses a URI; None when it breaks the grammar.
    pub fn parse(text: &'a str) -> Option<Uri<'a>> {
        let forbidden =
            |byte: u8| byte <= b' ' || byte == 0x7f || matches!(byte, b'<' | b'>' | b'"');
        if text.bytes().any(forbidden) {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        if !is_token(scheme) || rest.is_empty() {
            return None;
        }
        if scheme.eq_ignore_ascii_case("sip") {
            Self::parse_sip(Scheme::Sip, rest)
        } else if scheme.eq_ignore_ascii_case("sips") {
            Self::parse_sip(Scheme::Sips, rest)
        } else if scheme.eq_ignore_ascii_case("tel") {
            let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
            Some(Self::other(Scheme::Tel, Some(number), Params(params)))
        } else {
            Some(Self::other(Scheme::Other, None, Params("")))
        }
    }

    fn other(scheme: Scheme, user: Option<&'a str>, params: Params<'a>) -> Uri<'a> {
        Uri {
            scheme,
            user,
            host: "",
            port: None,
            params,
            headers: "",
        }
    }

    fn parse_sip(scheme: Scheme, rest: &'a str) -> Option<Uri<'a>> {
        let (user, rest) = match rest.rsplit_once('@') {
            Some((userinfo, rest)) => {
                let user = userinfo.split_once(':').map_or(userinfo, |(user, _)| user);
                if user.is_empty() || !escapes_are_whole(userinfo) {
                    return None;
                }
                (Some(user), rest)
            }
            None => (None, rest),
        };
        let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
        let (host_port, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = host_and_port(host_port)?;
        Some(Uri {
            scheme,
            user,
            host,
            port,
            params: Params(params),
            headers,
        })
    }

    /// The host when it is an IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

fn escapes_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Splits `host[:port]`, with an IPv6 host in brackets; white space around the colon is
/// allowed as in Via (RFC 3261 section 25.1).
pub fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest.trim_start())
        }
        None => {
            let end = memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len());
            let host = text[..end].trim_end();
            if !is_host(host) {
                return None;
            }
            (host, &text[end..])
        }
    };
    match rest.strip_prefix(':') {
        Some(port) => {
            let port = number(port.trim()).and_then(|port| u16::try_from(port).ok())?;
            (port > 0).then_some((host, Some(port)))
        }
        None => rest.is_empty().then_some((host, None)),
    }
}
