//! Taking a backup from a node that goes on serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{END, End, FRAME_HEAD, HEAD, Head, KEYS, MAGIC, SQL, checksum, hexadecimal};
use crate::error::StoreError;
use crate::keyspace::Dump;
use crate::limits::{BACKUP_PIECE_BYTES, BACKUP_PIECES_MAX};
use crate::machine::SharedMachine;
use crate::snapshot::{Pace, Snapshots, encode_record, encoding};
use crate::sql::copy::Moment;

/// What a backup is taken from.
pub struct Origin {
    pub machine: SharedMachine,
    pub snapshots: Snapshots,
    pub node: u64,
    pub term: u64,
    pub now_ms: u64,
    /// Set while a backup is being taken.
    pub busy: Arc<AtomicBool>,
}

/// A backup that is being taken; dropping it ends the work.
pub struct Backup {
    /// What it is.
    pub head: Head,
    pieces: mpsc::Receiver<Result<Bytes, StoreError>>,
}

impl Backup {
    /// The next piece; `None` behind the last one.
    pub async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        self.pieces.recv().await
    }

    /// Fixes the moment and starts a thread that writes. Blocks for some milliseconds.
    pub fn start(origin: Origin) -> Result<Backup, StoreError> {
        if origin.busy.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Backup {
                code: "PBX_BACKUP_BUSY",
                text: "a backup is being taken from this node; wait for its end".into(),
            });
        }
        let busy = Busy(origin.busy.clone());
        let (head, dump, moment) = look(&origin)?;
        let (told, pieces) = mpsc::channel(BACKUP_PIECES_MAX);
        let mut writing = Writing {
            told,
            hash: Sha256::new(),
            pace: Pace::default(),
        };
        let given = head.clone();
        let write = move || {
            let _busy = busy;
            if let Err(error) = writing.all(&given, &dump, &moment, &origin.snapshots) {
                // Nobody listens when the reader is gone, which is the usual reason.
                let _ = writing.told.blocking_send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("store-backup".into());
        thread.spawn(write)?;
        Ok(Backup { head, pieces })
    }
}

/// Another backup may be taken when this is gone.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Keys and SQLite file as of one entry: the applier waits while both are looked at.
fn look(origin: &Origin) -> Result<(Head, Dump, Moment), StoreError> {
    let ready = origin.machine.database.ready()?;
    let state = origin.machine.state.read();
    let (index, dump) = (state.applied, state.space.dump());
    let moment = ready.look()?;
    drop(state);
    if moment.applied > index {
        return Err(StoreError::Backup {
            code: "PBX_BACKUP_EARLY",
            text: "this node still replays its log; try again in a moment".into(),
        });
    }
    let head = Head {
        version: env!("CARGO_PKG_VERSION").into(),
        node: origin.node,
        index,
        term: origin.term,
        taken_ms: origin.now_ms,
        clock_ms: dump.clock_ms,
        expired: dump.expired,
        encoding: encoding(),
        records: dump.count() as u64,
        sql_bytes: moment.bytes()?,
    };
    Ok((head, dump, moment))
}

struct Writing {
    told: mpsc::Sender<Result<Bytes, StoreError>>,
    hash: Sha256,
    pace: Pace,
}

impl Writing {
    fn all(
        &mut self,
        head: &Head,
        dump: &Dump,
        moment: &Moment,
        snapshots: &Snapshots,
    ) -> Result<(), StoreError> {
        self.send(Bytes::from_static(MAGIC))?;
        self.json(HEAD, head)?;
        let mut body = BytesMut::new();
        for record in dump.records() {
            let bytes = encode_record(&record)?;
            body.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            body.put_slice(&bytes);
            if body.len() >= BACKUP_PIECE_BYTES {
                self.frame(KEYS, &body)?;
                body.clear();
            }
        }
        self.frame(KEYS, &body)?;
        let copy = snapshots.copy_moment(moment)?;
        let mut input = copy.file.as_ref();
        let mut piece = vec![0; BACKUP_PIECE_BYTES];
        let mut left = copy.bytes;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(usize::MAX);
            let part = &mut piece[..size.min(BACKUP_PIECE_BYTES)];
            std::io::Read::read_exact(&mut input, part)?;
            left -= part.len() as u64;
            let part = &*part;
            self.frame(SQL, part)?;
        }
        let end = End {
            records: head.records,
            sql_bytes: copy.bytes,
            sha256: hexadecimal(&self.hash.clone().finalize()),
        };
        self.json(END, &end)
    }

    fn json(&mut self, kind: u8, value: &impl Serialize) -> Result<(), StoreError> {
        let body = serde_json::to_vec(value);
        let body = body.map_err(|error| StoreError::Storage(error.to_string()))?;
        self.frame(kind, &body)
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> Result<(), StoreError> {
        let mut frame = BytesMut::with_capacity(FRAME_HEAD + body.len());
        frame.put_u8(kind);
        frame.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
        frame.put_u32_le(checksum(kind, body));
        frame.put_slice(body);
        self.send(frame.freeze())
    }

    /// Waits while the reader is slow: memory stays bounded.
    fn send(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.hash.update(&bytes);
        self.pace.spend(bytes.len() as u64);
        let sent = self.told.blocking_send(Ok(bytes));
        sent.map_err(|_| StoreError::Closed)
    }
}
