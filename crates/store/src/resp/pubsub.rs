//! What clients of this node have subscribed to. Messages come from applied log entries, so that
//! every node delivers the same messages in the same order.
//!
//! A client that does not keep up is disconnected: at once when too many messages or bytes wait
//! for it, or when fewer bytes (but still many) wait for it for too long.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

use super::local::unknown_verb;
use crate::keyspace::{Message, matches};
use crate::limits::{
    CLIENT_MESSAGE_BYTES_MAX, CLIENT_MESSAGE_BYTES_SOFT, CLIENT_MESSAGE_SOFT_TIME,
    CLIENT_MESSAGES_MAX,
};
use crate::reply::Reply;

/// Bytes that a message costs beside its text.
const OVERHEAD_BYTES: usize = 64;

/// Through which kind of subscription a message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `SUBSCRIBE`
    Channel,
    /// `PSUBSCRIBE`
    Pattern,
    /// `SSUBSCRIBE`
    Shard,
}

/// A message for one client.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Through what.
    pub way: Way,
    /// The pattern that matched, for patterns.
    pub pattern: Option<Bytes>,
    /// The message.
    pub message: Message,
}

impl Delivery {
    fn bytes(&self) -> usize {
        self.message.channel.len() + self.message.payload.len() + OVERHEAD_BYTES
    }

    /// What the client is sent.
    pub fn push(self) -> Vec<Reply> {
        let kind = match self.way {
            Way::Channel => "message",
            Way::Pattern => "pmessage",
            Way::Shard => "smessage",
        };
        let Message { channel, payload } = self.message;
        let mut push = vec![Reply::text(kind)];
        push.extend(self.pattern.map(Reply::Bulk));
        push.extend([Reply::Bulk(channel), Reply::Bulk(payload)]);
        push
    }
}

/// What waits for one client.
#[derive(Default)]
struct Backlog {
    lost: AtomicBool,
    bytes: AtomicUsize,
    /// Since when more than the soft limit waits.
    above_soft: Mutex<Option<Instant>>,
}

/// The sending end of a client's queue.
#[derive(Clone)]
pub struct Mailbox {
    queue: mpsc::Sender<Delivery>,
    backlog: Arc<Backlog>,
}

/// The receiving end of a client's queue.
pub struct Inbox {
    queue: mpsc::Receiver<Delivery>,
    backlog: Arc<Backlog>,
}

/// A queue for one client.
pub fn mailbox() -> (Mailbox, Inbox) {
    let (sender, queue) = mpsc::channel(CLIENT_MESSAGES_MAX);
    let backlog = Arc::<Backlog>::default();
    let mailbox = Mailbox {
        queue: sender,
        backlog: backlog.clone(),
    };
    (mailbox, Inbox { queue, backlog })
}

impl Mailbox {
    /// Queues a message; false when the client is too slow.
    fn put(&self, delivery: Delivery) -> bool {
        let bytes = delivery.bytes();
        let waiting = self.backlog.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let fits = waiting <= CLIENT_MESSAGE_BYTES_MAX && self.is_patient(waiting);
        if fits && self.queue.try_send(delivery).is_ok() {
            return true;
        }
        self.backlog.lost.store(true, Ordering::Release);
        false
    }

    fn is_patient(&self, waiting: usize) -> bool {
        let mut above = self.backlog.above_soft.lock();
        if waiting <= CLIENT_MESSAGE_BYTES_SOFT {
            *above = None;
            return true;
        }
        above.get_or_insert_with(Instant::now).elapsed() <= CLIENT_MESSAGE_SOFT_TIME
    }
}

impl Inbox {
    /// The next message.
    pub async fn recv(&mut self) -> Option<Delivery> {
        let delivery = self.queue.recv().await;
        self.taken(delivery)
    }

    /// The next message, if there is one.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        let delivery = self.queue.try_recv().ok();
        self.taken(delivery)
    }

    fn taken(&self, delivery: Option<Delivery>) -> Option<Delivery> {
        if let Some(delivery) = &delivery {
            self.backlog
                .bytes
                .fetch_sub(delivery.bytes(), Ordering::AcqRel);
        }
        delivery
    }

    /// Whether a message was lost: the client must not go on unaware.
    pub fn has_lost(&self) -> bool {
        self.backlog.lost.load(Ordering::Acquire)
    }
}

type Names = HashMap<Bytes, BTreeMap<u64, Mailbox>>;

#[derive(Default)]
struct Registry {
    channels: Names,
    patterns: Names,
    shards: Names,
}

impl Registry {
    fn of(&mut self, way: Way) -> &mut Names {
        match way {
            Way::Channel => &mut self.channels,
            Way::Pattern => &mut self.patterns,
            Way::Shard => &mut self.shards,
        }
    }

