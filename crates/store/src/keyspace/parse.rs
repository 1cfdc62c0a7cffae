//! Arguments of commands as numbers, scores and options, with the error texts of Redis 7.

use std::borrow::Cow;

use bytes::Bytes;

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

/// Parses a score; `inf`, `+inf` and `-inf` are allowed, NaN is not.
pub fn float(text: &[u8], refusal: Refusal) -> Result<f64, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| refusal.clone())?;
    let number: f64 = text.parse().map_err(|_| refusal.clone())?;
    if number.is_nan() {
        Err(refusal)
    } else {
        Ok(number)
    }
}

/// One end of a score range: `(1.5` excludes, `-inf` and `+inf` are open.
#[derive(Debug, Clone, Copy)]
pub struct ScoreBound {
    /// The score.
    pub score: f64,
    /// Whether the score itself is outside.
    pub exclusive: bool,
}

impl ScoreBound {
    /// Parses one end.
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let refusal = refuse("ERR min or max is not a float");
        match text.strip_prefix(b"(") {
            Some(rest) => Ok(Self {
                score: float(rest, refusal)?,
                exclusive: true,
            }),
            None => Ok(Self {
                score: float(text, refusal)?,
                exclusive: false,
            }),
        }
    }

    /// Whether `score` is inside when this is the lower end.
    pub fn admits_from_below(&self, score: f64) -> bool {
        if self.exclusive {
            score > self.score
        } else {
            score >= self.score
        }
    }

    /// Whether `score` is inside when this is the upper end.
    pub fn admits_from_above(&self, score: f64) -> bool {
        if self.exclusive {
            score < self.score
        } else {
            score <= self.score
        }
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
