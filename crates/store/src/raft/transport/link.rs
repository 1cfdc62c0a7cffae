//! The calling side of one lane to one node: it connects, sends, matches answers, reconnects.
//!
//! A request on a link that is down fails at once: the Raft library and the proposer know better
//! than a queue what to do then. Links stay connected in idle times, so that an election never
//! pays for a TLS handshake.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use super::frame::{self, Greeting, Kind};
use super::tls::Security;
use crate::environment::network::{Network, Wire};
use crate::limits::{CONNECT_TIMEOUT, LINK_QUEUE_MAX, RECONNECT_PAUSE, RECONNECT_PAUSE_MAX};

/// Bytes gathered for one write.
const WRITE_BYTES: usize = 256 << 10;

type Answer = oneshot::Sender<io::Result<Bytes>>;

struct Call {
    kind: Kind,
    body: Bytes,
    answer: Answer,
}

/// Where a link goes.
#[derive(Clone)]
pub struct Target {
    /// This node.
    pub from: u64,
    /// The other node.
    pub to: u64,
    /// Its address.
    pub address: SocketAddr,
    /// How to secure the stream.
    pub security: Security,
    /// What opens streams.
    pub network: Arc<dyn Network>,
}

/// A link; clones share it.
#[derive(Clone)]
pub struct Link {
    calls: mpsc::Sender<Call>,
    up: watch::Receiver<bool>,
    refused: Arc<AtomicU64>,
}

fn down(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, text.to_owned())
}

impl Link {
    /// Starts the task that keeps the link up; it ends when `stop` changes or all clones are gone.
    pub fn start(target: Target, stop: watch::Receiver<bool>) -> Link {
        let (calls, queue) = mpsc::channel(LINK_QUEUE_MAX);
        let (up, watched) = watch::channel(false);
        tokio::spawn(
            Keeper {
                target,
                queue,
                up,
                stop,
            }
            .run(),
        );
        Link {
            calls,
            up: watched,
            refused: Arc::default(),
        }
    }

    /// Sends a request. Calls of one task are sent in the order of the calls.
    pub fn call(&self, kind: Kind, body: Bytes) -> oneshot::Receiver<io::Result<Bytes>> {
        let (answer, receiver) = oneshot::channel();
        if !*self.up.borrow() {
            let _ = answer.send(Err(down("the link is down")));
            return receiver;
        }
        if let Err(error) = self.calls.try_send(Call { kind, body, answer }) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let (mpsc::error::TrySendError::Full(call) | mpsc::error::TrySendError::Closed(call)) =
                error;
            let _ = call.answer.send(Err(down("the link's queue is full")));
        }
        receiver
    }

    /// Sends a request and waits for its answer, at most `timeout`.
    pub async fn request(&self, kind: Kind, body: Bytes, timeout: Duration) -> io::Result<Bytes> {
        match tokio::time::timeout(timeout, self.call(kind, body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(down("the link went down")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        }
    }

    /// Requests refused because the queue was full.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

struct Keeper {
    target: Target,
    queue: mpsc::Receiver<Call>,
    up: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
}

type Waiting = Arc<Mutex<BTreeMap<u64, Answer>>>;

impl Keeper {
    async fn run(mut self) {
        let mut pause = RECONNECT_PAUSE;
        let mut stop = self.stop.clone();
        loop {
            let attempt = tokio::time::timeout(CONNECT_TIMEOUT, self.connect());
            let connected = tokio::select! {
                biased;
                _ = stop.changed() => return,
                connected = attempt => {
                    connected.unwrap_or_else(|_| Err(down("no connection in time")))
                }
            };
            match connected {
                Ok((reader, writer)) => {
                    pause = RECONNECT_PAUSE;
                    let ended = tokio::select! {
                        biased;
                        _ = stop.changed() => return,
                        ended = self.serve(reader, writer) => ended,
                    };
                    self.up.send_replace(false);
                    tracing::debug!(to = self.target.to, ?ended, "a link went down");
                }
                Err(error) => {
                    tracing::debug!(to = self.target.to, %error, "no link");
                }
            }
            self.fail_queued();
            if self.queue.is_closed() {
                return;
            }
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    async fn connect(&self) -> io::Result<Halves> {
        let target = &self.target;
        let stream = target.network.connect(target.address).await?;
        let stream = target.security.connect(stream, target.address).await?;
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::with_capacity(WRITE_BYTES, reader);
        let mut hello = BytesMut::new();
        let greeting = frame::encode(&Greeting::new(target.from, target.to))?;
        frame::put(&mut hello, Kind::Greet, 0, &greeting);
        writer.write_all(&hello).await?;
        writer.flush().await?;
        let answer = frame::read(&mut reader)
            .await?
            .ok_or_else(|| down("closed at once"))?;
        let welcome: Result<(), String> = frame::decode(&answer.body)?;
        welcome.map_err(|refusal| {
            tracing::warn!(to = target.to, address = %target.address, refusal, "link refused");
            down(&refusal)
        })?;
        Ok((reader, writer))
    }

    async fn serve(&mut self, mut reader: Reader, mut writer: Writer) -> io::Result<()> {
        let waiting = Waiting::default();
        let answers = waiting.clone();
        let mut listening = tokio::spawn(async move {
            while let Some(frame) = frame::read(&mut reader).await? {
                if let Some(answer) = answers.lock().remove(&frame.id) {
                    let _ = answer.send(Ok(frame.body));
                }
            }
            io::Result::Ok(())
        });
        self.up.send_replace(true);
        let mut next = 1;
        let ended = loop {
            let call = tokio::select! {
                biased;
                ended = &mut listening => break ended.map_err(io::Error::other).and_then(|end| end),
                call = self.queue.recv() => call,
            };
            let Some(call) = call else { break Ok(()) };
            if let Err(error) = self.send(call, &mut next, &waiting, &mut writer).await {
                break Err(error);
            }
        };
        listening.abort();
        // Dropping the answers tells the callers that the link went down.
        waiting.lock().clear();
        ended
    }

    /// Writes a call and what else is queued by now.
    async fn send(
        &mut self,
        first: Call,
        next: &mut u64,
        waiting: &Waiting,
        writer: &mut Writer,
    ) -> io::Result<()> {
        let mut out = BytesMut::new();
        let mut call = Some(first);
        while let Some(Call { kind, body, answer }) = call {
            waiting.lock().insert(*next, answer);
            frame::put(&mut out, kind, *next, &body);
            *next += 1;
            call = if out.len() < WRITE_BYTES {
                self.queue.try_recv().ok()
            } else {
                None
            };
        }
        writer.write_all(&out).await?;
        writer.flush().await?;
        let mut waiting = waiting.lock();
        if waiting.len() > LINK_QUEUE_MAX {
            // Answers that nobody waits for any more: their callers' timeouts passed.
            waiting.retain(|_, answer| !answer.is_closed());
        }
        Ok(())
    }

    fn fail_queued(&mut self) {
        while let Ok(call) = self.queue.try_recv() {
            let _ = call.answer.send(Err(down("the link is down")));
        }
    }
}

type Reader = BufReader<ReadHalf<Box<dyn Wire>>>;
type Writer = WriteHalf<Box<dyn Wire>>;
type Halves = (Reader, Writer);
