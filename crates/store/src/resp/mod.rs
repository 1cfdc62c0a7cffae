//! The Redis protocol door: for `ioredis`, `redis-cli` and every other client of Redis.
//!
//! - [`parse`], [`encode`], [`output`]: bytes to commands, replies to bytes.
//! - [`session`], [`transaction`], [`subscriptions`]: what a connection has said so far, and what
//!   each command of it needs.
//! - [`connection`], [`blocked`]: a socket and its session; one that waits.
//! - [`accounts`], [`throttle`], [`login`], [`permissions`], [`acl`]: who may do what.
//! - [`local`], [`info`], [`client_commands`], [`slow_log`]: commands about connection and server.
//! - [`cluster`], [`redirect`], [`slots`], [`sentinel`], [`topology`]: how clients find the leader.
//! - [`clients`], [`pubsub`], [`waiters`]: what the connections of this node share.
//! - [`stream`], [`certificate`]: plain TCP and TLS.

mod accounts;
mod acl;
mod blocked;
mod blocking;
mod certificate;
mod client_commands;
mod clients;
mod cluster;
mod connection;
mod counters;
pub mod encode;
mod info;
mod local;
mod login;
mod output;
mod parse;
mod permissions;
mod pubsub;
mod redirect;
mod sentinel;
mod session;
mod shape;
mod slow_log;
mod stream;
mod subscriptions;
mod throttle;
mod topology;
mod transaction;
mod waiters;

pub(crate) use parse::{TRUSTED, next};

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::account::Account;
use crate::config::RespConfig;
use crate::error::StoreError;
use crate::limits::{CLIENTS_MAX, LOGIN_TIMEOUT};
use crate::store::{Store, WeakStore};

pub use pubsub::PubSub;
pub use waiters::Waiters;

use accounts::Accounts;
use certificate::Certificate;
use clients::{ClientEntry, Clients};
use counters::Counters;
use slow_log::SlowLog;
use stream::Stream;

/// A dead peer is noticed after this long without a word, as in Redis.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// What all connections of a node share.
pub(crate) struct Shared {
    accounts: Accounts,
    pubsub: PubSub,
    waiters: Waiters,
    list: Arc<Clients>,
    slow_log: SlowLog,
    certificate: Option<Arc<Certificate>>,
    idle: Option<Duration>,
    started: Instant,
    places: Arc<Semaphore>,
    next_client: AtomicU64,
    counters: Counters,
}

impl Shared {
    fn connected(&self) -> usize {
        CLIENTS_MAX - self.places.available_permits()
    }
}

/// The listeners of a node.
pub struct Door {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    listeners: Mutex<Vec<TcpListener>>,
    /// Have the listeners.
    accepting: Mutex<JoinSet<()>>,
    stop: watch::Sender<bool>,
}

impl Door {
    /// Binds the listeners; nobody is served before [`Door::serve`].
    pub async fn bind(
        resp: &RespConfig,
        (pubsub, waiters): (PubSub, Waiters),
    ) -> Result<Door, StoreError> {
        let network = |error: std::io::Error| StoreError::Network(error.to_string());
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in &resp.listen {
            let listener = TcpListener::bind(address).await.map_err(network)?;
            addresses.push(listener.local_addr().map_err(network)?);
            listeners.push(listener);
        }
        let certificate = resp.tls.as_ref().map(Certificate::open).transpose()?;
        let shared = Shared {
            accounts: Accounts::new(&resp.accounts)?,
            pubsub,
            waiters,
            list: Arc::default(),
            slow_log: SlowLog::default(),
            certificate: certificate.map(Arc::new),
            idle: resp.idle,
            started: Instant::now(),
            places: Arc::new(Semaphore::new(CLIENTS_MAX)),
            next_client: AtomicU64::new(1),
            counters: Counters::default(),
        };
        let (stop, _) = watch::channel(false);
        let listeners = Mutex::new(listeners);
        Ok(Door {
            shared: Arc::new(shared),
            addresses,
            listeners,
            accepting: Mutex::default(),
            stop,
        })
    }

    /// Begins to accept connections.
    pub fn serve(&self, store: &Store) {
        for listener in self.listeners.lock().drain(..) {
            let (shared, store) = (self.shared.clone(), store.downgrade());
            let accepting = accept(listener, shared, store, self.stop.subscribe());
            self.accepting.lock().spawn(accepting);
        }
        let (shared, leadership) = (self.shared.clone(), store.leadership());
        tokio::spawn(sentinel::announce(
            shared,
            store.downgrade(),
            leadership,
            self.stop.subscribe(),
        ));
        if let Some(certificate) = &self.shared.certificate {
            let alarms = store.alarms();
            tokio::spawn(certificate.clone().follow(alarms, self.stop.subscribe()));
        }
    }

    /// The real addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Reads the certificate again when its files have changed; whether they had.
    pub fn reload_certificate(&self) -> Result<bool, StoreError> {
        let certificate = self.shared.certificate.as_ref();
        certificate.map_or(Ok(false), |certificate| certificate.reload())
    }

    /// Replaces the accounts and closes the connections of those that are gone or may do
    /// something else now; answers how many.
    pub fn set_accounts(&self, accounts: &[Account]) -> usize {
        let shared = &self.shared;
        shared.accounts.replace(accounts);
        let entries = shared.list.all();
        let strangers = entries.iter().filter(|entry| {
            let account = entry.seen().account;
            account.is_some_and(|account| {
                let now = shared.accounts.get(&account.name);
                now.is_none_or(|now| now.role != account.role)
            })
        });
        strangers.map(|entry| entry.end.notify_one()).count()
    }

    /// Closes listeners, which are gone at the return, and connections.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let mut accepting = std::mem::take(&mut *self.accepting.lock());
        while accepting.join_next().await.is_some() {}
    }

    /// Prometheus lines.
    pub fn metrics(&self, line: &mut dyn FnMut(&str, &str, u64)) {
        counters::metrics(&self.shared, line);
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    store: WeakStore,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            // Out of file descriptors or the like: do not spin.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = shared.places.clone().try_acquire_owned() else {
            shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(refuse(stream));
            continue;
        };
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let (shared, store, mut stop) = (shared.clone(), store.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = stop.changed() => {}
                () = greet(stream, address, shared, store) => {}
            }
            drop(place);
        });
    }
}

/// Tells a client that there are too many.
async fn refuse(mut stream: TcpStream) {
    let text = b"-ERR max number of clients reached\r\n";
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(text)).await;
}

/// Prepares a stream, TLS included, and serves its client until it leaves or is sent away.
async fn greet(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>, store: WeakStore) {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    let prepared = stream
        .set_nodelay(true)
        .and_then(|()| socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive));
    let (Ok(()), Ok(local)) = (prepared, stream.local_addr()) else {
        return;
    };
    let stream = match &shared.certificate {
        None => Stream::Plain(stream),
        Some(certificate) => {
            let greeting = certificate.acceptor().accept(stream);
            match tokio::time::timeout(LOGIN_TIMEOUT, greeting).await {
                Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                Ok(Err(error)) => {
                    shared.counters.malformed();
                    tracing::debug!(%address, %error, "a client's TLS greeting failed");
                    return;
                }
                Err(_) => return shared.counters.idle(),
            }
        }
    };
    let id = shared.next_client.fetch_add(1, Ordering::Relaxed);
    let encrypted = stream.is_encrypted();
    let entry = Arc::new(ClientEntry::new(id, (address, local), encrypted));
    tokio::select! {
        () = entry.end.notified() => {}
        () = connection::serve(stream, entry.clone(), shared, store) => {}
    }
}
