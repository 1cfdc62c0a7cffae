//! What becomes of a worker that panics or fails: its calls end; the process and other workers go
//! on.
//!
//! A panic is a mistake of ours that some packet or moment has brought to light. What it left half
//! done is used no more: rooms are gone, flows wait unwatched until control has given their ports
//! back. The thread begins anew, with what comes. A failure is the kernel's no to waiting or
//! sending; a worker that cannot begin anew, or fails again and again, has ended, and no call goes
//! there.

use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{FlowKey, Report, Shared, Table, Worker, relay};
use crate::epoll::monotonic_ns;
use crate::limits::{WORKER_FAILURES_MAX, WORKER_STANDS_MS};
use crate::mix::party::Who;
use crate::ports::Door;

/// What panics have left behind.
#[derive(Default)]
pub struct Broken {
    /// Something broke.
    pub broke: bool,
    /// Flows that nobody relays any more.
    pub flows: BTreeSet<FlowKey>,
    /// Who was in which room.
    pub parties: Vec<(Arc<str>, Who)>,
}

impl Broken {
    /// Whether nothing broke.
    pub fn is_empty(&self) -> bool {
        !self.broke
    }
}

/// Why a thread does not go on.
pub(super) enum End {
    /// It was told to stop.
    Asked,
    /// It has nothing to wait with; the log has it.
    NotBegun,
    /// The kernel lets it wait or send no longer.
    Failed(io::Error),
}

/// What a test wants to go wrong.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The thread panics.
    Panic = 1,
    /// The next frame of a room panics.
    PanicInRoom,
    /// It cannot wait any more.
    Wait,
}

/// Runs the thread until it is told to stop, however often it panics.
pub(super) fn guard(shared: &Shared, report: &Report) {
    let mut happened = Vec::new();
    let mut failures = 0;
    loop {
        let begun_ns = monotonic_ns();
        let run = || super::run(shared, report, &mut happened);
        // What a panic leaves half done is thrown away.
        let ran = catch_unwind(AssertUnwindSafe(run));
        // What had happened before it is told all the same.
        if !happened.is_empty() {
            report(std::mem::take(&mut happened));
        }
        if monotonic_ns() - begun_ns > WORKER_STANDS_MS * 1_000_000 {
            failures = 0;
        }
        let mut table = shared.table.lock();
        match ran {
            Ok(End::Asked) => return,
            Ok(End::NotBegun) => failures = WORKER_FAILURES_MAX,
            Ok(End::Failed(error)) => {
                tracing::error!(%error, "a media worker failed: its calls end");
                table.totals.failures += 1;
                failures += 1;
            }
            Err(panic) => {
                let reason = reason(&*panic);
                tracing::error!(
                    reason,
                    "a media worker panicked: its calls end, it begins anew"
                );
                table.totals.panics += 1;
            }
        }
        shared.throw_away(&mut table);
        if failures >= WORKER_FAILURES_MAX {
            tracing::error!("a media worker has ended for good, it gets no more calls");
            table.has_ended = true;
            return;
        }
    }
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no reason given")
}

/// Does what a test has asked for.
pub(super) fn let_go_wrong(shared: &Shared) -> io::Result<()> {
    let fault = shared.fault.swap(0, Ordering::AcqRel);
    assert!(
        fault != Fault::Panic as u8,
        "a test wants this worker to panic"
    );
    shared.table.lock().rooms.doomed |= fault == Fault::PanicInRoom as u8;
    if fault == Fault::Wait as u8 {
        return Err(io::Error::other("a test wants this worker to fail"));
    }
    Ok(())
}

impl Shared {
    fn throw_away(&self, table: &mut Table) {
        let Table {
            slots,
            clock,
            rooms,
            timers,
            broken,
            totals,
            ..
        } = table;
        broken.broke = true;
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
    /// Lets something go wrong at once; for tests.
    pub fn make_fail(&self, fault: Fault) {
        self.shared.fault.store(fault as u8, Ordering::Release);
        self.shared.bell.ring();
    }
}
