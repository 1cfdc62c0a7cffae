//! A socket and its session: reads commands, lets the store work on them, writes the answers in
//! order.
//!
//! Writes of a pipeline travel to the log together; a read waits for the writes before it, so that
//! a client sees what it has written.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::Shared;
use super::clients::ClientEntry;
use super::parse;
use super::pubsub::{Delivery, Inbox, Mailbox, Way, mailbox};
use super::session::{Mute, Session, Step};
use super::shape::Shape;
use super::slow_log::SlowLog;
use super::stream::Stream;
use super::{encode, local, output};
use crate::error::StoreError;
use crate::limits::{
    CLIENT_INPUT_MAX, CLIENT_OUTPUT_MAX, CLIENT_PIPELINE_MAX, HOLD_MS, LOGIN_TIMEOUT,
};
use crate::reply::{Reply, Request};
use crate::store::{Store, WeakStore};

/// Room made for input before each read.
const READ_BYTES: usize = 16 << 10;

/// A client that takes no output for so long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of commands kept for the slow log while their answers are on their way.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Serves one client until it leaves.
pub async fn serve(stream: Stream, entry: Arc<ClientEntry>, shared: Arc<Shared>, store: WeakStore) {
    let _listed = shared.list.register(entry.clone());
    let (mailbox, inbox) = mailbox();
    let mut connection = Connection {
        stream,
        session: Session::new(entry, shared),
        store,
        input: BytesMut::new(),
        out: BytesMut::new(),
        waiting: VecDeque::new(),
        kept_bytes: 0,
        mute: Mute::Off,
        has_subscribed: false,
        mailbox,
        inbox,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(client = connection.session.id, %error, "a client's connection ended");
    }
}

/// The reply of one command, there or on its way.
enum Slot {
    Reply(Reply),
    Pushes(Vec<Vec<Reply>>),
    Log(oneshot::Receiver<Result<Reply, StoreError>>, Shape, Trace),
}

/// What the slow log needs to know of a command that is on its way.
struct Trace {
    request: Request,
    began: Instant,
}

pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) session: Session,
    pub(super) store: WeakStore,
    pub(super) input: BytesMut,
    out: BytesMut,
    waiting: VecDeque<Slot>,
    kept_bytes: usize,
    mute: Mute,
    has_subscribed: bool,
    mailbox: Mailbox,
    pub(super) inbox: Inbox,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.has_subscribed {
            self.session.shared.pubsub.forget(self.session.id);
        }
    }
}

