//! Requests as counted byte strings, replies in the Redis protocol; the TypeScript twin is
//! `src/native/codec.ts`.

use std::fmt::Write;

use bytes::Bytes;
use raftpbx_store::{Command, Reply, Request, StoreError};

/// Reads a batch of requests; the text says what is wrong with a bad one.
pub fn decode_requests(bytes: &[u8]) -> Result<Vec<Request>, String> {
    let mut reader = Reader { rest: bytes };
    let requests = reader.u32()?;
    (0..requests)
        .map(|_| {
            let commands = reader.u16()?;
            (0..commands)
                .map(|_| {
                    let arguments = reader.u16()?;
                    (0..arguments)
                        .map(|_| reader.text())
                        .collect::<Result<Command, String>>()
                })
                .collect::<Result<Request, String>>()
        })
        .collect()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Result<&[u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| "the batch of commands is cut short".to_owned())?;
        self.rest = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<Bytes, String> {
        let length = self.u32()? as usize;
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }
}

/// Writes replies one after the other, RESP2.
pub fn encode_replies(replies: &[Result<Reply, StoreError>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(replies.len() * 16);
    for reply in replies {
        match reply {
            Ok(reply) => encode(reply, &mut out),
            Err(error) => line(&mut out, '-', &error.to_string()),
        }
    }
    out
}

/// Writes one reply, RESP2.
pub fn encode(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Nil => out.extend_from_slice(b"$-1\r\n"),
        Reply::NilArray => out.extend_from_slice(b"*-1\r\n"),
        Reply::Boolean(yes) => line(out, ':', if *yes { "1" } else { "0" }),
        Reply::Verbatim(text) => bulk(out, text.as_bytes()),
        Reply::Ok => out.extend_from_slice(b"+OK\r\n"),
        Reply::Int(value) => line(out, ':', &value.to_string()),
        Reply::Double(value) => bulk(out, value.to_string().as_bytes()),
        Reply::Bulk(bytes) => bulk(out, bytes),
        Reply::Simple(text) => line(out, '+', text),
        Reply::Error(text) => line(out, '-', text),
        Reply::Array(items) | Reply::Set(items) => {
            line(out, '*', &items.len().to_string());
            for item in items {
                encode(item, out);
            }
        }
        Reply::Entries(pairs) => {
            line(out, '*', &pairs.len().to_string());
            for (key, value) in pairs {
                line(out, '*', "2");
                encode(key, out);
                encode(value, out);
            }
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            line(out, '*', &(pairs.len() * 2).to_string());
            for (key, value) in pairs {
                encode(key, out);
                encode(value, out);
            }
        }
    }
}

/// A line must stay one line, whatever an error text holds.
fn line(out: &mut Vec<u8>, kind: char, text: &str) {
    let mut written = String::with_capacity(text.len() + 3);
    let _infallible = write!(written, "{kind}{}\r\n", text.replace(['\r', '\n'], " "));
    out.extend_from_slice(written.as_bytes());
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    line(out, '$', &bytes.len().to_string());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_cut_short_is_refused_at_every_length() {
        let mut whole = Vec::new();
        whole.extend_from_slice(&1u32.to_le_bytes());
        whole.extend_from_slice(&1u16.to_le_bytes());
        whole.extend_from_slice(&2u16.to_le_bytes());
        for argument in [b"GET".as_slice(), b"key"] {
            whole.extend_from_slice(&(argument.len() as u32).to_le_bytes());
            whole.extend_from_slice(argument);
        }
        let decoded = decode_requests(&whole).expect("a whole batch is read");
        assert_eq!(
            decoded,
            vec![vec![vec![Bytes::from("GET"), Bytes::from("key")]]]
        );
        for length in 0..whole.len() {
            assert!(decode_requests(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_error_text_with_line_ends_stays_one_line() {
        let mut out = Vec::new();
        encode(&Reply::Error("ERR a\r\nb".into()), &mut out);
        assert_eq!(out, b"-ERR a  b\r\n");
    }
}
