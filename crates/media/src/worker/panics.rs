//! What becomes of a worker that panics: its calls end; the process and other workers go on.
//!
//! A panic is a mistake of ours that some packet or moment has brought to light. What it left half
//! done is used no more: rooms are gone, flows wait unwatched until control has given their ports
//! back. The thread begins anew, with what comes.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{FlowKey, Report, Shared, Table, Worker, relay};
use crate::mix::party::Who;
use crate::ports::Door;

/// What panics have left behind.
#[derive(Default)]
pub struct Broken {
    /// Flows that nobody relays any more.
    pub flows: BTreeSet<FlowKey>,
    /// Who was in which room.
    pub parties: Vec<(Arc<str>, Who)>,
}

impl Broken {
    /// Whether nothing broke.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.parties.is_empty()
    }
}

/// Runs the thread until it is told to stop, however often it panics.
pub(super) fn guard(shared: &Shared, report: &Report) {
    // What a panic leaves half done is thrown away.
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| super::run(shared, report))) {
        let reason = reason(&*panic);
        tracing::error!(
            reason,
            "a media worker panicked: its calls end, it begins anew"
        );
        shared.throw_away();
    }
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no reason given")
}

/// Does what a test has asked for.
pub(super) fn panic_if_doomed(shared: &Shared) {
    let doomed = shared.doomed.swap(false, Ordering::AcqRel);
    assert!(!doomed, "a test wants this worker to panic");
}

impl Shared {
    fn throw_away(&self) {
        let mut table = self.table.lock();
        let Table {
            slots,
            clock,
            rooms,
            timers,
            broken,
            totals,
            ..
        } = &mut *table;
        totals.panics += 1;
        clock.clear();
        timers.clear();
        broken.parties.extend(rooms.clear());
        for (number, slot) in slots.iter_mut().enumerate() {
            let Some(flow) = &mut slot.flow else { continue };
            totals.add(flow.recall());
            // A ring has ended with the thread's stack; a poller outlives it.
            self.watch.abandon(relay::doors(flow).map(Door::socket));
            broken.flows.insert(FlowKey {
                slot: number as u32,
                generation: slot.generation,
            });
        }
    }
}

impl Table {
    /// What panics have left behind since the last time.
    pub fn take_broken(&mut self) -> Broken {
        std::mem::take(&mut self.broken)
    }
}

impl Worker {
    /// The thread panics at once; for tests.
    pub fn make_panic(&self) {
        self.shared.doomed.store(true, Ordering::Release);
        self.shared.bell.ring();
    }
}
