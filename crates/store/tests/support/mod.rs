//! Three nodes in one process, over real TCP with mutual TLS.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raftpbx_store::{
    Account, Command, PeerAddress, Reply, Request, RespConfig, Role, Store, StoreConfig,
    StoreError, StoreEvent, Timing, TlsFiles, Tuning, certificates,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Nothing in these tests takes as long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Slower than in production: test machines are busy.
pub const CALM: Timing = Timing {
    heartbeat_ms: 50,
    election_min_ms: 300,
    election_max_ms: 600,
};

pub const PASSWORD: &str = "correct horse";

pub struct Cluster {
    pub directory: tempfile::TempDir,
    pub configs: BTreeMap<u64, StoreConfig>,
    pub nodes: BTreeMap<u64, Store>,
    pub tuning: Tuning,
}

pub fn command(line: &str) -> Command {
    line.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

pub fn request(line: &str) -> Request {
    line.split(';').map(command).collect()
}

/// A command whose arguments contain spaces.
pub fn words(words: &[&str]) -> Request {
    vec![
        words
            .iter()
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect(),
    ]
}

pub fn bulk(text: &str) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

/// Ports that the system gives to nobody by itself, so that no outgoing connection takes one
/// between the look and the use.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Addresses that were free a moment ago and that no other test of this process is given.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test programs that run at the same time begin at different places.
    let first = std::process::id().wrapping_mul(97);
    let next = || {
        let step = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from(step % PORTS.len() as u32).expect("below the length");
        SocketAddr::from(([127, 0, 0, 1], PORTS.start + offset))
    };
    let free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    let looked_at = std::iter::repeat_with(next).take(PORTS.len());
    looked_at.filter(free).take(count).collect()
}

fn write_tls(directory: &Path) -> TlsFiles {
    let (authority, authority_key) = certificates::create_authority().expect("an authority");
    let ips = ["127.0.0.1".parse().expect("an address")];
    // One certificate for all of them: tests of identities make their own.
    let names: Vec<String> = (1..=9).map(certificates::node_name).collect();
    let (certificate, key) =
        certificates::issue(&authority, &authority_key, "node", &ips, &names).expect("issued");
    let files = TlsFiles {
        authority: directory.join("authority.pem"),
        certificate: directory.join("node.pem"),
        key: directory.join("node.key"),
    };
    std::fs::write(&files.authority, authority).expect("written");
    std::fs::write(&files.certificate, certificate).expect("written");
    std::fs::write(&files.key, key).expect("written");
    files
}

impl Cluster {
    /// Three configurations; nothing runs yet.
    pub fn prepare() -> Cluster {
        let directory = tempfile::tempdir().expect("a directory");
        let tls = write_tls(directory.path());
        let addresses = free_addresses(6);
        let peers: BTreeMap<u64, PeerAddress> = (1..)
            .zip(addresses.chunks(2))
            .map(|(id, pair)| {
                (
                    id,
                    PeerAddress {
                        name: format!("cm-{id}"),
                        raft: pair[0],
                        resp: Some(pair[1]),
                    },
                )
            })
            .collect();
        let account =
            |name: &str, role| Account::new(name, role, PASSWORD).expect("random bytes for salt");
        let accounts = vec![
            account("node", Role::Node),
            account("operator", Role::Operator),
            account("metrics", Role::Metrics),
        ];
        let config = |id: u64| StoreConfig {
            id,
            directory: directory.path().join(id.to_string()),
            raft_listen: peers[&id].raft,
            peers: peers.clone(),
            join: false,
            resp: Some(RespConfig {
                listen: peers[&id].resp.into_iter().collect(),
                accounts: accounts.clone(),
                ..RespConfig::default()
            }),
            tls: Some(tls.clone()),
            timing: CALM,
        };
        let configs = (1..=3).map(|id| (id, config(id))).collect();
        Cluster {
            directory,
            configs,
            nodes: BTreeMap::new(),
            tuning: Tuning::default(),
        }
    }

    /// Three running nodes and a leader.
    pub async fn start() -> Cluster {
        let mut cluster = Cluster::prepare();
        (1..=3).for_each(|id| cluster.open(id));
        cluster.leader().await;
        cluster
    }

    pub fn open(&mut self, id: u64) {
        let runtime = tokio::runtime::Handle::current();
        let store = Store::open_tuned(self.configs[&id].clone(), runtime, self.tuning);
        self.nodes.insert(id, store.expect("the node starts"));
    }

    pub async fn stop(&mut self, id: u64) {
        if let Some(store) = self.nodes.remove(&id) {
            store.shutdown().await;
        }
    }

