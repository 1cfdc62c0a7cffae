//! The state machine: keyspace, SQL and duplicate detection, in log order.
//!
//! Owner: the Raft library calls `raft::applier`, which holds the lock and calls
//! [`State::apply`] for one entry after the other. Readers take the lock shared.
//!
//! Invariant: everything in [`State`] follows from the applied entries alone; the SQL file may be
//! ahead of it (never behind) because it survives a restart that the memory does not.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::batch::{Applied, Batch, NO_ORIGIN, Requests};
use crate::histogram::Timings;
use crate::keyspace::{Effects, Keyspace, Kind, Sql, WATCHED, find};
use crate::origins::{Admission, Origins};
use crate::reply::{Command, Reply, Request};
use crate::sql::{self, Ask, Database};

/// The replicated state.
#[derive(Debug, Default)]
pub struct State {
    /// Keys.
    pub space: Keyspace,
    /// Duplicate detection.
    pub origins: Origins,
    /// Index of the last applied entry.
    pub applied: u64,
}

/// The state and the SQL file beside it.
pub struct Machine {
    /// The state; written by the applier only.
    pub state: RwLock<State>,
    /// The SQL file.
    pub database: Database,
    /// How long things take.
    pub timings: Timings,
}

/// Shared handle.
pub type SharedMachine = Arc<Machine>;

impl Machine {
    /// An empty state with its SQL file.
    pub fn new(database: Database) -> Machine {
        Machine {
            state: RwLock::default(),
            database,
            timings: Timings::default(),
        }
    }

    /// Answers a command from this node's state.
    pub fn read(&self, command: &[Bytes]) -> Reply {
        match find(command).map(|spec| spec.kind) {
            Ok(Kind::Sql(Sql::Query)) => self.sql_query(command),
            _ => self.state.read().space.read(command),
        }
    }

    fn sql_query(&self, command: &[Bytes]) -> Reply {
        let sql = String::from_utf8_lossy(&command[1]);
        let args = match command.get(2).map(|json| serde_json::from_slice(json)) {
            None => Vec::new(),
            Some(Ok(serde_json::Value::Array(args))) => args,
            Some(_) => return Reply::error("ERR SQL the arguments must be a JSON array"),
        };
        match self
            .database
            .query(&sql, &args)
            .map(|rows| serde_json::to_vec(&rows))
        {
            Ok(Ok(text)) => Reply::Bulk(Bytes::from(text)),
            Ok(Err(error)) => Reply::Error(format!("ERR SQL {error}")),
            Err(error) => Reply::Error(format!("ERR SQL {error}")),
        }
    }
}

impl State {
    /// Applies one entry. SQL stays in its open transaction until the caller commits it.
    pub fn apply(
        &mut self,
        index: u64,
        batch: &Batch,
        database: &Database,
        effects: &mut Effects,
    ) -> Applied {
        self.applied = index;
        self.space.advance(batch.now_ms, effects);
        let guarded = batch.origin != NO_ORIGIN;
        if guarded
            && !self
                .origins
                .begin(batch.origin, batch.first, batch.floor, index)
        {
            return Applied {
                replies: Vec::new(),
                gap: true,
            };
        }
        let mut requests = Requests::new(&batch.body);
        let mut entry = Entry {
            index,
            position: 0,
            database,
        };
        let mut replies = Vec::with_capacity(batch.count as usize);
        for sequence in (batch.first..).take(batch.count as usize) {
            let request = requests.next();
            if guarded && let Admission::Repeat(reply) = self.origins.admit(batch.origin, sequence)
            {
                replies.push(reply);
                continue;
            }
            let reply = match request {
                Some(request) => self.request(&request, &mut entry, effects),
                None => Reply::error("ERR malformed log entry"),
            };
            if guarded {
                self.origins.keep(batch.origin, &reply);
            }
            replies.push(reply);
        }
        Applied {
            replies,
            gap: false,
        }
    }

