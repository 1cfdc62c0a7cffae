//! The called side of the links: serves the requests of other nodes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use openraft::EntryPayload;
use openraft::raft::AppendEntriesRequest;
use tokio::io::{AsyncWriteExt, BufReader, WriteHalf};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::Consensus;
use super::candidacy::Bar;
use super::sanity;
use super::standing::{Greeting, Refusal};
use super::transfer::{Incoming, Piece, PieceAnswer};
use super::transport::frame::{self, Frame, Kind};
use super::transport::tls::Security;
use super::types::{Entry, Types};
use crate::environment::network::{Listener, Wire};
use crate::limits::{
    APPENDS_IN_FLIGHT_MAX, CONNECT_TIMEOUT, FORWARDS_PER_LINK_MAX, LINK_QUEUE_MAX,
    LINKS_ACCEPTED_MAX,
};

/// Bytes gathered for one write.
const WRITE_BYTES: usize = 256 << 10;

/// Accepts links until `stop` changes.
pub async fn serve(
    listener: Box<dyn Listener>,
    security: Security,
    consensus: Arc<Consensus>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(LINKS_ACCEPTED_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            // Out of file descriptors or the like: do not spin.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            consensus.counters.links_refused.add(1);
            continue;
        };
        let (security, consensus) = (security.clone(), consensus.clone());
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let served = tokio::select! {
                biased;
                _ = stop.changed() => Ok(()),
                served = serve_link(stream, security, consensus) => served,
            };
            if let Err(error) = served {
                tracing::debug!(%address, %error, "a link from another node ended");
            }
            drop(place);
        });
    }
}

