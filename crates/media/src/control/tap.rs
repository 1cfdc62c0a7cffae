//! Taps of parties, for who recognises speech; see [`crate::tap`].

use super::Control;
use super::sound::select;
use crate::MediaEngine;
use crate::call::Line;
use crate::ng::Refusal;
use crate::ng::request::Request;
use crate::ng::sound::SoundCommand;
use crate::tap::{TapError, TapSink, Taps};

impl MediaEngine {
    /// From now on what taps hear goes to `sink`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn on_sound(&self, sink: TapSink) -> Result<(), TapError> {
        self.core.taps.listen(sink)
    }

    /// Listens to a party of a call, at 8, 16 or 48 kHz; the number of the tap.
    ///
    /// # Errors
    /// See [`TapError`].
    pub fn tap(&self, call_id: &str, tag: &str, rate_hz: u32) -> Result<u32, TapError> {
        let control = self.core.control.lock();
        control.begin_tap(&self.core.taps, call_id, tag, rate_hz)
    }

    /// Ends a tap; false when it has ended before.
    pub fn untap(&self, tap: u32) -> bool {
        self.core.control.lock().end_tap(&self.core.taps, tap)
    }
}

impl Control {
    /// Listens to a party from now on; the number of the tap.
    ///
    /// # Errors
    /// See [`TapError`].
    pub fn begin_tap(
        &self,
        taps: &Taps,
        call_id: &str,
        tag: &str,
        rate_hz: u32,
    ) -> Result<u32, TapError> {
        taps.check()?;
        let failed = |refusal: Refusal| TapError::Party(refusal.reason);
        let (line, side) = self.line_of(call_id, tag).map_err(failed)?;
        let id = &self.calls[call_id].id;
        let feed = taps.begin(id, tag, rate_hz)?;
        let number = feed.id();
        let mut table = self.workers[line.worker].table();
        let flow = table.get_mut(line.key);
        let flow = flow.ok_or_else(|| TapError::Party("Unknown call-ID".into()))?;
        flow.audio().lanes[side].feeds.push(feed);
        Ok(number)
    }

    /// Listens no longer; false when there is no such tap.
    pub fn end_tap(&self, taps: &Taps, number: u32) -> bool {
        let Some((call_id, tag)) = taps.place(number) else {
            return false;
        };
        let Ok((line, side)) = self.line_of(&call_id, &tag) else {
            return false;
        };
        let mut table = self.workers[line.worker].table();
        let Some(flow) = table.get_mut(line.key) else {
            return false;
        };
        let feeds = &mut flow.audio().lanes[side].feeds;
        let before = feeds.len();
        feeds.retain(|feed| feed.id() != number);
        feeds.len() < before
    }

    /// The line of sound of a party; of several branches the last one, which talks.
    fn line_of(&self, call_id: &str, tag: &str) -> Result<(&Line, usize), Refusal> {
        let call = self.calls.get(call_id);
        let call = call.ok_or_else(|| Refusal::error("Unknown call-ID"))?;
        let request = Request {
            from_tag: Some(tag.into()),
            ..Request::default()
        };
        let places = select(call, SoundCommand::Play, &request)?;
        let place = places.last().copied();
        place.ok_or_else(|| Refusal::error("No sound in the call"))
    }
}
