//! A flow written down, and how another engine goes on with it; see [`crate::takeover`].

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Flow, Secure, Side};
use crate::audio::clip::Clips;
use crate::audio::lane::Blocks;
use crate::audio::outgoing::{Outgoing, OutgoingState};
use crate::audio::speaker::{Order, PlayingState};
use crate::control::unix_us;
use crate::ng::sound::sound;
use crate::sdp::Takes;
use crate::security::rtcp_index;
use crate::srtp::{Inbound, InboundState, Outbound, OutboundState};
use crate::stream::{Stream, StreamState};
use crate::webrtc::{Identity, Leg, LegState};

/// A flow as it is now; without its ports, which its line names.
#[derive(Serialize, Deserialize)]
pub struct FlowState {
    clock_hz: u32,
    opaque: bool,
    tos: u8,
    sides: [SideState; 2],
    lanes: [LaneState; 2],
}

#[derive(Serialize, Deserialize)]
struct SideState {
    tag: Arc<str>,
    mux: bool,
    secure: Option<(InboundState, OutboundState)>,
    /// Keys of RTCP on a port of its own, where a handshake made them.
    #[serde(default)]
    rtcp_secure: Option<(InboundState, OutboundState)>,
    leg: Option<LegState>,
    rtp: StreamState,
    rtcp: StreamState,
    takes: Takes,
    sends: Takes,
}

/// What commands want of a direction, and its stream once we have changed its numbers.
#[derive(Default, Serialize, Deserialize)]
struct LaneState {
    blocks: Blocks,
    listening: bool,
    out: Option<OutgoingState>,
    /// What is played to the party that this direction leads to.
    playing: Option<PlayingState>,
    /// What is left of that, once its files were read.
    #[serde(skip)]
    order: Option<Order>,
}

impl FlowState {
    /// Clock of the first payload type, Hz.
    pub fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    /// Not RTP.
    pub fn opaque(&self) -> bool {
        self.opaque
    }

    /// Reads the files of what was played `age_ms` ago. What is not here is not played on.
    pub fn load(&mut self, age_ms: u64, clips: &Mutex<Clips>) {
        for lane in &mut self.lanes {
            let read = |name: &str| {
                let sound = sound(name.as_bytes(), clips);
                let told = sound.inspect_err(|refusal| {
                    let reason = &refusal.reason;
                    tracing::warn!(
                        file = name,
                        reason,
                        "a call goes on without what was played"
                    );
                });
                told.ok()
            };
            let playing = lane.playing.as_ref();
            lane.order = playing.and_then(|playing| playing.order(age_ms, read));
        }
    }

    /// What is to be played on to the party of each side.
    pub fn take_orders(&mut self) -> [Option<Order>; 2] {
        let [first, second] = &mut self.lanes;
        [second.order.take(), first.order.take()]
    }
}

impl Side {
    fn state(&self) -> SideState {
        let written = |secure: &Secure| (secure.inbound.state(), secure.outbound.state());
        let leg = self.leg.as_ref();
        SideState {
            tag: Arc::clone(&self.tag),
            mux: self.mux,
            secure: self.secure.as_deref().map(written),
            rtcp_secure: self.rtcp_secure.as_deref().map(written),
            leg: leg.map(|leg| leg.state([self.rtp.remote(), self.rtcp.remote()])),
            rtp: self.rtp.state(),
            rtcp: self.rtcp.state(),
            takes: self.takes.clone(),
            sends: self.sends.clone(),
        }
    }

    fn resume(&mut self, state: SideState, identity: &Arc<Identity>, now_ns: u64) {
        (self.tag, self.mux) = (state.tag, state.mux);
        self.rtp = Stream::resumed(state.rtp);
        self.rtcp = Stream::resumed(state.rtcp);
        let resumed = |(inbound, outbound): (InboundState, OutboundState)| Secure {
            inbound: Inbound::resumed(inbound),
            outbound: Outbound::resumed(outbound, rtcp_index(unix_us())),
        };
        self.secure = state.secure.map(resumed).map(Box::new);
        self.rtcp_secure = state.rtcp_secure.map(resumed).map(Box::new);
        let leg = state.leg.as_ref();
        let leg = leg.map(|state| Leg::restored(identity, state, now_ns));
        self.leg = leg.map(Box::new);
    }
}

impl Flow {
    /// What another engine needs to go on.
    pub fn state(&self, now_ns: u64) -> FlowState {
        let lane = |side: usize| {
            let lane = self.audio.as_ref().map(|audio| &audio.lanes[side]);
            lane.map_or_else(LaneState::default, |lane| LaneState {
                blocks: lane.blocks,
                listening: lane.listening,
                out: lane.out_state(now_ns),
                playing: lane.playing(),
                order: None,
            })
        };
        FlowState {
            clock_hz: self.clock_hz,
            opaque: self.opaque,
            tos: self.tos,
            sides: [self.sides[0].state(), self.sides[1].state()],
            lanes: [lane(0), lane(1)],
        }
    }

    /// Whether another engine could go on: a handshake has to be over. Nobody waits for that of
    /// RTCP on a port of its own: who never begins it can be taken over all the same.
    pub fn is_settled(&self) -> bool {
        !self.sides.iter().any(|side| side.waits_for_keys(false))
    }

    /// Goes on with what another engine has written down `age_ms` ago.
    pub fn resume(&mut self, state: FlowState, age_ms: u64, identity: &Arc<Identity>, now_ns: u64) {
        if state.tos != 0 {
            self.mark(state.tos);
        }
        let formats = |side: &SideState| (side.takes.clone(), side.sends.clone());
        let [(takes_0, sends_0), (takes_1, sends_1)] = [0, 1].map(|n| formats(&state.sides[n]));
        for (side, state) in self.sides.iter_mut().zip(state.sides) {
            side.resume(state, identity, now_ns);
        }
        self.agree_formats([takes_0, takes_1], [sends_0, sends_1]);
        for (n, lane) in state.lanes.into_iter().enumerate() {
            self.block(n, |blocks| *blocks = lane.blocks);
            self.listen(n, lane.listening);
            if let Some(out) = lane.out {
                self.audio().lanes[n].out = Outgoing::resumed(out, age_ms, now_ns);
            }
        }
    }
}
