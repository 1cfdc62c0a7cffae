//! Flows of a worker that the kernel relays; see [`crate::fastpath`].

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::{FlowKey, Slot, Table, Totals, Worker};
use crate::fastpath::{FastPath, Moved};
use crate::flow::Flow;
use crate::limits::BATCH_MAX;
use crate::ng::statistics::Relays;

impl Totals {
    pub(super) fn add(&mut self, moved: Moved) {
        self.packets += moved.packets;
        self.bytes += moved.bytes;
        self.kernel_packets += moved.packets;
        self.kernel_bytes += moved.bytes;
    }
}

impl Table {
    /// The flow `key` names, with the kernel's counts.
    pub fn refreshed(&mut self, key: FlowKey) -> Option<&Flow> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        let flow = slot.flow.as_mut();
        let flow = flow.filter(|_| slot.generation == key.generation)?;
        self.totals.add(flow.refresh());
        Some(flow)
    }

    /// Takes the kernel's counts over.
    pub fn refresh(&mut self) {
        let Table { slots, totals, .. } = self;
        for flow in slots.iter_mut().filter_map(|slot| slot.flow.as_mut()) {
            totals.add(flow.refresh());
        }
    }

    /// Directions of flows that the kernel relays.
    pub fn offloaded(&self) -> u64 {
        let flows = self.slots.iter().filter_map(|slot| slot.flow.as_ref());
        flows.map(Flow::offloaded).sum::<usize>() as u64
    }

    /// Counts flows by who relays them.
    pub fn count_relays(&self, relays: &mut Relays) {
        let flows = self.slots.iter().filter_map(|slot| slot.flow.as_ref());
        flows.for_each(|flow| relays.add(flow.offloaded()));
    }

    /// Looks after one slot: takes counts over, recalls what is no longer right, offloads what is
    /// established.
    fn tend(&mut self, slot: usize, path: &Arc<FastPath>, now_ns: u64) {
        let Some(Slot { flow, .. }) = self.slots.get_mut(slot) else {
            return;
        };
        let Some(flow) = flow else { return };
        self.totals.add(flow.refresh());
        self.totals.add(flow.recall_if_misplaced());
        flow.offload(path, now_ns);
    }
}

impl Worker {
    /// Looks after the flows that the kernel relays or could relay: once a second.
    pub fn tend(&self, path: &Arc<FastPath>, now_ns: u64) {
        let mut table = self.table();
        let mut slot = 0;
        while slot < table.slots.len() {
            table.tend(slot, path, now_ns);
            slot += 1;
            if slot % BATCH_MAX == 0 {
                MutexGuard::bump(&mut table);
            }
        }
    }
}
