//! A sequence that is cheap to clone and counts its items: the ground of every collection here.
//!
//! ```text
//!            branch: (lowest item, how many, node)*
//!           /                \
//!      branch ...          branch ...
//!     /      \
//!  leaf: items in order    leaf ...
//! ```
//!
//! Nodes are shared between clones until one side writes to them: a clone costs one reference
//! count, and each first write behind it copies the nodes on one path. So a snapshot reads a
//! frozen copy at leisure, and a change of a list of a million items copies three nodes.
//!
//! Items are found by what orders them ([`Probe`]) or by their place ([`Nth`]); both take
//! logarithmic time, and so does the place of an item ([`Tree::rank`]).
//!
//! Invariants: every leaf is as deep as every other; no node is empty but a lone root; an item is
//! at or above the bound of its child and below the bound of the next one. The bound of a node's
//! first child is not relied upon: items below it are looked for there too.

mod iter;
mod node;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

pub use iter::Iter;
use node::{Growth, Node};

/// What a tree holds.
pub trait Item: Clone + fmt::Debug {
    /// What branches keep of the lowest item of a child.
    type Bound: Clone + fmt::Debug;

    /// See [`Item::Bound`].
    fn bound(&self) -> Self::Bound;
}

/// What is looked for in an ordered tree. Both answers say how the argument stands to it.
pub trait Probe<T: Item> {
    /// Compares an item with what is looked for.
    fn item(&self, item: &T) -> Ordering;

    /// Compares a bound with what is looked for.
    fn bound(&self, bound: &T::Bound) -> Ordering;
}

/// Finds the way from the root to a place.
pub trait Steer<T: Item> {
    /// The child to go on with.
    fn down(&mut self, children: &[node::Child<T>]) -> usize;

    /// The item (`Ok`), or where it would be inserted.
    fn land(&mut self, items: &[T]) -> Result<usize, usize>;
}

/// The item at a place.
pub struct Nth(pub usize);

/// The gap before the item at a place.
pub struct Before(pub usize);

struct By<'a, P>(&'a P);

/// See the module head.
#[derive(Debug, Clone)]
pub struct Tree<T: Item> {
    root: Arc<Node<T>>,
    len: usize,
}

impl<T: Item> Default for Tree<T> {
    fn default() -> Self {
        Self {
            root: Arc::new(Node::Leaf(Vec::new())),
            len: 0,
        }
    }
}

impl<T: Item> Tree<T> {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The item a probe describes.
    pub fn get(&self, probe: &impl Probe<T>) -> Option<&T> {
        self.reach(&mut By(probe))
    }

    /// The item at a place.
    pub fn nth(&self, at: usize) -> Option<&T> {
        self.reach(&mut Nth(at))
    }

