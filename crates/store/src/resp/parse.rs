//! Requests of the Redis protocol, from bytes.

use bytes::{Bytes, BytesMut};

use crate::limits::{ARGUMENTS_MAX, BULK_MAX};
use crate::reply::Command;

/// How much a client may send in one command.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Arguments, the name included.
    pub arguments: usize,
    /// Bytes of one argument.
    pub bulk: usize,
}

/// A client that has proved who it is.
pub const TRUSTED: Bounds = Bounds {
    arguments: ARGUMENTS_MAX,
    bulk: BULK_MAX,
};

/// A client that has not: enough for `HELLO`, `AUTH` and the names of `CLIENT`.
pub const UNKNOWN: Bounds = Bounds {
    arguments: 10,
    bulk: 1 << 10,
};

/// Longest line that is not an argument.
const LINE_MAX: usize = 16 << 10;

/// What is wrong with the input; the connection is closed with this text.
#[derive(Debug, PartialEq, Eq)]
pub struct ProtocolError(pub &'static str);

type Parsed<T> = Result<Option<T>, ProtocolError>;

/// Takes the next command out of the buffer; `None` when it is not complete yet.
/// An empty command (an empty line) is answered as an empty vector.
pub fn next(buffer: &mut BytesMut, bounds: Bounds) -> Parsed<Command> {
    if buffer.first() != Some(&b'*') {
        return inline(buffer, bounds);
    }
    let Some((count, mut at)) = number(buffer, 1)? else {
        return Ok(None);
    };
    if count > bounds.arguments as i64 {
        return Err(ProtocolError(
            "ERR Protocol error: invalid multibulk length",
        ));
    }
    let count = usize::try_from(count).unwrap_or(0);
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        match buffer.get(at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(_) => return Err(ProtocolError("ERR Protocol error: expected '$'")),
        }
        let Some((length, start)) = number(buffer, at + 1)? else {
            return Ok(None);
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= bounds.bulk);
        let length = length.ok_or(ProtocolError("ERR Protocol error: invalid bulk length"))?;
        let end = start + length;
        if buffer.len() < end + 2 {
            return Ok(None);
        }
        if &buffer[end..end + 2] != b"\r\n" {
            return Err(ProtocolError(
                "ERR Protocol error: expected CRLF after a bulk string",
            ));
        }
        places.push((start, end));
        at = end + 2;
    }
    let frame = buffer.split_to(at).freeze();
    Ok(Some(
        places
            .into_iter()
            .map(|(start, end)| frame.slice(start..end))
            .collect(),
    ))
}

/// The number that begins at `at`, and the place behind its line.
fn number(buffer: &[u8], at: usize) -> Parsed<(i64, usize)> {
    let Some(end) = line_end(buffer, at)? else {
        return Ok(None);
    };
    let digits = std::str::from_utf8(&buffer[at..end])
        .ok()
        .and_then(|text| text.parse().ok());
    let number = digits.ok_or(ProtocolError("ERR Protocol error: invalid length"))?;
    Ok(Some((number, end + 2)))
}

fn line_end(buffer: &[u8], at: usize) -> Parsed<usize> {
    let rest = buffer.get(at..).unwrap_or_default();
    let window = &rest[..rest.len().min(LINE_MAX)];
    match window.windows(2).position(|pair| pair == b"\r\n") {
        Some(position) => Ok(Some(at + position)),
        None if rest.len() >= LINE_MAX => Err(ProtocolError("ERR Protocol error: too big line")),
        None => Ok(None),
    }
}

/// A line of words, as people type it into a terminal.
fn inline(buffer: &mut BytesMut, bounds: Bounds) -> Parsed<Command> {
    let window = &buffer[..buffer.len().min(LINE_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        if buffer.len() >= LINE_MAX {
            return Err(ProtocolError("ERR Protocol error: too big inline request"));
        }
        return Ok(None);
    };
    let line = buffer.split_to(end + 1);
    let words = line[..]
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let command: Command = words.map(Bytes::copy_from_slice).collect();
    if command.len() > bounds.arguments {
        return Err(ProtocolError("ERR Protocol error: too many arguments"));
    }
    Ok(Some(command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(input: &[u8]) -> Result<Vec<Vec<String>>, ProtocolError> {
        let mut buffer = BytesMut::from(input);
        let mut commands = Vec::new();
        while let Some(command) = next(&mut buffer, TRUSTED)? {
            let text = |word: &Bytes| String::from_utf8_lossy(word).into_owned();
            commands.push(command.iter().map(text).collect());
            if buffer.is_empty() {
                break;
            }
        }
        Ok(commands)
    }

    #[test]
    fn commands_are_found_whole_and_in_parts() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\nPING hello\r\n\r\n";
        let whole = all(input).expect("well formed");
        assert_eq!(
            whole,
            [
                vec!["GET", "a"],
                vec!["PING"],
                vec!["PING", "hello"],
                vec![]
            ]
        );
        let mut buffer = BytesMut::new();
        let mut found = 0;
        for byte in input {
            buffer.extend_from_slice(&[*byte]);
            while let Some(command) = next(&mut buffer, TRUSTED).expect("well formed") {
                found += 1;
                if command.is_empty() || buffer.is_empty() {
                    break;
                }
            }
        }
        assert_eq!(found, 4);
    }

    #[test]
    fn oversized_and_malformed_input_is_refused() {
        for bad in [
            "*1025\r\n",
            "*1\r\n$1048577\r\n",
            "*1\r\n$-1\r\n",
            "*1\r\nGET\r\n",
            "*x\r\n",
            "*1\r\n$1\r\nab\r\n",
        ] {
            assert!(all(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let endless = vec![b'x'; LINE_MAX];
        assert!(all(&endless).is_err());
        let mut buffer = BytesMut::from(&b"*2\r\n$4\r\nAUTH\r\n$2000\r\n"[..]);
        assert!(next(&mut buffer, UNKNOWN).is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(input in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = all(&input);
        }

        #[test]
        fn no_near_miss_panics(parts in prop::collection::vec(prop::sample::select(vec![
            "*", "$", "1", "3", "-1", "\r\n", "GET", "a", "\n", " ", "99999999999999999999",
        ]), 0..30)) {
            let _ = all(parts.concat().as_bytes());
        }
    }
}
