//! The Raft library's network on top of [`super::transport`].

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::acks::Acks;
use super::commits::Commits;
use super::roster::Roster;
use super::transfer::Source;
use super::transport::Lane;
use super::transport::frame::{self, Kind};
use super::transport::link::Link;
use super::types::{LogId, Node, Snapshot, Types, Vote};
use crate::limits::{APPENDS_IN_FLIGHT_MAX, RECONNECT_PAUSE, SNAPSHOT_TIMEOUT};
use crate::snapshot::SnapshotFile;

/// Time for one append request under load; the link notices dead peers earlier.
const APPEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Gives the Raft library its connections.
pub struct Network {
    roster: Arc<Roster>,
    source: Source,
    acks: Arc<Acks>,
}

impl Network {
    /// A network over these links; snapshots come from `source`, `acks` hears what is accepted.
    pub fn new(roster: Arc<Roster>, source: Source, acks: Arc<Acks>) -> Self {
        Self {
            roster,
            source,
            acks,
        }
    }

    fn peer(&self, id: u64, node: &Node, lane: Lane) -> Peer {
        self.roster.ensure(id, node.raft);
        let link = |lane| self.roster.link(id, lane);
        Peer {
            log: link(lane),
            control: link(Lane::Control),
            snapshot: link(Lane::Snapshot),
            source: self.source.clone(),
            member: id,
            acks: self.acks.clone(),
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Node) -> Peer {
        self.peer(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Node) -> Peer {
        self.peer(target, node, Lane::Control)
    }
}

/// The links to one node; `None` when the configuration does not know it.
pub struct Peer {
    log: Option<Link>,
    control: Option<Link>,
    snapshot: Option<Link>,
    source: Source,
    member: u64,
    acks: Arc<Acks>,
}

type RpcResult<T> = Result<T, RPCError<Types>>;

fn unreachable(error: impl std::fmt::Display) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(&io::Error::other(error.to_string())))
}

pub fn streaming(error: impl std::fmt::Display) -> StreamingError<Types> {
    StreamingError::Unreachable(Unreachable::new(&io::Error::other(error.to_string())))
}

fn unwrap_answer<T: DeserializeOwned>(body: &[u8]) -> RpcResult<T> {
    let answer: Result<T, String> = frame::decode(body).map_err(unreachable)?;
    answer.map_err(unreachable)
}

async fn ask<A: Serialize, B: DeserializeOwned>(
    link: Option<&Link>,
    kind: Kind,
    request: &A,
    timeout: Duration,
) -> RpcResult<B> {
    let link = link.ok_or_else(|| unreachable("this peer is not configured"))?;
    let body = frame::encode(request).map_err(unreachable)?;
    let answer = link
        .request(kind, body, timeout)
        .await
        .map_err(unreachable)?;
    unwrap_answer(&answer)
}

/// Notes that a member accepted a request, unless it said that there is a newer leader.
fn note_ack(
    acks: &Acks,
    member: u64,
    term: u64,
    sent: Instant,
    response: &AppendEntriesResponse<Types>,
) {
    if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
        acks.note(member, term, sent);
    }
}

struct Sent {
    at: Instant,
    term: u64,
    previous: Option<LogId>,
    last: Option<LogId>,
    answer: oneshot::Receiver<io::Result<Bytes>>,
}

/// A pipelined stream of append requests over one link.
struct Appends<S> {
    input: S,
    link: Link,
    member: u64,
    acks: Arc<Acks>,
    sent: VecDeque<Sent>,
    commits: Commits,
    input_ended: bool,
    failed: bool,
}

enum Step {
    Request(Option<AppendEntriesRequest<Types>>),
    Answered(io::Result<Bytes>),
    /// A commit has waited long enough for entries to go with.
    Due,
}

/// The answer to the oldest request.
async fn answered(sent: Option<&mut Sent>) -> io::Result<Bytes> {
    let Some(sent) = sent else {
        return std::future::pending().await;
    };
    match tokio::time::timeout(APPEND_TIMEOUT, &mut sent.answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(io::Error::other("the link went down")),
        Err(_) => Err(io::Error::other("no answer in time")),
    }
}

