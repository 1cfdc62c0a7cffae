//! Making the directory of a node that is to begin from a backup.
//!
//! Every node of the new cluster is prepared from the same file before any of them starts: each
//! then has the same snapshot, an empty log and no identity, and they elect a leader as after a
//! planned stop. Nothing in the directory changes before the whole backup was checked. A crash
//! while the files are moved leaves `restoring` behind, and the node refuses to start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::reading::Found;
use super::{End, Head, Reading, damaged};
use crate::clock::Clock;
use crate::config::PeerAddress;
use crate::error::StoreError;
use crate::origins::Origins;
use crate::raft::first_meta;
use crate::snapshot::{self, Pace, PacedFile};
use crate::sql;
use crate::store::DirectoryLock;

/// Where the new content is gathered.
pub const RESTORING: &str = "restoring";

/// What a node keeps in its directory.
const CONTENT: &[&str] = &[
    "log",
    "snapshots",
    "state.db",
    "state.db-wal",
    "state.db-shm",
    "identity.json",
];

/// What is restored where.
#[derive(Debug, Clone)]
pub struct RestoreConfig {
    /// The node's directory.
    pub directory: PathBuf,
    /// Every voter of the new cluster.
    pub peers: BTreeMap<u64, PeerAddress>,
    /// Whether what is there is moved aside instead of being refused.
    pub replace: bool,
}

/// A restore that is going on; dropping it leaves everything as it was.
pub struct Restore {
    config: RestoreConfig,
    staging: PathBuf,
    reading: Reading,
    keys: Option<snapshot::Writing>,
    sqlite: Option<PacedFile>,
    done: bool,
    _lock: DirectoryLock,
}

impl Drop for Restore {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_dir_all(&self.staging);
        }
    }
}

impl Restore {
    /// Refuses a directory that is in use or not empty.
    pub fn begin(config: RestoreConfig) -> Result<Restore, StoreError> {
        let directory = &config.directory;
        std::fs::create_dir_all(directory)?;
        let lock = DirectoryLock::take(directory).map_err(|_| StoreError::Backup {
            code: "PBX_RESTORE_RUNNING",
            text: format!(
                "{} is in use: a node runs there; stop every node of the cluster first",
                directory.display()
            ),
        })?;
        let used = CONTENT.iter().any(|name| directory.join(name).exists());
        if used && !config.replace {
            return Err(StoreError::Backup {
                code: "PBX_RESTORE_NOT_EMPTY",
                text: format!(
                    "{} holds a node's state; --replace moves it aside",
                    directory.display()
                ),
            });
        }
        let staging = directory.join(RESTORING);
        match std::fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        std::fs::create_dir_all(staging.join("snapshots"))?;
        Ok(Restore {
            config,
            staging,
            reading: Reading::default(),
            keys: None,
            sqlite: None,
            done: false,
            _lock: lock,
        })
    }

    /// Takes the next bytes of the backup. Blocks.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Restore {
            config,
            staging,
            reading,
            keys,
            sqlite,
            ..
        } = self;
        reading.feed(bytes, &mut |found| {
            match found {
                Found::Head(head) => {
                    let name = format!("{:020}.snapshot", head.index);
                    let path = staging.join("snapshots").join(name);
                    let head = snapshot_head(&head, &config.peers)?;
                    *keys = Some(snapshot::Writing::begin(&path, &head)?);
                    let file = File::create(staging.join("state.db"))?;
                    *sqlite = Some(PacedFile::new(file, Pace::of(u64::MAX)));
                }
                Found::Record(record) => {
                    let keys = keys.as_mut().ok_or_else(|| damaged("no head"))?;
                    keys.record(&record)?;
                }
                Found::Sql(bytes) => {
                    let sqlite = sqlite.as_mut().ok_or_else(|| damaged("no head"))?;
                    sqlite.write_all(&bytes)?;
                }
            }
            Ok(())
        })
    }

    /// Checks the whole, and moves it into place. Answers what it was, and where the old content
    /// went.
    pub fn finish(mut self) -> Result<(Head, End, Option<PathBuf>), StoreError> {
        let (head, end) = std::mem::take(&mut self.reading).finish()?;
        let files = (self.keys.take(), self.sqlite.take());
        let (Some(keys), Some(sqlite)) = files else {
            return Err(damaged("no head"));
        };
        keys.finish()?;
        sqlite.finish()?;
        let database = self.staging.join("state.db");
        if sql::applied_in(&database)? > head.index {
            return Err(damaged("the SQLite file is ahead of the keys"));
        }
        sql::check(&database)?;
        // From here on a crash leaves a directory that refuses to start.
        self.done = true;
        let directory = &self.config.directory;
        let aside = move_aside(directory)?;
        for name in ["state.db", "snapshots"] {
            std::fs::rename(self.staging.join(name), directory.join(name))?;
        }
        File::open(directory)?.sync_all()?;
        std::fs::remove_dir_all(&self.staging)?;
        File::open(directory)?.sync_all()?;
        Ok((head, end, aside))
    }
}

fn move_aside(directory: &Path) -> Result<Option<PathBuf>, StoreError> {
    let used = CONTENT.iter().filter(|name| directory.join(name).exists());
    let used: Vec<_> = used.collect();
    if used.is_empty() {
        return Ok(None);
    }
    let aside = directory.join(format!("replaced-{}", Clock::default().wall_ms()));
    std::fs::create_dir_all(&aside)?;
    for name in used {
        std::fs::rename(directory.join(name), aside.join(name))?;
    }
    Ok(Some(aside))
}

fn snapshot_head(
    head: &Head,
    peers: &BTreeMap<u64, PeerAddress>,
) -> Result<snapshot::Head, StoreError> {
    Ok(snapshot::Head {
        index: head.index,
        raft: first_meta(head.index, peers)?,
        clock_ms: head.clock_ms,
        expired: head.expired,
        records: head.records,
        // Whatever it is, the file beside it is the right one: it was copied at the same moment.
        sql_index: 0,
        origins: Origins::default(),
    })
}
