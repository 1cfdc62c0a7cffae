//! Subscribers of this node. Messages come from applied log entries, so that every node delivers
//! the same messages in the same order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::mpsc;

use crate::keyspace::{Message, matches};

/// A message for one subscriber.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The pattern that matched, for pattern subscriptions.
    pub pattern: Option<Bytes>,
    /// The message.
    pub message: Message,
}

/// Where a connection's messages go.
#[derive(Clone)]
pub struct Subscriber {
    /// Its queue.
    pub queue: mpsc::Sender<Delivery>,
    /// Set when a message was lost because the queue was full.
    pub lost: Arc<AtomicBool>,
}

#[derive(Default)]
struct Registry {
    channels: HashMap<Bytes, BTreeMap<u64, Subscriber>>,
    patterns: HashMap<Bytes, BTreeMap<u64, Subscriber>>,
}

/// All subscriptions; clones share them.
#[derive(Clone, Default)]
pub struct PubSub {
    registry: Arc<RwLock<Registry>>,
    dropped: Arc<AtomicU64>,
}

impl PubSub {
    /// Adds a subscription to a channel or a pattern.
    pub fn subscribe(&self, client: u64, name: Bytes, pattern: bool, subscriber: Subscriber) {
        let mut registry = self.registry.write();
        let names = if pattern {
            &mut registry.patterns
        } else {
            &mut registry.channels
        };
        names.entry(name).or_default().insert(client, subscriber);
    }

    /// Delivers messages. A subscriber whose queue is full loses its subscriptions, and its
    /// connection closes when it sees that.
    pub fn publish(&self, messages: &[Message]) {
        let mut slow = Vec::new();
        {
            let registry = self.registry.read();
            for message in messages {
                let exact = registry
                    .channels
                    .get(&message.channel)
                    .into_iter()
                    .flatten();
                let exact = exact.map(|(client, subscriber)| (client, subscriber, None));
                let patterns = registry.patterns.iter();
                let patterns = patterns.filter(|(pattern, _)| matches(pattern, &message.channel));
                let patterns = patterns.flat_map(|(pattern, subscribers)| {
                    let one = move |(client, subscriber)| (client, subscriber, Some(pattern));
                    subscribers.iter().map(one)
                });
                for (client, subscriber, pattern) in exact.chain(patterns) {
                    let delivery = Delivery {
                        pattern: pattern.cloned(),
                        message: message.clone(),
                    };
                    if subscriber.queue.try_send(delivery).is_err() {
                        subscriber.lost.store(true, Ordering::Release);
                        slow.push(*client);
                    }
                }
            }
        }
        slow.sort_unstable();
        slow.dedup();
        for client in slow {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.forget(client);
        }
    }

    /// Removes all subscriptions of a connection.
    pub fn forget(&self, client: u64) {
        let mut registry = self.registry.write();
        let Registry { channels, patterns } = &mut *registry;
        for names in [channels, patterns] {
            names.retain(|_, subscribers| {
                subscribers.remove(&client);
                !subscribers.is_empty()
            });
        }
    }

    /// Subscribers dropped because they were too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