impl<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin> Appends<S> {
    /// The next result, in the order of the requests.
    async fn next(&mut self) -> Option<RpcResult<StreamAppendResult<Types>>> {
        while !self.failed {
            let has_room = self.sent.len() < APPENDS_IN_FLIGHT_MAX;
            let due = self.commits.due().filter(|_| has_room);
            let step = tokio::select! {
                biased;
                answer = answered(self.sent.front_mut()), if !self.sent.is_empty() => {
                    Step::Answered(answer)
                }
                request = self.input.next(), if has_room && !self.input_ended => {
                    Step::Request(request)
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Step::Due,
                else => return None,
            };
            let request = match step {
                Step::Request(None) => {
                    self.input_ended = true;
                    self.commits.alone()
                }
                Step::Request(Some(request)) => self.commits.pass(request, Instant::now()),
                Step::Due => self.commits.alone(),
                Step::Answered(answer) => return Some(self.answered(answer)),
            };
            if let Some(Err(error)) = request.map(|request| self.send(&request)) {
                self.failed = true;
                return Some(Err(unreachable(error)));
            }
        }
        None
    }

    fn send(&mut self, request: &AppendEntriesRequest<Types>) -> io::Result<()> {
        let last = request
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(request.prev_log_id);
        let at = Instant::now();
        let answer = self.link.call(Kind::Append, frame::encode(request)?);
        self.sent.push_back(Sent {
            at,
            term: request.vote.leader_id.term,
            previous: request.prev_log_id,
            last,
            answer,
        });
        Ok(())
    }

    fn answered(&mut self, answer: io::Result<Bytes>) -> RpcResult<StreamAppendResult<Types>> {
        let sent = self.sent.pop_front();
        let (previous, last) = sent
            .as_ref()
            .map_or((None, None), |sent| (sent.previous, sent.last));
        let response = answer
            .map_err(unreachable)
            .and_then(|body| unwrap_answer::<AppendEntriesResponse<Types>>(&body));
        if let (Some(sent), Ok(response)) = (&sent, &response) {
            note_ack(&self.acks, self.member, sent.term, sent.at, response);
        }
        let result = response.map(|response| response.into_stream_result(previous, last));
        self.failed = !matches!(result, Ok(Ok(_)));
        result
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<Types>> {
        let (sent, term) = (Instant::now(), request.vote.leader_id.term);
        let response = ask(self.log.as_ref(), Kind::Append, &request, option.hard_ttl()).await?;
        note_ack(&self.acks, self.member, term, sent, &response);
        Ok(response)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let link = self.log.clone();
        let (member, acks) = (self.member, self.acks.clone());
        Box::pin(async move {
            let link = link.ok_or_else(|| unreachable("this peer is not configured"))?;
            let appends = Appends {
                input,
                link,
                member,
                acks,
                sent: VecDeque::new(),
                commits: Commits::default(),
                input_ended: false,
                failed: false,
            };
            let results = stream::unfold(appends, |mut appends| async move {
                appends.next().await.map(|result| (result, appends))
            });
            Ok(results.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<Types>> {
        ask(
            self.control.as_ref(),
            Kind::Vote,
            &request,
            option.hard_ttl(),
        )
        .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<Types>> {
        ask(
            self.control.as_ref(),
            Kind::PreVote,
            &request,
            option.hard_ttl(),
        )
        .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let link = self
            .snapshot
            .clone()
            .ok_or_else(|| streaming("this peer is not configured"))?;
        let sending = self.source.send(link, vote, snapshot);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = tokio::time::timeout(SNAPSHOT_TIMEOUT, sending) => {
                sent.unwrap_or_else(|_| Err(streaming("the snapshot took too long")))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<Types>> {
        ask(
            self.control.as_ref(),
            Kind::Transfer,
            &request,
            option.hard_ttl(),
        )
        .await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RECONNECT_PAUSE)))
    }
}
