//! Backups for JavaScript: bytes out of a running node, bytes into the directory of one to be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use parking_lot::Mutex;
use raftpbx_store::PeerAddress;
use raftpbx_store::StoreError;
use raftpbx_store::backup::{Backup, End, Head, Reading, Restore, RestoreConfig};
use serde::{Deserialize, Serialize};

use crate::store::{NativeStore, runtime};
use crate::{failure, options};

/// A backup that is being taken.
#[napi]
pub struct NativeBackup {
    head: Head,
    backup: tokio::sync::Mutex<Backup>,
}

#[napi]
impl NativeBackup {
    /// What it is, JSON.
    #[napi]
    pub fn head(&self) -> napi::Result<String> {
        serde_json::to_string(&self.head).map_err(failure)
    }

    /// The next bytes; null behind the last ones.
    #[napi]
    pub async fn read(&self) -> napi::Result<Option<Buffer>> {
        let piece = self.backup.lock().await.next().await;
        let piece = piece.transpose().map_err(failure)?;
        Ok(piece.map(|bytes| bytes.to_vec().into()))
    }
}

#[napi]
impl NativeStore {
    /// Begins a backup of what this node has applied.
    #[napi]
    pub async fn backup(&self) -> napi::Result<NativeBackup> {
        let store = self.store().clone();
        let begun = runtime()?.spawn_blocking(move || store.backup());
        let backup = begun.await.map_err(failure)?.map_err(failure)?;
        Ok(NativeBackup {
            head: backup.head.clone(),
            backup: tokio::sync::Mutex::new(backup),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRestore {
    directory: PathBuf,
    peers: Vec<WireRestorePeer>,
    replace: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRestorePeer {
    id: u64,
    name: String,
    raft: SocketAddr,
    resp: Option<SocketAddr>,
}

/// Who takes the bytes of a backup.
enum Taker {
    Check(Box<Reading>),
    Restore(Box<Restore>),
}

#[derive(Serialize)]
struct WireRestored {
    head: Head,
    end: End,
    aside: Option<PathBuf>,
}

impl Taker {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Taker::Check(reading) => reading.feed(bytes, &mut |_| Ok(())),
            Taker::Restore(restore) => restore.feed(bytes),
        }
    }

    fn finish(self) -> Result<WireRestored, StoreError> {
        let (head, end, aside) = match self {
            Taker::Check(reading) => {
                let (head, end) = reading.finish()?;
                (head, end, None)
            }
            Taker::Restore(restore) => restore.finish()?,
        };
        Ok(WireRestored { head, end, aside })
    }
}

/// A backup that is being read. Dropping it before `finish` changes nothing.
#[napi]
pub struct NativeRestore {
    taker: Arc<Mutex<Option<Taker>>>,
}

fn over() -> napi::Error {
    failure("PBX_BACKUP_DAMAGED: this backup was read to its end or given up")
}

#[napi]
impl NativeRestore {
    /// Takes the next bytes; after an error nothing more.
    #[napi]
    pub async fn write(&self, bytes: Buffer) -> napi::Result<()> {
        let (taker, bytes) = (self.taker.clone(), bytes.to_vec());
        let work = move || {
            let mut taker = taker.lock();
            let fed = taker.as_mut().ok_or_else(over)?.feed(&bytes);
            if fed.is_err() {
                *taker = None;
            }
            fed.map_err(failure)
        };
        runtime()?.spawn_blocking(work).await.map_err(failure)?
    }

    /// Checks the whole and, for a restore, moves it into place; JSON.
    #[napi]
    pub async fn finish(&self) -> napi::Result<String> {
        let taker = self.taker.lock().take().ok_or_else(over)?;
        let finished = runtime()?.spawn_blocking(move || taker.finish());
        let restored = finished.await.map_err(failure)?.map_err(failure)?;
        serde_json::to_string(&restored).map_err(failure)
    }

    /// Gives up: what was gathered is removed.
    #[napi]
    pub fn abandon(&self) {
        *self.taker.lock() = None;
    }
}

/// Begins to make the directory of a node from a backup.
#[napi]
pub async fn begin_restore(wire: String) -> napi::Result<NativeRestore> {
    let wire: WireRestore = options(&wire)?;
    let peers = wire.peers.into_iter().map(|peer| {
        let (name, raft, resp) = (peer.name, peer.raft, peer.resp);
        (peer.id, PeerAddress { name, raft, resp })
    });
    let config = RestoreConfig {
        directory: wire.directory,
        peers: peers.collect::<BTreeMap<_, _>>(),
        replace: wire.replace,
    };
    let begun = runtime()?.spawn_blocking(move || Restore::begin(config));
    let restore = begun.await.map_err(failure)?.map_err(failure)?;
    Ok(NativeRestore {
        taker: Arc::new(Mutex::new(Some(Taker::Restore(Box::new(restore))))),
    })
}

/// Begins to check a backup.
#[napi]
pub fn check_backup() -> NativeRestore {
    NativeRestore {
        taker: Arc::new(Mutex::new(Some(Taker::Check(Box::default())))),
    }
}
