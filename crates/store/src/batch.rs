//! A log entry's content: requests of one origin, stamped by the leader.
//!
//! An origin is one life of one process. Its requests carry consecutive sequence numbers, so that
//! the state machine can tell a request it has applied from one it has not (see `origins`).

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::limits::{ARGUMENTS_MAX, BULK_MAX, REQUEST_BYTES_MAX, TRANSACTION_COMMANDS_MAX};
use crate::reply::{Reply, Request};

/// The origin of requests that are never sent twice and need no protection.
pub const NO_ORIGIN: u64 = 0;

/// Requests that travel and are applied together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's clock when it proposed the batch, Unix milliseconds.
    pub now_ms: u64,
    /// Who asks; [`NO_ORIGIN`] when repeats need not be recognised.
    pub origin: u64,
    /// Sequence number of the first request.
    pub first: u64,
    /// Every request of this origin below this number has been answered or given up.
    pub floor: u64,
    /// Number of requests.
    pub count: u32,
    /// The requests, encoded one after another.
    pub body: Bytes,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests of {:x}/{}",
            self.count, self.origin, self.first
        )
    }
}

/// The result of applying a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// One reply for each request.
    pub replies: Vec<Reply>,
    /// Requests before this batch are missing: nothing was applied, send again in order.
    pub gap: bool,
}

/// Encodes one request.
pub fn encode(request: &Request) -> Result<Bytes, StoreError> {
    let refused = |text: String| Err(StoreError::Refused(text));
    if request.is_empty() || request.iter().any(Vec::is_empty) {
        return refused("an empty request or command".into());
    }
    if request.len() > TRANSACTION_COMMANDS_MAX {
        return refused(format!(
            "more than {TRANSACTION_COMMANDS_MAX} commands at once"
        ));
    }
    let arguments = request.iter().flatten();
    let size = arguments.map(|argument| argument.len() + 4).sum::<usize>() + 4 * request.len() + 4;
    if size > REQUEST_BYTES_MAX {
        return refused(format!(
            "a request of {size} bytes, the limit is {REQUEST_BYTES_MAX}"
        ));
    }
    let mut out = BytesMut::with_capacity(size);
    put_count(&mut out, request.len());
    for command in request {
        if command.len() > ARGUMENTS_MAX {
            return refused(format!("more than {ARGUMENTS_MAX} arguments"));
        }
        put_count(&mut out, command.len());
        for argument in command {
            if argument.len() > BULK_MAX {
                return refused(format!("an argument is longer than {BULK_MAX} bytes"));
            }
            put_count(&mut out, argument.len());
            out.put_slice(argument);
        }
    }
    Ok(out.freeze())
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32_le(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Reads the requests of a body one by one. Arguments share the body's memory.
pub struct Requests {
    rest: Bytes,
}

impl Requests {
    /// Begins at the first request.
    pub fn new(body: &Bytes) -> Self {
        Self { rest: body.clone() }
    }

    fn count(&mut self) -> Option<usize> {
        if self.rest.remaining() < 4 {
            return None;
        }
        usize::try_from(self.rest.get_u32_le()).ok()
    }

    fn argument(&mut self) -> Option<Bytes> {
        let length = self.count()?;
        (length <= self.rest.len()).then(|| self.rest.split_to(length))
    }
}

impl Iterator for Requests {
    type Item = Request;

    /// The next request; `None` at the end or where the body is malformed.
    fn next(&mut self) -> Option<Request> {
        let commands = self.count()?;
        let mut request = Vec::with_capacity(commands.min(TRANSACTION_COMMANDS_MAX));
        for _ in 0..commands {
            let arguments = self.count()?;
            let mut command = Vec::with_capacity(arguments.min(ARGUMENTS_MAX));
            for _ in 0..arguments {
                command.push(self.argument()?);
            }
            request.push(command);
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_survive_encoding(
            requests in prop::collection::vec(prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4), 1..4), 0..5)
        ) {
            let requests: Vec<Request> = requests.into_iter().map(|request| {
                request.into_iter().map(|command| {
                    command.into_iter().map(Bytes::from).collect()
                }).collect()
            }).collect();
            let mut body = BytesMut::new();
            for request in &requests {
                body.extend_from_slice(&encode(request).expect("small requests are accepted"));
            }
            prop_assert_eq!(Requests::new(&body.freeze()).collect::<Vec<_>>(), requests);
        }

        #[test]
        fn malformed_bodies_end_early(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let total = Requests::new(&Bytes::from(body)).take(100).count();
            prop_assert!(total <= 100);
        }
    }

    #[test]
    fn oversized_requests_are_refused() {
        let big = Bytes::from(vec![0; BULK_MAX + 1]);
        assert!(encode(&vec![vec![big]]).is_err());
        assert!(encode(&vec![]).is_err());
        assert!(encode(&vec![vec![]]).is_err());
    }
}
