//! Measures elections: kills leaders in one process and prints how long the cluster was without
//! one, how many votes were split, and how long planned transfers take.
//!
//! ```sh
//! cargo run --release -p raftpbx-store --example elections -- NODES ELECTIONS TRANSFERS
//! ```
//!
//! A vote counts as split when an election used up more than one term.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raftpbx_store::{PeerAddress, Store, StoreConfig, Timing};

/// As the defaults of a Call Manager.
const TIMING: Timing = Timing {
    heartbeat_ms: 40,
    election_min_ms: 250,
    election_max_ms: 400,
};

/// Nothing takes as long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two kills: every node is back, voting, and its timers are in any phase.
const SETTLE: Duration = Duration::from_millis(300);

type Nodes = BTreeMap<u64, Store>;
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |default: usize| numbers.next().unwrap_or(Ok(default));
    let (nodes, elections, transfers) = (next(3)?, next(200)?, next(20)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let root = std::env::temp_dir().join(format!("raftpbx-elections-{}", std::process::id()));
    let measured = runtime.block_on(measure(&root, nodes, elections, transfers));
    std::fs::remove_dir_all(&root)?;
    measured
}

fn configurations(root: &Path, count: usize) -> Outcome<BTreeMap<u64, StoreConfig>> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0")?);
    }
    let mut peers = BTreeMap::new();
    for (id, listener) in (1..).zip(&listeners) {
        let peer = PeerAddress {
            name: String::new(),
            raft: listener.local_addr()?,
            resp: None,
        };
        peers.insert(id, peer);
    }
    let config = |id: u64, peer: &PeerAddress| StoreConfig {
        id,
        directory: root.join(id.to_string()),
        raft_listen: peer.raft,
        peers: peers.clone(),
        join: false,
        resp: None,
        tls: None,
        timing: TIMING,
    };
    let configs = peers.iter().map(|(id, peer)| (*id, config(*id, peer)));
    Ok(configs.collect())
}

/// Waits for a leader other than `not`; it and its term.
async fn leader(nodes: &Nodes, not: Option<u64>) -> Outcome<(u64, u64)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for (id, node) in nodes {
            let status = node.status();
            if status.leading && Some(*id) != not {
                return Ok((*id, status.term));
            }
        }
        if Instant::now() > deadline {
            return Err("no leader".into());
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

async fn measure(root: &Path, count: usize, elections: usize, transfers: usize) -> Outcome<()> {
    let configs = configurations(root, count)?;
    let runtime = tokio::runtime::Handle::current();
    let open = |id: u64| Store::open(configs[&id].clone(), runtime.clone());
    let mut nodes = Nodes::new();
    for id in configs.keys() {
        nodes.insert(*id, open(*id)?);
    }
    let (mut present, mut term) = leader(&nodes, None).await?;
    let (mut without, mut split) = (Vec::new(), 0);
    for _ in 0..elections {
        settle(&nodes).await?;
        let killed = nodes.remove(&present).ok_or("the leader is gone")?;
        let started = Instant::now();
        killed.shutdown().await;
        let (next, now) = leader(&nodes, Some(present)).await?;
        without.push(started.elapsed());
        split += usize::from(now > term + 1);
        nodes.insert(present, open(present)?);
        (present, term) = (next, now);
    }
    report(&format!("{count} nodes, leader killed"), &mut without);
    eprintln!("{count} nodes, split votes: {split} of {elections}");
    let mut handed = Vec::new();
    for _ in 0..transfers {
        settle(&nodes).await?;
        let (old, _) = leader(&nodes, None).await?;
        let started = Instant::now();
        nodes[&old].transfer_leadership(None).await?;
        leader(&nodes, Some(old)).await?;
        handed.push(started.elapsed());
    }
    report(&format!("{count} nodes, planned transfer"), &mut handed);
    for node in nodes.values() {
        node.shutdown().await;
    }
    Ok(())
}

/// Waits until every node has applied a new entry.
async fn settle(nodes: &Nodes) -> Outcome<()> {
    let (id, _) = leader(nodes, None).await?;
    let command = ["INCR", "elections"].map(|word| Bytes::from_static(word.as_bytes()));
    let written = nodes[&id].execute(vec![vec![command.to_vec()]]).await;
    written.into_iter().collect::<Result<Vec<_>, _>>()?;
    let goal = nodes[&id].status().applied;
    let deadline = Instant::now() + PATIENCE;
    while nodes.values().any(|node| node.status().applied < goal) {
        if Instant::now() > deadline {
            return Err("a node does not come back".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(SETTLE).await;
    Ok(())
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |hundredth: usize| {
        let index = (times.len() * hundredth / 100).min(times.len().saturating_sub(1));
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    eprintln!(
        "{what}: {} times, p50 {:.1} ms, p90 {:.1}, p99 {:.1}, max {:.1}",
        times.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
}
