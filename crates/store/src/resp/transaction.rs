//! `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH`: a transaction is one request of the log.
//!
//! `WATCH` remembers the version that a key had under the leader's lease. `EXEC` sends the
//! versions in front of the commands, and the log applies all of them or, when a version has
//! changed, nothing.

use bytes::Bytes;

use super::local;
use super::session::{Session, Step, refuse};
use super::shape::{Part, Shape};
use crate::keyspace::{arity_refusal, find, unknown_command};
use crate::limits::{TRANSACTION_COMMANDS_MAX, WATCHED_KEYS_MAX};
use crate::reply::{Command, Reply, Request};
use crate::store::Store;

/// A queued command.
#[derive(Debug)]
enum Queued {
    /// For the log.
    Logged(Command, Shape),
    /// About the connection or the server; answered when `EXEC` comes.
    Local(Command),
}

/// What a session has watched and queued.
#[derive(Debug, Default)]
pub struct Transaction {
    queued: Option<Vec<Queued>>,
    /// A queued command was refused.
    spoiled: bool,
    /// Keys and their versions, each key once.
    watched: Vec<(Bytes, Bytes)>,
}

impl Transaction {
    /// Whether `MULTI` was sent.
    pub fn is_open(&self) -> bool {
        self.queued.is_some()
    }

    /// Commands queued since `MULTI`.
    pub fn queued(&self) -> Option<usize> {
        self.queued.as_ref().map(Vec::len)
    }

    /// Number of watched keys.
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// A command of an open transaction was refused: `EXEC` will refuse too.
    pub fn spoil(&mut self) {
        self.spoiled = self.is_open();
    }

    /// Keys that are not watched yet.
    fn unwatched(&self, keys: &[Bytes]) -> Vec<Bytes> {
        let mut new: Vec<Bytes> = Vec::new();
        for key in keys {
            let known = self.watched.iter().any(|(watched, _)| watched == key);
            if !known && !new.contains(key) {
                new.push(Bytes::copy_from_slice(key));
            }
        }
        new
    }

    /// The versions that `WATCH` asked for are known.
    pub fn watch(&mut self, versions: Vec<(Bytes, Bytes)>) {
        self.watched.extend(versions);
    }

    fn close(&mut self) -> Option<Vec<Queued>> {
        self.spoiled = false;
        self.watched.clear();
        self.queued.take()
    }
}

impl Session {
    pub(super) fn transaction_command(
        &mut self,
        name: &str,
        command: Command,
        store: &Store,
    ) -> Step {
        let arity_fits = (name == "WATCH") == (command.len() > 1);
        if !arity_fits {
            self.transaction.spoil();
            return Step::Answer(arity_refusal(&name.to_ascii_lowercase()).into());
        }
        match name {
            "MULTI" if self.transaction.is_open() => refuse("ERR MULTI calls can not be nested"),
            "MULTI" => {
                self.transaction.queued = Some(Vec::new());
                Step::Answer(Reply::Ok)
            }
            "WATCH" if self.transaction.is_open() => {
                refuse("ERR WATCH inside MULTI is not allowed")
            }
            "WATCH" => self.watch(&command[1..]),
            "UNWATCH" if self.transaction.is_open() => self.queue(name, command),
            "UNWATCH" => {
                self.transaction.watched.clear();
                Step::Answer(Reply::Ok)
            }
            _ if !self.transaction.is_open() => refuse(format!("ERR {name} without MULTI")),
            "DISCARD" => {
                self.transaction.close();
                Step::Answer(Reply::Ok)
            }
            _ => self.execute(store),
        }
    }

    fn watch(&mut self, keys: &[Bytes]) -> Step {
        let new = self.transaction.unwatched(keys);
        if self.transaction.watched.len() + new.len() > WATCHED_KEYS_MAX {
            self.shared.counters.limited();
            return refuse(format!("ERR at most {WATCHED_KEYS_MAX} watched keys"));
        }
        if new.is_empty() {
            return Step::Answer(Reply::Ok);
        }
        Step::Watch(new)
    }

    pub(super) fn queue(&mut self, name: &str, command: Command) -> Step {
        let queued = match self.queueable(name, command) {
            Ok(queued) => queued,
            Err(refusal) => {
                self.transaction.spoil();
                return Step::Answer(refusal);
            }
        };
        let Some(commands) = &mut self.transaction.queued else {
            return refuse("ERR EXEC without MULTI");
        };
        // One place is kept for the watched versions.
        if commands.len() + 1 >= TRANSACTION_COMMANDS_MAX {
            self.shared.counters.limited();
            self.transaction.spoil();
            return refuse("ERR too many commands in one transaction");
        }
        commands.push(queued);
        Step::Answer(Reply::Simple("QUEUED".into()))
    }

    fn queueable(&self, name: &str, command: Command) -> Result<Queued, Reply> {
        match name {
            "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE"
            | "SUNSUBSCRIBE" | "MONITOR" => {
                return Err(Reply::error("ERR Command not allowed inside a transaction"));
            }
            _ => {}
        }
        if local::knows(name) {
            return Ok(Queued::Local(command));
        }
        // A blocking command does not block in a transaction: the log tries it once.
        let spec = find(&command)?;
        if spec.is_internal() {
            return Err(unknown_command(&command).into());
        }
        spec.waits_ms(&command)?;
        let shape = Self::shape_of(spec, &command);
        Ok(Queued::Logged(command, shape))
    }

    fn execute(&mut self, store: &Store) -> Step {
        let spoiled = self.transaction.spoiled;
        let watched = std::mem::take(&mut self.transaction.watched);
        let commands = self.transaction.close().unwrap_or_default();
        if spoiled {
            return refuse("EXECABORT Transaction discarded because of previous errors.");
        }
        let mut request: Request = Vec::with_capacity(commands.len() + 1);
        let guarded = !watched.is_empty();
        if guarded {
            let mut guard = vec![Bytes::from_static(b"WATCHED")];
            guard.extend(
                watched
                    .into_iter()
                    .flat_map(|(key, version)| [key, version]),
            );
            request.push(guard);
        }
        let mut parts = Vec::with_capacity(commands.len());
        for queued in commands {
            parts.push(match queued {
                Queued::Logged(command, shape) => {
                    request.push(command);
                    Part::Logged(shape)
                }
                Queued::Local(command) => Part::Known(self.answer_now(&command, store)),
            });
        }
        if request.is_empty() {
            let shape = Shape::Transaction(parts);
            return Step::Answer(shape.finish(Reply::Array(Vec::new()), &self.shared.pubsub));
        }
        if guarded && request.len() == 1 {
            // Versions are looked at only in front of a command.
            request.push(vec![Bytes::from_static(b"TIME")]);
        }
        let shape = if request.len() == 1 {
            Shape::Single(parts)
        } else {
            Shape::Transaction(parts)
        };
        Step::Write(request, shape)
    }

    fn answer_now(&mut self, command: &Command, store: &Store) -> Reply {
        let name = super::session::name_of(command);
        match local::answer(self, &name, command, store) {
            Some(Step::Answer(reply)) => reply,
            _ if name == "UNWATCH" => Reply::Ok,
            _ => Reply::error("ERR this command cannot be answered inside a transaction"),
        }
    }
}
