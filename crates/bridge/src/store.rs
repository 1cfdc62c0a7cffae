//! The replicated store and its watchers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use napi::bindgen_prelude::Buffer;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use parking_lot::Mutex;
use raftpbx_store::{
    Account, Command, MemberChange, PeerAddress, RespConfig, RespTls, Store, StoreConfig,
    StoreError, StoreEvent, Timing, TlsFiles,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::wire::{decode_requests, encode, encode_replies};
use crate::{Sink, deliver, failure, options};

/// Consensus, the Redis protocol and forwarding share these threads; never JavaScript's. Beside
/// them run JavaScript, the SIP engine and the disk: with a thread for each processor they only
/// wake each other.
const STORE_THREADS_MAX: usize = 2;

fn store_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, STORE_THREADS_MAX)
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Held while the runtime is made: a second one could not be dropped inside a task.
static MAKING: Mutex<()> = Mutex::new(());

/// The runtime of the store; one a process, made at first use.
pub fn runtime() -> napi::Result<Handle> {
    let _one = MAKING.lock();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle().clone());
    }
    let made = Builder::new_multi_thread()
        .worker_threads(store_threads())
        .thread_name("store")
        .enable_all()
        .build()
        .map_err(failure)?;
    Ok(RUNTIME.get_or_init(|| made).handle().clone())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireStoreOptions {
    id: u64,
    directory: PathBuf,
    raft_listen: SocketAddr,
    peers: Vec<WirePeer>,
    join: bool,
    resp_listen: Vec<SocketAddr>,
    accounts: Vec<WireAccount>,
    resp_tls: Option<WireRespTls>,
    resp_idle_s: Option<u64>,
    tls: Option<WireTls>,
    heartbeat_ms: u64,
    election_min_ms: u64,
    election_max_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePeer {
    id: u64,
    name: String,
    raft: SocketAddr,
    resp: Option<SocketAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireAccount {
    name: String,
    role: String,
    hashes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRespTls {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTls {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl TryFrom<WireAccount> for Account {
    type Error = StoreError;

    fn try_from(wire: WireAccount) -> Result<Account, StoreError> {
        let hashes = wire.hashes.iter().map(|hash| hash.parse());
        Ok(Account {
            role: wire.role.parse()?,
            hashes: hashes.collect::<Result<_, _>>()?,
            name: wire.name,
        })
    }
}

impl TryFrom<WireStoreOptions> for StoreConfig {
    type Error = StoreError;

    fn try_from(wire: WireStoreOptions) -> Result<StoreConfig, StoreError> {
        let peers: BTreeMap<u64, PeerAddress> = wire
            .peers
            .into_iter()
            .map(|peer| {
                (
                    peer.id,
                    PeerAddress {
                        name: peer.name,
                        raft: peer.raft,
                        resp: peer.resp,
                    },
                )
            })
            .collect();
        let accounts = wire.accounts.into_iter().map(Account::try_from);
        let resp = RespConfig {
            listen: wire.resp_listen,
            accounts: accounts.collect::<Result<_, _>>()?,
            tls: wire.resp_tls.map(|files| RespTls {
                certificate: files.certificate,
                key: files.key,
            }),
            idle: wire.resp_idle_s.map(Duration::from_secs),
        };
        let resp = (!resp.listen.is_empty()).then_some(resp);
        Ok(StoreConfig {
            id: wire.id,
            directory: wire.directory,
            raft_listen: wire.raft_listen,
            peers,
            join: wire.join,
            resp,
            tls: wire.tls.map(|files| TlsFiles {
                authority: files.authority,
                certificate: files.certificate,
                key: files.key,
            }),
            timing: Timing {
                heartbeat_ms: wire.heartbeat_ms,
                election_min_ms: wire.election_min_ms,
                election_max_ms: wire.election_max_ms,
            },
        })
    }
}

/// What a watcher in JavaScript is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum WireStoreEvent {
    Changed { changes: Vec<WireChange> },
    Reset,
    Leading { term: u64 },
    Following { term: u64, leader: Option<u64> },
}

#[derive(Serialize)]
struct WireChange {
    key: String,
    value: Option<String>,
}

impl From<StoreEvent> for WireStoreEvent {
    fn from(event: StoreEvent) -> Self {
        match event {
            StoreEvent::Changed(changes) => WireStoreEvent::Changed {
                changes: changes
                    .into_iter()
                    .map(|change| WireChange {
                        key: text(&change.key),
                        value: change.value.as_deref().map(text),
                    })
                    .collect(),
            },
            StoreEvent::Reset => WireStoreEvent::Reset,
            StoreEvent::Leading { term } => WireStoreEvent::Leading { term },
            StoreEvent::Following { term, leader } => WireStoreEvent::Following { term, leader },
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A string key and its value.
#[napi(object)]
pub struct WireEntry {
    /// The key.
    pub key: String,
    /// Its value, read as UTF-8.
    pub value: String,
}

/// The store of this node.
#[napi]
pub struct NativeStore {
    store: Store,
    settled: Arc<Settled>,
}

/// Recovers the log, opens the listeners and joins the cluster.
#[napi]
pub async fn open_store(wire: String) -> napi::Result<NativeStore> {
    let config: WireStoreOptions = options(&wire)?;
    let config: StoreConfig = config.try_into().map_err(failure)?;
    let handle = runtime()?;
    let inner = handle.clone();
    let store = handle
        .spawn_blocking(move || Store::open(config, inner))
        .await
        .map_err(failure)?
        .map_err(failure)?;
    let settled = Arc::default();
    Ok(NativeStore { store, settled })
}

/// Replies on their way to JavaScript. Bounded by the requests the store lets wait.
#[derive(Default)]
struct Settled {
    replies: Mutex<Vec<u8>>,
    sink: Mutex<Option<Sink>>,
}

impl Settled {
    /// The first reply wakes JavaScript; what comes before it looks goes along.
    fn add(&self, id: u32, reply: Option<Vec<u8>>) {
        let mut replies = self.replies.lock();
        let wakes = replies.is_empty();
        let length = reply.as_ref().map(Vec::len);
        let length = length.map_or(u32::MAX, |length| u32::try_from(length).unwrap_or(u32::MAX));
        replies.extend_from_slice(&id.to_le_bytes());
        replies.extend_from_slice(&length.to_le_bytes());
        replies.extend(reply.into_iter().flatten());
        drop(replies);
        if let Some(sink) = self.sink.lock().as_ref().filter(|_| wakes) {
            sink.call(String::new(), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl NativeStore {
    /// The library's handle, for the engines that live beside it.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

fn single(bytes: &[u8]) -> napi::Result<Command> {
    decode_requests(bytes)
        .map_err(failure)?
        .pop()
        .and_then(|mut request| request.pop())
        .ok_or_else(|| failure("PBX_OPTIONS: a command is missing"))
}

#[napi]
impl NativeStore {
    /// Commits requests in order; the reply of each, error replies included.
    #[napi]
    pub async fn submit(&self, requests: Buffer) -> napi::Result<Buffer> {
        let requests = decode_requests(&requests).map_err(failure)?;
        let replies = self.store.execute(requests).await;
        Ok(encode_replies(&replies).into())
    }

    /// Commits one request as the leader. It is submitted when this returns, so that what the SIP
    /// engine is told to commit afterwards comes later in the log. The reply is settled under
    /// `id`: there is none when this node does not lead any more and the outcome is not known.
    #[napi]
    pub fn submit_as_leader(&self, id: u32, request: Buffer, patience_ms: u32) -> napi::Result<()> {
        let request = decode_requests(&request).map_err(failure)?.pop();
        let request = request.ok_or_else(|| failure("PBX_OPTIONS: a request is missing"))?;
        let settled = self.settled.clone();
        let done = Box::new(move |reply| {
            let lost = matches!(
                reply,
                Err(StoreError::NotLeader { .. } | StoreError::OutcomeUnknown | StoreError::Closed)
            );
            settled.add(id, (!lost).then(|| encode_replies(&[reply])));
        });
        let patience = Duration::from_millis(u64::from(patience_ms));
        self.store.submit_as_leader(request, patience, done);
        Ok(())
    }

    /// Calls `sink` when replies are there to be taken.
    #[napi]
    pub fn on_settled(&self, sink: Sink) {
        *self.settled.sink.lock() = Some(sink);
    }

    /// The replies that were settled: u32 id, u32 length or its maximum for none, bytes.
    #[napi]
    pub fn take_settled(&self) -> Buffer {
        std::mem::take(&mut *self.settled.replies.lock()).into()
    }

    /// Reads this node's own copy.
    #[napi]
    pub fn read(&self, command: Buffer) -> napi::Result<Buffer> {
        let reply = self.store.read(&single(&command)?);
        let mut out = Vec::new();
        encode(&reply, &mut out);
        Ok(out.into())
    }

    /// Reads through the leader's lease.
    #[napi]
    pub async fn read_linearizable(&self, command: Buffer) -> napi::Result<Buffer> {
        let reply = self.store.read_linearizable(single(&command)?).await;
        Ok(encode_replies(&[reply]).into())
    }

    /// String keys that begin with `prefix`, in order, after `after`.
    #[napi]
    pub fn scan(&self, prefix: String, after: Option<String>, limit: u32) -> Vec<WireEntry> {
        self.store
            .scan_prefix(
                prefix.as_bytes(),
                after.as_deref().map(str::as_bytes),
                limit as usize,
            )
            .into_iter()
            .map(|(key, value)| WireEntry {
                key: text(&key),
                value: text(&value),
            })
            .collect()
    }

    /// How many keys begin with `prefix`.
    #[napi]
    pub fn count(&self, prefix: String) -> u32 {
        u32::try_from(self.store.count_prefix(prefix.as_bytes())).unwrap_or(u32::MAX)
    }

    /// Reads this node's SQLite file; rows as a JSON array of objects.
    #[napi]
    pub fn query(&self, sql: String, args: String) -> napi::Result<String> {
        let args: Vec<serde_json::Value> = options(&args)?;
        let rows = self.store.query(&sql, &args).map_err(failure)?;
        serde_json::to_string(&rows).map_err(failure)
    }

    /// Calls `sink` in log order with the changes of keys that begin with a prefix.
    #[napi]
    pub fn watch(&self, prefixes: Vec<String>, sink: Sink) {
        let prefixes = prefixes.into_iter().map(Bytes::from).collect();
        self.store.watch(
            prefixes,
            Box::new(move |events| {
                let batch: Vec<WireStoreEvent> = events.into_iter().map(Into::into).collect();
                deliver(&sink, &batch);
            }),
        );
    }

    /// The members as this node knows them, JSON.
    #[napi]
    pub fn members(&self) -> napi::Result<String> {
        serde_json::to_string(&self.store.members()).map_err(failure)
    }

    /// Changes the members; `null`, or why it was refused, JSON.
    #[napi]
    pub async fn change_members(&self, change: String) -> napi::Result<String> {
        let change: MemberChange = options(&change)?;
        let refusal = match self.store.change_members(change).await {
            Ok(()) => None,
            Err(StoreError::Member(refusal)) => Some(refusal),
            Err(error) => return Err(failure(error)),
        };
        serde_json::to_string(&refusal).map_err(failure)
    }

    /// Replaces the accounts of the Redis protocol; how many connections were closed.
    #[napi]
    pub fn set_accounts(&self, accounts: String) -> napi::Result<u32> {
        let wire: Vec<WireAccount> = options(&accounts)?;
        let accounts = wire.into_iter().map(Account::try_from);
        let accounts: Vec<Account> = accounts.collect::<Result<_, _>>().map_err(failure)?;
        let closed = self.store.set_accounts(&accounts);
        Ok(u32::try_from(closed).unwrap_or(u32::MAX))
    }

    /// Reads the certificate files again; whether any had changed.
    #[napi]
    pub async fn reload_certificates(&self) -> napi::Result<bool> {
        self.store.reload_certificates().await.map_err(failure)
    }

    /// The state of consensus on this node, JSON.
    #[napi]
    pub fn status(&self) -> napi::Result<String> {
        serde_json::to_string(&self.store.status()).map_err(failure)
    }

    /// Hands leadership over.
    #[napi]
    pub async fn transfer_leadership(&self, to: Option<i64>) -> napi::Result<()> {
        let to = to.and_then(|id| u64::try_from(id).ok());
        self.store.transfer_leadership(to).await.map_err(failure)
    }

    /// Prometheus text.
    #[napi]
    pub fn metrics(&self) -> String {
        self.store.metrics()
    }

    /// Leaves the cluster's traffic and closes the files.
    #[napi]
    pub async fn shutdown(&self) {
        self.store.shutdown().await;
    }
}
