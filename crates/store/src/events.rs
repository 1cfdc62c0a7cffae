//! Events in log order: one thread tells every watcher what the log changed.
//!
//! ```text
//!  applier ----- changes, messages, resets --+
//!                                            +--> queue --> thread --> watchers, subscribers
//!  leadership -- leading, following ---------+
//! ```
//!
//! A new watcher is served by the same thread: it reads the state as of entry X and from then on
//! ignores what the queue still holds up to X. So it sees every change once, and in order.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::environment::workers::{Queue, Worker, Workers};
use crate::event::{Change, StoreEvent};
use crate::keyspace::{Altered, Message};
use crate::limits::{CHANGES_AT_ONCE, EVENTS_QUEUE_MAX, WATCHES_MAX};
use crate::machine::SharedMachine;
use crate::resp::Waiters;
use crate::store::Sink;

/// Where published messages go.
pub type Publish = Box<dyn Fn(&[Message]) + Send>;

enum Signal {
    Applied {
        index: u64,
        changes: Vec<Change>,
        messages: Vec<Message>,
    },
    Reset,
    Leadership(StoreEvent),
    Watch {
        prefixes: Vec<Bytes>,
        sink: Sink,
    },
}

/// The entrance to the event thread.
#[derive(Clone)]
pub struct Events {
    queue: Queue<Signal>,
    /// The prefixes of each watch. The applier asks them first, so that a change nobody watches
    /// does not wake the thread.
    watched: Arc<RwLock<Vec<Vec<Bytes>>>>,
    waiters: Waiters,
}

impl Events {
    /// Starts the thread; it ends when the last [`Events`] is dropped.
    pub fn start(
        machine: SharedMachine,
        publish: Publish,
        waiters: Waiters,
        workers: &Workers,
    ) -> std::io::Result<Events> {
        let teller = Teller {
            machine,
            publish,
            watchers: Vec::new(),
            leadership: None,
        };
        let (queue, _) = workers.start("store-events", EVENTS_QUEUE_MAX, teller)?;
        Ok(Events {
            queue,
            watched: Arc::default(),
            waiters,
        })
    }

    /// What entries up to `index` changed. Waits while the queue is full.
    pub fn applied(&self, index: u64, altered: Vec<Altered>, messages: Vec<Message>) {
        let changes: Vec<_> = {
            let watched = self.watched.read();
            let wanted = |key: &[u8]| watched.iter().any(|prefixes| wants(prefixes, key));
            let altered = altered.iter().filter(|altered| wanted(altered.key()));
            altered.map(Altered::change).collect()
        };
        if !changes.is_empty() || !messages.is_empty() {
            self.send(Signal::Applied {
                index,
                changes,
                messages,
            });
        }
    }

    /// Keys have something to take: whoever waits for them is woken at once, in any order with
    /// the events.
    pub fn ready(&self, keys: &[Bytes]) {
        if !keys.is_empty() {
            self.waiters.ready(keys);
        }
    }

    /// A snapshot replaced the state.
    pub fn reset(&self) {
        self.waiters.reset();
        self.send(Signal::Reset);
    }

    /// This node leads or follows.
    pub fn leadership(&self, event: StoreEvent) {
        self.send(Signal::Leadership(event));
    }

    /// Adds a watcher; false when there are too many.
    pub fn watch(&self, prefixes: Vec<Bytes>, sink: Sink) -> bool {
        let mut watched = self.watched.write();
        if watched.len() == WATCHES_MAX {
            return false;
        }
        // Before the thread reads the state for the new watcher: what is applied from now on
        // reaches the queue, and what was applied before is in that state.
        watched.push(prefixes.clone());
        drop(watched);
        self.send(Signal::Watch { prefixes, sink });
        true
    }

    fn send(&self, signal: Signal) {
        if !self.queue.send(signal) {
            tracing::error!("the event thread has ended; watchers hear nothing any more");
        }
    }
}

struct Watcher {
    prefixes: Vec<Bytes>,
    sink: Sink,
    /// Changes of entries up to this index are known to the watcher.
    told: u64,
}

struct Teller {
    machine: SharedMachine,
    publish: Publish,
    watchers: Vec<Watcher>,
    leadership: Option<StoreEvent>,
}

impl Worker<Signal> for Teller {
    fn work(&mut self, signal: Signal, _: &mut dyn FnMut() -> Option<Signal>) {
        match signal {
            Signal::Applied {
                index,
                changes,
                messages,
            } => {
                for watcher in &mut self.watchers {
                    watcher.changed(index, &changes);
                }
                if !messages.is_empty() {
                    (self.publish)(&messages);
                }
            }
            Signal::Reset => {
                for watcher in &mut self.watchers {
                    (watcher.sink)(vec![StoreEvent::Reset]);
                    watcher.tell_everything(&self.machine);
                }
            }
            Signal::Leadership(event) => {
                for watcher in &mut self.watchers {
                    (watcher.sink)(vec![event.clone()]);
                }
                self.leadership = Some(event);
            }
            Signal::Watch { prefixes, mut sink } => {
                let unknown = StoreEvent::Following {
                    term: 0,
                    leader: None,
                };
                sink(vec![self.leadership.clone().unwrap_or(unknown)]);
                let mut watcher = Watcher {
                    prefixes,
                    sink,
                    told: 0,
                };
                watcher.tell_everything(&self.machine);
                self.watchers.push(watcher);
            }
        }
    }
}

fn wants(prefixes: &[Bytes], key: &[u8]) -> bool {
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}

impl Watcher {
    fn changed(&mut self, index: u64, changes: &[Change]) {
        if index <= self.told {
            return;
        }
        let wanted = changes
            .iter()
            .filter(|change| wants(&self.prefixes, &change.key));
        let changes: Vec<_> = wanted.cloned().collect();
        if !changes.is_empty() {
            (self.sink)(vec![StoreEvent::Changed(changes)]);
        }
    }

    fn tell_everything(&mut self, machine: &SharedMachine) {
        let (frozen, index) = {
            let state = machine.state.read();
            (state.space.freeze(), state.applied)
        };
        self.told = index;
        let mut page = Vec::new();
        for change in frozen.strings(&self.prefixes) {
            page.push(change);
            if page.len() == CHANGES_AT_ONCE {
                (self.sink)(vec![StoreEvent::Changed(std::mem::take(&mut page))]);
            }
        }
        if !page.is_empty() {
            (self.sink)(vec![StoreEvent::Changed(page)]);
        }
    }
}
