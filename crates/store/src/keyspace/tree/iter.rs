//! Reading a [`super::Tree`] in order, from both ends.

use super::{Item, Tree};

/// Items of a range of places.
pub struct Iter<'a, T: Item> {
    tree: &'a Tree<T>,
    /// Place of the next item from the front.
    next: usize,
    /// Place behind the next item from the back.
    end: usize,
    /// The rest of the leaf at the front; may reach beyond `end`.
    front: &'a [T],
    /// The rest of the leaf at the back; may reach before `next`.
    back: &'a [T],
}

impl<'a, T: Item> Iter<'a, T> {
    pub(super) fn new(tree: &'a Tree<T>, next: usize, end: usize) -> Self {
        Self {
            tree,
            next,
            end,
            front: &[],
            back: &[],
        }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if self.next >= self.end {
            return None;
        }
        if self.front.is_empty() {
            let (items, at) = self.tree.leaf(self.next);
            self.front = items.get(at..)?;
        }
        let (first, rest) = self.front.split_first()?;
        self.front = rest;
        self.next += 1;
        Some(first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }

    fn nth(&mut self, skipped: usize) -> Option<&'a T> {
        self.next = self.next.saturating_add(skipped);
        self.front = self.front.get(skipped..).unwrap_or_default();
        self.next()
    }
}

impl<'a, T: Item> DoubleEndedIterator for Iter<'a, T> {
    fn next_back(&mut self) -> Option<&'a T> {
        if self.next >= self.end {
            return None;
        }
        if self.back.is_empty() {
            let (items, at) = self.tree.leaf(self.end - 1);
            self.back = items.get(..=at)?;
        }
        let (last, rest) = self.back.split_last()?;
        self.back = rest;
        self.end -= 1;
        Some(last)
    }
}

impl<T: Item> ExactSizeIterator for Iter<'_, T> {}
