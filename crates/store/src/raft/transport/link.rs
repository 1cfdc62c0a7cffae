//! The calling side of one lane to one node: it connects, sends, matches answers, reconnects.
//!
//! A request on a link that is down fails at once: the Raft library and the proposer know better
//! than a queue what to do then. Links stay connected in idle times, so that an election never
//! pays for a TLS handshake.
//!
//! A link is renewed (new certificates, or a connection that is old) without a gap: the new
//! connection is made first, then the old one is left to its last answers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, OptionFuture};
use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::frame::{self, Kind};
use super::tls::Security;
use crate::environment::network::{Network, Wire};
use crate::limits::{
    CONNECT_TIMEOUT, LINK_AGE_MAX, LINK_DRAIN_MAX, LINK_QUEUE_MAX, LINK_REST_MAX, RECONNECT_PAUSE,
    RECONNECT_PAUSE_MAX,
};
use crate::raft::standing::{Refusal, Standing, Welcome};

/// Bytes gathered for one write.
const WRITE_BYTES: usize = 256 << 10;

type Answer = oneshot::Sender<io::Result<Bytes>>;

struct Call {
    kind: Kind,
    body: Bytes,
    answer: Answer,
}

/// How to open a link to a node.
#[derive(Clone)]
pub struct Dialer {
    /// Who calls.
    pub standing: Arc<Standing>,
    /// The other node.
    pub to: u64,
    /// How to secure the stream.
    pub security: Security,
    /// What opens streams.
    pub network: Arc<dyn Network>,
}

/// What the owner of a link wants.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Order {
    address: SocketAddr,
    /// Counts renewals.
    generation: u64,
}

/// A link; clones share it.
#[derive(Clone)]
pub struct Link {
    calls: mpsc::Sender<Call>,
    up: watch::Receiver<bool>,
    refused: Arc<AtomicU64>,
    order: Arc<watch::Sender<Order>>,
}

fn down(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, text.to_owned())
}

