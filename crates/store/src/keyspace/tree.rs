//! An ordered map that is cheap to clone: its parts are shared until one side writes to them.
//!
//! ```text
//!  tree -> branches (bound, Arc) -> leaves (bound, Arc) -> entries (key, value)
//! ```
//!
//! A snapshot clones the map (one reference count per branch: some 250 for a million keys) and
//! reads it at leisure while the owner goes on writing; each first write to a shared branch copies
//! its list of leaves, each first write to a shared leaf copies that leaf.
//!
//! Invariant: bounds ascend, the first branch and the first leaf of each branch are there for
//! every key below the next bound; every key of a part is at or above its bound (the first parts
//! excepted, whose bound is empty) and below the next; keys of a leaf are sorted; no part is empty.

use std::sync::Arc;

use bytes::Bytes;

/// Entries of one leaf: copying it takes about a microsecond.
const LEAF_MAX: usize = 64;

/// Leaves of one branch: copying it takes a few microseconds.
const BRANCH_MAX: usize = 256;

/// Parts in order, each with the lowest key it may hold.
type Parts<T> = Vec<(Bytes, Arc<T>)>;

type Leaf<V> = Vec<(Bytes, V)>;

type Branch<V> = Parts<Leaf<V>>;

/// See the module head.
#[derive(Debug, Clone)]
pub struct Tree<V> {
    branches: Parts<Branch<V>>,
    len: usize,
}

/// A place in a tree: branch, leaf and entry.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    branch: usize,
    leaf: usize,
    entry: usize,
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self {
            branches: Vec::new(),
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

    /// Where a key is, or where it would be.
    fn find(&self, key: &[u8]) -> Result<Place, Place> {
        let branch = covering(&self.branches, key);
        let Some((_, leaves)) = self.branches.get(branch) else {
            return Err(Place::default());
        };
        let leaf = covering(leaves, key);
        let at = |entry| Place {
            branch,
            leaf,
            entry,
        };
        position(&leaves[leaf].1, key).map(at).map_err(at)
    }

    /// The leaf of a place, to be changed: it and its branch are copied if they are shared.
    fn leaf_mut(&mut self, place: Place) -> &mut Leaf<V> {
        let branch = Arc::make_mut(&mut self.branches[place.branch].1);
        Arc::make_mut(&mut branch[place.leaf].1)
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let at = self.find(key).ok()?;
        Some(&self.branches[at.branch].1[at.leaf].1[at.entry].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        Some(&mut self.leaf_mut(at)[at.entry].1)
    }

    /// Sets a key and returns the value it had.
    pub fn insert(&mut self, key: Bytes, value: V) -> Option<V> {
        let at = match self.find(&key) {
            Ok(at) => {
                let present = &mut self.leaf_mut(at)[at.entry].1;
                return Some(std::mem::replace(present, value));
            }
            Err(at) => at,
        };
        self.len += 1;
        if self.branches.is_empty() {
            let leaf = vec![(key, value)];
            let branch = vec![(Bytes::new(), Arc::new(leaf))];
            self.branches = vec![(Bytes::new(), Arc::new(branch))];
            return None;
        }
        let leaf = self.leaf_mut(at);
        leaf.insert(at.entry, (key, value));
        if leaf.len() > LEAF_MAX {
            self.split(at);
        }
        None
    }

    /// Divides a leaf that is too long, and its branch if that becomes too long.
    fn split(&mut self, at: Place) {
        let branch = Arc::make_mut(&mut self.branches[at.branch].1);
        let leaf = Arc::make_mut(&mut branch[at.leaf].1);
        let upper = leaf.split_off(divide(at.entry, leaf.len()));
        let bound = upper[0].0.clone();
        branch.insert(at.leaf + 1, (bound, Arc::new(upper)));
        if branch.len() > BRANCH_MAX {
            let upper = branch.split_off(divide(at.leaf + 1, branch.len()));
            let bound = upper[0].0.clone();
            self.branches
                .insert(at.branch + 1, (bound, Arc::new(upper)));
        }
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let at = self.find(key).ok()?;
        let branch = Arc::make_mut(&mut self.branches[at.branch].1);
        let leaf = Arc::make_mut(&mut branch[at.leaf].1);
        let (_, value) = leaf.remove(at.entry);
        self.len -= 1;
        if leaf.is_empty() {
            drop_part(branch, at.leaf);
            if branch.is_empty() {
                drop_part(&mut self.branches, at.branch);
            }
        }
        Some(value)
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &V)> {
        self.range(Place::default())
    }

    /// Keys at or after `start`, in order.
    pub fn from<'a>(
        &'a self,
        start: &[u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a V)> + use<'a, V> {
        let (Ok(at) | Err(at)) = self.find(start);
        self.range(at)
    }

    fn range(&self, at: Place) -> impl Iterator<Item = (&Bytes, &V)> {
        let first = self.branches.get(at.branch);
        let first = first.map(|(_, branch)| branch[at.leaf..].iter());
        let others = self.branches.iter().skip(at.branch + 1);
        let others = others.flat_map(|(_, branch)| branch.iter());
        first
            .into_iter()
            .flatten()
            .chain(others)
            .flat_map(|(_, leaf)| leaf.iter())
            .skip(at.entry)
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
        let (Ok(at) | Err(at)) = self.find(key);
        let Some((_, last)) = self.branches.get(at.branch) else {
            return 0;
        };
        let before = self.branches[..at.branch].iter();
        let whole = before.flat_map(|(_, branch)| branch.iter());
        let whole = whole.chain(last[..at.leaf].iter());
        whole.map(|(_, leaf)| leaf.len()).sum::<usize>() + at.entry
    }
}

