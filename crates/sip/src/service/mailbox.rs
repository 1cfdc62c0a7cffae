//! Between the host's threads and the engine's: commands in order, commits that came back.
use std::collections::VecDeque;
use std::thread::ThreadId;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::journal::JournalError;
use crate::limits::INBOX_MAX;

/// What the host tells the engine.
#[derive(Debug)]
pub(super) enum Command {
    Changed(Vec<(String, Option<Vec<u8>>)>),
    Reset,
    Lead,
    Follow,
    Stop,
}

/// The fate of a commit.
pub(super) type Completion = (u64, Result<(), JournalError>);

#[derive(Default)]
struct Content {
    commands: VecDeque<Command>,
    completions: Vec<Completion>,
    engine: Option<ThreadId>,
    closed: bool,
}

/// The mailbox. Completions are bounded by the commits that may wait at once.
#[derive(Default)]
pub(super) struct Mailbox {
    content: Mutex<Content>,
    room: Condvar,
    wake: Notify,
}

impl Mailbox {
    /// The calling thread is the engine's: it never waits for room.
    pub fn adopt(&self) {
        self.content.lock().engine = Some(std::thread::current().id());
    }

    /// Adds a command; waits while the box is full, so that the log does not run ahead.
    pub fn command(&self, command: Command) {
        let mut content = self.content.lock();
        let own = content.engine == Some(std::thread::current().id());
        while !own && !content.closed && content.commands.len() >= INBOX_MAX {
            self.room.wait(&mut content);
        }
        if !content.closed {
            content.commands.push_back(command);
            self.wake.notify_one();
        }
    }

    /// Adds the fate of a commit. On the engine's own thread nobody needs to be woken: it
    /// looks into the box before it rests.
    pub fn complete(&self, token: u64, result: Result<(), JournalError>) {
        let mut content = self.content.lock();
        content.completions.push((token, result));
        if content.engine != Some(std::thread::current().id()) {
            self.wake.notify_one();
        }
    }

    /// Takes everything.
    pub fn take(&self) -> (VecDeque<Command>, Vec<Completion>) {
        let mut content = self.content.lock();
        let taken = (
            std::mem::take(&mut content.commands),
            std::mem::take(&mut content.completions),
        );
        self.room.notify_all();
        taken
    }

    /// Waits until something was added.
    pub async fn added(&self) {
        self.wake.notified().await;
    }

    /// The engine is gone: nobody waits for it any more.
    pub fn close(&self) {
        let mut content = self.content.lock();
        content.closed = true;
        content.commands.clear();
        self.room.notify_all();
    }
}
