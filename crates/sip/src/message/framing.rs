//! Cutting a byte stream into messages by Content-Length (RFC 3261 section 18.3) and
//! recognising CRLF keep-alives (RFC 5626 section 3.5.1).
use memchr::memmem;

use super::lexical::{number, trim};
use super::names::Name;
use crate::limits::MESSAGE_BYTES_MAX;

/// What a stream held next.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A double CRLF: answer with one CRLF.
    Ping,
    /// One whole message.
    Message(Vec<u8>),
}

/// Why a stream cannot be read any further; the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Headers or body over the limit.
    #[error("message on a stream is longer than 64 KiB")]
    TooLong,
    /// No usable Content-Length.
    #[error("message on a stream without a valid Content-Length")]
    Length,
}

/// The bytes of one connection that are not yet a whole message.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` known to hold no end of headers.
    scanned: usize,
}

impl Framer {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a message has begun and not ended.
    pub fn is_waiting(&self) -> bool {
        // The first half of a keep-alive may stand alone for long.
        !self.buffer.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.consume(4);
            return Ok(Some(Frame::Ping));
        }
        if self.buffer.starts_with(b"\r\n") && self.buffer.len() > 2 && self.buffer[2] != b'\r' {
            self.consume(2);
        }
        if self.buffer.starts_with(b"\r") {
            return Ok(None);
        }
        let Some(found) = memmem::find(&self.buffer[self.scanned..], b"\r\n\r\n") else {
            self.scanned = self.buffer.len().saturating_sub(3);
            let over = self.buffer.len() > MESSAGE_BYTES_MAX;
            return if over {
                Err(FramingError::TooLong)
            } else {
                Ok(None)
            };
        };
        let head_end = self.scanned + found + 4;
        let length = content_length(&self.buffer[..head_end]).ok_or(FramingError::Length)?;
        let total = head_end.saturating_add(length);
        if total > MESSAGE_BYTES_MAX {
            return Err(FramingError::TooLong);
        }
        if self.buffer.len() < total {
            self.scanned = head_end - 4;
            return Ok(None);
        }
        let rest = self.buffer.split_off(total);
        self.scanned = 0;
        Ok(Some(Frame::Message(std::mem::replace(
            &mut self.buffer,
            rest,
        ))))
    }

    fn consume(&mut self, count: usize) {
        self.buffer.drain(..count);
        self.scanned = 0;
    }
}

/// The stated length; a message without the header has no body.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut length = None;
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let Ok(name) = std::str::from_utf8(&line[..colon]) else {
            continue;
        };
        if Name::of(name.trim_end()) == Name::ContentLength {
            let value = std::str::from_utf8(&line[colon + 1..]).ok()?;
            let stated = usize::try_from(number(trim(value))?).ok()?;
            if length.is_some_and(|earlier| earlier != stated) {
                return None;
            }
            length = Some(stated);
        }
    }
    Some(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_the_bytes_arrive() {
        let one = b"OPTIONS sip:a SIP/2.0\r\nl: 3\r\n\r\nabc";
        let mut stream = b"\r\n\r\n\r\n".to_vec();
        stream.extend_from_slice(one);
        stream.extend_from_slice(one);
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for byte in stream {
            framer.push(&[byte]);
            while let Some(frame) = framer.next_frame().expect("a valid stream") {
                frames.push(frame);
            }
        }
        assert_eq!(frames.remove(0), Frame::Ping);
        assert_eq!(
            frames,
            [Frame::Message(one.to_vec()), Frame::Message(one.to_vec())]
        );
        assert!(!framer.is_waiting());
    }

    #[test]
    fn a_stream_without_a_usable_length_is_closed() {
        let mut framer = Framer::default();
        framer.push(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: x\r\n\r\n");
        assert_eq!(framer.next_frame(), Err(FramingError::Length));
        let mut framer = Framer::default();
        framer.push(&vec![b'a'; MESSAGE_BYTES_MAX + 1]);
        assert_eq!(framer.next_frame(), Err(FramingError::TooLong));
    }
}
