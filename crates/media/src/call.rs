//! What signalling has said about a call: its dialogues, their parties and media lines.
//!
//! Pure. A call is a list of dialogues, because one offer may go to several branches; each
//! dialogue has two parties, 0 being the one that offered first. The packets' side of a
//! line (sockets, learned addresses, counters) lives in its flow.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::codec::Codec;
use crate::forward::wanted::Wanted;
use crate::ports::PortPair;
use crate::record::Recording;
use crate::sdp::{Direction, Takes};
use crate::security::LineKeys;
use crate::webrtc::LineLegs;
use crate::worker::FlowKey;

/// One call.
pub struct Call {
    /// NG `call-id`.
    pub id: Arc<str>,
    /// When it was made, microseconds since 1970.
    pub created_us: u64,
    /// When a command last touched it, microseconds since 1970.
    pub signalled_us: u64,
    /// The same by `CLOCK_MONOTONIC`, nanoseconds, for timeouts.
    pub signalled_ns: u64,
    /// What our keys are made from; none: each is new.
    pub key_seed: Option<[u8; 32]>,
    /// Whose it is, as its offer said.
    pub owner: Option<String>,
    /// Its recording, if it is recorded.
    pub recording: Option<Recording>,
    /// What of it goes to a consumer outside.
    pub forwarded: Wanted,
    /// Branches; at least one.
    pub dialogues: Vec<Dialogue>,
    /// Those who get copies.
    pub subscriptions: Vec<Subscription>,
    /// It was written down for another engine, and no command has changed it since.
    pub is_kept: bool,
    /// Beginning of the silence reported last, `CLOCK_MONOTONIC` ns; 0 for none.
    pub silent_since_ns: u64,
}

/// Two parties and the media between them.
#[derive(Default)]
pub struct Dialogue {
    /// `via-branch` of the offer that made it.
    pub via_branch: Option<String>,
    /// Offerer of the first offer, and the other one.
    pub parties: [Party; 2],
    /// Media lines in the order of the SDP.
    pub lines: Vec<Line>,
    /// An answer was seen.
    pub answered: bool,
}

/// A party of a dialogue.
#[derive(Default)]
pub struct Party {
    /// Its tag; the answerer's is known with its first answer.
    pub tag: Option<Arc<str>>,
    /// NG `label`.
    pub label: Option<String>,
    /// When its tag became known, seconds since 1970.
    pub created_s: u64,
}

/// Somebody who gets copies of what parties send.
pub struct Subscription {
    /// Its tag.
    pub tag: Arc<str>,
    /// One for each party, in the order of its description.
    pub lines: Vec<Subscribed>,
}

/// A party's line of which somebody gets a copy.
pub struct Subscribed {
    /// Tag of the party.
    pub from: Arc<str>,
    /// Worker of its flow.
    pub worker: usize,
    /// The flow.
    pub key: FlowKey,
    /// Its side there.
    pub side: usize,
    /// Where the copies come from.
    pub local: SocketAddr,
    /// The ports there.
    pub ports: Option<Arc<PortPair>>,
    /// What it may send.
    pub offered: Takes,
}

/// When RTCP multiplexing is granted to the offerer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MuxGrant {
    /// When the answerer grants it.
    #[default]
    LikePeer,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A media line.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Line {
    /// `audio`, `video`, ...
    pub kind: String,
    /// Transport as the offerer wrote it.
    pub protocol: String,
    /// Transport as it was written to the answerer.
    pub protocol_out: String,
    /// Worker that relays it, and its flow there.
    #[serde(skip)]
    pub worker: usize,
    /// The flow.
    #[serde(skip)]
    pub key: FlowKey,
    /// Even ports facing the two parties.
    pub local: [SocketAddr; 2],
    /// Who sends, as each party said last.
    pub direction: [Direction; 2],
    /// Length of the packets to each party that a command wants, ms.
    pub ptimes_ms: [Option<u32>; 2],
    /// The last offerer offered RTCP multiplexing.
    pub mux_offered: bool,
    /// It was offered on to the answerer.
    pub mux_out: bool,
    /// When the offerer gets it.
    pub mux_grant: MuxGrant,
    /// The answerer is offered nothing but that.
    pub mux_only: bool,
    /// ICE and DTLS between us and the parties.
    pub legs: LineLegs,
    /// Keys between us and the parties.
    pub keys: LineKeys,
    /// What the parties take, as each said last.
    pub takes: [Takes; 2],
    /// Where the parties receive, as each said last.
    pub named: [Option<IpAddr>; 2],
    /// What was written to each party in place of what the other one takes.
    pub wrote: [Option<Takes>; 2],
    /// What the offerer offered and may be told to use; none: the answerer decides.
    pub usable: Option<Takes>,
    /// Codecs the offerer is told to use although the answerer does not.
    pub accepted: Vec<Codec>,
    /// Who answered the last offer.
    pub answered_by: Option<usize>,
}