impl Link {
    /// Starts the task that keeps the link up; it ends when `stop` changes or all clones are gone.
    pub fn start(dialer: Dialer, address: SocketAddr, stop: watch::Receiver<bool>) -> Link {
        let (calls, queue) = mpsc::channel(LINK_QUEUE_MAX);
        let (up, watched) = watch::channel(false);
        let generation = 0;
        let (order, orders) = watch::channel(Order {
            address,
            generation,
        });
        let keeper = Keeper {
            dialer,
            queue,
            up,
            orders,
        };
        tokio::spawn(keeper.run(stop));
        Link {
            calls,
            up: watched,
            refused: Arc::default(),
            order: Arc::new(order),
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

    /// Goes to another address from now on.
    pub fn redirect(&self, address: SocketAddr) {
        self.order.send_if_modified(|order| {
            let moved = order.address != address;
            order.address = address;
            moved
        });
    }

    /// Opens the link again without a gap.
    pub fn renew(&self) {
        self.order.send_modify(|order| order.generation += 1);
    }

    /// Whether the link is up.
    pub fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Requests refused because the queue was full.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Calls that were sent and not answered yet.
#[derive(Default)]
struct Waiting {
    calls: Mutex<BTreeMap<u64, Answer>>,
    /// Woken when the last one was answered.
    empty: Notify,
}

impl Waiting {
    fn answered(&self, id: u64, body: Bytes) {
        let mut calls = self.calls.lock();
        if let Some(answer) = calls.remove(&id) {
            let _ = answer.send(Ok(body));
        }
        if calls.is_empty() {
            self.empty.notify_waiters();
        }
    }

    /// Waits until nothing is waited for.
    async fn drained(&self) {
        loop {
            let emptied = self.empty.notified();
            if self.calls.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

struct Keeper {
    dialer: Dialer,
    queue: mpsc::Receiver<Call>,
    up: watch::Sender<bool>,
    orders: watch::Receiver<Order>,
}

/// How the service of a connection ended.
enum End {
    /// The connection broke.
    Down(io::Result<()>),
    /// Nobody needs the link any more.
    Unused,
    /// The node has moved.
    Moved,
    /// Another connection is there to go on with.
    Renewed(Halves),
}

impl Keeper {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
                biased;
            _ = stop.changed() => {}
            () = self.keep() => {}
        }
        self.up.send_replace(false);
        self.fail_queued();
    }

    async fn keep(&mut self) {
        let mut pause = RECONNECT_PAUSE;
        loop {
            let address = self.orders.borrow_and_update().address;
            match self.dialer.clone().dial(address).await {
                Ok(mut halves) => {
                    pause = RECONNECT_PAUSE;
                    let end = loop {
                        match self.serve(halves).await {
                            End::Renewed(renewed) => halves = renewed,
                            end => break end,
                        }
                    };
                    self.up.send_replace(false);
                    self.dialer.standing.lost(self.dialer.to);
                    match end {
                        End::Unused => return,
                        End::Down(ended) => {
                            tracing::debug!(to = self.dialer.to, ?ended, "a link went down");
                        }
                        End::Moved | End::Renewed(_) => {}
                    }
                }
                Err(error) => {
                    tracing::debug!(to = self.dialer.to, %error, "no link");
                }
            }
            self.fail_queued();
            if self.queue.is_closed() {
                return;
            }
            tokio::select! {
                biased;
                // A new address is tried at once.
                changed = self.orders.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    /// Serves one connection until it ends or there is a newer one.
    async fn serve(&mut self, (reader, mut writer): Halves) -> End {
        let waiting = Arc::new(Waiting::default());
        let mut listening = tokio::spawn(listen(reader, waiting.clone()));
        self.up.send_replace(true);
        let old = tokio::time::sleep(LINK_AGE_MAX);
        tokio::pin!(old);
        let mut renewal: OptionFuture<BoxFuture<'static, io::Result<Halves>>> = None.into();
        let mut renewing = false;
        let mut order = *self.orders.borrow_and_update();
        let mut next = 1;
        let end = loop {
            tokio::select! {
                biased;
                ended = &mut listening => {
                    break End::Down(ended.map_err(io::Error::other).and_then(|end| end));
                }
                changed = self.orders.changed() => {
                    let last = std::mem::replace(&mut order, *self.orders.borrow_and_update());
                    if changed.is_err() {
                        break End::Unused;
                    }
                    if last.address != order.address {
                        break End::Moved;
                    }
                    renewal = Some(self.renewal(order.address)).into();
                    renewing = true;
                }
                () = &mut old, if !renewing => {
                    old.as_mut().reset(tokio::time::Instant::now() + LINK_AGE_MAX);
                    renewal = Some(self.renewal(order.address)).into();
                    renewing = true;
                }
                renewed = &mut renewal, if renewing => {
                    renewing = false;
                    match renewed {
                        Some(Ok(halves)) => break End::Renewed(halves),
                        // The old connection still works; whoever asked will ask again.
                        Some(Err(error)) => {
                            tracing::warn!(to = self.dialer.to, %error, "a link was not renewed");
                        }
                        None => {}
                    }
                }
                call = self.queue.recv() => {
                    let Some(call) = call else { break End::Unused };
                    let sent = self.send(call, &mut next, &waiting, &mut writer).await;
                    if let Err(error) = sent {
                        break End::Down(Err(error));
                    }
                }
            }
        };
        if matches!(end, End::Renewed(_)) {
            retire(writer, listening, waiting).await;
        } else {
            listening.abort();
            // Dropping the answers tells the callers that the link went down.
            waiting.calls.lock().clear();
        }
        end
    }

    fn renewal(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Halves>> {
        Box::pin(self.dialer.clone().dial(address))
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
            waiting.calls.lock().insert(*next, answer);
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
        let mut waiting = waiting.calls.lock();
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

impl Dialer {
    /// Connects and greets, within [`CONNECT_TIMEOUT`].
    async fn dial(self, address: SocketAddr) -> io::Result<Halves> {
        let attempt = async {
            let stream = self.network.connect(address).await?;
            let stream = self.security.connect(stream, self.to).await?;
            let (reader, mut writer) = tokio::io::split(stream);
            let mut reader = BufReader::with_capacity(WRITE_BYTES, reader);
            let mut hello = BytesMut::new();
            let greeting = frame::encode(&self.standing.greeting(self.to))?;
            frame::put(&mut hello, Kind::Greet, 0, &greeting);
            writer.write_all(&hello).await?;
            writer.flush().await?;
            let answer = frame::read(&mut reader)
                .await?
                .ok_or_else(|| down("closed at once"))?;
            let answer: Result<Welcome, Refusal> = frame::decode(&answer.body)?;
            self.standing.answered(self.to, &answer);
            match answer {
                Ok(_) => Ok((reader, writer)),
                Err(refusal) => Err(down(&format!("refused: {refusal}"))),
            }
        };
        let outcome = tokio::time::timeout(CONNECT_TIMEOUT, attempt).await;
        outcome.unwrap_or_else(|_| Err(down("no connection in time")))
    }
}

async fn listen(mut reader: Reader, waiting: Arc<Waiting>) -> io::Result<()> {
    while let Some(frame) = frame::read(&mut reader).await? {
        waiting.answered(frame.id, frame.body);
    }
    Ok(())
}

/// Leaves an old connection to its last answers. The next connection is not used before most of
/// them are there, so that log entries do not overtake each other.
async fn retire(writer: Writer, listening: JoinHandle<io::Result<()>>, waiting: Arc<Waiting>) {
    let drained = tokio::time::timeout(LINK_REST_MAX, waiting.drained()).await;
    tokio::spawn(async move {
        if drained.is_err() {
            let _ = tokio::time::timeout(LINK_DRAIN_MAX, waiting.drained()).await;
        }
        listening.abort();
        waiting.calls.lock().clear();
        drop(writer);
    });
}

type Reader = BufReader<ReadHalf<Box<dyn Wire>>>;
type Writer = WriteHalf<Box<dyn Wire>>;
type Halves = (Reader, Writer);
