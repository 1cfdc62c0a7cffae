//! The writer as a task, for simulations: no thread, and time that the caller's clock makes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use tokio::sync::Notify;

use super::writer::Writer;
use super::{Job, WalStats};
use crate::disk::SharedDisk;

/// Serves the jobs of one log. Dropping it is a crash: nobody is told anything any more.
pub struct Driver {
    disk: SharedDisk,
    writer: Writer,
    queue: Receiver<Job>,
    wake: Arc<Notify>,
    stats: Arc<WalStats>,
}

impl Driver {
    pub(super) fn new(
        disk: SharedDisk,
        writer: Writer,
        queue: Receiver<Job>,
        wake: Arc<Notify>,
        stats: Arc<WalStats>,
    ) -> Driver {
        Driver {
            disk,
            writer,
            queue,
            wake,
            stats,
        }
    }

    /// Serves jobs until the log is closed. Between writing and reporting it sleeps as long as
    /// the disk says that it took.
    pub async fn run(mut self) {
        loop {
            match self.queue.try_recv() {
                Ok(first) => {
                    let served = self.writer.serve(first, &self.queue);
                    let delay = self.disk.take_delay();
                    if !delay.is_zero() {
                        self.stats.flush_took(delay);
                        tokio::time::sleep(delay).await;
                    }
                    self.writer.report(served);
                }
                Err(TryRecvError::Empty) => self.wake.notified().await,
                Err(TryRecvError::Disconnected) => {
                    self.writer.prove();
                    return;
                }
            }
        }
    }
}
