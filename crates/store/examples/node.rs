//! One node of the store, for measurements and proofs:
//! `node ID DIR RESP RAFT 1=RAFT,2=RAFT,... [TLS_DIR] [--timing=HEARTBEAT,MIN,MAX]
//! [--snapshot-entries=NUMBER]`.
//!
//! `TLS_DIR` holds `authority.pem`, `node.pem` and `node.key`. `node certificates DIR [ADDRESS...]`
//! makes such files, valid for these addresses or for 127.0.0.1. Prints `ready` when it listens;
//! SIGUSR1 hands leadership over, SIGINT ends it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use raftpbx_store::{
    PeerAddress, RespConfig, Store, StoreConfig, Timing, TlsFiles, Tuning, certificates,
};
use tokio::signal::unix::{SignalKind, signal};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let (options, arguments): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|one| one.starts_with("--"));
    if let [first, directory, addresses @ ..] = arguments.as_slice()
        && first == "certificates"
    {
        return make_certificates(Path::new(directory), addresses);
    }
    let (timing, tuning) = read_options(&options)?;
    let [id, directory, resp, raft, peers, tls @ ..] = arguments.as_slice() else {
        return Err("node ID DIR RESP RAFT 1=RAFT,2=RAFT,... [TLS_DIR]".into());
    };
    let mut voters = BTreeMap::new();
    for peer in peers.split(',') {
        let (id, raft) = peer.split_once('=').ok_or("a peer is ID=ADDRESS:PORT")?;
        let raft: SocketAddr = raft.parse()?;
        let peer = PeerAddress {
            name: String::new(),
            raft,
            resp: None,
        };
        voters.insert(id.parse()?, peer);
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
        join: false,
        resp: Some(RespConfig {
            listen: vec![resp.parse()?],
            ..RespConfig::default()
        }),
        tls,
        timing,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let store = Store::open_tuned(config, runtime.handle().clone(), tuning)?;
    writeln!(std::io::stdout(), "ready {}", resp)?;
    runtime.block_on(serve(&store))
}

/// Until the process is interrupted; each SIGUSR1 hands leadership to another node.
async fn serve(store: &Store) -> Outcome {
    let mut handovers = signal(SignalKind::user_defined1())?;
    loop {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => {
                ended?;
                store.shutdown().await;
                return Ok(());
            }
            _ = handovers.recv() => {
                if let Err(error) = store.transfer_leadership(None).await {
                    tracing::warn!(%error, "leadership was not handed over");
                }
            }
        }
    }
}

fn read_options(options: &[String]) -> Result<(Timing, Tuning), Box<dyn std::error::Error>> {
    let (mut timing, mut tuning) = (Timing::default(), Tuning::default());
    for option in options {
        match option.split_once('=') {
            Some(("--timing", times)) => {
                let times: Vec<u64> = times.split(',').map(str::parse).collect::<Result<_, _>>()?;
                let [heartbeat_ms, election_min_ms, election_max_ms] = times[..] else {
                    return Err("--timing=HEARTBEAT,MIN,MAX in milliseconds".into());
                };
                timing = Timing {
                    heartbeat_ms,
                    election_min_ms,
                    election_max_ms,
                };
            }
            Some(("--snapshot-entries", number)) => {
                tuning.snapshot_entries = number.parse()?;
                tuning.entries_kept = tuning.snapshot_entries / 4;
            }
            _ => return Err(format!("there is no option {option}").into()),
        }
    }
    Ok((timing, tuning))
}

fn make_certificates(directory: &Path, addresses: &[String]) -> Outcome {
    let (authority, authority_key) = certificates::create_authority()?;
    let mut ips: Vec<IpAddr> = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<Result<_, _>>()?;
    if ips.is_empty() {
        ips.push("127.0.0.1".parse()?);
    }
    // One certificate for all of them; it names every node that such a cluster may have.
    let names: Vec<String> = (1..=9).map(certificates::node_name).collect();
    let (node, key) = certificates::issue(&authority, &authority_key, "node", &ips, &names)?;
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("authority.pem"), authority)?;
    std::fs::write(directory.join("node.pem"), node)?;
    std::fs::write(directory.join("node.key"), key)?;
    Ok(())
}
