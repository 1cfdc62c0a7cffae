//! Flows whose parties have ICE or DTLS: their timers, and the datagrams that are our own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{FlowKey, Table, Worker, relay::door};
use crate::epoll::monotonic_ns;

/// When legs want to be asked, soonest first. What was told too late is recognised and passed over.
pub type Timers = BinaryHeap<Reverse<(u64, FlowKey)>>;

/// Does what is due on the legs of a flow, sends what they say and notes when they want more.
pub fn serve(table: &mut Table, key: FlowKey, now_ns: u64) {
    let Some(flow) = table.get_mut(key) else {
        return;
    };
    let mut unsent = 0;
    for (from, to, bytes) in flow.tick_legs(now_ns) {
        unsent += u64::from(!door(flow, from).send(&bytes, &to));
    }
    let due_ns = flow.take_leg_due(now_ns);
    table.totals.unsent += unsent;
    if let Some(due_ns) = due_ns {
        table.timers.push(Reverse((due_ns, key)));
    }
}

/// Serves all flows whose time has come.
pub fn tick(table: &mut Table, now_ns: u64) {
    while let Some(Reverse((due_ns, key))) = table.timers.peek().copied() {
        if due_ns > now_ns {
            break;
        }
        table.timers.pop();
        let flow = table.get_mut(key);
        if flow.is_some_and(|flow| flow.leg_was_due(due_ns)) {
            serve(table, key, now_ns);
        }
    }
}

/// The shorter of two times to wait, ms; -1 is for ever.
pub fn sooner(most_ms: i32, table: &Table, now_ns: u64) -> i32 {
    let Some(Reverse((due_ns, _))) = table.timers.peek() else {
        return most_ms;
    };
    let ms = due_ns.saturating_sub(now_ns).div_ceil(1_000_000);
    let ms = i32::try_from(ms).unwrap_or(i32::MAX);
    if most_ms < 0 { ms } else { most_ms.min(ms) }
}

impl Worker {
    /// Signalling has agreed on something: legs that have to speak first do so.
    pub fn serve_legs(&self, key: FlowKey) {
        let mut table = self.shared.table.lock();
        if !table.get(key).is_some_and(|flow| flow.has_legs()) {
            return;
        }
        serve(&mut table, key, monotonic_ns());
        drop(table);
        self.shared.bell.ring();
    }
}
