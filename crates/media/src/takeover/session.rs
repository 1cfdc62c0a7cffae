//! A call written down, and made again from that.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::audio::clip::Clips;
use crate::call::{Call, Dialogue, Line, Party};
use crate::control::{Control, SubscriptionState, unix_us};
use crate::epoll::monotonic_ns;
use crate::flow::{Flow, FlowState};
use crate::limits::SESSIONS_MAX;
use crate::ng::Refusal;
use crate::ports::PortError;
use crate::record::{Recording, RecordingState};

/// Of the states that are written. One of another version is refused, and the call is anchored
/// anew.
const VERSION: u32 = 1;

/// What another engine needs to go on with a call. Secret: keys are in it.
#[derive(Serialize, Deserialize)]
pub struct SessionState {
    version: u32,
    id: Arc<str>,
    created_us: u64,
    /// When it was written down, microseconds since 1970.
    written_us: u64,
    key_seed: Option<[u8; 32]>,
    owner: Option<String>,
    dialogues: Vec<DialogueState>,
    recording: Option<RecordingState>,
    #[serde(default)]
    subscriptions: Vec<SubscriptionState>,
}

impl SessionState {
    /// Reads what [`Control::snapshot`] wrote.
    ///
    /// # Errors
    /// The text is none of ours.
    pub fn parse(text: &str) -> Result<SessionState, Refusal> {
        let state: SessionState = serde_json::from_str(text)
            .map_err(|error| Refusal::error(&format!("Not a session: {error}")))?;
        if state.version == VERSION {
            Ok(state)
        } else {
            Err(Refusal::error("Session of another version"))
        }
    }

    /// Reads the files of what was played, while no call is locked.
    pub fn load(&mut self, clips: &Mutex<Clips>) {
        let age_ms = self.age_ms();
        let lines = self.dialogues.iter_mut().flat_map(|one| &mut one.lines);
        lines.for_each(|(_, flow)| flow.load(age_ms, clips));
    }

    fn age_ms(&self) -> u64 {
        unix_us().saturating_sub(self.written_us) / 1_000
    }
}

#[derive(Serialize, Deserialize)]
struct DialogueState {
    via_branch: Option<String>,
    parties: [PartyState; 2],
    answered: bool,
    lines: Vec<(Line, FlowState)>,
}

#[derive(Serialize, Deserialize)]
struct PartyState {
    tag: Option<Arc<str>>,
    label: Option<String>,
    created_s: u64,
}

impl PartyState {
    fn of(party: &Party) -> PartyState {
        PartyState {
            tag: party.tag.clone(),
            label: party.label.clone(),
            created_s: party.created_s,
        }
    }

    fn party(self) -> Party {
        Party {
            tag: self.tag,
            label: self.label,
            created_s: self.created_s,
        }
    }
}

impl Control {
    /// Writes a call down, as JSON.
    ///
    /// # Errors
    /// There is no such call, it has a port at an address that only this engine has, or a handshake
    /// of it is not over.
    pub fn snapshot(&mut self, call_id: &str) -> Result<String, Refusal> {
        let unknown = || Refusal::error("Unknown call-id");
        let call = self.calls.get(call_id).ok_or_else(unknown)?;
        let places: Vec<_> = call.lines().flat_map(|line| line.local).collect();
        if !places.iter().all(|place| self.floats(place.ip())) {
            return Err(Refusal::error("Call is at an address that does not move"));
        }
        let fingerprint = self.identity.fingerprint().clone();
        let workers = Arc::clone(&self.workers);
        let call = self.calls.get_mut(call_id).ok_or_else(unknown)?;
        let now_ns = monotonic_ns();
        let mut written = Vec::with_capacity(call.dialogues.len());
        for dialogue in &mut call.dialogues {
            let mut flows = Vec::with_capacity(dialogue.lines.len());
            for line in &mut dialogue.lines {
                line.legs.keep(&fingerprint);
                let table = workers[line.worker].table();
                let flow = table.get(line.key).ok_or_else(unknown)?;
                if !flow.is_settled() {
                    return Err(Refusal::error("Call has a handshake under way"));
                }
                flows.push(flow.state(now_ns));
            }
            written.push(flows);
        }
        let subscriptions = call.subscriptions.iter();
        let subscriptions = subscriptions.map(|one| SubscriptionState::of(one, call, &workers));
        let subscriptions = subscriptions.collect();
        let text = serde_json::to_string(&Written::of(call, &written, subscriptions));
        call.is_kept = text.is_ok();
        text.map_err(|error| Refusal::error(&format!("Call cannot be written down: {error}")))
    }