    /// Waits until one of the running nodes leads.
    pub async fn leader(&self) -> u64 {
        let mut found = None;
        until("a leader", || {
            found = self
                .nodes
                .iter()
                .find(|(_, node)| node.status().leading)
                .map(|(id, _)| *id);
            found.is_some()
        })
        .await;
        found.expect("waited for it")
    }

    pub async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        *self
            .nodes
            .keys()
            .find(|id| **id != leader)
            .expect("more than one node")
    }

    /// Waits until a node's own state answers `expected`.
    pub async fn until_read(&self, id: u64, line: &str, expected: &Reply) {
        let command = command(line);
        until(line, || self.nodes[&id].read(&command) == *expected).await;
    }

    /// How many nodes hold a lease right now; all of them share one clock.
    pub fn leases(&self) -> usize {
        let leases = self.nodes.values().map(Store::lease);
        leases
            .filter(|lease| lease.load(Ordering::Acquire) > raftpbx_store::clock::boot_ns())
            .count()
    }
}

/// Waits until `condition` holds, looking every millisecond; panics after [`PATIENCE`].
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut look = tokio::time::interval(Duration::from_millis(1));
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        look.tick().await;
    }
}

pub async fn execute(store: &Store, line: &str) -> Result<Reply, StoreError> {
    store.execute(vec![request(line)]).await.remove(0)
}

/// Watches all keys with a prefix.
pub fn watch(store: &Store, prefix: &'static str) -> mpsc::UnboundedReceiver<StoreEvent> {
    let (told, events) = mpsc::unbounded_channel();
    let sink = Box::new(move |batch: Vec<StoreEvent>| {
        for event in batch {
            let _ = told.send(event);
        }
    });
    store.watch(vec![Bytes::from_static(prefix.as_bytes())], sink);
    events
}

pub async fn next_event(events: &mut mpsc::UnboundedReceiver<StoreEvent>) -> StoreEvent {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event.expect("an event in time").expect("the node is open")
}

/// Waits for an event that `wanted` accepts.
pub async fn event_where(
    events: &mut mpsc::UnboundedReceiver<StoreEvent>,
    wanted: impl Fn(&StoreEvent) -> bool,
) -> StoreEvent {
    loop {
        let event = next_event(events).await;
        if wanted(&event) {
            return event;
        }
    }
}

/// What a client reads and writes: TCP, or TLS above it.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A Redis client that speaks bytes.
pub struct Client {
    stream: Box<dyn Wire>,
    input: Vec<u8>,
}

impl Client {
    pub async fn connect(store: &Store) -> Client {
        let address = store.status().resp_addresses[0];
        let stream = TcpStream::connect(address).await.expect("the door is open");
        Client::over(Box::new(stream))
    }

    /// Speaks over a stream that is there already.
    pub fn over(stream: Box<dyn Wire>) -> Client {
        Client {
            stream,
            input: Vec::new(),
        }
    }

    /// Connected and logged in.
    pub async fn login(store: &Store) -> Client {
        Client::login_as(store, "node").await
    }

    /// Connected and logged in as somebody else.
    pub async fn login_as(store: &Store, name: &str) -> Client {
        let mut client = Client::connect(store).await;
        client.ask(&["AUTH", name, PASSWORD], "+OK\r\n").await;
        client
    }

    /// Sends a command and reads exactly this answer.
    pub async fn ask(&mut self, words: &[&str], answer: &str) {
        self.send(words).await;
        self.expect(answer).await;
    }

    /// Sends a command and reads an answer that contains this text.
    pub async fn ask_containing(&mut self, words: &[&str], text: &str) -> String {
        self.send(words).await;
        self.expect_containing(text).await
    }

    pub async fn send(&mut self, words: &[&str]) {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &str) {
        let written = self.stream.write_all(bytes.as_bytes()).await;
        written.expect("the door is open");
    }

    /// Reads exactly these bytes.
    pub async fn expect(&mut self, expected: &str) {
        while self.input.len() < expected.len() && self.read().await {}
        let length = self.input.len().min(expected.len());
        let taken: Vec<u8> = self.input.drain(..length).collect();
        assert_eq!(String::from_utf8_lossy(&taken), expected);
    }

    /// Reads until the answer contains a text, and forgets all of it.
    pub async fn expect_containing(&mut self, text: &str) -> String {
        while !String::from_utf8_lossy(&self.input).contains(text) {
            let got = String::from_utf8_lossy(&self.input).into_owned();
            assert!(self.read().await, "the door closed before {text}: {got}");
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.input)).into_owned()
    }

    pub async fn expect_end(&mut self) {
        while self.read().await {}
    }

    async fn read(&mut self) -> bool {
        self.input.reserve(16 << 10);
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
        read.expect("an answer in time")
            .is_ok_and(|bytes| bytes > 0)
    }
}
