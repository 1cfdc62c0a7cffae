//! What a description says about a line and its party, put into the tables.

use std::net::IpAddr;

use super::{Control, unix_us};
use crate::call::{Call, Dialogue, Line, MuxGrant};
use crate::ng::Refusal;
use crate::ng::bencode::{Value, dict};
use crate::ng::request::Request;
use crate::sdp::{FormatsOut, Media, MediaOut, Rewrite, Sdp, Takes, is_rtp, rewrite};
use crate::security::{KeySeed, LineKeys};
use crate::webrtc::is_browser;

impl Line {
    /// Whether it carries sound over RTP.
    pub(crate) fn is_sound(&self) -> bool {
        self.kind == "audio" && self.is_rtp()
    }

    /// Whether it is carried over RTP.
    pub(super) fn is_rtp(&self) -> bool {
        is_rtp(&self.protocol)
    }

    /// The port for RTCP that a party is offered: with `require` there is no second one.
    pub(super) fn offered_rtcp(&self, facing: usize) -> u16 {
        self.local[facing].port() + u16::from(!self.mux_only)
    }

    /// Who shares the port of RTP for RTCP (RFC 5761 section 5.1.1), by side, once `answerer` has
    /// answered the last offer with `media`.
    pub(super) fn settled_mux(&self, media: &Media<'_>, answerer: usize) -> [bool; 2] {
        let peer = media.mux && self.mux_out;
        let offerer = self.mux_offered
            && match self.mux_grant {
                MuxGrant::LikePeer => peer,
                MuxGrant::Always => true,
                MuxGrant::Never => false,
            };
        let mut mux = [offerer; 2];
        mux[answerer] = peer;
        mux
    }

    /// An answer to the last offer; what is written to the offerer in place of its formats.
    pub(super) fn note_answer(&mut self, media: &Media<'_>, side: usize) -> Option<FormatsOut> {
        self.direction[side] = media.direction;
        self.takes[side] = Takes::of(media);
        self.named[side] = media.address;
        self.answered_by = Some(side);
        self.answer_formats(media, side)
    }
}

impl Control {
    /// Puts lines that an offer needs into a dialogue.
    pub(super) fn put_lines(&mut self, call: &mut Call, n: usize, fresh: Vec<(usize, Line)>) {
        let lines = &mut call.dialogues[n].lines;
        for (index, mut line) in fresh {
            let name = format!("{n}/{index}");
            line.keys = LineKeys::new(call.key_seed.map(|secret| KeySeed { secret, name }));
            match lines.get_mut(index) {
                Some(place) => self.free(&std::mem::replace(place, line)),
                None => lines.push(line),
            }
        }
    }

    /// A call is over: by a command, or `forced` because nobody cares for it.
    pub(super) fn note_end(&mut self, call: &Call, forced: bool) {
        self.ended
            .add(forced, unix_us().saturating_sub(call.created_us));
    }

    /// Addresses and their ports, as `statistics` has them.
    pub fn interfaces(&self) -> Vec<Value> {
        let one = |(address, used, free): (IpAddr, u64, u64)| {
            // Each pair is two ports.
            let (used, free) = (2 * used, 2 * free);
            let ports = dict([
                ("used", used.into()),
                ("free", free.into()),
                ("totals", (used + free).into()),
            ]);
            let address = address.to_string();
            Value::from(dict([
                ("name", "default".into()),
                ("address", address.into()),
                ("ports", ports.into()),
            ]))
        };
        self.sites.pairs().map(one).collect()
    }

    /// The description that a party gets.
    pub(super) fn write(
        &self,
        sdp: &Sdp<'_>,
        request: &Request,
        media: &[MediaOut<'_>],
        dialogue: &Dialogue,
        facing: usize,
    ) -> String {
        let local = dialogue.lines.first().map(|line| line.local[facing].ip());
        let own = self
            .sites
            .advertised(local.unwrap_or_else(|| self.sites.usual()));
        let address = request.media_address.unwrap_or(own);
        rewrite(
            sdp,
            &Rewrite {
                address,
                origin: request.replace_origin,
                media,
            },
        )
    }
}

/// What offers and answers cannot do without: the SDP and the tag.
pub(super) fn required(request: &Request) -> Result<(&str, &str), Refusal> {
    if request.call_id.is_empty() {
        return Err(Refusal::error("No call-id in message"));
    }
    let Some(sdp) = &request.sdp else {
        return Err(Refusal::error("No SDP body in message"));
    };
    let Some(tag) = &request.from_tag else {
        return Err(Refusal::error("No from-tag in message"));
    };
    Ok((sdp, tag))
}

/// Whose the call is, and what its keys are made from.
pub(super) fn note_owner(call: &mut Call, request: &Request) {
    call.key_seed = call.key_seed.or(request.key_seed);
    if request.owner.is_some() {
        call.owner.clone_from(&request.owner);
    }
}

pub(super) fn set_party(dialogue: &mut Dialogue, side: usize, tag: &str, request: &Request) {
    let party = &mut dialogue.parties[side];
    if party.tag.as_deref() != Some(tag) {
        party.tag = Some(tag.into());
        party.created_s = unix_us() / 1_000_000;
    }
    if request.label.is_some() {
        party.label.clone_from(&request.label);
    }
}

pub(super) fn has_rtcp(media: &Media<'_>) -> bool {
    media.port != 0 && media.protocol.contains("RTP/")
}

/// An offer; what is written to the answerer in place of its formats.
pub(super) fn note_offer(
    line: &mut Line,
    media: &Media<'_>,
    request: &Request,
    side: usize,
) -> Option<FormatsOut> {
    line.direction[side] = media.direction;
    line.takes = <[Takes; 2]>::default();
    line.takes[side] = Takes::of(media);
    line.named[side] = media.address;
    line.answered_by = None;
    line.ptimes_ms[side] = request.ptime_reverse_ms;
    line.ptimes_ms[1 - side] = request.ptime_ms;
    media.protocol.clone_into(&mut line.protocol);
    let protocol = match &request.protocol {
        Some(protocol) if media.is_rtp() => &protocol[..],
        _ => media.protocol,
    };
    protocol.clone_into(&mut line.protocol_out);
    let flags = request.mux;
    line.mux_offered = media.mux;
    // Browsers have no other port (RFC 8834 section 4.5); who has one may take it all the same.
    let offers = flags.offer || (is_browser(protocol) && !flags.demux);
    line.mux_out = media.port != 0 && (offers || (media.mux && !flags.demux));
    line.mux_only = flags.require;
    let accepts = flags.demux || flags.accept || is_browser(media.protocol);
    line.mux_grant = match (flags.reject, accepts) {
        (true, _) => MuxGrant::Never,
        (false, true) => MuxGrant::Always,
        (false, false) => MuxGrant::LikePeer,
    };
    line.offer_formats(media, &request.codecs, side)
}
