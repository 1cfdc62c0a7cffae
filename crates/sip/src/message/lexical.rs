//! Character classes of RFC 3261 section 25.1 and the few primitives above them.

const fn class(members: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < members.len() {
        table[members[i] as usize] = true;
        i += 1;
    }
    table
}

static TOKEN: [bool; 256] =
    class(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~");
static WORD: [bool; 256] = class(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~()<>:\\\"/[]?{}@",
);
static HOST: [bool; 256] =
    class(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._");

/// Whether `text` is a `token`, and not empty.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| TOKEN[usize::from(byte)])
}

/// Whether `text` is a `callid`: words around at most one `@`.
pub fn is_call_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| WORD[usize::from(byte)] || byte == b'|')
        && memchr::memchr_iter(b'@', text.as_bytes()).count() <= 1
        && !text.starts_with('@')
        && !text.ends_with('@')
}

/// Whether `text` can be a host name or an IPv4 address (underscores are met in practice).
pub fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| HOST[usize::from(byte)])
}

/// Removes linear white space, folding included, at both ends.
pub fn trim(text: &str) -> &str {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let bytes = text.as_bytes();
    let Some(start) = bytes.iter().position(|byte| !is_space(byte)) else {
        return "";
    };
    let end = bytes
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    &text[start..end]
}

/// A decimal number of at most ten digits that fits 32 bits.
pub fn number(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The end of a quoted string that starts at byte 0 of `text`, past its closing quote.
pub fn quoted_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The first byte for which `wanted` holds outside quotes and angle brackets.
pub fn find_outside(text: &str, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut angle = false;
    while at < bytes.len() {
        match bytes[at] {
            b'"' if !angle => {
                at += quoted_end(&text[at..])?;
                continue;
            }
            b'<' => angle = true,
            b'>' => angle = false,
            byte if !angle && wanted(byte) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}
