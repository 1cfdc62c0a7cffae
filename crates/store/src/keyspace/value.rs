//! What a key can hold.

use std::cmp::Ordering;

use super::dict::Dict;
use super::streams::Stream;
use super::text::Text;
use super::tree::{Item, Iter, Probe, Tree};

/// The value of one key: two words, so that a million keys fit side by side.
#[derive(Debug, Clone)]
pub enum Value {
    /// A byte string.
    String(Text),
    /// Fields and values.
    Hash(Box<Hash>),
    /// Distinct byte strings.
    Set(Box<Set>),
    /// Distinct byte strings, each with a score.
    Sorted(Box<SortedSet>),
    /// Byte strings in order.
    List(Box<List>),
    /// Messages in order.
    Stream(Box<Stream>),
}

/// Distinct byte strings.
pub type Set = Dict<()>;

impl Value {
    /// The name `TYPE` answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::Hash(_) => "hash",
            Value::Set(_) => "set",
            Value::Sorted(_) => "zset",
            Value::List(_) => "list",
            Value::Stream(_) => "stream",
        }
    }

    /// Whether a collection has lost its last element: such a key is deleted. A stream stays.
    pub fn is_used_up(&self) -> bool {
        match self {
            Value::String(_) | Value::Stream(_) => false,
            Value::Hash(hash) => hash.len() == 0,
            Value::Set(set) => set.is_empty(),
            Value::Sorted(set) => set.is_empty(),
            Value::List(list) => list.items.is_empty(),
        }
    }
}

/// A type of value, for access by that type.
pub trait Kept: Sized {
    /// The value as this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The value as this type, to be changed.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// A new, empty value.
    fn empty() -> Value;
}

macro_rules! kept {
    ($type:ty, $variant:ident, $empty:expr) => {
        impl Kept for $type {
            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$variant(kept) => Some(kept),
                    _ => None,
                }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$variant(kept) => Some(kept),
                    _ => None,
                }
            }
            fn empty() -> Value {
                Value::$variant($empty)
            }
        }
    };
}

kept!(Text, String, Text::default());
kept!(Hash, Hash, Box::default());
kept!(Set, Set, Box::default());
kept!(SortedSet, Sorted, Box::default());
kept!(List, List, Box::default());
kept!(Stream, Stream, Box::default());

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

/// The value of one field.
#[derive(Debug, Clone)]
pub struct Field {
    /// The value.
    pub value: Text,
    /// When the field ends, in logical Unix milliseconds; 0 = never.
    pub expires_at_ms: u64,
}

/// Fields and values.
///
/// Invariant: `timed` is the number of fields with a deadline.
#[derive(Debug, Clone, Default)]
pub struct Hash {
    fields: Dict<Field>,
    timed: usize,
}

impl Hash {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// All fields, in the order of scans.
    pub fn fields(&self) -> &Dict<Field> {
        &self.fields
    }

    /// The value of a field.
    pub fn get(&self, name: &[u8]) -> Option<&Text> {
        self.fields.get(name).map(|field| &field.value)
    }

    /// Fields with a deadline.
    pub fn timed(&self) -> impl Iterator<Item = (u64, &Text)> {
        let none = self.timed == 0;
        let fields = self.fields.iter().take(if none { 0 } else { usize::MAX });
        fields
            .filter(|entry| entry.value.expires_at_ms != 0)
            .map(|entry| (entry.value.expires_at_ms, &entry.key))
    }

    /// Sets a field; answers whether it is new and the deadline it had. The deadline stays only
    /// when `keep` says so.
    pub fn set(&mut self, name: &[u8], value: Text, keep: bool) -> (bool, u64) {
        let (_, (new, ended)) = self.fields.upsert(name, |found| match found {
            Some(field) => {
                field.value = value;
                let old = if keep {
                    0
                } else {
                    std::mem::take(&mut field.expires_at_ms)
                };
                (None, (false, old))
            }
            None => {
                let field = Field {
                    value,
                    expires_at_ms: 0,
                };
                (Some(field), (true, 0))
            }
        });
        self.timed -= usize::from(ended != 0);
        (new, ended)
    }

    /// Adds a field with its deadline, when a snapshot is read.
    pub fn restore(&mut self, name: &Text, value: Text, expires_at_ms: u64) {
        self.timed += usize::from(expires_at_ms != 0);
        self.fields.insert_shared(
            name,
            Field {
                value,
                expires_at_ms,
            },
        );
    }

