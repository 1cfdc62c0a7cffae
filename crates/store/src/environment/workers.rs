//! Who does work that blocks: threads, or, in a simulation, tasks of a runtime with one thread.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Serves a queue of jobs, one worker a queue.
pub trait Worker<J>: Send + 'static {
    /// Does a job. `more` takes what else is queued by now; it never waits.
    fn work(&mut self, first: J, more: &mut dyn FnMut() -> Option<J>);
}

/// See the module head.
#[derive(Debug, Clone, Copy, Default)]
pub enum Workers {
    /// The real thing.
    #[default]
    Threads,
    /// Tasks of the runtime that is current when they start; nothing ever blocks.
    Tasks,
}

/// The entrance of a worker; it ends when the last clone is dropped and the queue is empty.
pub enum Queue<J> {
    /// To a thread.
    Thread(SyncSender<J>),
    /// To a task.
    Task(UnboundedSender<J>),
}

impl<J> Clone for Queue<J> {
    fn clone(&self) -> Self {
        match self {
            Queue::Thread(queue) => Queue::Thread(queue.clone()),
            Queue::Task(queue) => Queue::Task(queue.clone()),
        }
    }
}

impl<J> Queue<J> {
    /// Queues a job; blocks while the queue is full. False when the worker has ended.
    pub fn send(&self, job: J) -> bool {
        match self {
            Queue::Thread(queue) => queue.send(job).is_ok(),
            Queue::Task(queue) => queue.send(job).is_ok(),
        }
    }
}

/// A worker that was started.
pub struct Running(Option<JoinHandle<()>>);

impl Running {
    /// Waits for the end of the thread; false when it panicked. A task ends in its own time.
    pub fn join(self) -> bool {
        self.0.is_none_or(|thread| thread.join().is_ok())
    }
}

impl Workers {
    /// Starts a worker with a queue of at most `bound` jobs.
    pub fn start<J: Send + 'static>(
        &self,
        name: &'static str,
        bound: usize,
        mut worker: impl Worker<J>,
    ) -> io::Result<(Queue<J>, Running)> {
        match self {
            Workers::Threads => {
                let (queue, jobs) = sync_channel(bound);
                let builder = std::thread::Builder::new().name(name.to_owned());
                let thread = builder.spawn(move || {
                    while let Ok(first) = jobs.recv() {
                        worker.work(first, &mut || jobs.try_recv().ok());
                    }
                })?;
                Ok((Queue::Thread(queue), Running(Some(thread))))
            }
            Workers::Tasks => {
                // Not bounded: a task must not block. Simulations are short.
                let (queue, mut jobs) = unbounded_channel();
                tokio::spawn(async move {
                    while let Some(first) = jobs.recv().await {
                        worker.work(first, &mut || jobs.try_recv().ok());
                    }
                });
                Ok((Queue::Task(queue), Running(None)))
            }
        }
    }

    /// Whether work may wait for other threads.
    pub fn may_block(&self) -> bool {
        matches!(self, Workers::Threads)
    }

    /// Calls something that blocks, such as reading a file.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Workers::Threads => tokio::task::spawn_blocking(work)
                .await
                .map_err(io::Error::other),
            Workers::Tasks => Ok(work()),
        }
    }
}
