//! What other threads want of a worker's ring, which only the worker may use.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::{ORDERS_MAX, PART_WAIT_MS};

/// Something to be done for the flow with this tag.
pub enum Order {
    /// Receive from its sockets.
    Watch(u64),
    /// Receive from them no longer; they may be closed already.
    Forget(u64),
    /// Receive from them no longer, and say when what had come was relayed.
    Part(u64, SyncSender<()>),
}

/// Orders that wait for the worker.
#[derive(Default)]
pub struct Orders {
    list: Mutex<Vec<Order>>,
}

impl Orders {
    /// See [`Order::Watch`]; refused when too much waits already.
    pub fn watch(&self, tag: u64) -> io::Result<()> {
        let mut list = self.list.lock();
        if list.len() >= ORDERS_MAX {
            return Err(io::Error::other("the media worker does not keep up"));
        }
        list.push(Order::Watch(tag));
        Ok(())
    }

    /// See [`Order::Forget`]. There are never more than flows that were watched.
    pub fn forget(&self, tag: u64) {
        self.list.lock().push(Order::Forget(tag));
    }

    /// See [`Order::Part`].
    pub fn part(&self, tag: u64) -> Receiver<()> {
        let (parted, wait) = sync_channel(1);
        self.list.lock().push(Order::Part(tag, parted));
        wait
    }

    /// Waits for the end of [`Orders::part`]. A worker that has ended, or is too slow, costs the
    /// packets that wait there.
    pub fn wait(parted: &Receiver<()>) {
        let most = Duration::from_millis(PART_WAIT_MS);
        if parted.recv_timeout(most).is_err() {
            tracing::debug!("packets that wait at a media worker may be lost");
        }
    }

    /// All that wait.
    pub fn take(&self) -> Vec<Order> {
        std::mem::take(&mut self.list.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_taken_in_turn_and_too_many_are_refused() {
        let orders = Orders::default();
        orders.watch(4).expect("room");
        orders.forget(4);
        let taken = orders.take();
        assert!(matches!(taken[..], [Order::Watch(4), Order::Forget(4)]));
        for tag in 0..ORDERS_MAX {
            orders.watch(tag as u64).expect("room");
        }
        assert!(orders.watch(4).is_err());
    }

    #[test]
    fn nobody_waits_for_a_worker_that_has_ended() {
        let orders = Orders::default();
        let parted = orders.part(8);
        drop(orders.take());
        assert!(parted.recv().is_err());
        Orders::wait(&parted);
    }
}
