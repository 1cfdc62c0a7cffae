//! `name-addr`, header parameters and comma lists (RFC 3261 sections 20.10 and 25.1).
use super::lexical::{find_outside, quoted_end, trim};
use super::uri::Uri;

/// Parameters after the first semicolon, not yet split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Params<'a>(pub &'a str);

impl<'a> Params<'a> {
    /// Writes `;name=value` behind `text` for each whose name is kept.
    pub fn write(&self, text: &mut String, keep: impl Fn(&str) -> bool) {
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
    }

    /// Name and value of each; a parameter without `=` has no value.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = find_outside(rest, |byte| byte == b';').unwrap_or(rest.len());
            let one = trim(&rest[..end]);
            rest = rest.get(end + 1..).unwrap_or("");
            Some(match one.split_once('=') {
                Some((name, value)) => (trim(name), Some(trim(value))),
                None => (one, None),
            })
        })
        .filter(|(name, _)| !name.is_empty())
    }

    /// The value of a parameter, empty when it stands without one.
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut all = self.iter();
        let found = all.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.unwrap_or(""))
    }
}

/// The value of From, To, Contact, Route and their like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// The display name as written, quotes included.
    pub display: &'a str,
    /// The URI without angle brackets.
    pub uri: &'a str,
    /// The header parameters.
    pub params: Params<'a>,
}

impl<'a> Address<'a> {
    /// Parses one address. `*` is taken as its URI.
    pub fn parse(value: &'a str) -> Option<Address<'a>> {
        let value = trim(value);
        let after_name = if value.starts_with('"') {
            quoted_end(value)?
        } else {
            0
        };
        match memchr::memchr(b'<', &value.as_bytes()[after_name..]) {
            Some(at) => Self::bracketed(value, after_name + at),
            None if after_name > 0 => None,
            None => {
                // Without brackets everything after ';' belongs to the header, and a
                // URI with '?' or ',' is not allowed (RFC 3261 section 20.10).
                let (uri, params) = value.split_once(';').unwrap_or((value, ""));
                let uri = trim(uri);
                let plain = uri == "*" || (Uri::parse(uri).is_some() && !uri.contains(['?', ',']));
                plain.then_some(Address {
                    display: "",
                    uri,
                    params: Params(params),
                })
            }
        }
    }

    fn bracketed(value: &'a str, open: usize) -> Option<Address<'a>> {
        let display = trim(&value[..open]);
        if !display.starts_with('"') && display.contains(['"', ',', ';', '@']) {
            return None;
        }
        let close = open + memchr::memchr(b'>', &value.as_bytes()[open..])?;
        let uri = &value[open + 1..close];
        Uri::parse(uri)?;
        let rest = trim(&value[close + 1..]);
        let params = match rest.strip_prefix(';') {
            Some(params) => params,
            None if rest.is_empty() => "",
            None => return None,
        };
        Some(Address {
            display,
            uri,
            params: Params(params),
        })
    }

    /// The tag parameter.
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }
}

/// Splits a value at commas outside quotes and brackets; empty parts are left out.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = value;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = find_outside(rest, |byte| byte == b',').unwrap_or(rest.len());
        let one = trim(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or("");
        Some(one)
    })
    .filter(|one| !one.is_empty())
}