    /// Applies the commands of one request. SQL first: if any of it fails, none of the request is
    /// applied. Commands of the keyspace fail one by one, as in a `MULTI` of Redis.
    /// A checksum of everything that follows from the log: the same on every server.
    pub fn digest(&self) -> Result<u64, postcard::Error> {
        let dump = self.space.dump();
        let head = (self.applied, dump.clock_ms, dump.expired, &self.origins);
        let mut sum = u64::from(crc32c::crc32c(&postcard::to_stdvec(&head)?));
        for record in dump.records() {
            let part = u64::from(crc32c::crc32c(&postcard::to_stdvec(&record)?));
            sum = (sum.rotate_left(5) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        Ok(sum)
    }

    fn request(&mut self, request: &Request, entry: &mut Entry, effects: &mut Effects) -> Reply {
        if let [command] = request.as_slice()
            && !is_sql(command)
        {
            return self.keyed(command, effects);
        }
        // What a transaction depends on stands before its commands: one changed key ends it.
        let commands = match request.split_first() {
            Some((first, rest)) if is_watched(first) => {
                if self.space.watched_differ(first) {
                    return Reply::Nil;
                }
                rest
            }
            _ => request,
        };
        let mut done = match self.sql(commands, entry) {
            Ok(replies) => replies.into_iter(),
            Err(failure) => return aborted(failure, request.len()),
        };
        let mut replies = commands.iter().map(|command| {
            if is_sql(command) {
                done.next().unwrap_or(Reply::Nil)
            } else {
                self.keyed(command, effects)
            }
        });
        match request.as_slice() {
            [_] => replies.next().unwrap_or(Reply::Nil),
            _ => Reply::Array(replies.collect()),
        }
    }

    fn keyed(&mut self, command: &[Bytes], effects: &mut Effects) -> Reply {
        match find(command) {
            Ok(spec) => self.space.run(spec, command, effects),
            Err(refusal) => refusal.into(),
        }
    }

    /// Runs the SQL commands of a request, all or nothing.
    fn sql(&self, request: &[Command], entry: &mut Entry) -> sql::Outcome {
        let mut commands: Vec<(Sql, &[Bytes])> = Vec::new();
        for command in request.iter().filter(|command| is_sql(command)) {
            match find(command) {
                Ok(spec) => match spec.kind {
                    Kind::Sql(kind) => commands.push((kind, command)),
                    _ => return Err(Reply::error("ERR not an SQL command")),
                },
                Err(refusal) => return Err(refusal.into()),
            }
        }
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let ask = Ask {
            index: entry.index,
            position: entry.position,
            clock_ms: self.space.clock_ms(),
        };
        entry.position += u32::try_from(commands.len()).unwrap_or(u32::MAX);
        entry.database.run(ask, &commands)
    }
}

fn is_watched(command: &[Bytes]) -> bool {
    command
        .first()
        .is_some_and(|name| name.eq_ignore_ascii_case(WATCHED.as_bytes()))
}

/// Whether the SQL applier runs a command.
fn is_sql(command: &[Bytes]) -> bool {
    let name = command.first().map(Bytes::as_ref).unwrap_or_default();
    name.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"sql."))
}

/// The reply of a request that was not applied because its SQL failed.
fn aborted(failure: Reply, commands: usize) -> Reply {
    match failure {
        Reply::Error(text) if commands > 1 => Reply::Error(format!(
            "EXECABORT Transaction discarded because of: {text}"
        )),
        failure => failure,
    }
}

