//! Keeps one filled segment ready, so that the next segment costs a rename.
//!
//! A full disk is not an error here: the flag in [`WalStats::full`] goes up, everyone above takes
//! no more work (the segment in use and perhaps a prepared one have room for what is on its way),
//! and the preparer tries again until there is room.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{WalStats, segment};
use crate::disk::{self, DiskFile, SharedDisk};

/// Pause before a full disk is tried again.
const RETRY: Duration = Duration::from_millis(500);

type Prepared = io::Result<Box<dyn DiskFile>>;

/// What a preparer needs to know.
#[derive(Clone)]
pub struct Order {
    pub disk: SharedDisk,
    pub directory: PathBuf,
    pub bytes: u64,
    pub stats: Arc<WalStats>,
}

impl Order {
    fn prepare(&self) -> Prepared {
        segment::prepare(self.disk.as_ref(), &self.directory, self.bytes)
    }

    /// Gives back what a failed attempt has taken.
    fn discard(&self) {
        let _ = self.disk.remove(&segment::prepared_path(&self.directory));
    }
}

/// Where the next segment comes from.
pub enum Preparer {
    /// A thread makes it ahead of time.
    Thread(Ahead),
    /// It is made when it is needed: nothing may run on its own in a simulation.
    Inline(Order),
}

impl Preparer {
    /// The next segment's file.
    pub fn take(&self) -> Prepared {
        match self {
            Preparer::Thread(ahead) => ahead.take(),
            Preparer::Inline(order) => {
                let prepared = order.prepare();
                let full = prepared.as_ref().is_err_and(disk::is_full);
                order.stats.full.store(full, Ordering::Release);
                if full {
                    order.discard();
                }
                prepared
            }
        }
    }

    /// Asks for the segment after that.
    pub fn order(&self) {
        if let Preparer::Thread(ahead) = self {
            ahead.order();
        }
    }
}

/// The thread and the way to it.
pub struct Ahead {
    orders: Option<SyncSender<()>>,
    prepared: Receiver<Prepared>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Starts the thread and the first segment.
    pub fn start(order: Order) -> io::Result<Ahead> {
        let (orders, queue) = sync_channel::<()>(2);
        let (ready, prepared) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-wal-prepare".to_owned())
            .spawn(move || {
                while queue.recv().is_ok() {
                    let Some(prepared) = prepare(&order, &queue) else {
                        return;
                    };
                    if ready.send(prepared).is_err() {
                        return;
                    }
                }
            })?;
        let ahead = Ahead {
            orders: Some(orders),
            prepared,
            thread: Some(thread),
        };
        ahead.order();
        Ok(ahead)
    }

    /// A full queue means that it was ordered already.
    fn order(&self) {
        if let Some(orders) = &self.orders {
            let _ = orders.try_send(());
        }
    }

    fn take(&self) -> Prepared {
        let prepared = self.prepared.recv();
        prepared.map_err(|_| io::Error::other("the segment preparer has ended"))?
    }
}

/// Tries until it works or fails for another reason than room; `None` when the log is closed.
fn prepare(order: &Order, queue: &Receiver<()>) -> Option<Prepared> {
    loop {
        let prepared = order.prepare();
        let full = prepared.as_ref().is_err_and(disk::is_full);
        let was_full = order.stats.full.swap(full, Ordering::AcqRel);
        if was_full && !full {
            tracing::info!("the disk of the log has room again");
        }
        if !full {
            return Some(prepared);
        }
        if !was_full {
            let directory = order.directory.display();
            tracing::error!(%directory, bytes = order.bytes, "no room for the next log segment");
        }
        order.discard();
        match queue.recv_timeout(RETRY) {
            Err(RecvTimeoutError::Disconnected) => return None,
            // An order that is already being worked on.
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl Drop for Ahead {
    /// Waits for the thread: another log may be opened in this directory next.
    fn drop(&mut self) {
        drop(self.orders.take());
        while self.prepared.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
