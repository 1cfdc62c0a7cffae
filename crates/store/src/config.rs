//! What a node must be told before it can start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::error::StoreError;
use crate::limits::{ACCOUNT_HASHES_MAX, ACCOUNT_NAME_MAX, ACCOUNTS_MAX};

/// Everything [`crate::Store::open`] needs.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// This node's identity in the cluster; never reused after its directory was lost.
    pub id: u64,
    /// Where the log, the snapshots and the SQLite file live.
    pub directory: PathBuf,
    /// Where other nodes reach this one. Port 0 picks a free port (see [`crate::Store::status`]).
    pub raft_listen: SocketAddr,
    /// The nodes this one starts with, itself included. The first start founds the cluster with
    /// exactly these; later the membership in the log counts, and these only say how to reach it.
    pub peers: BTreeMap<u64, PeerAddress>,
    /// Never found a cluster: wait to be added to the one the peers belong to.
    pub join: bool,
    /// The Redis protocol door, or none.
    pub resp: Option<RespConfig>,
    /// Certificates of the node-to-node links; `None` means plain TCP.
    pub tls: Option<TlsFiles>,
    /// Heartbeats and elections.
    pub timing: Timing,
}

/// How to reach one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    /// Name of the server, for people; may be empty.
    pub name: String,
    /// Address of its Raft listener.
    pub raft: SocketAddr,
    /// Address of its Redis door, when it has one (shown by `ROLE`).
    pub resp: Option<SocketAddr>,
}

/// The Redis protocol door.
#[derive(Debug, Clone, Default)]
pub struct RespConfig {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Who may enter. Empty means that no authentication is required.
    pub accounts: Vec<Account>,
    /// Certificate of the door; `None` means plain TCP. The files are read again when they change.
    pub tls: Option<RespTls>,
    /// A client that says nothing for so long is disconnected, except when it has subscribed or
    /// waits in a blocking command; `None` means never.
    pub idle: Option<Duration>,
}

/// PEM files of the Redis door. Clients show a password, not a certificate.
#[derive(Debug, Clone)]
pub struct RespTls {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// PEM files of the mutual TLS between nodes.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate of the authority that signed every node.
    pub authority: PathBuf,
    /// This node's certificate chain.
    pub certificate: PathBuf,
    /// This node's private key.
    pub key: PathBuf,
}

/// Heartbeat and election times, in milliseconds.
///
/// A follower that hears nothing stands for election between `election_min_ms` and
/// `election_max_ms` after the last heartbeat, as in section 5.2 of the Raft paper. Voters refuse
/// votes for half of `election_max_ms` after a heartbeat; the leader's lease is shorter than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Interval of heartbeats.
    pub heartbeat_ms: u64,
    /// Earliest candidacy after the last heartbeat.
    pub election_min_ms: u64,
    /// Latest candidacy after the last heartbeat.
    pub election_max_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_min_ms: 150,
            election_max_ms: 300,
        }
    }
}

impl Timing {
    /// How long a voter refuses other candidates after it heard the leader.
    pub fn vote_refusal_ms(&self) -> u64 {
        self.election_max_ms / 2
    }

    /// Length of the leader's lease from the send time of a heartbeat: a tenth less than
    /// the voters' refusal, which covers clocks that run at different speeds.
    pub fn lease_ms(&self) -> u64 {
        self.vote_refusal_ms() - self.vote_refusal_ms() / 10
    }
}

impl StoreConfig {
    /// Refuses a configuration that cannot work, and says why.
    pub fn validate(&self) -> Result<(), StoreError> {
        let wrong = |text: String| Err(StoreError::Config(text));
        if self.id == 0 {
            return wrong("node id 0 is reserved; use 1 or more".into());
        }
        if !self.peers.contains_key(&self.id) {
            return wrong(format!("peers must contain this node's own id {}", self.id));
        }
        if self.peers.len() > crate::limits::PEERS_MAX {
            return wrong(format!("at most {} peers", crate::limits::PEERS_MAX));
        }
        self.validate_accounts()?;
        let timing = &self.timing;
        if timing.election_min_ms >= timing.election_max_ms {
            return wrong("election_min_ms must be less than election_max_ms".into());
        }
        if timing.heartbeat_ms == 0 || timing.heartbeat_ms * 2 >= timing.vote_refusal_ms() {
            return wrong("election_max_ms must be more than four heartbeat_ms".into());
        }
        Ok(())
    }

    fn validate_accounts(&self) -> Result<(), StoreError> {
        let accounts = self.resp.iter().flat_map(|resp| &resp.accounts);
        let mut names = BTreeSet::new();
        for account in accounts {
            let fits = |byte: u8| byte.is_ascii_graphic();
            let name = &account.name;
            if name.is_empty() || name.len() > ACCOUNT_NAME_MAX || !name.bytes().all(fits) {
                return Err(StoreError::Config(format!(
                    "account name '{}'; use 1 to {ACCOUNT_NAME_MAX} visible ASCII characters",
                    name.escape_default()
                )));
            }
            if !names.insert(name) {
                return Err(StoreError::Config(format!(
                    "account '{name}' is there twice"
                )));
            }
            if account.hashes.len() > ACCOUNT_HASHES_MAX {
                return Err(StoreError::Config(format!(
                    "account '{name}' has more than {ACCOUNT_HASHES_MAX} passwords"
                )));
            }
        }
        if names.len() > ACCOUNTS_MAX {
            return Err(StoreError::Config(format!(
                "more than {ACCOUNTS_MAX} accounts"
            )));
        }
        Ok(())
    }
}
