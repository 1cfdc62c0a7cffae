//! An ordered map that is cheap to clone: leaves are shared until one side writes to them.
//!
//! A snapshot clones the map (one reference count per leaf) and reads it at leisure while the
//! owner goes on writing; each first write to a shared leaf copies that leaf only.
//!
//! Invariant: the leaf with the empty bound always exists; every key of a leaf is at or above its
//! bound and below the bound of the next leaf; keys of a leaf are sorted.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

/// Entries of one leaf: copying it takes about a microsecond.
const LEAF_MAX: usize = 64;

type Leaf<V> = Vec<(Bytes, V)>;

/// See the module head.
#[derive(Debug, Clone)]
pub struct Tree<V> {
    leaves: BTreeMap<Bytes, Arc<Leaf<V>>>,
    len: usize,
}

impl<V: Clone> Default for Tree<V> {
    fn default() -> Self {
        Self {
            leaves: BTreeMap::from([(Bytes::new(), Arc::default())]),
            len: 0,
        }
    }
}

impl<V: Clone> Tree<V> {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let (_, leaf) = self.leaves.range::<[u8], _>(upto(key)).next_back()?;
        position(leaf, key).ok().map(|at| &leaf[at].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let (_, leaf) = self.leaves.range_mut::<[u8], _>(upto(key)).next_back()?;
        let at = position(leaf, key).ok()?;
        Some(&mut Arc::make_mut(leaf)[at].1)
    }

    /// Sets a key and returns the value it had.
    pub fn insert(&mut self, key: Bytes, value: V) -> Option<V> {
        let (_, leaf) = self.leaves.range_mut::<[u8], _>(upto(&key)).next_back()?;
        match position(leaf, &key) {
            Ok(at) => Some(std::mem::replace(&mut Arc::make_mut(leaf)[at].1, value)),
            Err(at) => {
                let entries = Arc::make_mut(leaf);
                entries.insert(at, (key, value));
                self.len += 1;
                if entries.len() > LEAF_MAX {
                    let upper = entries.split_off(LEAF_MAX / 2);
                    let bound = upper[0].0.clone();
                    self.leaves.insert(bound, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let (bound, leaf) = self.leaves.range_mut::<[u8], _>(upto(key)).next_back()?;
        let at = position(leaf, key).ok()?;
        let entries = Arc::make_mut(leaf);
        let (_, value) = entries.remove(at);
        self.len -= 1;
        if entries.is_empty() && !bound.is_empty() {
            let bound = bound.clone();
            self.leaves.remove(&bound);
        }
        Some(value)
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &V)> {
        self.leaves
            .values()
            .flat_map(|leaf| leaf.iter().map(|(key, value)| (key, value)))
    }

    /// Keys at or after `start`, in order.
    pub fn from<'a>(
        &'a self,
        start: &[u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a V)> + use<'a, V> {
        let first = self.leaves.range::<[u8], _>(upto(start)).next_back();
        let bound = first.map_or_else(Bytes::new, |(bound, _)| bound.clone());
        let skipped = first.map_or(0, |(_, leaf)| match position(leaf, start) {
            Ok(at) | Err(at) => at,
        });
        self.leaves
            .range(bound..)
            .flat_map(|(_, leaf)| leaf.iter())
            .skip(skipped)
            .map(|(key, value)| (key, value))
    }

    /// Keys after `start`, in order.
    pub fn after<'a>(
        &'a self,
        start: &[u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a V)> + use<'a, V> {
        let skipped = usize::from(self.get(start).is_some());
        self.from(start).skip(skipped)
    }

    /// Number of keys below `key`: leaves before it are counted whole.
    pub fn rank(&self, key: &[u8]) -> usize {
        let mut count = 0;
        for (bound, leaf) in &self.leaves {
            if bound.as_ref() > key {
                break;
            }
            count += match position(leaf, key) {
                Ok(at) | Err(at) => at,
            };
        }
        count
    }
}

fn upto(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

fn position<V>(leaf: &Leaf<V>, key: &[u8]) -> Result<usize, usize> {
    leaf.binary_search_by(|(present, _)| present.as_ref().cmp(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_btree_map(
            steps in prop::collection::vec((any::<bool>(), 0u16..300, any::<u32>()), 1..600)
        ) {
            let mut model = BTreeMap::new();
            let mut tree = Tree::default();
            for (insert, key, value) in steps {
                let key = Bytes::from(format!("k{key}"));
                if insert {
                    prop_assert_eq!(tree.insert(key.clone(), value), model.insert(key, value));
                } else {
                    prop_assert_eq!(tree.remove(&key), model.remove(&key));
                }
            }
            prop_assert_eq!(tree.len(), model.len());
            prop_assert!(tree.iter().eq(model.iter()));
            let start = Bytes::from_static(b"k15");
            prop_assert!(tree.from(&start).eq(model.range(start.clone()..)));
            prop_assert_eq!(tree.rank(&start), model.range(..start).count());
        }
    }

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut tree = Tree::default();
        for number in 0..1_000u32 {
            tree.insert(Bytes::from(number.to_string()), number);
        }
        let seen = tree.clone();
        for number in 0..1_000u32 {
            tree.remove(number.to_string().as_bytes());
        }
        assert!(tree.is_empty());
        assert_eq!(seen.len(), 1_000);
        assert_eq!(seen.iter().count(), 1_000);
    }
}