/// A connection that ends, and why.
pub(super) fn closed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, text.to_owned())
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        let login = tokio::time::Instant::now() + LOGIN_TIMEOUT;
        loop {
            let deadline = self.deadline(login);
            self.input.reserve(READ_BYTES);
            tokio::select! {
                read = self.stream.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    if !self.work().await? {
                        return Ok(());
                    }
                }
                delivery = self.inbox.recv() => {
                    let delivery = delivery.ok_or_else(|| closed("the node is closing"))?;
                    self.deliver(delivery).await?;
                }
                () = sleep_until(deadline) => {
                    self.session.shared.counters.idle();
                    return Err(closed("no login in time, or silent for too long"));
                }
            }
        }
    }

    /// When the client must have said something.
    fn deadline(&self, login: tokio::time::Instant) -> Option<tokio::time::Instant> {
        if self.session.account.is_none() {
            return Some(login);
        }
        let idle = self.session.shared.idle?;
        (self.session.subscriptions() == 0).then(|| tokio::time::Instant::now() + idle)
    }

    /// Works on all complete commands; false when the client wants to leave.
    async fn work(&mut self) -> io::Result<bool> {
        let mut store = self.open_store()?;
        let (began, mut stays, mut number, mut last) = (Instant::now(), true, 0, Bytes::new());
        while stays {
            let command = match parse::next(&mut self.input, self.session.bounds()) {
                Ok(None) => break,
                Ok(Some(command)) if command.is_empty() => continue,
                Ok(Some(command)) => command,
                Err(error) => {
                    self.session.shared.counters.malformed();
                    self.waiting.push_back(Slot::Reply(Reply::error(error.0)));
                    stays = false;
                    break;
                }
            };
            number += 1;
            last = command[0].clone();
            let skipped = self.mute == Mute::Next;
            match self.session.handle(command, &store) {
                Step::Block(wish) => {
                    // A client that waits must not keep the node open.
                    drop(store);
                    self.settle().await?;
                    self.flush().await?;
                    let reply = self.block(*wish).await?;
                    self.waiting.push_back(Slot::Reply(reply));
                    store = self.open_store()?;
                }
                step => stays = self.act(step, &store, began).await?,
            }
            if self.waiting.len() >= CLIENT_PIPELINE_MAX || self.kept_bytes > KEPT_BYTES_MAX {
                self.settle().await?;
            }
            if skipped {
                self.settle().await?;
                self.mute = Mute::Off;
            }
        }
        self.note(number, last);
        self.settle().await?;
        self.flush().await?;
        self.check_input()?;
        Ok(stays)
    }

    /// Tells the list of clients what happened.
    fn note(&self, number: u64, last: Bytes) {
        if number == 0 {
            return;
        }
        let counters = &self.session.shared.counters;
        counters.commands.fetch_add(number, Ordering::Relaxed);
        self.session.note();
        let input = self.input.len();
        self.session.entry.note(|seen| {
            seen.commands += number;
            seen.active = Instant::now();
            seen.command = Bytes::copy_from_slice(&last[..last.len().min(64)]);
            seen.input = input;
        });
    }

    /// Ends a client that sends more than can be one command.
    pub(super) fn check_input(&self) -> io::Result<()> {
        if self.input.len() > CLIENT_INPUT_MAX {
            self.session.shared.counters.limited();
            return Err(closed("a command is too long"));
        }
        Ok(())
    }

    async fn act(&mut self, step: Step, store: &Store, began: Instant) -> io::Result<bool> {
        let slot = match step {
            Step::Answer(reply) => Slot::Reply(reply),
            Step::Push(pushes) => {
                self.subscribe_anew();
                Slot::Pushes(pushes)
            }
            Step::Write(request, shape) => self.write(request, shape, store, began),
            Step::Read(command) => {
                self.settle().await?;
                let began = Instant::now();
                let reply = match store.read_now(&command) {
                    Some(reply) => reply,
                    None => {
                        self.flush().await?;
                        let read = store.read_linearizable(command.clone()).await;
                        answer_of(read)?
                    }
                };
                self.trace(&command, began);
                Slot::Reply(reply)
            }
            Step::ReadLocal(command) => {
                self.settle().await?;
                let began = Instant::now();
                let reply = store.read(&command);
                self.trace(&command, began);
                Slot::Reply(reply)
            }
            // Handled by the caller, which has to let go of the store first.
            Step::Block(_) => Slot::Reply(Reply::error("ERR this command cannot wait here")),
            Step::Watch(keys) => {
                self.settle().await?;
                Slot::Reply(self.watch(keys, store).await?)
            }
            Step::WhenLed(command) => {
                self.settle().await?;
                self.flush().await?;
                store.await_leader(Duration::from_millis(HOLD_MS)).await;
                Slot::Reply(local::led(&mut self.session, &command, store))
            }
            Step::Mute(mute) => {
                self.settle().await?;
                self.mute = mute;
                // Only switching replies on is answered; what is not encoded is not sent.
                Slot::Reply(Reply::Ok)
            }
            Step::Reset => {
                self.settle().await?;
                self.subscribe_anew();
                self.mute = Mute::Off;
                Slot::Reply(Reply::Simple("RESET".into()))
            }
            Step::Quit(reply) => {
                self.waiting.push_back(Slot::Reply(reply));
                return Ok(false);
            }
        };
        self.waiting.push_back(slot);
        Ok(true)
    }

    fn open_store(&self) -> io::Result<Store> {
        self.store
            .upgrade()
            .ok_or_else(|| closed("the node is closing"))
    }

    fn write(&mut self, request: Request, shape: Shape, store: &Store, began: Instant) -> Slot {
        let (told, answer) = oneshot::channel();
        store.submit_borrowed(&request, Box::new(move |outcome| drop(told.send(outcome))));
        self.kept_bytes += request.iter().flatten().map(Bytes::len).sum::<usize>();
        Slot::Log(answer, shape, Trace { request, began })
    }

    /// Remembers a command that took long.
    pub(super) fn trace(&self, command: &[Bytes], began: Instant) {
        let took = began.elapsed();
        if SlowLog::wants(took) {
            let session = &self.session;
            let address = session.entry.address.to_string();
            let log = &session.shared.slow_log;
            log.add(took, command, address, session.name.clone());
        }
    }

    /// Waits for every answer that is on its way and encodes all of them in order.
    async fn settle(&mut self) -> io::Result<()> {
        while let Some(slot) = self.waiting.pop_front() {
            match slot {
                Slot::Reply(reply) => self.put(&reply),
                Slot::Pushes(pushes) => pushes.iter().for_each(|push| self.put_push(push)),
                Slot::Log(answer, shape, trace) => {
                    let outcome = answer.await.unwrap_or(Err(StoreError::Closed));
                    let outcome = outcome.map(|it| shape.finish(it, &self.session.shared.pubsub));
                    let reply = answer_of(outcome)?;
                    if let Some(command) = trace.request.last() {
                        self.trace(command, trace.began);
                    }
                    self.put(&reply);
                }
            }
            if self.out.len() > CLIENT_OUTPUT_MAX / 2 {
                self.flush().await?;
            }
        }
        self.kept_bytes = 0;
        Ok(())
    }

    fn put(&mut self, reply: &Reply) {
        if self.mute != Mute::Off {
            return;
        }
        let version = self.session.version;
        if output::fits(reply) {
            encode::reply(&mut self.out, reply, version);
        } else {
            self.session.shared.counters.limited();
            encode::reply(&mut self.out, &output::refusal(), version);
        }
    }

    fn put_push(&mut self, push: &[Reply]) {
        if self.mute == Mute::Off {
            encode::push(&mut self.out, push, self.session.version);
        }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let writing = async {
            self.stream.write_all(&self.out).await?;
            // TLS keeps what it could not write yet.
            self.stream.flush().await
        };
        let written = tokio::time::timeout(WRITE_TIMEOUT, writing).await;
        let Ok(written) = written else {
            self.session.shared.counters.limited();
            return Err(closed("the client takes no output"));
        };
        written?;
        self.out.clear();
        if self.out.capacity() > 1 << 20 {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Writes a published message and those behind it.
    pub(super) async fn deliver(&mut self, first: Delivery) -> io::Result<()> {
        let mut next = Some(first);
        while let Some(delivery) = next {
            self.put_push(&delivery.push());
            let room = self.out.len() < CLIENT_OUTPUT_MAX / 2;
            next = if room { self.inbox.try_recv() } else { None };
        }
        if self.inbox.has_lost() {
            return Err(closed("a client was too slow for its subscriptions"));
        }
        self.flush().await
    }

    /// Brings the node's subscriptions in line with the session's.
    fn subscribe_anew(&mut self) {
        let (session, pubsub) = (&self.session, &self.session.shared.pubsub);
        pubsub.forget(session.id);
        for (names, way) in [
            (&session.channels, Way::Channel),
            (&session.patterns, Way::Pattern),
            (&session.shard_channels, Way::Shard),
        ] {
            for name in names {
                pubsub.subscribe(session.id, name.clone(), way, self.mailbox.clone());
            }
        }
        self.has_subscribed = true;
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What a client of Redis gets. A node that closes says nothing more: like a Redis that ends, it
/// closes the connection, and the client tries another node instead of failing its caller.
pub(super) fn answer_of(outcome: Result<Reply, StoreError>) -> io::Result<Reply> {
    match outcome {
        Ok(reply) => Ok(reply),
        Err(StoreError::Closed) => Err(closed("the node is closing")),
        Err(error) => Ok(explain(&error)),
    }
}

/// The error a client of Redis gets. `TRYAGAIN` promises that nothing was changed.
fn explain(error: &StoreError) -> Reply {
    let code = match error {
        StoreError::Unavailable { .. } | StoreError::NotLeader { .. } => "TRYAGAIN",
        StoreError::OutcomeUnknown => "CLUSTERDOWN",
        _ => "ERR",
    };
    Reply::Error(format!("{code} {error}"))
}
