//! A connection's session: what it may do, and what each command of it needs.
//!
//! [`Session::handle`] decides; [`super::connection`] acts. A decision is one of [`Step`].

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use super::encode::Version;
use super::local;
use super::parse::{Bounds, TRUSTED, UNKNOWN};
use crate::keyspace::{find, unknown_command};
use crate::limits::{SUBSCRIPTIONS_MAX, TRANSACTION_COMMANDS_MAX};
use crate::reply::{Command, Reply, Request};
use crate::store::Store;

/// What a command needs.
#[derive(Debug)]
pub enum Step {
    /// It is answered already.
    Answer(Reply),
    /// Several pushes answer it (subscriptions).
    Push(Vec<Vec<Reply>>),
    /// A linearizable read.
    Read(Command),
    /// A read of this node's state.
    ReadLocal(Command),
    /// An entry of the log; `true` when the reply must be an array (`EXEC`).
    Write(Request, bool),
    /// Answer and close.
    Quit,
}

/// Session of one connection.
pub struct Session {
    /// Number of the connection.
    pub id: u64,
    /// Protocol version.
    pub version: Version,
    /// Name given by `CLIENT SETNAME`.
    pub name: Bytes,
    /// Whether the client has proved who it is.
    pub authenticated: bool,
    /// `READONLY` was sent: reads are answered from this node.
    pub read_only: bool,
    /// Subscribed channels.
    pub channels: BTreeSet<Bytes>,
    /// Subscribed patterns.
    pub patterns: BTreeSet<Bytes>,
    /// Commands since `MULTI`.
    transaction: Option<Request>,
    /// A queued command was refused.
    spoiled: bool,
    pub(super) shared: Arc<Shared>,
}

fn refuse(text: impl Into<String>) -> Step {
    Step::Answer(Reply::Error(text.into()))
}

/// Upper-case name of a command, for the comparisons below.
pub fn name_of(command: &Command) -> String {
    let name = command.first().map(Bytes::as_ref).unwrap_or_default();
    String::from_utf8_lossy(&name[..name.len().min(32)]).to_ascii_uppercase()
}

impl Session {
    /// A new session. Without accounts everybody is trusted.
    pub fn new(id: u64, shared: Arc<Shared>) -> Self {
        Self {
            id,
            version: Version::Two,
            name: Bytes::new(),
            authenticated: shared.accounts.is_empty(),
            read_only: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            transaction: None,
            spoiled: false,
            shared,
        }
    }

    /// How much the client may send.
    pub fn bounds(&self) -> Bounds {
        if self.authenticated { TRUSTED } else { UNKNOWN }
    }

    /// Number of channels and patterns.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Forgets everything but the connection's number (`RESET`).
    pub fn reset(&mut self) {
        *self = Session::new(self.id, self.shared.clone());
    }

    /// Decides what a command needs.
    pub fn handle(&mut self, command: Command, store: &Store) -> Step {
        let name = name_of(&command);
        match name.as_str() {
            "HELLO" => return local::hello(self, &command, store),
            "AUTH" => return Step::Answer(local::auth(self, &command)),
            "QUIT" => return Step::Quit,
            "RESET" => {
                self.reset();
                return Step::Answer(Reply::Simple("RESET".into()));
            }
            _ if !self.authenticated => return refuse("NOAUTH Authentication required."),
            _ => {}
        }
        if self.version == Version::Two && self.subscriptions() > 0 && !while_subscribed(&name) {
            let lower = name.to_ascii_lowercase();
            return refuse(format!(
                "ERR Can't execute '{lower}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                 QUIT / RESET are allowed in this context"
            ));
        }
        match name.as_str() {
            "MULTI" | "EXEC" | "DISCARD" | "WATCH" | "UNWATCH" => self.transaction(&name),
            _ if self.transaction.is_some() => self.queue(command),
            "SUBSCRIBE" | "PSUBSCRIBE" => self.subscribe(&name, &command),
            "UNSUBSCRIBE" | "PUNSUBSCRIBE" => self.unsubscribe(&name, &command),
            _ => self.ordinary(&name, command, store),
        }
    }

