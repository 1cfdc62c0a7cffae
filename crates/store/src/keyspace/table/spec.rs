//! What is known of a command besides the function that runs it: for `COMMAND`, for access
//! categories, for the router of keys, and for the reference in `docs`.

use bytes::Bytes;

use super::super::parse::{Outcome, Refusal, float, integer, is, refuse};
use super::super::{Effects, Keyspace};

/// A command that only reads.
pub type Read = fn(&Keyspace, &[Bytes]) -> Outcome;
/// A command that may change something.
pub type Write = fn(&mut Keyspace, &[Bytes], &mut Effects) -> Outcome;

/// The SQL commands, which the SQL applier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sql {
    /// `SQL.EXEC statement arguments`
    Exec,
    /// `SQL.QUERY statement arguments`
    Query,
    /// `SQL.MIGRATE version statements`
    Migrate,
}

/// Who runs a command.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The keyspace, without changing it.
    Read(Read),
    /// The keyspace, from the log.
    Write(Write),
    /// The SQL applier.
    Sql(Sql),
}

/// What a command belongs to; an access category of the same name (with `@`) exists in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Any key.
    Generic,
    /// Strings.
    String,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Lists.
    List,
    /// Streams.
    Stream,
    /// Messages.
    Pubsub,
    /// The server as a whole.
    Server,
    /// SQL: not in Redis.
    Sql,
}

impl Group {
    /// The group as `COMMAND DOCS` names it.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Hash => "hash",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::List => "list",
            Group::Stream => "stream",
            Group::Pubsub => "pubsub",
            Group::Server => "server",
            Group::Sql => "sql",
        }
    }

    fn category(self) -> &'static str {
        match self {
            Group::Generic => "@keyspace",
            Group::String => "@string",
            Group::Hash => "@hash",
            Group::Set => "@set",
            Group::SortedSet => "@sortedset",
            Group::List => "@list",
            Group::Stream => "@stream",
            Group::Pubsub => "@pubsub",
            Group::Server => "@admin",
            Group::Sql => "@sql",
        }
    }
}

/// Where the keys of a command stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// There are none.
    None,
    /// From `first` to `last` (negative: from the end) in steps of `step`.
    Range(u8, i8, u8),
    /// As many as the argument at this place says, behind it.
    Counted(u8),
    /// A destination at 1, then as many as the argument at 2 says, behind it.
    Stored,
    /// The first half of what follows the word `STREAMS`.
    Streams,
}

/// Properties of a command, as bits.
pub mod flags {
    /// Takes constant or logarithmic time.
    pub const FAST: u16 = 1;
    /// May make the store larger.
    pub const DENYOOM: u16 = 2;
    /// A client waits when there is nothing to answer; in the log it answers at once.
    pub const BLOCKING: u16 = 4;
    /// Touches everything, or takes long: the category `@dangerous`.
    pub const DANGEROUS: u16 = 8;
    /// Not for clients.
    pub const INTERNAL: u16 = 16;
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Spec {
    /// Lower-case name.
    pub name: &'static str,
    /// Number of words; negative: at least that many.
    pub arity: i32,
    /// Who runs it.
    pub kind: Kind,
    /// What it belongs to.
    pub group: Group,
    /// Bits of [`flags`].
    pub bits: u16,
    /// Where its keys are.
    pub keys: Keys,
    /// Arguments, as the reference shows them.
    pub syntax: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Version of Redis that had it first; empty when Redis has no such command.
    pub since: &'static str,
    /// How it differs from Redis 7; mostly empty.
    pub differs: &'static str,
}

impl Spec {
    /// A row without properties.
    pub const fn new(group: Group, name: &'static str, arity: i32, kind: Kind) -> Spec {
        Spec {
            name,
            arity,
            kind,
            group,
            bits: 0,
            keys: Keys::Range(1, 1, 1),
            syntax: "key",
            summary: "",
            since: "1.0.0",
            differs: "",
        }
    }

    /// Arguments and meaning.
    pub const fn says(self, syntax: &'static str, summary: &'static str) -> Spec {
        Spec {
            syntax,
            summary,
            ..self
        }
    }

    /// Moves it to another group.
    pub const fn group(self, group: Group) -> Spec {
        Spec { group, ..self }
    }

    /// The version of Redis that had it first.
    pub const fn since(self, since: &'static str) -> Spec {
        Spec { since, ..self }
    }

    /// Adds [`flags`].
    pub const fn bits(self, bits: u16) -> Spec {
        Spec {
            bits: self.bits | bits,
            ..self
        }
    }

    /// Where its keys are; the default is one key behind the name.
    pub const fn keys(self, keys: Keys) -> Spec {
        Spec { keys, ..self }
    }

    /// What is not as in Redis 7.
    pub const fn differs(self, differs: &'static str) -> Spec {
        Spec { differs, ..self }
    }

    /// Whether it can be answered without the log.
    pub fn is_read(&self) -> bool {
        matches!(self.kind, Kind::Read(_) | Kind::Sql(Sql::Query))
    }

