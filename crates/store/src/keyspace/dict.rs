//! A map ordered by the hash of its keys: lookups compare numbers, scans need no memory.
//!
//! The cursor of a scan is the place in the order of hashes where it goes on. A key's hash never
//! changes, so a key that is there during the whole scan is met exactly once, whatever comes and
//! goes beside it, and whichever server answers the next page: all have the same order.

use std::cmp::Ordering;
use std::fmt::Debug;

use super::text::Text;
use super::tree::{Item, Iter, Probe, Tree};

/// Bits of a hash that a cursor leaves out: it stays exact as a double, which is what some
/// clients read it into. Keys that agree in the rest stay on one page.
const CURSOR_SHIFT: u32 = 11;

/// One key of a [`Dict`].
#[derive(Debug, Clone)]
pub struct Entry<V> {
    hash: u64,
    /// The key.
    pub key: Text,
    /// What it stands for.
    pub value: V,
}

impl<V: Clone + Debug> Item for Entry<V> {
    type Bound = (u64, Text);

    fn bound(&self) -> (u64, Text) {
        (self.hash, self.key.clone())
    }
}

struct Look<'a> {
    hash: u64,
    key: &'a [u8],
}

impl<'a> Look<'a> {
    fn new(key: &'a [u8]) -> Self {
        Self {
            hash: hash(key),
            key,
        }
    }
}

impl<V: Clone + Debug> Probe<Entry<V>> for Look<'_> {
    fn item(&self, item: &Entry<V>) -> Ordering {
        item.hash
            .cmp(&self.hash)
            .then_with(|| item.key.as_ref().cmp(self.key))
    }

    fn bound(&self, (hash, key): &(u64, Text)) -> Ordering {
        hash.cmp(&self.hash)
            .then_with(|| key.as_ref().cmp(self.key))
    }
}

/// See the module head.
#[derive(Debug, Clone)]
pub struct Dict<V: Clone + Debug> {
    tree: Tree<Entry<V>>,
}

impl<V: Clone + Debug> Default for Dict<V> {
    fn default() -> Self {
        Self {
            tree: Tree::default(),
        }
    }
}

impl<V: Clone + Debug> Dict<V> {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        self.tree.get(&Look::new(key)).map(|entry| &entry.value)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// The key as it is kept and its value, to be changed.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<(&Text, &mut V)> {
        let entry = self.tree.get_mut(&Look::new(key))?;
        Some((&entry.key, &mut entry.value))
    }

    /// The key at a place.
    pub fn nth(&self, at: usize) -> Option<&Entry<V>> {
        self.tree.nth(at)
    }

    /// Hands out the value of a key, to be changed; when there is none, keeps the one that `visit`
    /// answers, if any, under a copy of the key. One descent. Answers the kept key as well.
    pub fn upsert<R>(
        &mut self,
        key: &[u8],
        visit: impl FnOnce(Option<&mut V>) -> (Option<V>, R),
    ) -> (Option<Text>, R) {
        let look = Look::new(key);
        let hash = look.hash;
        self.tree.upsert(&look, |found| match found {
            Some(entry) => {
                let kept = entry.key.clone();
                let (_, answer) = visit(Some(&mut entry.value));
                (None, (Some(kept), answer))
            }
            None => match visit(None) {
                (Some(value), answer) => {
                    let key = Text::from(key);
                    let kept = key.clone();
                    (Some(Entry { hash, key, value }), (Some(kept), answer))
                }
                (None, answer) => (None, (None, answer)),
            },
        })
    }

    /// Sets a key, copied when it is new, and answers the value it had.
    pub fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        self.insert_with(key, || Text::from(key), value)
    }

    /// Sets a key that may be kept as it is, and answers the value it had.
    pub fn insert_shared(&mut self, key: &Text, value: V) -> Option<V> {
        self.insert_with(key, || key.clone(), value)
    }

    fn insert_with(&mut self, key: &[u8], keep: impl FnOnce() -> Text, value: V) -> Option<V> {
        let look = Look::new(key);
        let hash = look.hash;
        self.tree.upsert(&look, |found| match found {
            Some(entry) => (None, Some(std::mem::replace(&mut entry.value, value))),
            None => {
                let key = keep();
                (Some(Entry { hash, key, value }), None)
            }
        })
    }

    /// Removes a key; answers it as it was kept, and its value.
    pub fn remove(&mut self, key: &[u8]) -> Option<(Text, V)> {
        let entry = self.tree.remove(&Look::new(key))?;
        Some((entry.key, entry.value))
    }

    /// All keys in the order of their hashes.
    pub fn iter(&self) -> Iter<'_, Entry<V>> {
        self.tree.iter()
    }

    /// One page of a scan: the next cursor (0 = the end) and at least `count` keys, as long as
    /// there are so many.
    pub fn page(&self, cursor: u64, count: usize) -> (u64, Vec<&Entry<V>>) {
        let start = Look {
            hash: cursor.saturating_mul(1 << CURSOR_SHIFT),
            key: b"",
        };
        let mut page: Vec<&Entry<V>> = Vec::new();
        for entry in self.tree.from(&start) {
            let place = entry.hash >> CURSOR_SHIFT;
            let same = |last: &&Entry<V>| last.hash >> CURSOR_SHIFT == place;
            if page.len() >= count && !page.last().is_some_and(same) {
                return (place, page);
            }
            page.push(entry);
        }
        (0, page)
    }
}