/// Where in the log a request stands.
struct Entry<'a> {
    index: u64,
    position: u32,
    database: &'a Database,
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn machine() -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(&directory.path().join("a.db")).expect("opens");
        (directory, Machine::new(database))
    }

    fn command(line: &str) -> Vec<Bytes> {
        line.split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect()
    }

    fn batch(origin: u64, first: u64, lines: &[&str]) -> Batch {
        let mut body = BytesMut::new();
        for line in lines {
            let request = line.split(';').map(command).collect();
            body.extend_from_slice(&crate::batch::encode(&request).expect("accepted"));
        }
        let count = u32::try_from(lines.len()).expect("few");
        Batch {
            now_ms: 1_000,
            origin,
            first,
            floor: first,
            count,
            body: body.freeze(),
        }
    }

    fn apply(machine: &Machine, index: u64, batch: &Batch) -> Applied {
        let mut effects = Effects::default();
        let mut state = machine.state.write();
        let applied = state.apply(index, batch, &machine.database, &mut effects);
        machine.database.commit().expect("committed");
        applied
    }

    #[test]
    fn a_batch_that_comes_twice_is_applied_once() {
        let (_directory, machine) = machine();
        let batch = batch(7, 1, &["INCR a", "INCR a;GET a"]);
        let first = apply(&machine, 1, &batch);
        let both = Reply::Array(vec![Reply::Int(2), Reply::Bulk(Bytes::from_static(b"2"))]);
        assert_eq!(first.replies, vec![Reply::Int(1), both]);
        assert_eq!(apply(&machine, 2, &batch), first);
        assert_eq!(
            machine.read(&command("GET a")),
            Reply::Bulk(Bytes::from_static(b"2"))
        );
    }

    #[test]
    fn a_batch_behind_a_gap_is_not_applied() {
        let (_directory, machine) = machine();
        assert!(!apply(&machine, 1, &batch(7, 1, &["INCR a"])).gap);
        let mut late = batch(7, 3, &["INCR a"]);
        late.floor = 2;
        assert!(apply(&machine, 2, &late).gap);
        assert_eq!(
            machine.read(&command("GET a")),
            Reply::Bulk(Bytes::from_static(b"1"))
        );
    }

    #[test]
    fn requests_without_an_origin_are_applied_each_time() {
        let (_directory, machine) = machine();
        let batch = batch(NO_ORIGIN, 0, &["INCR a"]);
        apply(&machine, 1, &batch);
        assert_eq!(apply(&machine, 2, &batch).replies, vec![Reply::Int(2)]);
    }

    #[test]
    fn a_request_whose_watched_key_has_changed_does_nothing() {
        let (_directory, machine) = machine();
        apply(&machine, 1, &batch(7, 1, &["SET a 1"]));
        let version = machine.state.read().space.version(b"a");
        let line = format!("WATCHED a {version} b 0;INCR a");
        let replies = apply(&machine, 2, &batch(7, 2, &[&line, &line])).replies;
        assert_eq!(replies, vec![Reply::Array(vec![Reply::Int(2)]), Reply::Nil]);
        let gone = apply(&machine, 3, &batch(7, 4, &["DEL a", "WATCHED a 0;SET a 9"])).replies;
        assert_eq!(gone, vec![Reply::Int(1), Reply::Nil]);
        let version = machine.state.read().space.version(b"a");
        let line = format!("WATCHED a {version};SET a 9");
        let again = apply(&machine, 4, &batch(7, 6, &[&line])).replies;
        assert_eq!(again, vec![Reply::Array(vec![Reply::Ok])]);
    }

    #[test]
    fn malformed_bodies_answer_errors() {
        let (_directory, machine) = machine();
        let mut batch = batch(7, 1, &["INCR a", "INCR a"]);
        batch.body = batch.body.slice(..batch.body.len() - 1);
        let applied = apply(&machine, 1, &batch);
        assert_eq!(applied.replies[0], Reply::Int(1));
        assert!(applied.replies[1].is_error());
    }

    fn words(words: &[&str]) -> Vec<Bytes> {
        let bytes = words.iter().map(|word| word.as_bytes());
        bytes.map(Bytes::copy_from_slice).collect()
    }

    /// One request of several commands.
    fn together(commands: Vec<Vec<Bytes>>) -> Batch {
        Batch {
            now_ms: 1_000,
            count: 1,
            body: crate::batch::encode(&commands).expect("accepted"),
            ..Batch::default()
        }
    }

    const TABLE: &[&str] = &["SQL.MIGRATE", "1", "CREATE TABLE t (a UNIQUE, at)"];
    const INSERT: &[&str] = &["SQL.EXEC", "INSERT INTO t VALUES (1, entry_time())"];

    #[test]
    fn failing_sql_leaves_the_keyspace_as_it_was() {
        let (directory, machine) = machine();
        let insert = || vec![words(&["INCR", "a"]), words(INSERT)];
        apply(&machine, 1, &together(vec![words(TABLE)]));
        let replies = apply(&machine, 2, &together(insert())).replies;
        assert_eq!(replies, vec![Reply::Array(vec![Reply::Int(1); 2])]);
        // The second one is refused by the table: neither it nor the keyspace changes.
        let refused = apply(&machine, 3, &together(insert())).replies;
        assert!(matches!(&refused[0], Reply::Error(text) if text.starts_with("EXECABORT ")));
        let malformed = vec![words(&["INCR", "a"]), words(&["SQL.EXEC"])];
        assert!(apply(&machine, 4, &together(malformed)).replies[0].is_error());
        let get = || {
            vec![
                words(&["GET", "a"]),
                words(&["SQL.QUERY", "SELECT at FROM t"]),
            ]
        };
        let seen = apply(&machine, 5, &together(get())).replies;
        let both = vec![Reply::text("1"), Reply::text(r#"[{"at":1000}]"#)];
        assert_eq!(seen, vec![Reply::Array(both)]);

        // After a crash the file has all of it and the keyspace nothing: a replay decides the same.
        drop(machine);
        let database = Database::open(&directory.path().join("a.db")).expect("opens");
        let machine = Machine::new(database);
        apply(&machine, 1, &together(vec![words(TABLE)]));
        assert_eq!(
            apply(&machine, 2, &together(insert())).replies,
            vec![Reply::Array(vec![Reply::Int(1); 2])]
        );
        assert_eq!(apply(&machine, 3, &together(insert())).replies, refused);
        assert_eq!(machine.read(&command("GET a")), Reply::text("1"));
    }
}
