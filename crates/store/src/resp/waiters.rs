//! Clients of this node that wait for keys, first come first served.
//!
//! An applied entry that gives a key something to take wakes everybody who only reads, and the
//! first who takes. A waiter that was woken tries, and then passes the word on to the one behind
//! it: it may have left something, or may have been of the wrong kind. Waiters of other nodes are
//! woken by the same entry; whose try comes first in the log gets it, the others go on waiting.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::WAITERS_MAX;

/// Everybody who waits; clones share them.
#[derive(Clone, Default)]
pub struct Waiters {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    by_key: Mutex<HashMap<Bytes, BTreeMap<u64, Arc<Place>>>>,
    number: AtomicUsize,
    next: AtomicU64,
    refused: AtomicU64,
}

struct Place {
    wake: Notify,
    takes: bool,
}

impl Waiters {
    /// Begins to wait for keys; `None` when too many do. `takes`: a try may take something away.
    pub fn register(&self, keys: &[Bytes], takes: bool) -> Option<Waiter> {
        let shared = &self.shared;
        if shared.number.fetch_add(1, Ordering::AcqRel) >= WAITERS_MAX {
            shared.number.fetch_sub(1, Ordering::AcqRel);
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(Place {
            wake: Notify::new(),
            takes,
        });
        let mut by_key = shared.by_key.lock();
        for key in keys {
            by_key
                .entry(key.clone())
                .or_default()
                .insert(id, place.clone());
        }
        drop(by_key);
        Some(Waiter {
            waiters: self.clone(),
            keys: keys.to_vec(),
            id,
            place,
        })
    }

    /// Keys have something to take.
    pub fn ready(&self, keys: &[Bytes]) {
        if self.waiting() == 0 {
            return;
        }
        let by_key = self.shared.by_key.lock();
        for places in keys.iter().filter_map(|key| by_key.get(key)) {
            for place in places.values().filter(|place| !place.takes) {
                place.wake.notify_one();
            }
            if let Some(first) = places.values().find(|place| place.takes) {
                first.wake.notify_one();
            }
        }
    }

    /// A snapshot replaced the state: anything may be there now.
    pub fn reset(&self) {
        for place in self
            .shared
            .by_key
            .lock()
            .values()
            .flat_map(BTreeMap::values)
        {
            place.wake.notify_one();
        }
    }

    /// How many wait.
    fn waiting(&self) -> usize {
        self.shared.number.load(Ordering::Acquire)
    }

    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

/// One client's place; dropped when it waits no more.
pub struct Waiter {
    waiters: Waiters,
    keys: Vec<Bytes>,
    id: u64,
    place: Arc<Place>,
}

impl Waiter {
    /// Waits until a try is worth it.
    pub async fn woken(&self) {
        self.place.wake.notified().await;
    }

    /// Whether somebody who takes has waited longer for one of the keys.
    pub fn stands_behind(&self) -> bool {
        let by_key = self.waiters.shared.by_key.lock();
        let mut lines = self.keys.iter().filter_map(|key| by_key.get(key));
        lines.any(|places| places.range(..self.id).any(|(_, place)| place.takes))
    }

    /// Wakes whoever stands behind this one at its keys.
    pub fn pass_on(&self) {
        let by_key = self.waiters.shared.by_key.lock();
        for places in self.keys.iter().filter_map(|key| by_key.get(key)) {
            let mut behind = places.range(self.id + 1..).map(|(_, place)| place);
            if let Some(next) = behind.find(|place| place.takes) {
                next.wake.notify_one();
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // It may have been woken and never have looked.
        if self.place.takes {
            self.pass_on();
        }
        let mut by_key = self.waiters.shared.by_key.lock();
        for key in &self.keys {
            if let Some(places) = by_key.get_mut(key) {
                places.remove(&self.id);
                if places.is_empty() {
                    by_key.remove(key);
                }
            }
        }
        drop(by_key);
        self.waiters.shared.number.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn keys(names: &[&'static str]) -> Vec<Bytes> {
        names
            .iter()
            .map(|name| Bytes::from_static(name.as_bytes()))
            .collect()
    }

    fn is_woken(waiter: &Waiter) -> bool {
        waiter.woken().now_or_never().is_some()
    }

    #[test]
    fn the_first_who_takes_and_all_who_read_are_woken() {
        let waiters = Waiters::default();
        let first = waiters.register(&keys(&["a", "b"]), true).expect("room");
        let second = waiters.register(&keys(&["b"]), true).expect("room");
        let reader = waiters.register(&keys(&["b"]), false).expect("room");
        assert!(!first.stands_behind() && second.stands_behind());
        waiters.ready(&keys(&["c"]));
        assert!(!is_woken(&first) && !is_woken(&second) && !is_woken(&reader));
        waiters.ready(&keys(&["b"]));
        assert!(is_woken(&first) && !is_woken(&second) && is_woken(&reader));
        first.pass_on();
        assert!(is_woken(&second) && !is_woken(&first));
        drop(first);
        assert!(is_woken(&second), "the word is passed on by who leaves");
        drop((second, reader));
        assert!(waiters.shared.by_key.lock().is_empty() && waiters.waiting() == 0);
    }

    #[test]
    fn too_many_are_refused_and_counted() {
        let waiters = Waiters::default();
        let all: Vec<_> = (0..WAITERS_MAX)
            .map(|_| waiters.register(&keys(&["a"]), true).expect("room"))
            .collect();
        assert!(waiters.register(&keys(&["a"]), true).is_none());
        assert_eq!(waiters.refused(), 1);
        drop(all);
        assert!(waiters.register(&keys(&["a"]), true).is_some());
    }
}
