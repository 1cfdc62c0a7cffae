//! Is there an order of the operations on one object that explains all answers?
//!
//! The search of Wing and Gong with the cache of Lowe: operations are put in order one by one,
//! each may come next that began before the first remaining one ended; a set of operations with
//! a resulting state is tried once. Operations whose outcome nobody knows may come anywhere after
//! they began, or never.

use std::collections::HashSet;

use crate::history::{Operation, Shape};
use crate::model::State;

/// Sets with a state that are tried before the search gives up.
const TRIED_MAX: usize = 400_000;

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none.
    Violation,
    /// The search became too large; nothing is known.
    Undecided,
}

struct Search<'a> {
    operations: Vec<&'a Operation>,
    placed: Vec<u64>,
    /// Operations with a known end that are not placed yet.
    missing: usize,
    tried: HashSet<(Vec<u64>, State)>,
}

/// Checks the operations on one object.
pub fn check(shape: Shape, operations: &[&Operation]) -> Verdict {
    let useful = |operation: &&&Operation| {
        let idle = operation.action == crate::history::Action::Read && operation.ended.is_none();
        !operation.refused && !idle
    };
    let mut operations: Vec<_> = operations.iter().filter(useful).copied().collect();
    operations.sort_by_key(|operation| operation.began);
    let missing = operations.iter().filter(|one| one.ended.is_some()).count();
    let mut search = Search {
        placed: vec![0; operations.len().div_ceil(64)],
        operations,
        missing,
        tried: HashSet::new(),
    };
    match search.place(0, &State::new(shape)) {
        Some(true) => Verdict::Linearizable,
        Some(false) => Verdict::Violation,
        None => Verdict::Undecided,
    }
}

impl Search<'_> {
    fn is_placed(&self, at: usize) -> bool {
        self.placed[at / 64] >> (at % 64) & 1 == 1
    }

    /// Places what is left, the first `done` being placed; `None` when it gave up.
    fn place(&mut self, mut done: usize, state: &State) -> Option<bool> {
        if self.missing == 0 {
            return Some(true);
        }
        if self.tried.len() >= TRIED_MAX {
            return None;
        }
        while done < self.operations.len() && self.is_placed(done) {
            done += 1;
        }
        let mut first_end = u64::MAX;
        for at in done..self.operations.len() {
            let operation = self.operations[at];
            if operation.began >= first_end {
                break;
            }
            if !self.is_placed(at) {
                first_end = first_end.min(operation.ended.unwrap_or(u64::MAX));
            }
        }
        for at in done..self.operations.len() {
            let operation = self.operations[at];
            if operation.began >= first_end {
                break;
            }
            if self.is_placed(at) {
                continue;
            }
            let Some(next) = state.after(operation.action, operation.told) else {
                continue;
            };
            self.placed[at / 64] ^= 1 << (at % 64);
            let known = usize::from(operation.ended.is_some());
            self.missing -= known;
            if self.tried.insert((self.placed.clone(), next.clone())) {
                match self.place(done, &next) {
                    Some(false) => {}
                    found => return found,
                }
            }
            self.placed[at / 64] ^= 1 << (at % 64);
            self.missing += known;
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Action, Told};

    fn operation(action: Action, began: u64, ended: Option<u64>, told: Option<Told>) -> Operation {
        Operation {
            object: 0,
            action,
            node: 1,
            began,
            ended,
            told,
            refused: false,
        }
    }

    fn verdict(shape: Shape, operations: &[Operation]) -> Verdict {
        check(shape, &operations.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_stale_read_is_a_violation_and_a_concurrent_one_is_not() {
        let write = operation(Action::Write(1), 0, Some(10), Some(Told::Done));
        let stale = |began| operation(Action::Read, began, Some(30), Some(Told::Value(None)));
        let history = [write.clone(), stale(5)];
        assert_eq!(verdict(Shape::Text, &history), Verdict::Linearizable);
        assert_eq!(
            verdict(Shape::Text, &[write, stale(10)]),
            Verdict::Violation
        );
    }

    #[test]
    fn an_unknown_write_may_appear_late_but_only_once() {
        let unknown = operation(Action::Add(1), 0, None, None);
        let read = |began, sum| {
            let told = Some(Told::Number(sum));
            operation(Action::Read, began, Some(began + 1), told)
        };
        let late = [unknown.clone(), read(10, 0), read(20, 1)];
        assert_eq!(verdict(Shape::Counter, &late), Verdict::Linearizable);
        let twice = [unknown.clone(), read(10, 1), read(20, 2)];
        assert_eq!(verdict(Shape::Counter, &twice), Verdict::Violation);
        let back = [unknown, read(10, 1), read(20, 0)];
        assert_eq!(verdict(Shape::Counter, &back), Verdict::Violation);
    }

    #[test]
    fn an_item_is_taken_once() {
        let push = operation(Action::Push(3), 0, Some(1), Some(Told::Flag(true)));
        let pop = |began| {
            let told = Some(Told::Value(Some(3)));
            operation(Action::Pop, began, Some(began + 5), told)
        };
        let once = [push.clone(), pop(2)];
        assert_eq!(verdict(Shape::Queue, &once), Verdict::Linearizable);
        assert_eq!(
            verdict(Shape::Queue, &[push, pop(2), pop(3)]),
            Verdict::Violation
        );
    }

    #[test]
    fn an_expiring_value_vanishes_once_and_for_all() {
        let write = operation(Action::WriteFor(1, 9), 0, Some(1), Some(Told::Done));
        let read = |began, value| {
            let told = Some(Told::Value(value));
            operation(Action::Read, began, Some(began + 1), told)
        };
        let gone = [write.clone(), read(2, Some(1)), read(4, None)];
        assert_eq!(verdict(Shape::Expiring, &gone), Verdict::Linearizable);
        let back = [write, read(2, None), read(4, Some(1))];
        assert_eq!(verdict(Shape::Expiring, &back), Verdict::Violation);
    }
}
