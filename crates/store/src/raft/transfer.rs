//! A snapshot on its way to another node: the keys' file, and behind it a copy of the SQLite file
//! that is made when it is needed.
//!
//! Pieces follow each other, each with its checksum, and the receiver answers each: memory is one
//! piece on either side. A transfer that breaks off begins again; fragments are removed.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use openraft::errors::StreamingError;
use openraft::raft::SnapshotResponse;
use serde::{Deserialize, Serialize};

use super::network::streaming;
use super::transport::frame::{self, Kind};
use super::transport::link::Link;
use super::types::{Snapshot, SnapshotMeta, Types, Vote};
use crate::environment::workers::Workers;
use crate::limits::SNAPSHOT_PIECE_BYTES;
use crate::machine::SharedMachine;
use crate::snapshot::{Pace, PacedFile, SnapshotFile, Snapshots, verify};
use crate::sql;

/// Time for one piece of a snapshot, and for its installation after the last one: a minute for
/// each ten million keys.
const PIECE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// One piece of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub struct Piece {
    /// The sender's vote.
    pub vote: Vote,
    /// What the Raft library says about the snapshot, postcard.
    pub meta: Vec<u8>,
    /// Where the bytes belong; 0 begins a new transfer. No piece belongs to both files.
    pub offset: u64,
    /// Bytes of the keys' file, which comes first.
    pub state: u64,
    /// Bytes of both files.
    pub total: u64,
    /// CRC32C of the bytes.
    pub checksum: u32,
    /// The bytes.
    pub bytes: Bytes,
}

/// The answer to a piece: `None` means "go on", the response comes with the last one.
pub type PieceAnswer = Result<Option<SnapshotResponse<Types>>, String>;

/// Where a sender takes the SQLite file from.
#[derive(Clone)]
pub struct Source {
    /// The state machine.
    pub machine: SharedMachine,
    /// The directory for the copy.
    pub snapshots: Snapshots,
    /// Who reads files.
    pub workers: Workers,
}

impl Source {
    /// What a node sends from.
    pub fn of(machine: &SharedMachine, snapshots: &Snapshots, workers: Workers) -> Source {
        Source {
            machine: machine.clone(),
            snapshots: snapshots.clone(),
            workers,
        }
    }

    /// Sends a snapshot over a link.
    pub async fn send(
        &self,
        link: Link,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let meta = postcard::to_stdvec(&snapshot.meta).map_err(streaming)?;
        let source = self.clone();
        let copied = self
            .workers
            .blocking(move || source.snapshots.copy_sqlite(&source.machine.database));
        let sqlite = copied.await.map_err(streaming)?.map_err(streaming)?;
        let state = snapshot.snapshot.bytes;
        let total = state + sqlite.bytes;
        let mut offset = 0;
        while offset < total {
            let (file, at, end) = if offset < state {
                (snapshot.snapshot.file.clone(), offset, state)
            } else {
                (sqlite.file.clone(), offset - state, sqlite.bytes)
            };
            let size = usize::try_from(end - at).unwrap_or(usize::MAX);
            let size = size.min(SNAPSHOT_PIECE_BYTES);
            let read = self.workers.blocking(move || {
                let mut bytes = vec![0; size];
                file.read_exact_at(&mut bytes, at).map(|()| bytes)
            });
            let bytes = read.await.map_err(streaming)?.map_err(streaming)?;
            let piece = Piece {
                vote,
                meta: meta.clone(),
                offset,
                state,
                total,
                checksum: crc32c::crc32c(&bytes),
                bytes: bytes.into(),
            };
            let body = frame::encode(&piece).map_err(streaming)?;
            let answer = link.request(Kind::SnapshotPiece, body, PIECE_TIMEOUT).await;
            let answer: PieceAnswer =
                frame::decode(&answer.map_err(streaming)?).map_err(streaming)?;
            if let Some(response) = answer.map_err(streaming)? {
                return Ok(response);
            }
            offset += size as u64;
        }
        Err(streaming("the receiver did not answer the last piece"))
    }
}

/// A snapshot that is being received.
pub struct Incoming {
    state_path: PathBuf,
    sqlite_path: PathBuf,
    state: Option<PacedFile>,
    sqlite: Option<PacedFile>,
    received: u64,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Installed files were renamed; whatever is left under these names is a fragment.
        let _ = std::fs::remove_file(&self.state_path);
        let _ = std::fs::remove_file(&self.sqlite_path);
    }
}

/// A snapshot that was received and checked.
pub struct Received {
    /// What the Raft library installs.
    pub snapshot: Snapshot,
    /// The sender's vote.
    pub vote: Vote,
    /// Removes what is left of the files in the end.
    pub files: Incoming,
}

impl Incoming {
    /// Creates the files.
    pub fn begin(snapshots: &Snapshots) -> io::Result<Incoming> {
        let (state_path, sqlite_path) = snapshots.incoming();
        let create =
            |path| Ok::<_, io::Error>(PacedFile::new(File::create(path)?, Pace::default()));
        Ok(Incoming {
            state: Some(create(&state_path)?),
            sqlite: Some(create(&sqlite_path)?),
            state_path,
            sqlite_path,
            received: 0,
        })
    }

    /// Takes a piece; with the last one both files are flushed and checked. Blocks.
    pub fn take(mut self, piece: Piece) -> Result<Result<Received, Incoming>, String> {
        let text = |error: io::Error| error.to_string();
        let length = piece.bytes.len() as u64;
        let fits = piece.offset == self.received && piece.offset + length <= piece.total;
        if !fits || length == 0 {
            return Err("a piece out of order".into());
        }
        if crc32c::crc32c(&piece.bytes) != piece.checksum {
            return Err("a piece with a wrong checksum".into());
        }
        let file = if piece.offset < piece.state {
            &mut self.state
        } else {
            &mut self.sqlite
        };
        let file = file.as_mut().ok_or("a piece behind the end")?;
        file.write_all(&piece.bytes).map_err(text)?;
        self.received += length;
        if self.received < piece.total {
            return Ok(Err(self));
        }
        for file in [self.state.take(), self.sqlite.take()]
            .into_iter()
            .flatten()
        {
            file.finish().map_err(text)?;
        }
        let wrong = |error: crate::error::StoreError| error.to_string();
        let head = verify(&self.state_path).map_err(wrong)?;
        let applied = sql::applied_in(&self.sqlite_path).map_err(wrong)?;
        if applied < head.sql_index {
            return Err("the SQLite file is behind the keys".into());
        }
        let meta: SnapshotMeta = postcard::from_bytes(&piece.meta).map_err(|e| e.to_string())?;
        let mut snapshot = SnapshotFile::open(&self.state_path).map_err(wrong)?;
        snapshot.sqlite = Some(self.sqlite_path.clone());
        Ok(Ok(Received {
            snapshot: Snapshot { meta, snapshot },
            vote: piece.vote,
            files: self,
        }))
    }
}
