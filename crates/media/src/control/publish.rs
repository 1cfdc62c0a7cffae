//! Published media: somebody sends and nobody answers, so that others may subscribe to it
//! (`publish`). An offer that we answer ourselves, with one codec, to receive alone.

use std::fmt::Write;

use super::{Control, unix_us};
use crate::ng::Refusal;
use crate::ng::request::{IceFlag, Request};
use crate::sdp::{Coding, Format, Media, Sdp, Takes};
use crate::stream::Named;

use super::codecs::written;

/// Nobody is there (RFC 5737); nothing is sent there either.
const NOBODY: &str = "192.0.2.1";

impl Control {
    /// Takes a description of what somebody sends; returns our answer.
    ///
    /// # Errors
    /// As for offers and answers, and when no codec is left.
    pub fn publish(&mut self, request: &Request) -> Result<String, Refusal> {
        let Some(text) = &request.sdp else {
            return Err(Refusal::error("No SDP body in message"));
        };
        // Before anything is changed: an offer that could not be answered would stay.
        let offered = Sdp::parse(text)?;
        let chosen = chosen_lines(&offered, request);
        if chosen.iter().all(Option::is_none) {
            return Err(Refusal::error("Failed to publish: no codec that is known"));
        }
        let to_tag = self.publisher_tag(request);
        let inner = Request {
            to_tag: Some(to_tag),
            replace_origin: true,
            protocol: Some("RTP/AVP".into()),
            codecs: Default::default(),
            ice: request.ice.or(Some(IceFlag::Default)),
            ..request.clone()
        };
        self.offer(&Request {
            ice: Some(IceFlag::Remove),
            ..inner.clone()
        })?;
        let sdp = Some(answer_to(&offered, &chosen));
        let answer = self.answer(&Request { sdp, ..inner })?;
        self.let_nothing_out(request);
        Ok(answer)
    }

    /// The tag of the party that nobody is: the same when somebody publishes again.
    fn publisher_tag(&self, request: &Request) -> String {
        let from_tag = request.from_tag.as_deref().unwrap_or_default();
        let call = self.calls.get(&request.call_id[..]);
        let known = call.and_then(|call| {
            let (n, side) = call.find(from_tag, None, request.via_branch.as_deref())?;
            call.dialogues[n].parties[1 - side].tag.as_deref()
        });
        known.map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned)
    }

    /// What is published goes to subscribers alone.
    fn let_nothing_out(&self, request: &Request) {
        let from_tag = request.from_tag.as_deref().unwrap_or_default();
        let Some(call) = self.calls.get(&request.call_id[..]) else {
            return;
        };
        let place = call.find(from_tag, None, request.via_branch.as_deref());
        let Some((n, side)) = place else { return };
        for line in &call.dialogues[n].lines {
            let mut table = self.workers[line.worker].table();
            let Some(flow) = table.get_mut(line.key) else {
                continue;
            };
            flow.block(side, |blocks| blocks.media = true);
            let nowhere = Named::default();
            let tag = std::sync::Arc::clone(&flow.sides[1 - side].tag);
            flow.sides[1 - side].name(&tag, nowhere, nowhere);
        }
    }
}

/// The codec of each line; none for one that is not taken.
fn chosen_lines(offered: &Sdp<'_>, request: &Request) -> Vec<Option<Format>> {
    let names = |list: &[String], format: &Format| {
        let Coding::Audio(codec) = format.coding else {
            return false;
        };
        let name = codec.rtpmap();
        let name = name.split('/').next().unwrap_or_default();
        list.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    let flags = &request.codecs;
    let chosen = |media: &Media<'_>| {
        if media.kind != "audio" || !media.is_rtp() || media.port == 0 {
            return None;
        }
        let takes = Takes::of(media);
        let sound = takes.formats.iter().filter(|format| {
            let left_out = names(&flags.strip, format) || names(&flags.mask, format);
            matches!(format.coding, Coding::Audio(_)) && (!left_out || names(&flags.offer, format))
        });
        let accepted = sound.clone().find(|format| names(&flags.accept, format));
        accepted.or_else(|| sound.clone().next()).copied()
    };
    offered.media.iter().map(chosen).collect()
}

/// The answer of somebody who only listens.
fn answer_to(offered: &Sdp<'_>, chosen: &[Option<Format>]) -> String {
    let number = unix_us();
    let mut out = format!(
        "v=0\r\no=- {number} {number} IN IP4 {NOBODY}\r\ns=-\r\nc=IN IP4 {NOBODY}\r\nt=0 0\r\n"
    );
    for (media, chosen) in offered.media.iter().zip(chosen) {
        let Some(format) = chosen else {
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                "m={} 0 {} {}\r\n",
                media.kind, media.protocol, media.formats
            );
            continue;
        };
        let takes = Takes {
            formats: Box::new([*format]),
            ..Takes::of(media)
        };
        let written = written(&takes, &Takes::default());
        let _ = write!(out, "m=audio 9 RTP/AVP {}\r\n", written.list());
        for map in &written.maps {
            let _ = write!(out, "a={map}\r\n");
        }
        let _ = write!(out, "a=recvonly\r\na=ptime:{}\r\n", takes.ptime_ms);
    }
    out
}
