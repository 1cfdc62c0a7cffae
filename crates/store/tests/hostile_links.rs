//! Bytes that no honest node sends: the node goes on.

mod support;

use raftpbx_store::Reply;
use support::{Cluster, PATIENCE, execute};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Greeting of node 9 to node 1 (see `raft::standing`): version 3, from, to, no cluster,
/// incarnation 5, nothing expected; each number is one byte of postcard.
const GREETING: [u8; 6] = [3, 9, 1, 0, 5, 0];

/// Repeatable bytes.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        // Knuth's multiplicative generator; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        // Many small numbers: they pass as lengths, tags and counts.
        let byte = |noise: u64| match noise % 3 {
            0 => noise.to_le_bytes()[1],
            1 => noise.to_le_bytes()[1] % 4,
            _ => 0,
        };
        (0..count).map(|_| byte(self.next())).collect()
    }
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 9).expect("short");
    let mut out = length.to_le_bytes().to_vec();
    out.push(kind);
    out.extend_from_slice(&1_u64.to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// Sends bytes and reads until the node has nothing more to say about them.
async fn offer(cluster: &Cluster, bytes: &[u8]) {
    let mut stream = TcpStream::connect(cluster.configs[&1].raft_listen)
        .await
        .expect("it listens");
    // The node may hang up while it is being talked to.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the node keeps the link of a stranger");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_survives_any_bytes() {
    let mut cluster = Cluster::prepare();
    let config = cluster.configs.get_mut(&1).expect("one");
    config.tls = None;
    config.peers.retain(|id, _| *id == 1);
    cluster.open(1);
    cluster.leader().await;
    let mut noise = Noise(20_261_122);
    offer(&cluster, &[]).await;
    offer(&cluster, &u32::MAX.to_le_bytes()).await;
    // A greeting may not be large: its sender is not known yet.
    offer(&cluster, &(8_u32 << 10).to_le_bytes()).await;
    for _ in 0..50 {
        let count = usize::try_from(noise.next() % 200).expect("short");
        let bytes = noise.bytes(count);
        offer(&cluster, &bytes).await;
        offer(&cluster, &frame(1, &bytes)).await;
    }
    for kind in 0..=12 {
        for _ in 0..40 {
            let mut bytes = frame(1, &GREETING);
            let count = usize::try_from(noise.next() % 120).expect("short");
            bytes.extend(frame(kind, &noise.bytes(count)));
            offer(&cluster, &bytes).await;
        }
    }
    let status = cluster.nodes[&1].status();
    assert_eq!(status.stopped, None);
    // A vote that makes sense by accident may have cost it the leadership, nothing more.
    cluster.leader().await;
    let written = execute(&cluster.nodes[&1], "INCR alive").await;
    assert_eq!(written.expect("it works"), Reply::Int(1));
}