impl<V: Clone + Debug> FromIterator<(Text, V)> for Dict<V> {
    fn from_iter<I: IntoIterator<Item = (Text, V)>>(pairs: I) -> Self {
        let mut dict = Dict::default();
        for (key, value) in pairs {
            dict.insert_shared(&key, value);
        }
        dict
    }
}

/// A 64-bit hash of a key: the same on every server and for ever, because cursors, the order of
/// replies and random choices follow from it. Multiply and fold, as wyhash does.
fn hash(key: &[u8]) -> u64 {
    const ONE: u64 = 0xa076_1d64_78bd_642f;
    const TWO: u64 = 0xe703_7ed1_a0b4_28db;
    let mut state = ONE ^ key.len() as u64;
    let mut pieces = key.chunks_exact(8);
    for piece in &mut pieces {
        state = fold(state ^ word(piece), TWO);
    }
    state = fold(state ^ word(pieces.remainder()), ONE);
    fold(state, TWO)
}

fn word(piece: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..piece.len()].copy_from_slice(piece);
    u64::from_le_bytes(bytes)
}

/// Multiplies and mixes the upper half of the product into the lower one.
#[expect(clippy::cast_possible_truncation)]
pub fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_scan_meets_what_is_there_all_the_time_exactly_once(
            stays in prop::collection::btree_set("[a-z]{1,6}", 1..200),
            comes in prop::collection::vec(("[a-z]{1,6}", any::<bool>()), 0..300),
            count in 1usize..40,
        ) {
            let keys = stays.iter().map(|key| (Text::from(key.as_bytes()), ()));
            let mut dict: Dict<()> = keys.collect();
            let (mut cursor, mut met, mut comes) = (0, BTreeMap::new(), comes.into_iter());
            loop {
                let (next, page) = dict.page(cursor, count);
                for entry in page {
                    *met.entry(entry.key.clone()).or_insert(0) += 1;
                }
                if next == 0 {
                    break;
                }
                cursor = next;
                for (key, insert) in comes.by_ref().take(20) {
                    if stays.contains(&key) {
                        continue;
                    }
                    if insert {
                        dict.insert(key.as_bytes(), ());
                    } else {
                        dict.remove(key.as_bytes());
                    }
                }
            }
            for key in stays {
                prop_assert_eq!(met.get(key.as_bytes()), Some(&1));
            }
        }
    }

    #[test]
    fn the_hash_never_changes() {
        let seen = [hash(b""), hash(b"a"), hash(b"registration:1")];
        assert_eq!(seen, EXPECTED, "cursors of a running scan would be lost");
    }

    const EXPECTED: [u64; 3] = [
        170_591_482_738_268_679,
        11_412_299_992_210_344_985,
        14_537_848_680_394_164_260,
    ];
}
