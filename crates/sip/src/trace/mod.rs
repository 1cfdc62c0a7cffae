//! What was said on the network, kept for a while so that a person can look at one call.
//!
//! Owner of the copies: [`Trace`], one per engine. The engine's thread adds to it, any thread
//! may read. Invariant: no copy holds what lets its reader log in, listen in or read a text:
//! [`mask::masked`] makes every copy.
pub mod hep;
pub mod mask;
mod ring;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use serde::Serialize;

use crate::config::Transport;
use crate::engine::flow::Flow;
use crate::limits::{TRACE_LEGS_MAX, TRACED_CALLS_MAX};
use mask::Masked;
use ring::Ring;

/// A message on its way, with what is needed to keep and to forward it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Since 1970, microseconds.
    pub at_us: u64,
    /// We sent it; else it came.
    pub sent: bool,
    /// Between which addresses.
    pub flow: Flow,
    /// Length on the wire, bytes.
    pub length: usize,
    /// The masked copy, cut at [`crate::limits::TRACE_MESSAGE_BYTES_MAX`].
    pub bytes: Bytes,
    /// Where the Call-ID stands in `bytes`.
    pub call_id: std::ops::Range<usize>,
}

impl Seen {
    /// Its Call-ID.
    pub fn call_id(&self) -> &[u8] {
        &self.bytes[self.call_id.clone()]
    }

    /// From where to where.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        let Flow { local, remote, .. } = self.flow;
        if self.sent {
            (local, remote)
        } else {
            (remote, local)
        }
    }
}

/// One message as a host shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracedMessage {
    /// Since 1970, microseconds.
    pub at_us: u64,
    /// We sent it; else it came.
    pub sent: bool,
    /// How it travelled.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Length on the wire, bytes; `text` may be shorter.
    pub length: usize,
    /// What `text` is an encoding of bytes by.
    pub encoding: Encoding,
    /// The message, credentials masked.
    pub text: String,
}

/// How bytes became text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// They are text.
    Utf8,
    /// They are not: one letter a byte.
    Latin1,
}

/// What is kept of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallTrace {
    /// The Call-IDs of its legs.
    pub call_ids: Vec<String>,
    /// In the order of time.
    pub messages: Vec<TracedMessage>,
    /// Messages of these legs that were too many to keep.
    pub skipped: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is in the trace.
    Yes,
    /// Its call has as many messages as it may.
    Skipped,
}

/// Copies of the newest messages. Two rings, so that many phones that register at once do not
/// push the calls out: one for what belongs to calls, a smaller one for everything else.
#[derive(Debug)]
pub struct Trace {
    calls: Ring,
    others: Ring,
    /// Call-IDs by what call control names the call; oldest first in `order`.
    legs: HashMap<String, Vec<String>>,
    order: VecDeque<String>,
    /// The call of a Call-ID.
    call_of: HashMap<String, String>,
}

impl Trace {
    /// An empty trace that takes so many bytes at most, its own bookkeeping included.
    pub fn new(bytes_max: usize) -> Trace {
        let others = bytes_max / 4;
        Trace {
            calls: Ring::new(bytes_max - others),
            others: Ring::new(others),
            legs: HashMap::new(),
            order: VecDeque::new(),
            call_of: HashMap::new(),
        }
    }

    /// Keeps a message, and forgets the oldest for it.
    pub fn add(&mut self, seen: Seen, of_call: bool) -> Kept {
        let ring = if of_call {
            &mut self.calls
        } else {
            &mut self.others
        };
        ring.add(seen)
    }

    /// A Call-ID is a leg of a call.
    pub fn link(&mut self, call: &str, call_id: &str) {
        if !self.legs.contains_key(call) {
            if self.order.len() >= TRACED_CALLS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                for call_id in self.legs.remove(&oldest).unwrap_or_default() {
                    self.call_of.remove(&call_id);
                }
            }
            self.order.push_back(call.to_owned());
        }
        let legs = self.legs.entry(call.to_owned()).or_default();
        if legs.len() < TRACE_LEGS_MAX && !legs.iter().any(|leg| leg == call_id) {
            legs.push(call_id.to_owned());
            self.call_of.insert(call_id.to_owned(), call.to_owned());
        }
    }

    /// What is kept of calls, each named by call control's id or by a Call-ID; a Call-ID stands
    /// for all legs of its call.
    pub fn of(&self, ids: &[String]) -> CallTrace {
        let mut trace = CallTrace::default();
        for id in ids {
            let call = self.call_of.get(id).unwrap_or(id);
            let single = std::slice::from_ref(id);
            for call_id in self.legs.get(call).map_or(single, Vec::as_slice) {
                if !trace.call_ids.contains(call_id) {
                    trace.call_ids.push(call_id.clone());
                }
            }
        }
        for call_id in &trace.call_ids {
            for ring in [&self.calls, &self.others] {
                trace.messages.extend(ring.of(call_id).map(view));
                trace.skipped += ring.skipped(call_id);
            }
        }
        // What nothing is known of is not a leg.
        let known = |id: &String| {
            self.call_of.contains_key(id) || self.calls.knows(id) || self.others.knows(id)
        };
        trace.call_ids.retain(known);
        trace.messages.sort_by_key(|message| message.at_us);
        trace
    }

    /// How many messages there are, and how many bytes they take.
    pub fn size(&self) -> (usize, usize) {
        (
            self.calls.len() + self.others.len(),
            self.calls.bytes() + self.others.bytes(),
        )
    }
}

fn view(seen: &Seen) -> TracedMessage {
    let (encoding, text) = match std::str::from_utf8(&seen.bytes) {
        Ok(text) => (Encoding::Utf8, text.to_owned()),
        Err(_) => (
            Encoding::Latin1,
            seen.bytes.iter().map(|byte| char::from(*byte)).collect(),
        ),
    };
    TracedMessage {
        at_us: seen.at_us,
        sent: seen.sent,
        transport: seen.flow.transport,
        local: seen.flow.local,
        remote: seen.flow.remote,
        length: seen.length,
        encoding,
        text,
    }
}

/// The copy of a message, and whether it belongs to a call; None for what has no Call-ID.
pub fn copy(at_us: u64, sent: bool, flow: Flow, bytes: &[u8]) -> Option<(Seen, bool)> {
    let Masked {
        copy,
        call_id,
        of_call,
    } = mask::masked(bytes)?;
    let seen = Seen {
        at_us,
        sent,
        flow,
        length: bytes.len(),
        bytes: copy.into(),
        call_id,
    };
    Some((seen, of_call))
}
