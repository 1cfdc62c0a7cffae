//! Positions of `SCAN`: a cursor is a number, a position is a key.
//!
//! Redis hides the position in the number itself; here keys are ordered, so that the position is a
//! key and the number only names it. The oldest are forgotten; a forgotten cursor is an error, not
//! a silently incomplete answer.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits::CURSORS_MAX;

/// The remembered positions.
#[derive(Debug, Default)]
pub struct Cursors {
    last: u64,
    positions: VecDeque<(u64, Bytes)>,
}

impl Cursors {
    /// Remembers the last key that was returned and names the position.
    pub fn remember(&mut self, key: Bytes) -> u64 {
        if self.positions.len() == CURSORS_MAX {
            self.positions.pop_front();
        }
        self.last += 1;
        self.positions.push_back((self.last, key));
        self.last
    }

    /// The key behind which a scan goes on.
    pub fn recall(&self, cursor: u64) -> Option<Bytes> {
        let found = self
            .positions
            .iter()
            .rev()
            .find(|(number, _)| *number == cursor);
        found.map(|(_, key)| key.clone())
    }
}