impl Dialogue {
    /// The side with this tag.
    pub fn side_of(&self, tag: &str) -> Option<usize> {
        (0..2).find(|&side| self.parties[side].tag.as_deref() == Some(tag))
    }

    /// Media are expected in both directions on some line.
    pub fn both_ways(&self) -> bool {
        self.answered
            && self.lines.iter().any(|line| {
                line.direction
                    .iter()
                    .all(|direction| *direction == Direction::SendRecv)
            })
    }
}

impl Call {
    /// Nothing was said about it yet; the times are microseconds since 1970, and nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub fn new(id: Arc<str>, now_us: u64, now_ns: u64) -> Call {
        Call {
            id,
            created_us: now_us,
            signalled_us: now_us,
            signalled_ns: now_ns,
            key_seed: None,
            owner: None,
            recording: None,
            forwarded: Wanted::default(),
            dialogues: Vec::new(),
            subscriptions: Vec::new(),
            is_kept: false,
            silent_since_ns: 0,
        }
    }

    /// The dialogue a command is about and the side of `from_tag` in it.
    ///
    /// Best is the one between both tags; next one whose other party is not known yet; a
    /// later answer of another branch may have renamed the other party, so any dialogue of
    /// the tag will do last. A different `via-branch` is a different dialogue.
    pub fn find(
        &self,
        from_tag: &str,
        to_tag: Option<&str>,
        via_branch: Option<&str>,
    ) -> Option<(usize, usize)> {
        let mut best: Option<(u8, usize, usize)> = None;
        for (n, dialogue) in self.dialogues.iter().enumerate() {
            let Some(side) = dialogue.side_of(from_tag) else {
                continue;
            };
            let other = dialogue.parties[1 - side].tag.as_deref();
            let pair = to_tag.is_some() && other == to_tag;
            let branches = (dialogue.via_branch.as_deref(), via_branch);
            let same_branch = branches.0 == branches.1;
            if !pair && !same_branch && matches!(branches, (Some(_), Some(_))) {
                continue;
            }
            let open = to_tag.is_some() && other.is_none();
            let score = u8::from(pair) * 4 + u8::from(open) * 2 + u8::from(same_branch);
            if best.is_none_or(|(highest, ..)| score > highest) {
                best = Some((score, n, side));
            }
        }
        best.map(|(_, n, side)| (n, side))
    }

    /// Tag of the party at this side of a flow.
    pub fn tag_of(&self, key: FlowKey, side: usize) -> Option<Arc<str>> {
        let mut dialogues = self.dialogues.iter();
        let dialogue = dialogues.find(|one| one.lines.iter().any(|line| line.key == key))?;
        dialogue.parties[side].tag.clone()
    }

    /// Number of legs: every dialogue has two.
    pub fn legs(&self) -> usize {
        self.dialogues.len() * 2
    }

    /// All media lines of all dialogues.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.dialogues.iter().flat_map(|dialogue| &dialogue.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(a: &str, b: Option<&str>, branch: Option<&str>) -> Dialogue {
        let party = |tag: Option<&str>| Party {
            tag: tag.map(Arc::from),
            ..Party::default()
        };
        let via_branch = branch.map(str::to_owned);
        Dialogue {
            via_branch,
            parties: [party(Some(a)), party(b)],
            ..Dialogue::default()
        }
    }

    fn call(dialogues: Vec<Dialogue>) -> Call {
        Call {
            dialogues,
            ..Call::new("c".into(), 0, 0)
        }
    }

    #[test]
    fn both_tags_name_the_dialogue_from_either_side() {
        let call = call(vec![
            dialogue("a", Some("b1"), None),
            dialogue("a", Some("b2"), None),
        ]);
        assert_eq!(call.find("a", Some("b2"), None), Some((1, 0)));
        assert_eq!(call.find("b2", Some("a"), None), Some((1, 1)));
        assert_eq!(call.find("x", Some("a"), None), None);
    }

    #[test]
    fn branches_are_dialogues_of_their_own_and_an_answer_finds_its_open_one() {
        let call = call(vec![
            dialogue("a", None, Some("z1")),
            dialogue("a", None, Some("z2")),
        ]);
        assert_eq!(call.find("a", Some("b"), Some("z2")), Some((1, 0)));
        assert_eq!(call.find("a", None, Some("z3")), None);
        assert_eq!(call.find("a", Some("b"), None), Some((0, 0)));
    }

    #[test]
    fn an_offer_repeated_finds_the_same_dialogue() {
        let call = call(vec![dialogue("a", Some("b"), None)]);
        assert_eq!(call.find("a", None, None), Some((0, 0)));
        assert_eq!(call.find("b", None, None), Some((0, 1)));
        assert_eq!(call.find("a", Some("other"), None), Some((0, 0)));
    }
}
