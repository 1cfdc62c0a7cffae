//! Frames: decimal byte length, `#`, payload.
use crate::limits::{FRAME_BYTES_MAX, FRAME_DIGITS_MAX};

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is no number of at most seven digits.
    #[error("malformed frame length")]
    Length,
    /// The frame is over the limit.
    #[error("frame is longer than 1 MiB")]
    TooLong,
    /// The payload is not UTF-8.
    #[error("frame is not UTF-8")]
    NotUtf8,
}

/// The bytes of one connection that are not yet a whole frame.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole payload.
    pub fn next_frame(&mut self) -> Result<Option<&str>, FrameError> {
        let rest = &self.buffer[self.start..];
        let digits = &rest[..rest.len().min(FRAME_DIGITS_MAX + 1)];
        let Some(hash) = digits.iter().position(|byte| *byte == b'#') else {
            let wrong = digits.len() > FRAME_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit);
            return if wrong {
                Err(FrameError::Length)
            } else {
                Ok(None)
            };
        };
        let mut length = 0usize;
        for byte in &digits[..hash] {
            if !byte.is_ascii_digit() {
                return Err(FrameError::Length);
            }
            length = length * 10 + usize::from(byte - b'0');
        }
        if length == 0 {
            return Err(FrameError::Length);
        }
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        let from = self.start + hash + 1;
        if self.buffer.len() < from + length {
            return Ok(None);
        }
        self.start = from + length;
        let payload = &self.buffer[from..from + length];
        std::str::from_utf8(payload)
            .map(Some)
            .map_err(|_| FrameError::NotUtf8)
    }
}

/// A frame around a payload of two parts.
pub fn write_frame(leader: &str, message: &[u8]) -> Vec<u8> {
    let length = leader.len() + message.len();
    let mut frame = Vec::with_capacity(length + 8);
    frame.extend_from_slice(length.to_string().as_bytes());
    frame.push(b'#');
    frame.extend_from_slice(leader.as_bytes());
    frame.extend_from_slice(message);
    frame
}
