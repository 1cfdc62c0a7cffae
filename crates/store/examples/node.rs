//! One node of the store, for measurements: `node ID DIR RESP RAFT 1=RAFT,2=RAFT,... [TLS_DIR]`.
//!
//! `TLS_DIR` holds `authority.pem`, `node.pem` and `node.key`; with `-` as `DIR` the command makes
//! such files for 127.0.0.1 instead. Prints `ready` when it listens.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use raftpbx_store::{PeerAddress, RespConfig, Store, StoreConfig, Timing, TlsFiles, certificates};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, directory] = arguments.as_slice()
        && first == "certificates"
    {
        return make_certificates(Path::new(directory));
    }
    let [id, directory, resp, raft, peers, tls @ ..] = arguments.as_slice() else {
        return Err("node ID DIR RESP RAFT 1=RAFT,2=RAFT,... [TLS_DIR]".into());
    };
    let mut voters = BTreeMap::new();
    for peer in peers.split(',') {
        let (id, raft) = peer.split_once('=').ok_or("a peer is ID=ADDRESS:PORT")?;
        let raft: SocketAddr = raft.parse()?;
        voters.insert(id.parse()?, PeerAddress { raft, resp: None });
    }
    let tls = tls.first().map(PathBuf::from).map(|tls| TlsFiles {
        authority: tls.join("authority.pem"),
        certificate: tls.join("node.pem"),
        key: tls.join("node.key"),
    });
    let config = StoreConfig {
        id: id.parse()?,
        directory: PathBuf::from(directory),
        raft_listen: raft.parse()?,
        peers: voters,
        resp: Some(RespConfig {
            listen: vec![resp.parse()?],
            accounts: Vec::new(),
        }),
        tls,
        timing: Timing::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let store = Store::open(config, runtime.handle().clone())?;
    writeln!(std::io::stdout(), "ready {}", resp)?;
    runtime.block_on(tokio::signal::ctrl_c())?;
    runtime.block_on(store.shutdown());
    Ok(())
}

fn make_certificates(directory: &Path) -> Outcome {
    let (authority, authority_key) = certificates::create_authority()?;
    let local = ["127.0.0.1".parse()?];
    let (node, key) = certificates::issue(&authority, &authority_key, "node", &local, &[])?;
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("authority.pem"), authority)?;
    std::fs::write(directory.join("node.pem"), node)?;
    std::fs::write(directory.join("node.key"), key)?;
    Ok(())
}