    /// Makes a call again that another engine has written down: armed, with its sockets bound. A
    /// call that is here already stays as it is.
    ///
    /// # Errors
    /// An address of it does not float here, a port is taken, or there are too many calls.
    pub fn restore(&mut self, state: SessionState) -> Result<Arc<str>, Refusal> {
        if self.calls.contains_key(&state.id) {
            return Ok(state.id);
        }
        if self.calls.len() >= SESSIONS_MAX {
            return Err(Refusal::overload("Parallel session limit reached"));
        }
        let age_ms = state.age_ms();
        let mut call = self.fresh_call(&state.id);
        call.created_us = state.created_us;
        (call.key_seed, call.owner) = (state.key_seed, state.owner);
        // As it is written down it is until the next command.
        call.is_kept = true;
        for written in state.dialogues {
            let mut dialogue = Dialogue {
                via_branch: written.via_branch,
                parties: written.parties.map(PartyState::party),
                lines: Vec::with_capacity(written.lines.len()),
                answered: written.answered,
            };
            for (line, flow) in written.lines {
                match self.armed(&state.id, line, flow, age_ms) {
                    Ok(line) => dialogue.lines.push(line),
                    Err(refusal) => {
                        call.dialogues.push(dialogue);
                        call.lines().for_each(|line| self.free(line));
                        return Err(refusal);
                    }
                }
            }
            call.dialogues.push(dialogue);
        }
        if let Some(recording) = &state.recording {
            self.resume_recording(&mut call, recording);
        }
        self.resume_subscriptions(&mut call, state.subscriptions);
        self.calls.insert(Arc::clone(&state.id), call);
        Ok(state.id)
    }

    /// A line with its sockets, at a worker.
    fn armed(
        &mut self,
        id: &Arc<str>,
        mut line: Line,
        mut state: FlowState,
        age_ms: u64,
    ) -> Result<Line, Refusal> {
        if !line.local.iter().all(|place| self.floats(place.ip())) {
            return Err(Refusal::error("Address does not float here"));
        }
        let first = self.take_exactly(line.local[0])?;
        let second = match self.take_exactly(line.local[1]) {
            Ok(pair) => pair,
            Err(error) => {
                self.give_back(first);
                return Err(error.into());
            }
        };
        let mut flow = Flow::new(
            Arc::clone(id),
            state.clock_hz(),
            state.opaque(),
            [first, second],
        );
        let orders = state.take_orders();
        flow.resume(state, age_ms, &self.identity, monotonic_ns());
        line.worker = self.choose_worker();
        match self.workers[line.worker].add(flow) {
            Ok(key) => line.key = key,
            Err((error, pairs)) => {
                pairs.into_iter().for_each(|pair| self.give_back(pair));
                return Err(PortError::from(error).into());
            }
        }
        self.workers[line.worker].serve_legs(line.key);
        self.resume_playing(&line, orders);
        Ok(line)
    }

    /// Calls with a port at an address.
    pub fn calls_at(&self, address: IpAddr) -> usize {
        let is_there = |call: &&Call| {
            let mut places = call.lines().flat_map(|line| line.local);
            places.any(|place| place.ip() == address)
        };
        self.calls.values().filter(is_there).count()
    }
}

/// [`SessionState`] of a call that stays where it is.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    id: &'a Arc<str>,
    created_us: u64,
    written_us: u64,
    key_seed: Option<[u8; 32]>,
    owner: &'a Option<String>,
    dialogues: Vec<WrittenDialogue<'a>>,
    recording: Option<&'a RecordingState>,
    subscriptions: Vec<SubscriptionState>,
}

#[derive(Serialize)]
struct WrittenDialogue<'a> {
    via_branch: &'a Option<String>,
    parties: [PartyState; 2],
    answered: bool,
    lines: Vec<(&'a Line, &'a FlowState)>,
}

impl Written<'_> {
    fn of<'a>(
        call: &'a Call,
        flows: &'a [Vec<FlowState>],
        subscriptions: Vec<SubscriptionState>,
    ) -> Written<'a> {
        let dialogues = call.dialogues.iter().zip(flows);
        Written {
            version: VERSION,
            id: &call.id,
            created_us: call.created_us,
            written_us: unix_us(),
            key_seed: call.key_seed,
            owner: &call.owner,
            dialogues: dialogues
                .map(|(dialogue, flows)| WrittenDialogue {
                    via_branch: &dialogue.via_branch,
                    parties: [0, 1].map(|side| PartyState::of(&dialogue.parties[side])),
                    answered: dialogue.answered,
                    lines: dialogue.lines.iter().zip(flows).collect(),
                })
                .collect(),
            recording: call.recording.as_ref().map(Recording::state),
            subscriptions,
        }
    }
}
