//! What else comes of a packet: further ones, when it was longer than the other party wants, and
//! figures of those that are dropped.

use super::{Totals, send_from};
use crate::flow::{Flow, Verdict};
use crate::packet_io::{Exchange, Sent};

/// Sends what else came of the packet of `side` that was relayed just now, by way of `buffer`.
pub fn send(
    io: &mut Exchange,
    flow: &mut Flow,
    side: usize,
    buffer: &mut [u8],
    now_ns: u64,
    totals: &mut Totals,
) {
    while let Some(verdict) = flow.more(side, buffer, now_ns) {
        match verdict {
            Verdict::Send { from, length, .. }
                if send_from(io, flow, from, &buffer[..length], Sent::Relayed) =>
            {
                totals.packets += 1;
                totals.bytes += length as u64;
            }
            _ => totals.unsent += 1,
        }
    }
}

impl Totals {
    /// Counts a packet that was dropped.
    pub(super) fn refuse(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::WrongSource => self.wrong_source += 1,
            Verdict::NotRtp => self.not_rtp += 1,
            Verdict::Forged => self.forged += 1,
            Verdict::Replayed => self.replayed += 1,
            Verdict::Nowhere => self.unsent += 1,
            _ => {}
        }
    }
}
