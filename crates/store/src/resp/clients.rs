//! Every connection of this node's Redis door, for `CLIENT LIST` and `CLIENT KILL`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::account::Account;

/// How a blocked client is let go by `CLIENT UNBLOCK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

/// What a connection tells about itself after each piece of work.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `CLIENT SETNAME`.
    pub name: Bytes,
    /// Who it is; `None` before the login.
    pub account: Option<Arc<Account>>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library: Bytes,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: Bytes,
    /// The last command.
    pub command: Bytes,
    /// When it came.
    pub active: Instant,
    /// Subscribed channels and patterns.
    pub subscriptions: (usize, usize),
    /// Commands queued since `MULTI`.
    pub queued: Option<usize>,
    /// Watched keys.
    pub watched: usize,
    /// 2 or 3.
    pub protocol: u8,
    /// `READONLY`.
    pub read_only: bool,
    /// Unread input, bytes.
    pub input: usize,
    /// Commands so far.
    pub commands: u64,
}

/// One connection.
pub struct ClientEntry {
    /// Its number.
    pub id: u64,
    /// Where it comes from.
    pub address: SocketAddr,
    /// Where it arrived.
    pub local: SocketAddr,
    /// Whether it speaks TLS.
    pub encrypted: bool,
    since: Instant,
    /// Ends the connection.
    pub end: Notify,
    blocked: Mutex<Option<oneshot::Sender<Unblock>>>,
    seen: Mutex<Seen>,
}

impl ClientEntry {
    /// A connection that has said nothing yet.
    pub fn new(id: u64, (address, local): (SocketAddr, SocketAddr), encrypted: bool) -> Self {
        let now = Instant::now();
        let seen = Seen {
            name: Bytes::new(),
            account: None,
            library: Bytes::new(),
            library_version: Bytes::new(),
            command: Bytes::new(),
            active: now,
            subscriptions: (0, 0),
            queued: None,
            watched: 0,
            protocol: 2,
            read_only: false,
            input: 0,
            commands: 0,
        };
        ClientEntry {
            id,
            address,
            local,
            encrypted,
            since: now,
            end: Notify::new(),
            blocked: Mutex::default(),
            seen: Mutex::new(seen),
        }
    }

    /// Changes what is known about it.
    pub fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock());
    }

    /// What is known about it.
    pub fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    /// Begins to wait; the receiver hears of `CLIENT UNBLOCK`.
    pub fn begin_block(&self) -> oneshot::Receiver<Unblock> {
        let (told, heard) = oneshot::channel();
        *self.blocked.lock() = Some(told);
        heard
    }

    /// Waits no more.
    pub fn end_block(&self) {
        self.blocked.lock().take();
    }

    /// Lets it go if it waits; answers whether it did.
    pub fn unblock(&self, how: Unblock) -> bool {
        let waiting = self.blocked.lock().take();
        waiting.is_some_and(|told| told.send(how).is_ok())
    }

    fn is_blocked(&self) -> bool {
        self.blocked.lock().is_some()
    }

    /// How long it has been there, seconds.
    pub fn age_s(&self) -> u64 {
        self.since.elapsed().as_secs()
    }

    /// `normal` or `pubsub`, as in `CLIENT LIST TYPE`.
    pub fn kind(&self) -> &'static str {
        match self.seen.lock().subscriptions {
            (0, 0) => "normal",
            _ => "pubsub",
        }
    }

    /// One line of `CLIENT LIST`.
    pub fn line(&self) -> String {
        let seen = self.seen();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let mut flags = String::new();
        let (channels, patterns) = seen.subscriptions;
        for (flag, present) in [
            ('P', channels + patterns > 0),
            ('x', seen.queued.is_some()),
            ('b', self.is_blocked()),
            ('r', seen.read_only),
        ] {
            flags.extend(present.then_some(flag));
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let multi = seen
            .queued
            .map_or("-1".to_owned(), |queued| queued.to_string());
        let user = seen.account.as_ref().map_or("", |account| &account.name);
        format!(
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={flags} db=0 \
             sub={channels} psub={patterns} ssub=0 multi={multi} watch={} qbuf={} qbuf-free=0 \
             argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={} \
             user={user} redir=-1 resp={} lib-name={} lib-ver={} tot-cmds={} tls={}",
            self.id,
            self.address,
            self.local,
            text(&seen.name),
            self.age_s(),
            seen.active.elapsed().as_secs(),
            seen.watched,
            seen.input,
            text(&seen.command.to_ascii_lowercase().into()),
            seen.protocol,
            text(&seen.library),
            text(&seen.library_version),
            seen.commands,
            u8::from(self.encrypted),
        )
    }
}

/// All connections by number.
#[derive(Default)]
pub struct Clients {
    entries: Mutex<BTreeMap<u64, Arc<ClientEntry>>>,
}

impl Clients {
    /// Adds a connection; it is forgotten when the answer is dropped.
    pub fn register(self: &Arc<Self>, entry: Arc<ClientEntry>) -> Registered {
        self.entries.lock().insert(entry.id, entry.clone());
        Registered {
            clients: self.clone(),
            id: entry.id,
        }
    }

    /// All of them in order of their numbers.
    pub fn all(&self) -> Vec<Arc<ClientEntry>> {
        self.entries.lock().values().cloned().collect()
    }

    /// How many wait for something to be there.
    pub fn blocked(&self) -> usize {
        let entries = self.entries.lock();
        entries.values().filter(|entry| entry.is_blocked()).count()
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<Arc<ClientEntry>> {
        self.entries.lock().get(&id).cloned()
    }
}

/// Keeps a connection in the list.
pub struct Registered {
    clients: Arc<Clients>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.clients.entries.lock().remove(&self.id);
    }
}
