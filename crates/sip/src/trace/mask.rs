//! Copies of messages without what must not be read: one pass over the headers, changes in
//! place, so that the copy is as long as the message and its Content-Length stays true.
//!
//! | where | what becomes of it |
//! |---|---|
//! | Authorization, Proxy-Authorization | digest: `response` masked (RFC 7616); else all |
//! | Authentication-Info | `rspauth` masked |
//! | SDP | keys of `a=crypto` (RFC 4568) and of `k=` masked |
//! | the body of a MESSAGE, digits in an INFO | masked: somebody's text, somebody's PIN |
use std::ops::Range;

use crate::limits::TRACE_MESSAGE_BYTES_MAX;

const MASK: u8 = b'*';

/// A copy and what was found on the way.
#[derive(Debug, PartialEq, Eq)]
pub struct Masked {
    /// The copy.
    pub copy: Vec<u8>,
    /// Where its Call-ID is.
    pub call_id: Range<usize>,
    /// It sets up, changes or ends a call, or is a text; REGISTER and its like do not.
    pub of_call: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    CallId,
    CSeq,
    ContentType,
    Credentials,
    Proof,
    Other,
}

/// Copies the beginning of a message; None without a Call-ID.
pub fn masked(message: &[u8]) -> Option<Masked> {
    let mut copy = message[..message.len().min(TRACE_MESSAGE_BYTES_MAX)].to_vec();
    let mut call_id = None;
    let (mut of_call, mut secret_body) = (true, copy.starts_with(b"MESSAGE "));
    let mut at = line_end(&copy, 0);
    while at < copy.len() {
        let end = header_end(&copy, at);
        let line = &copy[at..end];
        if line.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            at = end;
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let value = at + colon.map_or(line.len(), |colon| colon + 1)..end;
        match colon.map_or(Header::Other, |colon| kind_of(&line[..colon])) {
            Header::CallId if call_id.is_none() => call_id = Some(trimmed(&copy, value)),
            Header::CSeq => of_call = !is_background(&copy[trimmed(&copy, value)]),
            Header::ContentType => {
                let dtmf = |part: &[u8]| part.eq_ignore_ascii_case(b"dtmf");
                secret_body |= copy[value].windows(4).any(dtmf);
            }
            Header::Credentials => mask_credentials(&mut copy[value]),
            Header::Proof => mask_parameters(&mut copy[value]),
            Header::CallId | Header::Other => {}
        }
        at = end;
    }
    if secret_body {
        mask_all(&mut copy[at..]);
    } else {
        mask_keys(&mut copy[at..]);
    }
    let call_id = call_id.filter(|range| !range.is_empty())?;
    Some(Masked {
        copy,
        call_id,
        of_call,
    })
}

fn kind_of(name: &[u8]) -> Header {
    let name = name.trim_ascii();
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'c') if is("Call-ID") => Header::CallId,
        Some(b'c') if is("CSeq") => Header::CSeq,
        Some(b'c') if is("c") || is("Content-Type") => Header::ContentType,
        Some(b'i') if is("i") => Header::CallId,
        Some(b'a') if is("Authorization") => Header::Credentials,
        Some(b'p') if is("Proxy-Authorization") => Header::Credentials,
        Some(b'a') if is("Authentication-Info") => Header::Proof,
        Some(b'p') if is("Proxy-Authentication-Info") => Header::Proof,
        _ => Header::Other,
    }
}

/// Where the next line begins.
fn line_end(bytes: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |at| from + at + 1)
}

/// Where the next header begins: lines that begin with a blank belong to the one before.
fn header_end(bytes: &[u8], from: usize) -> usize {
    let mut end = line_end(bytes, from);
    let blank = |line: &[u8]| line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
    if blank(&bytes[from..end]) {
        return end;
    }
    while matches!(bytes.get(end), Some(b' ' | b'\t')) {
        end = line_end(bytes, end);
    }
    end
}

fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let part = &bytes[range.clone()];
    let start = range.start + (part.len() - part.trim_ascii_start().len());
    start..start + part.trim_ascii().len()
}

/// Methods that come by the thousand without any call.
fn is_background(cseq: &[u8]) -> bool {
    let method = cseq.rsplit(u8::is_ascii_whitespace).next();
    [
        &b"REGISTER"[..],
        b"OPTIONS",
        b"SUBSCRIBE",
        b"NOTIFY",
        b"PUBLISH",
    ]
    .contains(&method.unwrap_or_default())
}

fn mask_all(bytes: &mut [u8]) {
    for byte in bytes {
        if !matches!(byte, b'\r' | b'\n') {
            *byte = MASK;
        }
    }
}

fn mask_credentials(value: &mut [u8]) {
    let start = value.len() - value.trim_ascii_start().len();
    let scheme = value[start..]
        .iter()
        .position(u8::is_ascii_whitespace)
        .map_or(value.len(), |length| start + length);
    if value[start..scheme].eq_ignore_ascii_case(b"Digest") {
        mask_parameters(&mut value[scheme..]);
    } else {
        mask_all(&mut value[scheme..]);
    }
}

/// Masks the values of `response` and `rspauth` among comma-separated parameters.
fn mask_parameters(value: &mut [u8]) {
    let mut at = 0;
    while at < value.len() {
        let name = at;
        while at < value.len() && !matches!(value[at], b'=' | b',') {
            at += 1;
        }
        let name = value[name..at].trim_ascii();
        let secret =
            name.eq_ignore_ascii_case(b"response") || name.eq_ignore_ascii_case(b"rspauth");
        if value.get(at) == Some(&b'=') {
            let (start, end) = parameter_value(value, at + 1);
            if secret {
                mask_all(&mut value[start..end]);
            }
            at = end;
            while at < value.len() && value[at] != b',' {
                at += 1;
            }
        }
        at += 1;
    }
}

/// Where the value that begins there is, without quotes.
fn parameter_value(value: &[u8], from: usize) -> (usize, usize) {
    let mut start = from;
    while value.get(start).is_some_and(u8::is_ascii_whitespace) {
        start += 1;
    }
    let quoted = value.get(start) == Some(&b'"');
    if !quoted {
        let length = memchr::memchr(b',', &value[start..]);
        return (start, length.map_or(value.len(), |length| start + length));
    }
    start += 1;
    let mut end = start;
    while end < value.len() && value[end] != b'"' {
        end += if value[end] == b'\\' { 2 } else { 1 };
    }
    (start, end.min(value.len()))
}

/// Keys in a session description, wherever in the body it is.
fn mask_keys(body: &mut [u8]) {
    let mut at = 0;
    while at < body.len() {
        let end = line_end(body, at);
        let line = &mut body[at..end];
        if line.len() >= 9 && line[..9].eq_ignore_ascii_case(b"a=crypto:") {
            mask_inline_keys(line);
        } else if line.starts_with(b"k=") {
            mask_all(&mut line[2..]);
        }
        at = end;
    }
}

fn mask_inline_keys(line: &mut [u8]) {
    const MARK: &[u8] = b"inline:";
    let mut at = 0;
    while at + MARK.len() <= line.len() {
        if !line[at..at + MARK.len()].eq_ignore_ascii_case(MARK) {
            at += 1;
            continue;
        }
        at += MARK.len();
        while at < line.len() && !matches!(line[at], b'|' | b';' | b' ' | b'\r' | b'\n') {
            line[at] = MASK;
            at += 1;
        }
    }
}
