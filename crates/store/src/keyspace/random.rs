//! Choices that look random and are the same on every server.
//!
//! A command of the log chooses by the clock and the counter of changes, which every server
//! shares. A read outside the log also counts its own calls, so that a store where nothing
//! changes does not always answer the same; its answer is not part of the state.

use std::sync::atomic::Ordering::Relaxed;

use super::Keyspace;
use super::dict::fold;

/// A sequence of choices.
pub struct Choices(u64);

impl Choices {
    /// Begins a sequence for one command.
    pub fn new(space: &Keyspace) -> Self {
        let draws = space.draws.load(Relaxed);
        let start = space.version ^ draws.rotate_left(32);
        Self(fold(
            space.clock_ms ^ 0x9e37_79b9_7f4a_7c15,
            start.wrapping_add(0x8ebc_6af0_9c88_c6e3),
        ))
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = fold(self.0, self.0 ^ 0xe703_7ed1_a0b4_28db);
        let bound = bound as u64;
        usize::try_from(mixed.checked_rem(bound).unwrap_or(0)).unwrap_or(0)
    }

    /// Places for a signed count: a negative one allows repeats.
    pub fn places(&mut self, number: i64, bound: usize) -> Vec<usize> {
        let many = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
        if number < 0 {
            return (0..many).map(|_| self.below(bound)).collect();
        }
        self.distinct(many, bound)
    }

    /// Different numbers below `bound`, all of them when `many` is larger; in no order.
    pub fn distinct(&mut self, many: usize, bound: usize) -> Vec<usize> {
        if many >= bound {
            return (0..bound).collect();
        }
        // Floyd's selection: one number a step, whatever the share that is wanted.
        let mut chosen = std::collections::BTreeSet::new();
        for top in bound - many..bound {
            let number = self.below(top + 1);
            if !chosen.insert(number) {
                chosen.insert(top);
            }
        }
        chosen.into_iter().collect()
    }
}