    fn reach(&self, steer: &mut impl Steer<T>) -> Option<&T> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(items) => return items.get(steer.land(items).ok()?),
                Node::Branch(children) => node = &children[steer.down(children)].node,
            }
        }
    }

    /// The item a probe describes, to be changed (its order must stay the same).
    pub fn get_mut(&mut self, probe: &impl Probe<T>) -> Option<&mut T> {
        self.reach_mut(&mut By(probe))
    }

    /// The item at a place, to be changed (its order must stay the same).
    pub fn nth_mut(&mut self, at: usize) -> Option<&mut T> {
        self.reach_mut(&mut Nth(at))
    }

    fn reach_mut(&mut self, steer: &mut impl Steer<T>) -> Option<&mut T> {
        let mut node = &mut self.root;
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(items) => {
                    let at = steer.land(items).ok()?;
                    return items.get_mut(at);
                }
                Node::Branch(children) => {
                    let at = steer.down(children);
                    node = &mut children[at].node;
                }
            }
        }
    }

    /// Hands out the item a probe describes, to be changed; when there is none, inserts the one
    /// that `visit` answers, if any. One descent.
    pub fn upsert<R>(
        &mut self,
        probe: &impl Probe<T>,
        visit: impl FnOnce(Option<&mut T>) -> (Option<T>, R),
    ) -> R {
        let (answer, growth) = node::place(&mut self.root, &mut By(probe), visit);
        self.grow(growth);
        answer
    }

    /// Inserts an item before the one at a place (at the end when there is none).
    pub fn insert_at(&mut self, at: usize, item: T) {
        let mut before = Before(at.min(self.len));
        let ((), growth) = node::place(&mut self.root, &mut before, |_| (Some(item), ()));
        self.grow(growth);
    }

    /// Appends an item.
    pub fn push(&mut self, item: T) {
        self.insert_at(self.len, item);
    }

    fn grow(&mut self, growth: Growth<T>) {
        match growth {
            Growth::None => {}
            Growth::One => self.len += 1,
            Growth::Split(right) => {
                self.len += 1;
                node::raise(&mut self.root, self.len, right);
            }
        }
    }

    /// Removes the item a probe describes.
    pub fn remove(&mut self, probe: &impl Probe<T>) -> Option<T> {
        self.take(&mut By(probe))
    }

    /// Removes the item at a place.
    pub fn remove_at(&mut self, at: usize) -> Option<T> {
        self.take(&mut Nth(at))
    }

    fn take(&mut self, steer: &mut impl Steer<T>) -> Option<T> {
        let item = node::take(&mut self.root, steer)?;
        self.len -= 1;
        while let Node::Branch(children) = &*self.root {
            if children.len() > 1 {
                break;
            }
            let only = children[0].node.clone();
            self.root = only;
        }
        Some(item)
    }

    /// Keeps the items from `start` to before `end`.
    pub fn keep(&mut self, start: usize, end: usize) {
        let end = end.min(self.len);
        if start >= end {
            *self = Self::default();
        } else if (end - start) * 2 < self.len {
            let mut kept = Self::default();
            self.range(start, end)
                .for_each(|item| kept.push(item.clone()));
            *self = kept;
        } else {
            (end..self.len)
                .rev()
                .for_each(|at| drop(self.remove_at(at)));
            (0..start).for_each(|_| drop(self.remove_at(0)));
        }
    }

    /// Number of items below what a probe describes.
    pub fn rank(&self, probe: &impl Probe<T>) -> usize {
        let mut below = 0;
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(items) => {
                    return below + items.partition_point(|item| probe.item(item).is_lt());
                }
                Node::Branch(children) => {
                    let at = By(probe).down(children);
                    below += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// All items in order.
    pub fn iter(&self) -> Iter<'_, T> {
        self.range(0, self.len)
    }

    /// The items from the place `start` to before `end`; can be read from both ends.
    pub fn range(&self, start: usize, end: usize) -> Iter<'_, T> {
        Iter::new(self, start, end.min(self.len))
    }

    /// The items at or above what a probe describes, in order.
    pub fn from(&self, probe: &impl Probe<T>) -> Iter<'_, T> {
        self.range(self.rank(probe), self.len)
    }

    /// The items of the leaf that holds the place `at`, and where it stands among them.
    fn leaf(&self, mut at: usize) -> (&[T], usize) {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(items) => return (items, at),
                Node::Branch(children) => {
                    let (child, rest) = node::within(children, at);
                    at = rest;
                    node = &children[child].node;
                }
            }
        }
    }
}

impl<T: Item> FromIterator<T> for Tree<T> {
    /// Items must come in order.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut tree = Tree::default();
        items.into_iter().for_each(|item| tree.push(item));
        tree
    }
}

impl<T: Item> Steer<T> for Nth {
    fn down(&mut self, children: &[node::Child<T>]) -> usize {
        let (child, rest) = node::within(children, self.0);
        self.0 = rest;
        child
    }

    fn land(&mut self, items: &[T]) -> Result<usize, usize> {
        if self.0 < items.len() {
            Ok(self.0)
        } else {
            Err(items.len())
        }
    }
}

impl<T: Item> Steer<T> for Before {
    fn down(&mut self, children: &[node::Child<T>]) -> usize {
        let (child, rest) = node::within(children, self.0);
        self.0 = rest;
        child
    }

    fn land(&mut self, items: &[T]) -> Result<usize, usize> {
        Err(self.0.min(items.len()))
    }
}

impl<T: Item, P: Probe<T>> Steer<T> for By<'_, P> {
    fn down(&mut self, children: &[node::Child<T>]) -> usize {
        let above = children.partition_point(|child| self.0.bound(&child.bound).is_le());
        above.saturating_sub(1)
    }

    fn land(&mut self, items: &[T]) -> Result<usize, usize> {
        items.binary_search_by(|item| self.0.item(item))
    }
}
