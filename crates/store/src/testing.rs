//! The keyspace without a cluster, for tests, benchmarks and the reference of commands.

use bytes::{Bytes, BytesMut};

use crate::keyspace::{self, Effects, Keyspace};
use crate::reply::Reply;
use crate::resp::encode::{self, Version};

/// A keyspace that is driven by hand.
#[derive(Default)]
pub struct Space {
    space: Keyspace,
    effects: Effects,
}

impl Space {
    /// Moves the logical clock, Unix milliseconds.
    pub fn advance(&mut self, now_ms: u64) {
        self.space.advance(now_ms, &mut self.effects);
    }

    /// Applies one command as an entry of the log would.
    pub fn apply(&mut self, command: &[Bytes]) -> Reply {
        self.effects = Effects::default();
        self.space.apply(command, &mut self.effects)
    }

    /// A frozen copy, as a snapshot takes it; answers the number of records.
    pub fn freeze(&self) -> usize {
        self.space.dump().count()
    }
}

/// A reply as a client of protocol version 2 or 3 gets it.
pub fn encoded(reply: &Reply, version_three: bool) -> Vec<u8> {
    let version = if version_three {
        Version::Three
    } else {
        Version::Two
    };
    let mut out = BytesMut::new();
    encode::reply(&mut out, reply, version);
    out.to_vec()
}

/// Name and arity of every command.
pub fn commands() -> Vec<(&'static str, i32)> {
    let rows = keyspace::all().into_iter();
    rows.map(|row| (row.name, row.arity)).collect()
}

/// The reference of commands, in Markdown.
pub fn reference() -> String {
    keyspace::reference()
}
