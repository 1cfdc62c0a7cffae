//! A connection's session: who it is, what it may do, and what each command of it needs.
//!
//! [`Session::handle`] decides; [`super::connection`] acts. A decision is one of [`Step`].

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use super::blocking::{self, Wish};
use super::clients::ClientEntry;
use super::encode::Version;
use super::parse::{Bounds, TRUSTED, UNKNOWN};
use super::permissions;
use super::shape::Shape;
use super::transaction::Transaction;
use super::{local, login, redirect};
use crate::account::{Account, Role};
use crate::keyspace::{Spec, find, unknown_command};
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
    /// An entry of the log.
    Write(Request, Shape),
    /// An entry of the log, again and again until it has something to answer.
    Block(Box<Wish>),
    /// The versions of keys (`WATCH`).
    Watch(Vec<Bytes>),
    /// It can be answered when somebody leads.
    WhenLed(Command),
    /// Which commands are answered from now on (`CLIENT REPLY`).
    Mute(Mute),
    /// The session was reset.
    Reset,
    /// Answer and close.
    Quit(Reply),
}

/// `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    /// Everything is answered.
    Off,
    /// The next command is not answered.
    Next,
    /// Nothing is answered.
    All,
}

/// Session of one connection.
pub struct Session {
    /// Number of the connection.
    pub id: u64,
    /// Protocol version.
    pub version: Version,
    /// Name given by `CLIENT SETNAME`.
    pub name: Bytes,
    /// Who it is; `None` before the login.
    pub account: Option<Arc<Account>>,
    /// `READONLY` was sent: reads are answered from this node.
    pub read_only: bool,
    /// It asked for slots: it speaks to the leader itself and wants to be told where that is.
    pub in_cluster_mode: bool,
    /// Subscribed channels.
    pub channels: BTreeSet<Bytes>,
    /// Subscribed patterns.
    pub patterns: BTreeSet<Bytes>,
    /// Channels of `SSUBSCRIBE`.
    pub shard_channels: BTreeSet<Bytes>,
    /// What it has watched and queued.
    pub transaction: Transaction,
    pub(super) entry: Arc<ClientEntry>,
    pub(super) shared: Arc<Shared>,
}

/// An error reply as a step.
pub fn refuse(text: impl Into<String>) -> Step {
    Step::Answer(Reply::Error(text.into()))
}

/// Upper-case name of a command, for comparisons.
pub fn name_of(command: &Command) -> String {
    let name = command.first().map(Bytes::as_ref).unwrap_or_default();
    String::from_utf8_lossy(&name[..name.len().min(32)]).to_ascii_uppercase()
}

impl Session {
    /// A new session. Without accounts everybody is trusted.
    pub fn new(entry: Arc<ClientEntry>, shared: Arc<Shared>) -> Self {
        Self {
            id: entry.id,
            version: Version::Two,
            name: Bytes::new(),
            account: shared.accounts.initial(),
            read_only: false,
            in_cluster_mode: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            transaction: Transaction::default(),
            entry,
            shared,
        }
    }

    /// How much the client may send.
    pub fn bounds(&self) -> Bounds {
        if self.account.is_some() {
            TRUSTED
        } else {
            UNKNOWN
        }
    }

    /// Number of channels and patterns.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Whether `PING` is answered like a message: in version 2 everything else would be taken for
    /// one.
    pub fn is_resp2_listener(&self) -> bool {
        self.version == Version::Two && self.subscriptions() > 0
    }

    /// Forgets everything but the connection's number (`RESET`).
    pub fn reset(&mut self) {
        *self = Session::new(self.entry.clone(), self.shared.clone());
    }

    /// Decides what a command needs.
    pub fn handle(&mut self, command: Command, store: &Store) -> Step {
        // Nearly every command is an ordinary one of a server of the cluster.
        if self.is_plain()
            && let Ok(spec) = find(&command)
        {
            return self.keyspace(spec, command);
        }
        self.decide(command, store)
    }

    fn is_plain(&self) -> bool {
        let all = |account: &Arc<Account>| account.role == Role::Node;
        self.account.as_ref().is_some_and(all)
            && !self.in_cluster_mode
            && !self.transaction.is_open()
            && self.subscriptions() == 0
    }

    fn decide(&mut self, mut command: Command, store: &Store) -> Step {
        let mut name = name_of(&command);
        if name == "SPUBLISH" {
            // All channels are everywhere.
            command[0] = Bytes::from_static(b"PUBLISH");
            name = "PUBLISH".into();
        }
        match name.as_str() {
            "HELLO" => return login::hello(self, &command, store),
            "AUTH" => return Step::Answer(login::auth(self, &command)),
            "QUIT" => return Step::Quit(Reply::Ok),
            "RESET" => {
                self.reset();
                return Step::Reset;
            }
            _ => {}
        }
        let Some(account) = &self.account else {
            return refuse("NOAUTH Authentication required.");
        };
        if let Err(refusal) = permissions::check(account, &name, &command) {
            self.shared.counters.forbidden();
            self.transaction.spoil();
            return Step::Answer(refusal);
        }
        if self.is_resp2_listener() && !while_subscribed(&name) {
            let lower = name.to_ascii_lowercase();
            return refuse(format!(
                "ERR Can't execute '{lower}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                 QUIT / RESET are allowed in this context"
            ));
        }
        match name.as_str() {
            "MULTI" | "EXEC" | "DISCARD" | "WATCH" | "UNWATCH" => {
                self.transaction_command(&name, command, store)
            }
            _ if self.transaction.is_open() => self.queue(&name, command),
            "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" => self.subscribe(&name, &command),
            "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "SUNSUBSCRIBE" => self.unsubscribe(&name, &command),
            _ => self.ordinary(&name, command, store),
        }
    }

    fn ordinary(&mut self, name: &str, command: Command, store: &Store) -> Step {
        if let Some(step) = redirect::moved(self, &command, store) {
            return step;
        }
        if let Some(step) = local::answer(self, name, &command, store) {
            return step;
        }
        match find(&command) {
            Err(refusal) => Step::Answer(refusal.into()),
            Ok(spec) => self.keyspace(spec, command),
        }
    }

    fn keyspace(&self, spec: &Spec, command: Command) -> Step {
        if spec.is_blocking() {
            match blocking::wish(spec, &command) {
                Ok(Some(wish)) => return Step::Block(Box::new(wish)),
                Ok(None) => {}
                Err(refusal) => return Step::Answer(refusal),
            }
        }
        if spec.is_internal() {
            return Step::Answer(unknown_command(&command).into());
        }
        if !spec.is_read() {
            let shape = Self::shape_of(spec, &command);
            return Step::Write(vec![command], shape);
        }
        if self.read_only {
            Step::ReadLocal(command)
        } else {
            Step::Read(command)
        }
    }

    /// How the answer of a command of the keyspace becomes its reply.
    pub(super) fn shape_of(spec: &Spec, command: &Command) -> Shape {
        match spec.name {
            "publish" => Shape::Heard(command[1].clone()),
            _ => Shape::Same,
        }
    }
}

fn while_subscribed(name: &str) -> bool {
    matches!(
        name,
        "SUBSCRIBE"
            | "PSUBSCRIBE"
            | "SSUBSCRIBE"
            | "UNSUBSCRIBE"
            | "PUNSUBSCRIBE"
            | "SUNSUBSCRIBE"
            | "PING"
    )
}