    fn ordinary(&mut self, name: &str, command: Command, store: &Store) -> Step {
        if let Some(reply) = local::answer(self, name, &command, store) {
            return Step::Answer(reply);
        }
        match find(&command) {
            Err(refusal) => Step::Answer(refusal.into()),
            Ok(spec) if spec.is_internal() => Step::Answer(unknown_command(&command).into()),
            Ok(spec) if !spec.is_read() => Step::Write(vec![command], false),
            Ok(_) if self.read_only => Step::ReadLocal(command),
            Ok(_) => Step::Read(command),
        }
    }

    fn transaction(&mut self, name: &str) -> Step {
        match (name, self.transaction.take()) {
            ("MULTI", None) => {
                self.transaction = Some(Vec::new());
                self.spoiled = false;
                Step::Answer(Reply::Ok)
            }
            ("MULTI", present) => {
                self.transaction = present;
                refuse("ERR MULTI calls can not be nested")
            }
            ("EXEC", Some(_)) if self.spoiled => {
                refuse("EXECABORT Transaction discarded because of previous errors.")
            }
            ("EXEC", Some(commands)) if commands.is_empty() => {
                Step::Answer(Reply::Array(Vec::new()))
            }
            ("EXEC", Some(commands)) => Step::Write(commands, true),
            ("DISCARD", Some(_)) => Step::Answer(Reply::Ok),
            ("EXEC" | "DISCARD", None) => refuse(format!("ERR {name} without MULTI")),
            (_, present) => {
                self.transaction = present;
                refuse(format!(
                    "ERR {name} is not supported; use MULTI or one command"
                ))
            }
        }
    }

    fn queue(&mut self, command: Command) -> Step {
        let refusal = match find(&command) {
            Err(refusal) => Some(Reply::from(refusal)),
            Ok(spec) if spec.is_internal() => Some(unknown_command(&command).into()),
            Ok(_) => None,
        };
        let Some(queued) = &mut self.transaction else {
            return refuse("ERR EXEC without MULTI");
        };
        let full = queued.len() >= TRANSACTION_COMMANDS_MAX;
        let refusal = refusal
            .or_else(|| full.then(|| Reply::error("ERR too many commands in one transaction")));
        if let Some(refusal) = refusal {
            self.spoiled = true;
            return Step::Answer(refusal);
        }
        queued.push(command);
        Step::Answer(Reply::Simple("QUEUED".into()))
    }

    fn subscribe(&mut self, name: &str, command: &Command) -> Step {
        if command.len() < 2 {
            let lower = name.to_ascii_lowercase();
            return refuse(format!(
                "ERR wrong number of arguments for '{lower}' command"
            ));
        }
        if self.subscriptions() + command.len() - 1 > SUBSCRIPTIONS_MAX {
            return refuse(format!("ERR at most {SUBSCRIPTIONS_MAX} subscriptions"));
        }
        let pattern = name.starts_with('P');
        let kind = if pattern { "psubscribe" } else { "subscribe" };
        let mut pushes = Vec::new();
        for channel in &command[1..] {
            let channel = Bytes::copy_from_slice(channel);
            let names = if pattern {
                &mut self.patterns
            } else {
                &mut self.channels
            };
            names.insert(channel.clone());
            pushes.push(self.subscription_push(kind, Some(channel)));
        }
        Step::Push(pushes)
    }

    fn unsubscribe(&mut self, name: &str, command: &Command) -> Step {
        let pattern = name.starts_with('P');
        let kind = if pattern {
            "punsubscribe"
        } else {
            "unsubscribe"
        };
        let present = if pattern {
            &self.patterns
        } else {
            &self.channels
        };
        let named: Vec<Bytes> = match &command[1..] {
            [] => present.iter().cloned().collect(),
            some => some.to_vec(),
        };
        if named.is_empty() {
            return Step::Push(vec![self.subscription_push(kind, None)]);
        }
        let mut pushes = Vec::new();
        for channel in named {
            let names = if pattern {
                &mut self.patterns
            } else {
                &mut self.channels
            };
            names.remove(&channel);
            pushes.push(self.subscription_push(kind, Some(channel)));
        }
        Step::Push(pushes)
    }

    fn subscription_push(&self, kind: &str, channel: Option<Bytes>) -> Vec<Reply> {
        let count = i64::try_from(self.subscriptions()).unwrap_or(i64::MAX);
        vec![
            Reply::text(kind),
            channel.map_or(Reply::Nil, Reply::Bulk),
            Reply::Int(count),
        ]
    }
}

fn while_subscribed(name: &str) -> bool {
    matches!(
        name,
        "SUBSCRIBE" | "PSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "PING"
    )
}
