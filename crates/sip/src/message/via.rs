//! The Via header (RFC 3261 section 20.42, RFC 3581).
use super::address::Params;
use super::lexical::trim;
use super::uri::host_and_port;

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, as written.
    pub transport: &'a str,
    /// The sent-by host, without brackets.
    pub host: &'a str,
    /// The sent-by port, when stated.
    pub port: Option<u16>,
    /// branch, rport, received and others.
    pub params: Params<'a>,
    /// Where this value ends in the header value it came from.
    pub end: usize,
}

impl<'a> Via<'a> {
    /// Parses the first value of a Via header.
    pub fn parse(value: &'a str) -> Option<Via<'a>> {
        let end = super::lexical::find_outside(value, |byte| byte == b',').unwrap_or(value.len());
        let one = &value[..end];
        let (first, params) = one.split_once(';').unwrap_or((one, ""));
        let (name, rest) = first.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !trim(name).eq_ignore_ascii_case("SIP") || trim(version) != "2.0" {
            return None;
        }
        let rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let space = rest.find([' ', '\t', '\r', '\n'])?;
        let transport = &rest[..space];
        let (host, port) = host_and_port(trim(&rest[space..]))?;
        let known = super::lexical::is_token(transport);
        // Nothing between two semicolons, or after the last, is no parameter (RFC 4475
        // section 3.1.2.1).
        let whole = !one.contains(';') || params.split(';').all(|param| !trim(param).is_empty());
        (known && whole).then_some(Via {
            transport,
            host,
            port,
            params: Params(params),
            end,
        })
    }

    /// The branch parameter.
    pub fn branch(&self) -> Option<&'a str> {
        self.params
            .get("branch")
            .filter(|branch| !branch.is_empty())
    }
}
