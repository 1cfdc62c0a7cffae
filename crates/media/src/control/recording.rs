//! Recordings of calls: begun and ended by commands, kept through every change of the call.

use super::Control;
use crate::call::Call;
use crate::epoll::monotonic_ns;
use crate::ng::Refusal;
use crate::ng::bencode::Dict;
use crate::ng::request::Request;
use crate::ng::sound::Recorded;
use crate::record::{RecordError, RecordingState};
use crate::sdp::Takes;

impl Control {
    /// Does something with the recording of a call.
    ///
    /// # Errors
    /// When a recording cannot begin.
    pub(super) fn change_recording(
        &mut self,
        call: &mut Call,
        request: &Request,
        wanted: Recorded,
    ) -> Result<Dict, Refusal> {
        let now_ns = monotonic_ns();
        match (wanted, &mut call.recording) {
            (Recorded::Start, Some(recording)) => recording.resume(now_ns),
            (Recorded::Start, None) => {
                let name = request.recording_file.as_deref().unwrap_or(&call.id);
                let recording = self.recorder.record(name, is_wide(call), now_ns);
                call.recording = Some(recording.map_err(|error| {
                    let limit = matches!(error, RecordError::Full);
                    Refusal {
                        limit,
                        ..Refusal::error(&error.to_string())
                    }
                })?);
                self.tap(call);
            }
            (Recorded::Pause, Some(recording)) => recording.pause(now_ns),
            (Recorded::Stop, Some(_)) => {
                call.recording = None;
                self.tap(call);
            }
            (Recorded::Pause | Recorded::Stop, None) => {}
        }
        let mut answer = Dict::new();
        if let (Some(recording), Recorded::Start) = (&call.recording, wanted) {
            let base = recording.base.to_string_lossy().into_owned();
            answer.insert(b"recording".to_vec(), base.into());
        }
        Ok(answer)
    }

    /// Goes on with the recording of a call that another engine has begun; without it the call goes
    /// on all the same.
    pub(crate) fn resume_recording(&mut self, call: &mut Call, state: &RecordingState) {
        match self.recorder.go_on(state, monotonic_ns()) {
            Ok(recording) => {
                call.recording = Some(recording);
                self.tap(call);
            }
            Err(error) => {
                self.recorder.counts().failed.add(1);
                let call_id = &*call.id;
                tracing::error!(call_id, %error, "a call is no longer recorded");
            }
        }
    }

    /// Lets all lines of a call hand their packets to its recording, or no longer. Parties are
    /// numbered by the order of dialogues: 0 is who offered first.
    pub(super) fn tap(&self, call: &Call) {
        for (n, dialogue) in call.dialogues.iter().enumerate() {
            let lines = dialogue.lines.iter().filter(|line| line.is_sound());
            for line in lines {
                let mut table = self.workers[line.worker].table();
                let Some(flow) = table.get_mut(line.key) else {
                    continue;
                };
                for side in 0..2 {
                    // Branches of a fork have the same offerer.
                    let number = if side == 0 { 0 } else { n as u8 + 1 };
                    let tap = call
                        .recording
                        .as_ref()
                        .map(|recording| recording.tap(number));
                    flow.record(side, tap);
                }
            }
        }
    }

    /// What an offer or answer wants recorded, and what it changed in a call that is recorded.
    pub(super) fn note_recording(&mut self, call: &mut Call, request: &Request) {
        let wanted = match request.record {
            Some(true) if call.recording.is_none() => Some(Recorded::Start),
            Some(false) => Some(Recorded::Stop),
            _ => None,
        };
        if let Some(wanted) = wanted
            && let Err(refusal) = self.change_recording(call, request, wanted)
        {
            // As rtpengine has it, the call goes on without.
            tracing::error!(
                call_id = &*call.id,
                reason = refusal.reason,
                "a call is not recorded"
            );
        }
        if call.recording.is_some() {
            self.tap(call);
        }
    }
}

/// Whether a party may send sound above 4 kHz.
fn is_wide(call: &Call) -> bool {
    let takes = call.lines().flat_map(|line| &line.takes);
    let mut first = takes.filter_map(Takes::first_audio);
    first.any(|(_, codec)| codec.rate_hz() > 8_000)
}