    /// Gives a field another deadline (0 = none); answers the field's name as it is kept and the
    /// deadline it had.
    pub fn set_deadline(&mut self, name: &[u8], expires_at_ms: u64) -> Option<(Text, u64)> {
        let (kept, field) = self.fields.get_mut(name)?;
        let old = std::mem::replace(&mut field.expires_at_ms, expires_at_ms);
        let kept = kept.clone();
        self.timed += usize::from(expires_at_ms != 0);
        self.timed -= usize::from(old != 0);
        Some((kept, old))
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &[u8]) -> Option<(Text, Field)> {
        let (name, field) = self.fields.remove(name)?;
        self.timed -= usize::from(field.expires_at_ms != 0);
        Some((name, field))
    }
}

/// Byte strings in order.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The elements.
    pub items: Tree<Element>,
}

/// One element of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Element(pub Text);

impl Item for Element {
    type Bound = ();

    fn bound(&self) {}
}

/// A member with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The score; never NaN.
    pub score: f64,
    /// The member.
    pub member: Text,
}

fn order(one: (f64, &[u8]), other: (f64, &[u8])) -> Ordering {
    let scores = one.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal);
    scores.then_with(|| one.1.cmp(other.1))
}

impl Item for Scored {
    type Bound = (f64, Text);

    fn bound(&self) -> (f64, Text) {
        (self.score, self.member.clone())
    }
}

/// A place in the order of scores, then of names.
struct Place<'a>(f64, &'a [u8]);

impl Probe<Scored> for Place<'_> {
    fn item(&self, item: &Scored) -> Ordering {
        order((item.score, &item.member), (self.0, self.1))
    }

    fn bound(&self, (score, member): &(f64, Text)) -> Ordering {
        order((*score, member), (self.0, self.1))
    }
}

/// Everything that a test of items accepts stands before this; the test is true for a first part
/// of the order and false for the rest.
struct While<F>(F);

impl<F: Fn(f64, &[u8]) -> bool> Probe<Scored> for While<F> {
    fn item(&self, item: &Scored) -> Ordering {
        if (self.0)(item.score, &item.member) {
            Ordering::Less
        } else {
            Ordering::Greater
        }
    }

    fn bound(&self, (score, member): &(f64, Text)) -> Ordering {
        if (self.0)(*score, member) {
            Ordering::Less
        } else {
            Ordering::Greater
        }
    }
}

/// Members ordered by score, then by name.
///
/// Invariant: `by_score` holds exactly one item for each key of `by_member`.
#[derive(Debug, Clone, Default)]
pub struct SortedSet {
    by_member: Dict<f64>,
    by_score: Tree<Scored>,
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

    /// Members in the order of scans.
    pub fn members(&self) -> &Dict<f64> {
        &self.by_member
    }

    /// Sets a member's score and returns the one it had.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let (kept, old) = self.by_member.upsert(member, |found| match found {
            // Equal scores may differ in their sign: zero keeps the one it has.
            Some(present) if *present == score => (None, Some(*present)),
            Some(present) => (None, Some(std::mem::replace(present, score))),
            None => (Some(score), None),
        });
        if old == Some(score) {
            return old;
        }
        if let Some(old) = old {
            self.by_score.remove(&Place(old, member));
        }
        let member = kept.unwrap_or_default();
        self.by_score.upsert(&Place(score, &member.clone()), |_| {
            (Some(Scored { score, member }), ())
        });
        old
    }

    /// A set of members that come in order.
    pub fn restore(members: impl Iterator<Item = Scored>) -> Self {
        let mut set = Self::default();
        for scored in members {
            set.by_member.insert_shared(&scored.member, scored.score);
            set.by_score.push(scored);
        }
        set
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (_, score) = self.by_member.remove(member)?;
        self.by_score.remove(&Place(score, member));
        Some(score)
    }

    /// Members in order.
    pub fn iter(&self) -> Iter<'_, Scored> {
        self.by_score.iter()
    }

    /// Members from the place `start` to before `end`.
    pub fn range(&self, start: usize, end: usize) -> Iter<'_, Scored> {
        self.by_score.range(start, end)
    }

    /// Number of members in the first part of the order, for which `test` is true.
    pub fn count_while(&self, test: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.by_score.rank(&While(test))
    }

    /// Position of a member, the lowest score first.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.by_score.rank(&Place(score, member)), score))
    }
}
