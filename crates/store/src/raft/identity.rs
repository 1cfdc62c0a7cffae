//! Which node a directory belongs to, and since when.
//!
//! A directory gets a random *incarnation* when it is created. The cluster remembers the
//! incarnation of each member, so that a node whose directory was lost is noticed: it comes back
//! under its old id with another incarnation, and has forgotten what it voted for.
//!
//! The file is written under another name, flushed and renamed: it is whole or not there.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::environment::randomness;
use crate::error::StoreError;

/// Version of the file.
const FORMAT: u32 = 1;

/// Bytes of the file at most; it has four numbers.
const FILE_BYTES_MAX: u64 = 4 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    format: u32,
    node: u64,
    incarnation: u64,
    /// The cluster this directory has taken part in; 0 = none yet.
    cluster: u64,
}

/// The identity of a node's directory.
#[derive(Debug)]
pub struct Identity {
    path: PathBuf,
    /// Random, from the creation of the directory.
    pub incarnation: u64,
    content: Mutex<Content>,
}

/// 64 random bits, never 0.
pub fn random_number() -> u64 {
    randomness::bits().max(1)
}

impl Identity {
    /// Reads the identity of a directory, or gives it one. `used` says whether there is a log in
    /// it: a directory that never took part may be given to another node.
    pub fn open(directory: &Path, node: u64, used: bool) -> Result<Identity, StoreError> {
        let path = directory.join("identity.json");
        let content = match read(&path)? {
            Some(content) if content.node == node => content,
            Some(content) if used || content.cluster != 0 => {
                return Err(StoreError::Config(format!(
                    "{} belongs to node {}, not to node {node}; give this node an empty directory, \
                     or its own id back",
                    directory.display(),
                    content.node
                )));
            }
            Some(_) | None => {
                let content = Content {
                    format: FORMAT,
                    node,
                    incarnation: random_number(),
                    cluster: 0,
                };
                write(&path, &content)?;
                content
            }
        };
        Ok(Identity {
            path,
            incarnation: content.incarnation,
            content: Mutex::new(content),
        })
    }

    /// The cluster this directory has taken part in; 0 = none yet.
    pub fn cluster(&self) -> u64 {
        self.content.lock().cluster
    }

    /// Remembers the cluster. Blocks while the file is written.
    pub fn join_cluster(&self, cluster: u64) -> Result<(), StoreError> {
        let mut content = self.content.lock();
        if content.cluster == cluster {
            return Ok(());
        }
        let joined = Content {
            cluster,
            ..content.clone()
        };
        write(&self.path, &joined)?;
        *content = joined;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Content>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = String::new();
    let wrong = |what: &dyn std::fmt::Display| {
        StoreError::Storage(format!(
            "{}: {what}; restore the file, or empty the directory and let the node rejoin under a \
             new id",
            path.display()
        ))
    };
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| wrong(&error))?;
    let content: Content = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    if content.format > FORMAT {
        return Err(wrong(&format!(
            "format {} is newer than this program",
            content.format
        )));
    }
    Ok(Some(content))
}

fn write(path: &Path, content: &Content) -> Result<(), StoreError> {
    let partial = path.with_extension("partial");
    let text = serde_json::to_vec(content).map_err(|error| {
        // Four numbers: cannot happen, but the caller has an error path anyway.
        StoreError::Storage(error.to_string())
    })?;
    let mut file = File::create(&partial)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_incarnation_and_its_cluster() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Identity::open(directory.path(), 2, false).expect("made");
        first.join_cluster(77).expect("written");
        let again = Identity::open(directory.path(), 2, true).expect("read");
        assert_eq!(again.incarnation, first.incarnation);
        assert_eq!(again.cluster(), 77);
    }

    #[test]
    fn only_a_directory_that_never_took_part_changes_hands() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Identity::open(directory.path(), 2, false).expect("made");
        let second = Identity::open(directory.path(), 4, false).expect("taken over");
        assert_ne!(first.incarnation, second.incarnation);
        second.join_cluster(77).expect("written");
        let third = Identity::open(directory.path(), 5, false);
        assert!(matches!(third, Err(StoreError::Config(_))), "{third:?}");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("identity.json"), b"\xff{").expect("written");
        let opened = Identity::open(directory.path(), 2, false);
        let text = opened.err().map(|error| error.to_string());
        assert!(
            text.as_ref().is_some_and(|text| text.contains("rejoin")),
            "{text:?}"
        );
    }
}
