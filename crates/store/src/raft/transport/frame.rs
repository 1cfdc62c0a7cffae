//! A frame: `length u32 | kind u8 | id u64 | body`, little endian; the length counts the rest.
//!
//! A request carries an id chosen by the caller; the answer repeats it. The first frame of a link
//! is a greeting that names both ends, so that a wrong address is noticed at once.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits::{FRAME_BYTES_MAX, GREETING_BYTES_MAX};

/// Bytes of kind and id.
const HEAD_BYTES: usize = 9;

/// What a frame asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who calls whom (see `standing`); always the first frame.
    Greet = 1,
    /// The answer to any request.
    Answer = 2,
    /// Append entries, or a heartbeat.
    Append = 3,
    /// A vote.
    Vote = 4,
    /// Would you vote for me?
    PreVote = 5,
    /// Take over leadership.
    Transfer = 6,
    /// A batch of a follower's clients.
    Forward = 7,
    /// A linearizable read of a follower's client.
    Read = 8,
    /// Part of a snapshot.
    SnapshotPiece = 9,
    /// A small question beside the protocol.
    Ask = 12,
    /// A linearizable read that asks a majority first.
    ReadIndex = 10,
    /// A change of the members.
    Member = 11,
}

impl Kind {
    pub fn parse(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Greet,
            2 => Kind::Answer,
            3 => Kind::Append,
            4 => Kind::Vote,
            5 => Kind::PreVote,
            6 => Kind::Transfer,
            7 => Kind::Forward,
            8 => Kind::Read,
            9 => Kind::SnapshotPiece,
            12 => Kind::Ask,
            10 => Kind::ReadIndex,
            11 => Kind::Member,
            _ => return None,
        })
    }
}

/// One frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What it asks for.
    pub kind: Kind,
    /// Matches answers to requests.
    pub id: u64,
    /// Postcard.
    pub body: Bytes,
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// Appends a frame to a buffer.
pub fn put(out: &mut BytesMut, kind: Kind, id: u64, body: &[u8]) {
    out.reserve(4 + HEAD_BYTES + body.len());
    out.put_u32_le(u32::try_from(HEAD_BYTES + body.len()).unwrap_or(u32::MAX));
    out.put_u8(kind as u8);
    out.put_u64_le(id);
    out.put_slice(body);
}

/// Reads one frame; `None` at the orderly end of the stream.
pub async fn read(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    read_at_most(input, FRAME_BYTES_MAX).await
}

/// [`read`] for the greeting, whose sender is not known yet.
pub async fn read_greeting(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    read_at_most(input, GREETING_BYTES_MAX).await
}

async fn read_at_most(
    input: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> io::Result<Option<Frame>> {
    let length = match input.read_u32_le().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if !(HEAD_BYTES..=bytes_max).contains(&length) {
        return Err(invalid("a frame of a size that is not allowed"));
    }
    let kind = Kind::parse(input.read_u8().await?).ok_or_else(|| invalid("an unknown frame"))?;
    let id = input.read_u64_le().await?;
    let mut body = vec![0; length - HEAD_BYTES];
    input.read_exact(&mut body).await?;
    Ok(Some(Frame {
        kind,
        id,
        body: Bytes::from(body),
    }))
}

/// Encodes a body.
pub fn encode<T: Serialize>(value: &T) -> io::Result<Bytes> {
    let bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
    if bytes.len() + HEAD_BYTES > FRAME_BYTES_MAX {
        return Err(invalid("a message is larger than a frame may be"));
    }
    Ok(Bytes::from(bytes))
}

/// Decodes a body.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    postcard::from_bytes(body).map_err(|error| invalid(&error.to_string()))
}