async fn serve_link(
    stream: Box<dyn Wire>,
    security: Security,
    consensus: Arc<Consensus>,
) -> io::Result<()> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "no greeting in time");
    let opening = async {
        let (stream, caller) = security.accept(stream).await?;
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::with_capacity(WRITE_BYTES, reader);
        let first = frame::read_greeting(&mut reader)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let greeting: Greeting = frame::decode(&first.body)?;
        let answer = if caller.is_node(greeting.from) {
            consensus.standing.answer(&greeting)
        } else {
            Err(Refusal::Certificate)
        };
        let mut out = BytesMut::new();
        frame::put(&mut out, Kind::Answer, first.id, &frame::encode(&answer)?);
        writer.write_all(&out).await?;
        writer.flush().await?;
        match answer {
            Ok(_) => Ok((greeting.from, reader, writer)),
            Err(refusal) => Err(io::Error::other(format!(
                "refused node {}: {refusal}",
                greeting.from
            ))),
        }
    };
    let (sender, mut reader, writer) = tokio::time::timeout(CONNECT_TIMEOUT, opening)
        .await
        .map_err(timed_out)??;
    let (answers, queue) = mpsc::channel(LINK_QUEUE_MAX);
    let writing = tokio::spawn(write_answers(writer, queue));
    let (appends, append_queue) = mpsc::channel(APPENDS_IN_FLIGHT_MAX);
    let appending = tokio::spawn(answer_appends(append_queue, answers.clone()));
    let mut served = Served {
        sender,
        consensus,
        answers,
        appends,
        places: Arc::new(Semaphore::new(FORWARDS_PER_LINK_MAX)),
        incoming: None,
    };
    let mut outcome = Ok(());
    loop {
        match frame::read(&mut reader).await {
            Ok(Some(frame)) => {
                if let Err(error) = served.handle(frame).await {
                    outcome = Err(error);
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(served);
    appending.abort();
    writing.abort();
    outcome
}

type Answer = (u64, Bytes);

async fn write_answers(
    mut writer: WriteHalf<Box<dyn Wire>>,
    mut queue: mpsc::Receiver<Answer>,
) -> io::Result<()> {
    let mut out = BytesMut::new();
    while let Some(first) = queue.recv().await {
        let mut answer = Some(first);
        while let Some((id, body)) = answer {
            frame::put(&mut out, Kind::Answer, id, &body);
            answer = if out.len() < WRITE_BYTES {
                queue.try_recv().ok()
            } else {
                None
            };
        }
        writer.write_all(&out).await?;
        writer.flush().await?;
        out.clear();
    }
    Ok(())
}

/// Answers appends in their order; the log works on many of them at once.
async fn answer_appends(
    mut queue: mpsc::Receiver<BoxFuture<'static, Answer>>,
    answers: mpsc::Sender<Answer>,
) {
    let mut working = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(answer) = working.next(), if !working.is_empty() => {
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
            next = queue.recv(), if working.len() < APPENDS_IN_FLIGHT_MAX => match next {
                Some(append) => working.push_back(append),
                None => return,
            },
        }
    }
}

/// One link being served.
struct Served {
    /// The node at the other end.
    sender: u64,
    consensus: Arc<Consensus>,
    answers: mpsc::Sender<Answer>,
    appends: mpsc::Sender<BoxFuture<'static, Answer>>,
    places: Arc<Semaphore>,
    incoming: Option<Incoming>,
}

fn answer<T: serde::Serialize>(outcome: &Result<T, String>) -> Bytes {
    frame::encode(outcome).unwrap_or_else(|error| {
        let failed: Result<(), String> = Err(error.to_string());
        frame::encode(&failed).unwrap_or_default()
    })
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the link is closing")
}

impl Served {
    async fn handle(&mut self, frame: Frame) -> io::Result<()> {
        match frame.kind {
            Kind::Append | Kind::Vote | Kind::PreVote | Kind::Transfer => {
                self.handle_consensus(frame).await
            }
            Kind::Ask => {
                let question = frame::decode(&frame.body)?;
                let consensus = self.consensus.clone();
                self.spawn(frame.id, async move { consensus.answer(question).await })
                    .await
            }
            Kind::Forward | Kind::Read | Kind::ReadIndex | Kind::Member => {
                self.handle_client(frame).await
            }
            Kind::SnapshotPiece => {
                let piece = frame::decode(&frame.body)?;
                let outcome: PieceAnswer = self.piece(piece).await;
                self.answers
                    .send((frame.id, answer(&outcome)))
                    .await
                    .map_err(|_| ended())
            }
            Kind::Greet | Kind::Answer => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an unexpected frame",
            )),
        }
    }

    async fn handle_consensus(&mut self, Frame { kind, id, body }: Frame) -> io::Result<()> {
        let raft = self.consensus.raft.clone();
        match kind {
            Kind::Append => {
                let request: AppendEntriesRequest<Types> = frame::decode(&body)?;
                let refused = self
                    .not_barred()
                    .and_then(|()| sanity::append(self.sender, &request));
                // Heartbeats and the first entry of a new leader need next to none.
                let is_write = |entry: &Entry| matches!(entry.payload, EntryPayload::Normal(_));
                let refused = match request.entries.iter().any(is_write) {
                    true => refused.and_then(|()| self.takes_entries()),
                    false => refused,
                };
                let append: BoxFuture<'static, Answer> = Box::pin(async move {
                    if let Err(text) = refused {
                        return (id, answer(&Err::<(), _>(text)));
                    }
                    let outcome = raft.append_entries(request).await;
                    (id, answer(&outcome.map_err(|error| error.to_string())))
                });
                self.appends.send(append).await.map_err(|_| ended())
            }
            Kind::Transfer => {
                let request = frame::decode(&body)?;
                let refused = self.not_barred();
                let refused = refused.and_then(|()| sanity::transfer(self.sender, &request));
                let fit = self.consensus.candidacy.is_free();
                self.spawn(id, async move {
                    refused?;
                    if !fit {
                        return Err("this node must not lead now".into());
                    }
                    let handled = raft.handle_transfer_leader(request).await;
                    handled.map_err(|error| error.to_string())
                })
                .await
            }
            kind => {
                let request = frame::decode(&body)?;
                let refused = self
                    .too_early()
                    .and_then(|()| sanity::vote(self.sender, &request));
                self.spawn(id, async move {
                    refused?;
                    let vote = match kind {
                        Kind::PreVote => raft.pre_vote(request).await,
                        _ => raft.vote(request).await,
                    };
                    vote.map_err(|error| error.to_string())
                })
                .await
            }
        }
    }

    async fn handle_client(&mut self, Frame { kind, id, body }: Frame) -> io::Result<()> {
        let consensus = self.consensus.clone();
        match kind {
            Kind::Forward => {
                let batch = frame::decode(&body)?;
                // Proposed here and now, so that batches keep their order; awaited elsewhere.
                let proposed = self.consensus.propose(batch).await;
                self.spawn(id, async move { Ok(proposed.outcome().await) })
                    .await
            }
            Kind::Member => {
                // JSON, as over the API: this is rare, and its shape names its variant.
                let change = serde_json::from_slice(&body)?;
                self.spawn(id, async move { Ok(consensus.change_here(change).await) })
                    .await
            }
            kind => {
                let command: Vec<Bytes> = frame::decode(&body)?;
                self.spawn(id, async move {
                    Ok(match kind {
                        Kind::ReadIndex => consensus.read_index(&command).await,
                        _ => consensus.read_as_leader(&command),
                    })
                })
                .await
            }
        }
    }

    /// Works on a request beside the link; waits while too many are being worked on.
    async fn spawn<T: serde::Serialize>(
        &self,
        id: u64,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> io::Result<()> {
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| ended())?;
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let body = answer(&work.await);
            // The link may be gone by now; then nobody waits for the answer.
            let _ = answers.send((id, body)).await;
            drop(place);
        });
        Ok(())
    }

    /// A node that was restarted does not vote until every lease it may have granted is over; one
    /// that lost its directory does not vote at all.
    fn too_early(&self) -> Result<(), String> {
        if self.consensus.candidacy.has(Bar::Recovering) {
            return Err("this node may lack entries that it acknowledged".into());
        }
        self.not_barred()?;
        if Instant::now() < self.consensus.votes_from {
            return Err("just started, a leader may still hold a lease from this node".into());
        }
        Ok(())
    }

    fn not_barred(&self) -> Result<(), String> {
        if self.consensus.standing.is_barred() {
            return Err("this node has lost its directory and must rejoin".into());
        }
        Ok(())
    }

    /// A node takes no entries that might not fit in its memory or on its disk.
    fn takes_entries(&self) -> Result<(), String> {
        if self.consensus.log_is_full() {
            return Err("the log of this node waits for a snapshot".into());
        }
        self.has_room()
    }

    fn has_room(&self) -> Result<(), String> {
        if self.consensus.takes_entries.load(Ordering::Acquire) {
            return Ok(());
        }
        Err("the disk of this node is full".into())
    }

    async fn piece(&mut self, piece: Piece) -> PieceAnswer {
        self.has_room()?;
        if piece.offset == 0 {
            // Whatever came before was broken off.
            self.incoming = None;
            let begun = Incoming::begin(&self.consensus.snapshots);
            self.incoming = Some(begun.map_err(|error| error.to_string())?);
        }
        let incoming = self.incoming.take();
        let incoming = incoming.ok_or("a piece without a beginning")?;
        let workers = self.consensus.environment.workers;
        let taken = workers.blocking(move || incoming.take(piece));
        let received = match taken.await.map_err(|error| error.to_string())?? {
            Ok(received) => received,
            Err(incoming) => {
                self.incoming = Some(incoming);
                return Ok(None);
            }
        };
        sanity::snapshot(self.sender, &received.vote, &received.snapshot.meta)?;
        let raft = &self.consensus.raft;
        let installed = raft.install_full_snapshot(received.vote, received.snapshot);
        let installed = installed.await;
        drop(received.files);
        installed.map(Some).map_err(|error| error.to_string())
    }
}
