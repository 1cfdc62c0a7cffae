//! Any bytes as what another node sends.

use bytes::Bytes;
use futures::executor::block_on;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};

use super::Outcome;
use super::question::{Answer, Question};
use super::transfer::{Piece, PieceAnswer};
use super::transport::frame::{self, Kind};
use super::types::{SnapshotMeta, Types};
use crate::batch::{Batch, Requests};
use crate::limits::FRAME_BYTES_MAX;
use crate::reply::{Command, Reply};

/// Reads frames, then decodes the body of each as everything that a node ever decodes.
pub fn fuzz_frame(input: &[u8]) {
    let mut rest = input;
    while let Ok(Some(frame)) = block_on(frame::read(&mut rest)) {
        assert!(frame.body.len() <= FRAME_BYTES_MAX);
        requests(frame.kind, &frame.body);
        answers(&frame.body);
    }
    // Bodies that no frame would carry, for depth: the first byte picks the kind.
    if let Some((kind, body)) = input.split_first()
        && let Some(kind) = Kind::parse(*kind)
    {
        requests(kind, &Bytes::copy_from_slice(body));
    }
}

fn requests(kind: Kind, body: &Bytes) {
    match kind {
        Kind::Append => {
            if let Ok(append) = frame::decode::<AppendEntriesRequest<Types>>(body) {
                for entry in append.entries {
                    if let openraft::EntryPayload::Normal(batch) = entry.payload {
                        walk(&batch);
                    }
                }
            }
        }
        Kind::Vote | Kind::PreVote => drop(frame::decode::<VoteRequest<Types>>(body)),
        Kind::Transfer => drop(frame::decode::<TransferLeaderRequest<Types>>(body)),
        Kind::Forward => {
            if let Ok(batch) = frame::decode::<Batch>(body) {
                walk(&batch);
            }
        }
        Kind::Read => drop(frame::decode::<Command>(body)),
        Kind::SnapshotPiece => {
            if let Ok(piece) = frame::decode::<Piece>(body) {
                drop(frame::decode::<SnapshotMeta>(&Bytes::from(piece.meta)));
            }
        }
        Kind::Ask => drop(frame::decode::<Question>(body)),
        _ => {}
    }
}

fn walk(batch: &Batch) {
    let requests = Requests::new(&batch.body).take(batch.count as usize);
    let bytes: usize = requests
        .flatten()
        .flatten()
        .map(|argument| argument.len())
        .sum();
    assert!(
        bytes <= batch.body.len(),
        "more bytes came out than went in"
    );
}

fn answers(body: &Bytes) {
    drop(frame::decode::<Result<AppendEntriesResponse<Types>, String>>(body));
    drop(frame::decode::<Result<VoteResponse<Types>, String>>(body));
    drop(frame::decode::<Result<SnapshotResponse<Types>, String>>(
        body,
    ));
    drop(frame::decode::<Result<Outcome, String>>(body));
    drop(frame::decode::<Result<Option<Reply>, String>>(body));
    drop(frame::decode::<PieceAnswer>(body));
    drop(frame::decode::<Answer>(body));
}
