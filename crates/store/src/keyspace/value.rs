//! What a key can hold.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::tree::Tree;

/// The value of one key.
#[derive(Debug, Clone)]
pub enum Value {
    /// A byte string.
    String(Bytes),
    /// Fields and values.
    Hash(Arc<Tree<Bytes>>),
    /// Distinct byte strings.
    Set(Arc<Tree<()>>),
    /// Distinct byte strings, each with a score.
    Sorted(Arc<SortedSet>),
}

impl Value {
    /// The name `TYPE` answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::Hash(_) => "hash",
            Value::Set(_) => "set",
            Value::Sorted(_) => "zset",
        }
    }
}

/// A value and the time it ends.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The value.
    pub value: Value,
    /// When the key ends, in logical Unix milliseconds; 0 = never.
    pub expires_at_ms: u64,
    /// Value of the keyspace's counter of changes when this key changed last.
    pub modified: u64,
}

/// Members ordered by score, then by name.
///
/// Invariant: `by_score` holds exactly one key for each entry of `by_member`.
#[derive(Debug, Clone, Default)]
pub struct SortedSet {
    by_member: Tree<f64>,
    by_score: Tree<()>,
}

impl SortedSet {
    /// Number of members.
    pub fn len(&self) -> usize {
        self.by_member.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.by_member.is_empty()
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.by_member.get(member).copied()
    }

    /// Sets a member's score and returns the one it had.
    pub fn insert(&mut self, member: Bytes, score: f64) -> Option<f64> {
        let old = self.by_member.insert(member.clone(), score);
        if let Some(old) = old {
            self.by_score.remove(&score_key(old, &member));
        }
        self.by_score.insert(score_key(score, &member), ());
        old
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.by_member.remove(member)?;
        self.by_score.remove(&score_key(score, member));
        Some(score)
    }

    /// Members in order.
    pub fn iter(&self) -> impl Iterator<Item = (Bytes, f64)> {
        self.by_score.iter().map(|(key, ())| split_score_key(key))
    }

    /// Members with at least this score, in order.
    pub fn at_least(&self, score: f64) -> impl Iterator<Item = (Bytes, f64)> + use<'_> {
        let start = score_key(score, b"");
        self.by_score
            .from(&start)
            .map(|(key, ())| split_score_key(key))
    }

    /// Position of a member, the lowest score first.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.by_score.rank(&score_key(score, member)))
    }
}

/// Bytes that sort as the scores do: the sign bit is flipped, negatives are inverted.
fn score_key(score: f64, member: &[u8]) -> Bytes {
    let score = if score == 0.0 { 0.0 } else { score };
    let bits = score.to_bits();
    let ordered = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    let mut key = BytesMut::with_capacity(8 + member.len());
    key.put_u64(ordered);
    key.put_slice(member);
    key.freeze()
}

fn split_score_key(key: &Bytes) -> (Bytes, f64) {
    let mut ordered = [0; 8];
    ordered.copy_from_slice(&key[..8]);
    let ordered = u64::from_be_bytes(ordered);
    let bits = if ordered >> 63 == 1 {
        ordered & !(1 << 63)
    } else {
        !ordered
    };
    (key.slice(8..), f64::from_bits(bits))
}
