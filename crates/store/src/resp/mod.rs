//! The Redis protocol door: for `ioredis`, `redis-cli` and every other client of Redis.
//!
//! - [`parse`], [`encode`]: bytes to commands, replies to bytes.
//! - [`session`]: what a connection has said so far: who it is, its transaction, subscriptions.
//! - `local`: commands about the connection and the server.
//! - [`connection`]: a socket and its session.
//! - [`pubsub`]: subscribers of this node.

mod connection;
pub mod encode;
mod local;
mod parse;
mod pubsub;
mod session;

pub(crate) use parse::{TRUSTED, next};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::config::{PeerAddress, RespConfig, StoreConfig};
use crate::error::StoreError;
use crate::limits::CLIENTS_MAX;
use crate::store::{Store, WeakStore};

pub use pubsub::PubSub;

/// What all connections of a node share.
pub(crate) struct Shared {
    /// SHA-256 of the passwords by user name; empty means that everybody may enter.
    accounts: BTreeMap<String, [u8; 32]>,
    peers: BTreeMap<u64, PeerAddress>,
    pubsub: PubSub,
    clients: Arc<Semaphore>,
    next_client: AtomicU64,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    commands: AtomicU64,
    failed_logins: AtomicU64,
    protocol_errors: AtomicU64,
}

impl Shared {
    /// Whether a name and a password belong together; takes the same time for every wrong one.
    fn admits(&self, name: &str, password: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(password).into();
        let wanted = self.accounts.get(name).copied();
        // Digests are compared, so the time says nothing about the password itself.
        let right = wanted == Some(given);
        if !right {
            self.counters.failed_logins.fetch_add(1, Ordering::Relaxed);
        }
        right
    }

    fn connected(&self) -> usize {
        CLIENTS_MAX - self.clients.available_permits()
    }
}

/// The listeners of a node.
pub struct Door {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    listeners: Mutex<Vec<TcpListener>>,
    stop: watch::Sender<bool>,
}

impl Door {
    /// Binds the listeners; nobody is served before [`Door::serve`].
    pub async fn bind(
        resp: &RespConfig,
        config: &StoreConfig,
        pubsub: PubSub,
    ) -> Result<Door, StoreError> {
        let network = |error: std::io::Error| StoreError::Network(error.to_string());
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in &resp.listen {
            let listener = TcpListener::bind(address).await.map_err(network)?;
            addresses.push(listener.local_addr().map_err(network)?);
            listeners.push(listener);
        }
        let accounts = resp.accounts.iter().map(|account| {
            (
                account.name.clone(),
                Sha256::digest(account.password.as_bytes()).into(),
            )
        });
        let shared = Shared {
            accounts: accounts.collect(),
            peers: config.peers.clone(),
            pubsub,
            clients: Arc::new(Semaphore::new(CLIENTS_MAX)),
            next_client: AtomicU64::new(1),
            counters: Counters::default(),
        };
        let (stop, _) = watch::channel(false);
        let listeners = Mutex::new(listeners);
        Ok(Door {
            shared: Arc::new(shared),
            addresses,
            listeners,
            stop,
        })
    }

    /// Begins to accept connections.
    pub fn serve(&self, store: &Store) {
        for listener in self.listeners.lock().drain(..) {
            let (shared, store) = (self.shared.clone(), store.downgrade());
            tokio::spawn(accept(listener, shared, store, self.stop.subscribe()));
        }
    }

    /// The real addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Closes listeners and connections.
    pub fn close(&self) {
        self.stop.send_replace(true);
    }

    /// Prometheus lines.
    pub fn metrics(&self, line: &mut dyn FnMut(&str, &str, u64)) {
        let counters = &self.shared.counters;
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        line(
            "raftpbx_store_clients",
            "gauge",
            self.shared.connected() as u64,
        );
        line(
            "raftpbx_store_clients_accepted_total",
            "counter",
            load(&counters.accepted),
        );
        line(
            "raftpbx_store_clients_refused_total",
            "counter",
            load(&counters.refused),
        );
        line(
            "raftpbx_store_commands_total",
            "counter",
            load(&counters.commands),
        );
        line(
            "raftpbx_store_failed_logins_total",
            "counter",
            load(&counters.failed_logins),
        );
        line(
            "raftpbx_store_protocol_errors_total",
            "counter",
            load(&counters.protocol_errors),
        );
        line(
            "raftpbx_store_slow_subscribers_total",
            "counter",
            self.shared.pubsub.dropped(),
        );
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
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors or the like: do not spin.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = shared.clients.clone().try_acquire_owned() else {
            shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(connection::refuse(stream));
            continue;
        };
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let (shared, store, mut stop) = (shared.clone(), store.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = stop.changed() => {}
                () = connection::serve(stream, shared, store) => {}
            }
            drop(place);
        });
    }
}
