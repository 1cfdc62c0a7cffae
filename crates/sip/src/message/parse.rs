//! The header index: start line, header fields, body, all borrowed.
use memchr::{memchr, memmem};

use super::lexical::{is_token, number, trim};
use super::names::Name;
use crate::limits::{HEADERS_MAX, LINE_BYTES_MAX, MESSAGE_BYTES_MAX};

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request.
    Request {
        /// Upper or lower case as sent; methods are case-sensitive.
        method: &'a str,
        /// The Request-URI.
        uri: &'a str,
    },
    /// A response.
    Response {
        /// 100 to 699.
        status: u16,
        /// The reason phrase, maybe empty.
        reason: &'a str,
    },
}

/// One header field.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// The name, when the engine acts on it.
    pub name: Name,
    /// The name as written.
    pub text: &'a str,
    /// The value without surrounding white space; folds are still inside.
    pub value: &'a str,
}

/// Why bytes are no SIP message. Nothing can be answered to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Over the message limit.
    #[error("message is longer than 64 KiB")]
    TooLong,
    /// No empty line.
    #[error("message has no end of headers")]
    NoHeaderEnd,
    /// The first line is neither a request nor a status line.
    #[error("malformed start line")]
    StartLine,
    /// Not version 2.0: a request is answered 505.
    #[error("SIP version is not 2.0")]
    Version,
    /// A header line without a name, a colon or an end.
    #[error("malformed header line")]
    HeaderLine,
    /// A header line over the limit.
    #[error("header line is longer than 8 KiB")]
    LineTooLong,
    /// Over the header count limit.
    #[error("more than 256 header fields")]
    TooManyHeaders,
    /// The headers are not UTF-8; see [`latin1_to_utf8`].
    #[error("headers are not UTF-8")]
    NotUtf8,
}

/// A parsed message.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The first line.
    pub start: Start<'a>,
    /// All header fields in order.
    pub headers: Vec<Header<'a>>,
    /// Everything after the empty line, cut to Content-Length when that is shorter.
    pub body: &'a [u8],
    /// Content-Length as stated: `Some(None)` when it is no number or stated twice.
    pub content_length: Option<Option<usize>>,
    /// Whether the bytes end before Content-Length says.
    pub truncated: bool,
}

impl<'a> Message<'a> {
    /// Parses one datagram or one framed message. Leading CRLFs are skipped.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let mut bytes = bytes;
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ParseError::TooLong);
        }
        let end = memmem::find(bytes, b"\r\n\r\n").ok_or(ParseError::NoHeaderEnd)?;
        let head = std::str::from_utf8(&bytes[..end + 2]).map_err(|_| ParseError::NotUtf8)?;
        let first_end = memmem::find(head.as_bytes(), b"\r\n").ok_or(ParseError::StartLine)?;
        let start = start_line(&head[..first_end])?;
        let headers = header_lines(&head[first_end + 2..])?;
        let mut message = Message {
            start,
            headers,
            body: &bytes[end + 4..],
            content_length: None,
            truncated: false,
        };
        message.cut_body();
        Ok(message)
    }

    fn cut_body(&mut self) {
        for header in &self.headers {
            if header.name == Name::ContentLength {
                let stated = number(header.value).and_then(|n| usize::try_from(n).ok());
                self.content_length = match self.content_length {
                    None => Some(stated),
                    Some(_) => Some(None),
                };
            }
        }
        if let Some(Some(stated)) = self.content_length {
            self.truncated = stated > self.body.len();
            self.body = &self.body[..stated.min(self.body.len())];
        }
    }

    /// The value of the first header of that name.
    pub fn get(&self, name: Name) -> Option<&'a str> {
        self.headers
            .iter()
            .find(|header| header.name == name)
            .map(|header| header.value)
    }

    /// The value of the first header written `name` in any case; not for compact forms.
    pub fn get_other(&self, name: &str) -> Option<&'a str> {
        let found = self
            .headers
            .iter()
            .find(|header| header.text.eq_ignore_ascii_case(name));
        found.map(|header| header.value)
    }

    /// All values of headers of that name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &'a str> {
        let same = self
            .headers
            .iter()
            .filter(move |header| header.name == name);
        same.map(|header| header.value)
    }

    /// The method, when this is a request.
    pub fn method(&self) -> Option<&'a str> {
        match self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI, when this is a request.
    pub fn uri(&self) -> Option<&'a str> {
        match self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// The status code, when this is a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }
}

fn start_line(line: &str) -> Result<Start<'_>, ParseError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(ParseError::LineTooLong);
    }
    if line
        .get(..4)
        .is_some_and(|text| text.eq_ignore_ascii_case("SIP/"))
    {
        return status_line(line);
    }
    let mut parts = line.split(' ');
    let (Some(method), Some(uri), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ParseError::StartLine);
    };
    if !is_token(method) || uri.is_empty() || uri.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(ParseError::StartLine);
    }
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        let sip = version
            .get(..4)
            .is_some_and(|text| text.eq_ignore_ascii_case("SIP/"));
        return Err(if sip {
            ParseError::Version
        } else {
            ParseError::StartLine
        });
    }
    Ok(Start::Request { method, uri })
}

fn status_line(line: &str) -> Result<Start<'_>, ParseError> {
    let (version, rest) = line.split_once(' ').ok_or(ParseError::StartLine)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(ParseError::Version);
    }
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    match number(code).and_then(|code| u16::try_from(code).ok()) {
        Some(status) if code.len() == 3 && (100..700).contains(&status) => {
            Ok(Start::Response { status, reason })
        }
        _ => Err(ParseError::StartLine),
    }
}

fn header_lines(mut rest: &str) -> Result<Vec<Header<'_>>, ParseError> {
    let mut headers = Vec::with_capacity(24);
    while !rest.is_empty() {
        let end = line_end(rest)?;
        let line = &rest[..end];
        let colon = memchr(b':', line.as_bytes()).ok_or(ParseError::HeaderLine)?;
        let text = line[..colon].trim_end_matches([' ', '\t']);
        if !is_token(text) {
            return Err(ParseError::HeaderLine);
        }
        if headers.len() == HEADERS_MAX {
            return Err(ParseError::TooManyHeaders);
        }
        headers.push(Header {
            name: Name::of(text),
            text,
            value: trim(&line[colon + 1..]),
        });
        rest = &rest[end..];
    }
    Ok(headers)
}

/// The end of a header line with its folded continuation lines (RFC 3261 section 7.3.1).
fn line_end(text: &str) -> Result<usize, ParseError> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr(b'\n', &bytes[at..]).ok_or(ParseError::HeaderLine)? + 1;
        if at > LINE_BYTES_MAX {
            return Err(ParseError::LineTooLong);
        }
        if at < 2 || bytes[at - 2] != b'\r' {
            return Err(ParseError::HeaderLine);
        }
        if !matches!(bytes.get(at), Some(b' ' | b'\t')) {
            return Ok(at);
        }
    }
}

/// Some phones write display names in Latin-1: reads the head as that and writes UTF-8,
/// leaving the body alone. None when there is no end of headers.
pub fn latin1_to_utf8(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut repaired = head.into_bytes();
    repaired.extend_from_slice(&bytes[end..]);
    Some(repaired)
}
