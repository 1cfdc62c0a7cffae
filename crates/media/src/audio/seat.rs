//! A party's place in a room, as its flow knows it.

use crate::mix::ear::Ear;
use crate::packet::RtpHeader;
use crate::sdp::Coding;

/// Takes what the party says, until the room asks for it.
pub struct Seat {
    /// The room, by its number.
    pub room: u64,
    /// None while nobody wants to hear it.
    ear: Option<Ear>,
    /// Media time of the next packet to the party; none before the first one, and when something
    /// else was said in between.
    pub timestamp: Option<u32>,
}

impl Seat {
    /// A place in a room whose sound has this rate; `speaks`: what comes from it is wanted.
    pub fn new(room: u64, rate_hz: u32, speaks: bool) -> Seat {
        Seat {
            room,
            ear: speaks.then(|| Ear::new(rate_hz)),
            timestamp: None,
        }
    }

    /// The party is listened to, or no longer.
    pub fn listen(&mut self, rate_hz: u32, speaks: bool) {
        if self.ear.is_some() != speaks {
            self.ear = speaks.then(|| Ear::new(rate_hz));
        }
    }

    /// Takes a packet of the party.
    pub fn take(&mut self, header: &RtpHeader, coding: Option<Coding>, content: &[u8]) {
        if let Some(ear) = &mut self.ear {
            ear.put(header, coding, content);
        }
    }

    /// Fills a frame of what was said; false when there is nothing.
    pub fn hear(&mut self, frame: &mut [i16]) -> bool {
        self.ear.as_mut().is_some_and(|ear| ear.next(frame))
    }

    /// Packets that were late, and gaps that were filled.
    pub fn late_and_lost(&self) -> (u64, u64) {
        let counts = self.ear.as_ref().map(Ear::counts).unwrap_or_default();
        (counts.late, counts.lost)
    }
}