    /// Everybody who hears a channel, once for each subscription.
    fn hearing<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a u64, &'a Mailbox, Way, Option<&'a Bytes>)> {
        let exact = |names: &'a Names, way| {
            let clients = names.get(channel).into_iter().flatten();
            clients.map(move |(client, mailbox)| (client, mailbox, way, None))
        };
        let patterns = self.patterns.iter();
        let patterns = patterns.filter(move |(pattern, _)| matches(pattern, channel));
        let patterns = patterns.flat_map(|(pattern, clients)| {
            let one = move |(client, mailbox)| (client, mailbox, Way::Pattern, Some(pattern));
            clients.iter().map(one)
        });
        exact(&self.channels, Way::Channel)
            .chain(exact(&self.shards, Way::Shard))
            .chain(patterns)
    }
}

/// All subscriptions; clones share them.
#[derive(Clone, Default)]
pub struct PubSub {
    registry: Arc<RwLock<Registry>>,
    dropped: Arc<AtomicU64>,
}

impl PubSub {
    /// Adds a subscription.
    pub fn subscribe(&self, client: u64, name: Bytes, way: Way, mailbox: Mailbox) {
        let mut registry = self.registry.write();
        let clients = registry.of(way).entry(name).or_default();
        clients.insert(client, mailbox);
    }

    /// Delivers messages. A client whose queue is full loses its subscriptions, and its
    /// connection closes when it sees that.
    pub fn publish(&self, messages: &[Message]) {
        let mut slow = Vec::new();
        {
            let registry = self.registry.read();
            for message in messages {
                for (client, mailbox, way, pattern) in registry.hearing(&message.channel) {
                    let delivery = Delivery {
                        way,
                        pattern: pattern.cloned(),
                        message: message.clone(),
                    };
                    if !mailbox.put(delivery) {
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
        for way in [Way::Channel, Way::Pattern, Way::Shard] {
            registry.of(way).retain(|_, clients| {
                clients.remove(&client);
                !clients.is_empty()
            });
        }
    }

    /// How many subscriptions of this node hear a channel.
    pub fn hearers(&self, channel: &[u8]) -> usize {
        self.registry.read().hearing(channel).count()
    }

    /// Channels and patterns that somebody has subscribed to.
    pub fn numbers(&self) -> (usize, usize) {
        let registry = self.registry.read();
        (registry.channels.len(), registry.patterns.len())
    }

    /// Clients dropped because they were too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// `PUBSUB verb ...`, about this node.
    pub fn answer(&self, verb: &str, rest: &[Bytes]) -> Reply {
        let registry = self.registry.read();
        let count = |number: usize| Reply::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let list = |names: &Names| match rest {
            [] => Some(names.keys().cloned().map(Reply::Bulk).collect()),
            [pattern] => {
                let fitting = names.keys().filter(|name| matches(pattern, name));
                Some(fitting.cloned().map(Reply::Bulk).collect())
            }
            _ => None,
        };
        let numbers = |names: &Names| {
            let number = |name: &Bytes| count(names.get(name).map_or(0, BTreeMap::len));
            let each = rest
                .iter()
                .flat_map(|name| [Reply::Bulk(name.clone()), number(name)]);
            Reply::Array(each.collect())
        };
        let listed = match verb {
            "CHANNELS" => list(&registry.channels),
            "SHARDCHANNELS" => list(&registry.shards),
            "NUMSUB" => return numbers(&registry.channels),
            "SHARDNUMSUB" => return numbers(&registry.shards),
            "NUMPAT" if rest.is_empty() => return count(registry.patterns.len()),
            _ => None,
        };
        listed.map_or_else(|| unknown_verb("PUBSUB", verb), Reply::Array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Message {
        Message {
            channel: Bytes::from_static(b"news"),
            payload: Bytes::from(vec![b'x'; bytes]),
        }
    }

    #[test]
    fn a_client_that_lets_too_many_bytes_wait_is_dropped_and_counted() {
        let pubsub = PubSub::default();
        let (mailbox, mut inbox) = mailbox();
        pubsub.subscribe(1, Bytes::from_static(b"n*"), Way::Pattern, mailbox.clone());
        pubsub.subscribe(1, Bytes::from_static(b"news"), Way::Shard, mailbox);
        assert_eq!(pubsub.hearers(b"news"), 2);
        pubsub.publish(&[message(1 << 20)]);
        assert!(inbox.try_recv().is_some() && inbox.try_recv().is_some() && !inbox.has_lost());
        assert_eq!(inbox.backlog.bytes.load(Ordering::Relaxed), 0);
        for _ in 0..CLIENT_MESSAGE_BYTES_MAX >> 20 {
            pubsub.publish(&[message(1 << 20)]);
        }
        assert!(inbox.has_lost());
        assert_eq!((pubsub.dropped(), pubsub.hearers(b"news")), (1, 0));
    }
}