    /// Whether a client waits when there is nothing to answer.
    pub fn is_blocking(&self) -> bool {
        self.bits & flags::BLOCKING != 0
    }

    /// Whether only this store's own code may send it.
    pub fn is_internal(&self) -> bool {
        self.bits & flags::INTERNAL != 0
    }

    /// Whether an access category (with its `@`) includes the command.
    pub fn is_in(&self, category: &str) -> bool {
        category == "@all" || self.categories().contains(&category)
    }

    /// The access categories, as `COMMAND INFO` lists them.
    pub fn categories(&self) -> Vec<&'static str> {
        let fast = self.bits & flags::FAST != 0;
        let mut found = vec![
            if self.is_read() { "@read" } else { "@write" },
            self.group.category(),
            if fast { "@fast" } else { "@slow" },
        ];
        if self.is_blocking() {
            found.push("@blocking");
        }
        if self.bits & flags::DANGEROUS != 0 {
            found.push("@dangerous");
        }
        found
    }

    /// The flags, as `COMMAND INFO` lists them.
    pub fn flag_names(&self) -> Vec<&'static str> {
        let mut found = vec![if self.is_read() { "readonly" } else { "write" }];
        let named = [
            (flags::DENYOOM, "denyoom"),
            (flags::FAST, "fast"),
            (flags::BLOCKING, "blocking"),
        ];
        for (bit, name) in named {
            if self.bits & bit != 0 {
                found.push(name);
            }
        }
        if matches!(self.keys, Keys::Counted(_) | Keys::Stored | Keys::Streams) {
            found.push("movablekeys");
        }
        found
    }

    /// First key, last key and step, as `COMMAND INFO` answers them.
    pub fn key_places(&self) -> (i64, i64, i64) {
        match self.keys {
            Keys::None | Keys::Counted(_) | Keys::Streams => (0, 0, 0),
            Keys::Range(first, last, step) => (i64::from(first), i64::from(last), i64::from(step)),
            Keys::Stored => (1, 1, 1),
        }
    }

    /// The keys of one command of this row (`COMMAND GETKEYS`, routing, access by pattern).
    pub fn keys_of<'a>(&self, command: &'a [Bytes]) -> Vec<&'a Bytes> {
        let counted = |at: usize| {
            let number = command.get(at).and_then(|text| integer(text).ok());
            let number = number.and_then(|number| usize::try_from(number).ok());
            command.iter().skip(at + 1).take(number.unwrap_or(0))
        };
        match self.keys {
            Keys::None => Vec::new(),
            Keys::Range(first, last, step) => {
                let last = if last < 0 {
                    command
                        .len()
                        .saturating_sub(usize::from(last.unsigned_abs()) - 1)
                } else {
                    usize::from(last.unsigned_abs()) + 1
                };
                let end = last.min(command.len());
                let range = command.get(usize::from(first)..end).unwrap_or_default();
                range.iter().step_by(usize::from(step)).collect()
            }
            Keys::Counted(at) => counted(usize::from(at)).collect(),
            Keys::Stored => command.iter().skip(1).take(1).chain(counted(2)).collect(),
            Keys::Streams => {
                let start = command.iter().position(|word| is(word, "STREAMS"));
                let rest = start.map_or(&[][..], |start| &command[start + 1..]);
                rest[..rest.len() / 2].iter().collect()
            }
        }
    }

    #[allow(dead_code, reason = "for the door, which makes clients wait")]
    /// How long a blocking command waits, in milliseconds; 0 = for ever, `None` = not at all.
    pub fn waits_ms(&self, command: &[Bytes]) -> Result<Option<u64>, Refusal> {
        if !self.is_blocking() {
            return Ok(None);
        }
        if self.keys == Keys::Streams {
            let end = command.iter().position(|word| is(word, "STREAMS"));
            let options = &command[..end.unwrap_or(command.len())];
            let Some(at) = options.iter().position(|word| is(word, "BLOCK")) else {
                return Ok(None);
            };
            let wrong = refuse("ERR timeout is not an integer or out of range");
            let amount = integer(command.get(at + 1).unwrap_or(&Bytes::new()));
            let amount = amount.map_err(|_| wrong)?;
            let negative = refuse("ERR timeout is negative");
            return u64::try_from(amount).map(Some).map_err(|_| negative);
        }
        let at = match self.keys {
            Keys::Counted(at) => usize::from(at) - 1,
            _ => command.len() - 1,
        };
        timeout_ms(command.get(at).unwrap_or(&Bytes::new())).map(Some)
    }
}

/// Longest wait of a blocking command; longer is refused, as in Redis.
const WAIT_MS_MAX: f64 = 9.2e18;

/// Seconds with decimals as milliseconds.
pub fn timeout_ms(text: &[u8]) -> Result<u64, Refusal> {
    let seconds = float(text, refuse("ERR timeout is not a float or out of range"))?;
    let ms = (seconds * 1_000.0).ceil();
    if ms < 0.0 {
        return Err(refuse("ERR timeout is negative"));
    }
    if ms > WAIT_MS_MAX {
        return Err(refuse("ERR timeout is out of range"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(ms as u64)
}
