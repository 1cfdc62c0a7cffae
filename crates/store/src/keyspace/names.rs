//! The names of keys in order, for whoever reads by prefix.

use std::cmp::Ordering;

use bytes::Bytes;

use super::dict::Dict;
use super::text::{Share, Text};
use super::tree::{Item, Probe, Tree};
use super::value::{Slot, Value};
use crate::event::Change;

/// The name of a key, in the order of names.
#[derive(Debug, Clone)]
pub struct Name(pub Text);

impl Item for Name {
    type Bound = Text;

    fn bound(&self) -> Text {
        self.0.clone()
    }
}

impl Probe<Name> for &[u8] {
    fn item(&self, item: &Name) -> Ordering {
        item.0.as_ref().cmp(self)
    }

    fn bound(&self, bound: &Text) -> Ordering {
        bound.as_ref().cmp(self)
    }
}

/// The end of the names that begin with a prefix.
pub struct Behind<'a>(pub &'a [u8]);

impl Probe<Name> for Behind<'_> {
    fn item(&self, item: &Name) -> Ordering {
        self.bound(&item.0)
    }

    fn bound(&self, bound: &Text) -> Ordering {
        if bound.starts_with(self.0) {
            Ordering::Less
        } else {
            bound.as_ref().cmp(self.0)
        }
    }
}

/// The keys as they were at one moment.
#[derive(Debug, Clone)]
pub struct Frozen {
    pub(super) slots: Dict<Slot>,
    pub(super) names: Tree<Name>,
}

impl Frozen {
    /// All string keys with one of the prefixes, in order, each once.
    pub fn strings<'a>(&'a self, prefixes: &'a [Bytes]) -> impl Iterator<Item = Change> + 'a {
        let mut sorted: Vec<&[u8]> = prefixes.iter().map(Bytes::as_ref).collect();
        sorted.sort_unstable();
        // What begins with another prefix is met there.
        sorted.dedup_by(|longer, shorter| longer.starts_with(shorter));
        let names = sorted.into_iter().flat_map(|prefix| {
            let end = self.names.rank(&Behind(prefix));
            self.names.range(self.names.rank(&prefix), end)
        });
        names.filter_map(|name| match &self.slots.get(&name.0)?.value {
            Value::String(value) => Some(Change {
                key: name.0.share(),
                value: Some(value.share()),
            }),
            _ => None,
        })
    }
}
