//! Checking a backup piece by piece, as its bytes come.

use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::{END, End, FRAME_HEAD, HEAD, Head, KEYS, MAGIC, SQL, checksum, damaged, hexadecimal};
use crate::error::StoreError;
use crate::limits::BACKUP_FRAME_BYTES_MAX;
use crate::snapshot::{check_record, encoding};

/// What was found in a backup.
#[derive(Debug)]
pub enum Found {
    /// The head.
    Head(Head),
    /// One record of a key.
    Record(Bytes),
    /// Bytes of the SQLite file, in order.
    Sql(Bytes),
}

/// A backup that is being read. Memory: one frame.
pub struct Reading {
    input: BytesMut,
    hash: Sha256,
    begun: bool,
    head: Option<Head>,
    end: Option<End>,
    records: u64,
    sql_bytes: u64,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            input: BytesMut::new(),
            hash: Sha256::new(),
            begun: false,
            head: None,
            end: None,
            records: 0,
            sql_bytes: 0,
        }
    }
}

impl Reading {
    /// Takes the next bytes; what they complete is handed to `found`.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        found: &mut dyn FnMut(Found) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.input.extend_from_slice(bytes);
        if !self.begun {
            if self.input.len() < MAGIC.len() {
                return Ok(());
            }
            let magic = self.input.split_to(MAGIC.len());
            if magic[..7] != MAGIC[..7] {
                return Err(damaged("this is no backup of raftpbx"));
            }
            if magic[7] != MAGIC[7] {
                return Err(StoreError::Backup {
                    code: "PBX_BACKUP_VERSION",
                    text: format!(
                        "a backup of format {}, this program knows {}; use the program that made it",
                        magic[7], MAGIC[7]
                    ),
                });
            }
            self.hash.update(&magic);
            self.begun = true;
        }
        while let Some((kind, frame, body)) = self.frame()? {
            self.take(kind, body, found)?;
            if kind != END {
                self.hash.update(&frame);
            }
        }
        Ok(())
    }

    /// The next whole frame: its kind, all of it, and its body.
    fn frame(&mut self) -> Result<Option<(u8, Bytes, Bytes)>, StoreError> {
        if self.input.len() < FRAME_HEAD {
            return Ok(None);
        }
        let mut head = &self.input[..FRAME_HEAD];
        let (kind, length, sum) = (head.get_u8(), head.get_u32_le() as usize, head.get_u32_le());
        if length > BACKUP_FRAME_BYTES_MAX {
            return Err(damaged("a part is too long"));
        }
        if self.input.len() < FRAME_HEAD + length {
            return Ok(None);
        }
        let frame = self.input.split_to(FRAME_HEAD + length).freeze();
        let body = frame.slice(FRAME_HEAD..);
        if checksum(kind, &body) != sum {
            return Err(damaged("a part has a wrong checksum"));
        }
        Ok(Some((kind, frame, body)))
    }

    fn take(
        &mut self,
        kind: u8,
        body: Bytes,
        found: &mut dyn FnMut(Found) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.end.is_some() {
            return Err(damaged("something stands behind the end"));
        }
        match (kind, &self.head) {
            (HEAD, None) => {
                let head: Head =
                    serde_json::from_slice(&body).map_err(|_| damaged("unreadable head"))?;
                if head.encoding != encoding() {
                    return Err(StoreError::Backup {
                        code: "PBX_BACKUP_VERSION",
                        text: format!("made by version {}; use that one to restore", head.version),
                    });
                }
                self.head = Some(head.clone());
                found(Found::Head(head))
            }
            (KEYS, Some(_)) => self.records(body, found),
            (SQL, Some(_)) => {
                self.sql_bytes += body.len() as u64;
                found(Found::Sql(body))
            }
            (END, Some(_)) => {
                let end = serde_json::from_slice(&body).map_err(|_| damaged("unreadable end"))?;
                self.end = Some(end);
                Ok(())
            }
            _ => Err(damaged("a part in a wrong place")),
        }
    }

    fn records(
        &mut self,
        mut body: Bytes,
        found: &mut dyn FnMut(Found) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        while !body.is_empty() {
            if body.len() < 4 {
                return Err(damaged("a record is cut"));
            }
            let length = body.get_u32_le() as usize;
            if length > body.len() {
                return Err(damaged("a record is cut"));
            }
            let record = body.split_to(length);
            check_record(&record)?;
            self.records += 1;
            found(Found::Record(record))?;
        }
        Ok(())
    }

    /// What the backup is, once all of it was read; an error when something is missing.
    pub fn finish(self) -> Result<(Head, End), StoreError> {
        let cut = || damaged("the file is cut");
        let (head, end) = (self.head.ok_or_else(cut)?, self.end.ok_or_else(cut)?);
        let whole = self.input.is_empty()
            && head.records == self.records
            && end.records == self.records
            && head.sql_bytes == self.sql_bytes
            && end.sql_bytes == self.sql_bytes
            && end.sha256 == hexadecimal(&self.hash.finalize());
        if whole {
            Ok((head, end))
        } else {
            Err(damaged("the parts do not fit together"))
        }
    }
}
