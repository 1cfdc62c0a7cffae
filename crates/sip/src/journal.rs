//! What the engine needs of a replicated store, and a store of one for tests and for
//! running alone.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};
use parking_lot::Mutex;
use sha2::Sha256;

/// One change of the keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalOp {
    /// Store a value.
    Set {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// When it goes by itself, absolute Unix milliseconds.
        expires_at_ms: Option<u64>,
    },
    /// Remove a key; removing a missing one is fine.
    Delete {
        /// The key.
        key: String,
    },
}

/// Why a commit did not happen, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// This node does not lead; a new leader will answer the peer's retransmission.
    #[error("this node does not lead")]
    NotLeader,
    /// Too much is waiting already.
    #[error("the journal is overloaded")]
    Overloaded,
    /// Anything else; the change may or may not come through.
    #[error("the journal failed: {0}")]
    Failed(String),
}

/// Hex digests of `user:realm:password`, all that is kept of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// MD5, 32 hex digits.
    pub ha1_md5: String,
    /// SHA-256, 64 hex digits.
    pub ha1_sha256: String,
}

/// Called once with the fate of a commit.
pub type Done = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// A replicated, ordered store as the engine sees it. What it applies must come back
/// through `Engine::changed`, in log order, own commits too.
pub trait Journal: Send + Sync + 'static {
    /// Commits `ops` as one atomic entry and calls `done` after it is applied. Never blocks.
    /// It may wait for `patience` so that others share its entry; the order stays.
    fn commit(&self, ops: Vec<JournalOp>, patience: Duration, done: Done);
    /// The digests of a user, from a local read.
    fn credentials(&self, user: &str) -> Option<Credentials>;
    /// Grows with each change of users, after it can be read and before it is acknowledged.
    /// None: nobody counts, so that digests have to be read each time.
    fn user_changes(&self) -> Option<Arc<AtomicU64>> {
        None
    }
    /// Wall clock, Unix milliseconds.
    fn now_ms(&self) -> u64;
}

/// The digests of a user's password in a realm (RFC 7616 section 3.4.2).
pub fn digest_ha1(user: &str, realm: &str, password: &str) -> Credentials {
    let text = format!("{user}:{realm}:{password}");
    Credentials {
        ha1_md5: hex(&Md5::digest(text.as_bytes())),
        ha1_sha256: hex(&Sha256::digest(text.as_bytes())),
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// What a [`MemoryJournal`] reports after each commit.
pub type Applied = Vec<(String, Option<Vec<u8>>)>;
type Watcher = Box<dyn Fn(Applied) + Send>;

#[derive(Default)]
struct Memory {
    values: BTreeMap<String, (Vec<u8>, Option<u64>)>,
    expiries: BTreeSet<(u64, String)>,
    users: HashMap<String, Credentials>,
    watcher: Option<Watcher>,
}

/// A journal in memory that commits at once: for running alone and for tests.
#[derive(Default)]
pub struct MemoryJournal {
    memory: Mutex<Memory>,
    user_changes: Arc<AtomicU64>,
}

impl MemoryJournal {
    /// An empty journal that knows no user.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a user.
    pub fn set_user(&self, user: &str, credentials: Credentials) {
        self.memory
            .lock()
            .users
            .insert(user.to_owned(), credentials);
        self.user_changes.fetch_add(1, Ordering::Release);
    }

    /// Calls `watcher` with everything stored now and then with each change, in order.
    pub fn watch(&self, watcher: impl Fn(Applied) + Send + 'static) {
        let mut memory = self.memory.lock();
        watcher(
            memory
                .values
                .iter()
                .map(|(k, v)| (k.clone(), Some(v.0.clone())))
                .collect(),
        );
        memory.watcher = Some(Box::new(watcher));
    }

    /// The value of a key, for assertions.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.memory
            .lock()
            .values
            .get(key)
            .map(|(value, _)| value.clone())
    }
}

impl Memory {
    fn remove(&mut self, key: &str) -> bool {
        match self.values.remove(key) {
            Some((_, Some(at))) => {
                self.expiries.remove(&(at, key.to_owned()));
                true
            }
            Some(_) => true,
            None => false,
        }
    }

    fn apply(&mut self, op: JournalOp, applied: &mut Applied) {
        match op {
            JournalOp::Set {
                key,
                value,
                expires_at_ms,
            } => {
                self.remove(&key);
                if let Some(at) = expires_at_ms {
                    self.expiries.insert((at, key.clone()));
                }
                self.values
                    .insert(key.clone(), (value.clone(), expires_at_ms));
                applied.push((key, Some(value)));
            }
            JournalOp::Delete { key } => {
                if self.remove(&key) {
                    applied.push((key, None));
                }
            }
        }
    }

    fn expire(&mut self, now_ms: u64, applied: &mut Applied) {
        while let Some((at, key)) = self.expiries.first().cloned() {
            if at > now_ms {
                return;
            }
            self.expiries.pop_first();
            self.values.remove(&key);
            applied.push((key, None));
        }
    }
}

impl Journal for MemoryJournal {
    fn commit(&self, ops: Vec<JournalOp>, _patience: Duration, done: Done) {
        let mut memory = self.memory.lock();
        let mut applied = Vec::with_capacity(ops.len());
        memory.expire(self.now_ms(), &mut applied);
        for op in ops {
            memory.apply(op, &mut applied);
        }
        if let Some(watcher) = &memory.watcher {
            watcher(applied);
        }
        drop(memory);
        done(Ok(()));
    }

    fn credentials(&self, user: &str) -> Option<Credentials> {
        self.memory.lock().users.get(user).cloned()
    }

    fn user_changes(&self) -> Option<Arc<AtomicU64>> {
        Some(self.user_changes.clone())
    }

    fn now_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
