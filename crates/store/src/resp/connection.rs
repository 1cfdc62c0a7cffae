//! A socket and its session: reads commands, lets the store work on them, writes the answers in
//! order.
//!
//! Writes of a pipeline travel to the log together; a read waits for the writes before it, so that
//! a client sees what it has written.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::encode;
use super::parse;
use super::pubsub::{Delivery, Subscriber};
use super::session::{Session, Step};
use crate::error::StoreError;
use crate::limits::{
    CLIENT_INPUT_MAX, CLIENT_MESSAGES_MAX, CLIENT_OUTPUT_MAX, CLIENT_PIPELINE_MAX,
};
use crate::reply::Reply;
use crate::store::{Store, WeakStore};

/// Room made for input before each read.
const READ_BYTES: usize = 16 << 10;

/// A client that has not logged in by then is disconnected.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that takes no output for so long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Tells a client that there are too many.
pub async fn refuse(mut stream: TcpStream) {
    let text = b"-ERR max number of clients reached\r\n";
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(text)).await;
}

/// Serves one client until it leaves.
pub async fn serve(stream: TcpStream, shared: Arc<Shared>, store: WeakStore) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let id = shared.next_client.fetch_add(1, Ordering::Relaxed);
    let session = Session::new(id, shared);
    let (messages, inbox) = mpsc::channel(CLIENT_MESSAGES_MAX);
    let mut connection = Connection {
        stream,
        session,
        store,
        input: BytesMut::new(),
        out: BytesMut::new(),
        waiting: VecDeque::new(),
        subscriber: Subscriber {
            queue: messages,
            lost: Arc::default(),
        },
        inbox,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(client = id, %error, "a client's connection ended");
    }
    connection.unsubscribe_all();
}

/// The reply of one command, there or on its way.
enum Slot {
    Reply(Reply),
    Pushes(Vec<Vec<Reply>>),
    Log(oneshot::Receiver<Result<Reply, StoreError>>, bool),
}

struct Connection {
    stream: TcpStream,
    session: Session,
    store: WeakStore,
    input: BytesMut,
    out: BytesMut,
    waiting: VecDeque<Slot>,
    subscriber: Subscriber,
    inbox: mpsc::Receiver<Delivery>,
}

