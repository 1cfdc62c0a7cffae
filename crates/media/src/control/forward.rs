//! Sound of calls for a consumer outside: begun and ended by commands, kept through every change
//! of the call.

use std::sync::Arc;

use super::Control;
use super::sound::parties;
use crate::call::{Call, Line};
use crate::forward::wanted::Wanted;
use crate::limits::METADATA_BYTES_MAX;
use crate::ng::Refusal;
use crate::ng::bencode::Dict;
use crate::ng::request::Request;
use crate::ng::sound::SoundCommand;
use crate::tap::TapError;

impl Control {
    /// Begins or ends the forwarding of a call, or of one of its parties.
    ///
    /// # Errors
    /// Unknown calls and parties, no consumer, and too many streams.
    pub(super) fn change_forwarding(
        &mut self,
        request: &Request,
        on: bool,
    ) -> Result<Dict, Refusal> {
        if !self.forwarder.is_configured() {
            return Err(Refusal::error("Forwarding is not configured"));
        }
        let metadata = metadata(request)?;
        let Some(call) = self.calls.get(&request.call_id[..]) else {
            return Err(Refusal::error("Unknown call-ID"));
        };
        let meant = parties(call, SoundCommand::Forward(on), request)?;
        let tags = meant
            .iter()
            .filter_map(|(n, side)| call.dialogues[*n].parties[*side].tag.as_ref());
        let mut wanted = call.forwarded.clone();
        match (names_party(request), on) {
            (true, true) => tags.for_each(|tag| wanted.begin(tag, metadata.clone())),
            (true, false) => tags.for_each(|tag| wanted.end(tag)),
            (false, true) => wanted.begin_call(metadata),
            (false, false) => wanted.end_call(request.all),
        }
        if self.missing(call, &wanted) > self.forwarder.free() {
            return Err(Refusal::full("Too many forwarded parties"));
        }
        let mut call = self.take_call(&request.call_id);
        call.forwarded = wanted;
        self.forward(&call);
        self.calls.insert(Arc::clone(&call.id), call);
        Ok(Dict::new())
    }

    /// What an offer or answer has changed for those who record or forward a call.
    pub(super) fn note_takers(&mut self, call: &mut Call, request: &Request) {
        self.note_recording(call, request);
        if !call.forwarded.is_nothing() {
            self.forward(call);
        }
    }

    /// Streams that a call needs and that are not there.
    fn missing(&self, call: &Call, wanted: &Wanted) -> usize {
        let is_missing = |(line, side, tag): &(&Line, usize, Option<Arc<str>>)| {
            wanted.metadata(tag.as_deref()).is_some() && self.forwarded_by(line, *side).is_none()
        };
        ears(call).filter(is_missing).count()
    }

    fn forwarded_by(&self, line: &Line, side: usize) -> Option<u32> {
        let mut table = self.workers[line.worker].table();
        table.get_mut(line.key)?.forwarded_by(side)
    }

    /// Lets all lines of a call have streams, or no longer, as it is wanted.
    fn forward(&self, call: &Call) {
        for (line, side, tag) in ears(call) {
            let mut table = self.workers[line.worker].table();
            let Some(flow) = table.get_mut(line.key) else {
                continue;
            };
            let known = flow.forwarded_by(side);
            match (call.forwarded.metadata(tag.as_deref()), known) {
                (None, None) => {}
                (None, Some(_)) => flow.forward(side, None),
                (Some(metadata), Some(known)) => self.forwarder.rename(known, metadata),
                (Some(metadata), None) => {
                    let tag = tag.as_deref().unwrap_or_default();
                    match self.forwarder.begin(&call.id, tag, metadata) {
                        Ok(feed) => flow.forward(side, Some(feed)),
                        Err(error) => refused(call, &error),
                    }
                }
            }
        }
    }
}

/// An offer or answer brought a party for whom there is no stream: the call goes on without.
fn refused(call: &Call, error: &TapError) {
    tracing::error!(call_id = &*call.id, %error, "a party is not forwarded");
}

/// Lines of sound, their sides, and who is there.
fn ears(call: &Call) -> impl Iterator<Item = (&Line, usize, Option<Arc<str>>)> {
    call.dialogues.iter().flat_map(|dialogue| {
        let lines = dialogue.lines.iter().filter(|line| line.is_sound());
        lines.flat_map(|line| {
            let who = |side: usize| dialogue.parties[side].tag.clone();
            [(line, 0, who(0)), (line, 1, who(1))]
        })
    })
}

/// Whether a command is about single parties.
fn names_party(request: &Request) -> bool {
    let named = [&request.from_tag, &request.label, &request.address];
    !request.all && named.iter().any(|name| name.is_some())
}

fn metadata(request: &Request) -> Result<Option<Arc<str>>, Refusal> {
    let metadata = request.metadata.as_deref();
    if metadata.is_some_and(|text| text.len() > METADATA_BYTES_MAX) {
        return Err(Refusal::full("Metadata too long"));
    }
    // A zero is its end for who reads it.
    if metadata.is_some_and(|text| text.contains('\0')) {
        return Err(Refusal::error("Metadata contains a zero byte"));
    }
    Ok(metadata.map(Arc::from))
}
