//! Arguments of commands as numbers, scores and options, with the error texts of Redis 7.

use std::borrow::Cow;

use bytes::Bytes;

use super::text::Share;
use crate::limits::REPEATS_MAX;
use crate::reply::Reply;

/// Why a command was refused; the text begins with its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub Cow<'static, str>);

/// The reply of a command or its refusal.
pub type Outcome = Result<Reply, Refusal>;

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Reply::Error(refusal.0.into_owned())
    }
}

/// A refusal with a fixed text.
pub const fn refuse(text: &'static str) -> Refusal {
    Refusal(Cow::Borrowed(text))
}

/// The key holds another type.
pub const WRONG_TYPE: Refusal =
    refuse("WRONGTYPE Operation against a key holding the wrong kind of value");
/// Not a 64-bit integer.
pub const NOT_AN_INTEGER: Refusal = refuse("ERR value is not an integer or out of range");
/// Not a floating point number.
pub const NOT_A_FLOAT: Refusal = refuse("ERR value is not a valid float");
/// Options that are unknown or contradict each other.
pub const SYNTAX: Refusal = refuse("ERR syntax error");
/// An addition left the range of 64 bits.
pub const OVERFLOW: Refusal = refuse("ERR increment or decrement would overflow");

/// Parses an integer exactly as Redis does: no sign `+`, no spaces, no leading zeros.
pub fn integer(text: &[u8]) -> Result<i64, Refusal> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [] => false,
        [b'0'] => text.len() == 1,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if !canonical {
        return Err(NOT_AN_INTEGER);
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(NOT_AN_INTEGER)
}

/// Parses an argument that must not be negative; `refusal` is for everything else.
pub fn natural(text: &[u8], refusal: Refusal) -> Result<usize, Refusal> {
    let number = integer(text).ok();
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or(refusal)
}

/// Parses an argument that must be above zero; `refusal` is for everything else.
pub fn positive(text: &[u8], refusal: Refusal) -> Result<usize, Refusal> {
    natural(text, refusal.clone()).and_then(|number| match number {
        0 => Err(refusal),
        _ => Ok(number),
    })
}

/// Parses an integer that has a positive counterpart.
pub fn signed(text: &[u8]) -> Result<i64, Refusal> {
    match integer(text)? {
        i64::MIN => Err(refuse(
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        )),
        number => Ok(number),
    }
}

/// How many random or popped elements are wanted: negative allows repeats.
pub fn signed_count(text: &[u8], magnitude_max: i64) -> Result<i64, Refusal> {
    let number = signed(text)?;
    // Repeats would otherwise make a reply of any size from one small command.
    if number > magnitude_max || number < -magnitude_max || number < -REPEATS_MAX {
        return Err(refuse("ERR value is out of range"));
    }
    Ok(number)
}

/// A number of elements as a reply.
pub fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Yes or no as a reply.
pub fn yes(yes: bool) -> Reply {
    Reply::Int(i64::from(yes))
}

/// Bytes as a reply.
pub fn bulk(bytes: &impl Share) -> Reply {
    Reply::Bulk(bytes.share())
}

/// Parses a floating point number; `inf`, `+inf` and `-inf` are allowed; NaN and numbers out of
/// range are not.
pub fn float(text: &[u8], refusal: Refusal) -> Result<f64, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| refusal.clone())?;
    let number: f64 = text.parse().map_err(|_| refusal.clone())?;
    let spelled = text
        .bytes()
        .any(|letter| letter.eq_ignore_ascii_case(&b'i'));
    let overflow = number.is_infinite() && !spelled;
    if number.is_nan() || overflow {
        Err(refusal)
    } else {
        Ok(number)
    }
}

/// Whether an argument is the given word, in any case.
pub fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// The argument at a place, or a syntax error.
pub fn argument(command: &[Bytes], at: usize) -> Result<&Bytes, Refusal> {
    command.get(at).ok_or(SYNTAX)
}

/// Resolves `[start, stop]` with negative numbers from the end; `None` when empty.
pub fn index_range(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
    let length = i64::try_from(len).unwrap_or(i64::MAX);
    let resolve = |index: i64| {
        if index < 0 {
            index.saturating_add(length)
        } else {
            index
        }
    };
    let start = resolve(start).max(0);
    let stop = resolve(stop).min(length - 1);
    if start > stop || start >= length {
        return None;
    }
    Some((usize::try_from(start).ok()?, usize::try_from(stop).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical() {
        for good in [
            "0",
            "-1",
            "10",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert!(integer(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "x",
        ] {
            assert_eq!(integer(bad.as_bytes()), Err(NOT_AN_INTEGER), "{bad}");
        }
    }

    #[test]
    fn ranges_count_from_both_ends() {
        assert_eq!(index_range(0, -1, 3), Some((0, 2)));
        assert_eq!(index_range(-2, -1, 3), Some((1, 2)));
        assert_eq!(index_range(5, 9, 3), None);
        assert_eq!(index_range(0, 99, 3), Some((0, 2)));
        assert_eq!(index_range(0, -1, 0), None);
    }
}