fn closed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, text.to_owned())
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        let login = tokio::time::Instant::now() + LOGIN_TIMEOUT;
        loop {
            let authenticated = self.session.authenticated;
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
                () = tokio::time::sleep_until(login), if !authenticated => {
                    return Err(closed("no login in time"));
                }
            }
        }
    }

    /// Works on all complete commands; false when the client wants to leave.
    async fn work(&mut self) -> io::Result<bool> {
        let Some(store) = self.store.upgrade() else {
            return Err(closed("the node is closing"));
        };
        let mut stays = true;
        while stays {
            let command = match parse::next(&mut self.input, self.session.bounds()) {
                Ok(None) => break,
                Ok(Some(command)) if command.is_empty() => continue,
                Ok(Some(command)) => command,
                Err(error) => {
                    let counters = &self.session.shared.counters;
                    counters.protocol_errors.fetch_add(1, Ordering::Relaxed);
                    self.waiting.push_back(Slot::Reply(Reply::error(error.0)));
                    stays = false;
                    break;
                }
            };
            self.session
                .shared
                .counters
                .commands
                .fetch_add(1, Ordering::Relaxed);
            let step = self.session.handle(command, &store);
            stays = self.act(step, &store).await?;
            if self.waiting.len() >= CLIENT_PIPELINE_MAX {
                self.settle().await?;
            }
        }
        self.settle().await?;
        self.flush().await?;
        if self.input.len() > CLIENT_INPUT_MAX {
            return Err(closed("a command is too long"));
        }
        Ok(stays)
    }

    async fn act(&mut self, step: Step, store: &Store) -> io::Result<bool> {
        let slot = match step {
            Step::Answer(reply) => Slot::Reply(reply),
            Step::Push(pushes) => {
                self.subscribe_anew();
                Slot::Pushes(pushes)
            }
            Step::Write(request, array) => {
                let wrap = array && request.len() == 1;
                let (told, answer) = oneshot::channel();
                store.submit(request, Box::new(move |outcome| drop(told.send(outcome))));
                Slot::Log(answer, wrap)
            }
            Step::Read(command) => {
                self.settle().await?;
                let reply = match store.read_now(&command) {
                    Some(reply) => reply,
                    None => {
                        self.flush().await?;
                        store
                            .read_linearizable(command)
                            .await
                            .unwrap_or_else(|e| explain(&e))
                    }
                };
                Slot::Reply(reply)
            }
            Step::ReadLocal(command) => {
                self.settle().await?;
                Slot::Reply(store.read(&command))
            }
            Step::Quit => {
                self.waiting.push_back(Slot::Reply(Reply::Ok));
                return Ok(false);
            }
        };
        self.waiting.push_back(slot);
        Ok(true)
    }

    /// Waits for every answer that is on its way and encodes all of them in order.
    async fn settle(&mut self) -> io::Result<()> {
        while let Some(slot) = self.waiting.pop_front() {
            let version = self.session.version;
            match slot {
                Slot::Reply(reply) => encode::reply(&mut self.out, &reply, version),
                Slot::Pushes(pushes) => {
                    pushes
                        .iter()
                        .for_each(|push| encode::push(&mut self.out, push, version));
                }
                Slot::Log(answer, wrap) => {
                    let outcome = answer.await.unwrap_or(Err(StoreError::Closed));
                    let reply = match outcome {
                        Ok(reply) if wrap => Reply::Array(vec![reply]),
                        Ok(reply) => reply,
                        Err(error) => explain(&error),
                    };
                    encode::reply(&mut self.out, &reply, version);
                }
            }
            if self.out.len() > CLIENT_OUTPUT_MAX / 2 {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = tokio::time::timeout(WRITE_TIMEOUT, self.stream.write_all(&self.out)).await;
        written.map_err(|_| closed("the client takes no output"))??;
        self.out.clear();
        if self.out.capacity() > 1 << 20 {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Writes a published message and those behind it.
    async fn deliver(&mut self, first: Delivery) -> io::Result<()> {
        let mut next = Some(first);
        while let Some(Delivery { pattern, message }) = next {
            let (channel, payload) = (Reply::Bulk(message.channel), Reply::Bulk(message.payload));
            let push = match pattern {
                None => vec![Reply::text("message"), channel, payload],
                Some(pattern) => {
                    vec![
                        Reply::text("pmessage"),
                        Reply::Bulk(pattern),
                        channel,
                        payload,
                    ]
                }
            };
            encode::push(&mut self.out, &push, self.session.version);
            let room = self.out.len() < CLIENT_OUTPUT_MAX / 2;
            next = if room {
                self.inbox.try_recv().ok()
            } else {
                None
            };
        }
        // A subscriber that was too slow has lost subscriptions and must not go on unaware.
        if self.subscriber.lost.load(Ordering::Acquire) {
            return Err(closed("a subscriber was too slow"));
        }
        self.flush().await
    }

    /// Brings the node's subscriptions in line with the session's.
    fn subscribe_anew(&mut self) {
        let (id, pubsub) = (self.session.id, &self.session.shared.pubsub);
        pubsub.forget(id);
        let session = &self.session;
        let wanted = session.channels.iter().map(|name| (name, false));
        for (name, pattern) in wanted.chain(session.patterns.iter().map(|name| (name, true))) {
            pubsub.subscribe(id, name.clone(), pattern, self.subscriber.clone());
        }
    }

    fn unsubscribe_all(&self) {
        self.session.shared.pubsub.forget(self.session.id);
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
