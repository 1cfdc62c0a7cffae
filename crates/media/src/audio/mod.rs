//! What a flow does with sound beyond relaying it: blocking, silencing, speaking, listening.
//!
//! Pure. A flow has it only once a command asked for some of it; a flow that merely relays does
//! not know it. One lane for each direction; lane `n` leads from party `n` to the other one.
//!
//! # Layout
//! - `lane`: what becomes of relayed packets; when and what we say.
//! - `speaker`: clips, tones and digits as frames. `clip`: files. `playing`: where in them we are;
//!   `choir`: with others.
//! - `bridge`: from one codec to another (`transcoder`), from one length of packets to another
//!   (`packer`).
//! - `outgoing`: one stream out of ours and theirs. `reports`: the same for RTCP.
//! - `seat`: a place in a room. `event`: RFC 4733. `inband`: digits in the sound.

pub mod bridge;
pub mod choir;
pub mod clip;
pub mod event;
pub mod inband;
pub mod lane;
pub mod outgoing;
mod packer;
mod playing;
pub mod reports;
pub mod seat;
pub mod speaker;
mod transcoder;

use lane::Lane;

/// What a flow does with sound.
pub struct Audio {
    /// One for each direction.
    pub lanes: [Lane; 2],
    /// The worker's clock has an entry for the flow.
    pub scheduled: bool,
}

impl Audio {
    /// Nothing is asked for yet.
    pub fn new(lanes: [Lane; 2]) -> Audio {
        Audio {
            lanes,
            scheduled: false,
        }
    }

    /// When a lane wants to speak next, `CLOCK_MONOTONIC` ns.
    pub fn due_ns(&self) -> Option<u64> {
        self.lanes.iter().filter_map(Lane::due_ns).min()
    }
}