/// The part that holds a key if any does: the last one whose bound is not above it.
fn covering<T>(parts: &Parts<T>, key: &[u8]) -> usize {
    let behind = parts.partition_point(|(bound, _)| bound.as_ref() <= key);
    behind.saturating_sub(1)
}

/// Where to divide a part that grew at `grown`: keys that come in ascending order leave full
/// parts behind, all others halves.
fn divide(grown: usize, length: usize) -> usize {
    if grown + 1 == length {
        length - 1
    } else {
        length / 2
    }
}

/// Takes an empty part out; its successor covers what it covered if it was the first.
fn drop_part<T>(parts: &mut Parts<T>, at: usize) {
    let (bound, _) = parts.remove(at);
    if at == 0
        && let Some(first) = parts.first_mut()
    {
        first.0 = bound;
    }
}

fn position<V>(leaf: &Leaf<V>, key: &[u8]) -> Result<usize, usize> {
    leaf.binary_search_by(|(present, _)| present.as_ref().cmp(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

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

    /// Enough keys for many branches, in an order that divides parts everywhere.
    #[test]
    fn many_branches_stay_in_order_and_clones_stay_as_they_were() {
        const KEYS: u32 = 60_000;
        let name = |number: u32| Bytes::from(format!("{:06}", number * 7_919 % KEYS));
        let mut tree = Tree::default();
        let mut seen = Vec::new();
        for number in 0..KEYS {
            tree.insert(name(number), number);
            if number % 10_000 == 0 {
                seen.push((tree.clone(), number as usize + 1));
            }
        }
        assert!(tree.branches.len() > 3);
        assert!(tree.iter().map(|(key, _)| key).is_sorted());
        assert_eq!(tree.rank(b"030000"), 30_000);
        assert_eq!(tree.from(b"059990").count(), 10);
        assert_eq!(tree.after(b"059990").count(), 9);
        for number in 0..KEYS - 5 {
            assert_eq!(tree.remove(&name(number)), Some(number));
        }
        assert_eq!(
            (tree.iter().count(), tree.branches.len()),
            (5, tree.branches.len().min(5))
        );
        for (clone, count) in seen {
            assert_eq!((clone.len(), clone.iter().count()), (count, count));
            assert!(clone.iter().map(|(key, _)| key).is_sorted());
        }
    }
}
