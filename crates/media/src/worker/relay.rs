//! One datagram of a party: looked at, judged, sent on.

use std::os::fd::RawFd;

use super::{FlowKey, Table, Totals, legs, more};
use crate::MediaEvent;
use crate::address::RawAddress;
use crate::epoll::Received;
use crate::flow::{Flow, SocketId, Verdict};
use crate::packet_io::{Exchange, Sent, Unsent};
use crate::ports::Door;

/// One of the four ports of a flow.
pub fn door(flow: &Flow, id: SocketId) -> &Door {
    let ports = &flow.sides[id.side()].ports;
    if id.rtcp() { &ports.rtcp } else { &ports.rtp }
}

/// All four, in the order of [`SocketId::from_bits`].
pub fn doors(flow: &Flow) -> [&Door; 4] {
    [0, 1, 2, 3].map(|bits| door(flow, SocketId::from_bits(bits)))
}

/// Sends a packet of our own from a port of a flow to its peer; false when it has none, or the
/// kernel refuses at once.
pub fn send_from(
    io: &mut Exchange,
    flow: &Flow,
    from: SocketId,
    packet: &[u8],
    what: Sent,
) -> bool {
    let to = flow.remote(from);
    to.is_some_and(|to| io.send(door(flow, from), packet, to, what))
}

/// Corrects the sums by what the kernel refused later.
pub fn take_back(totals: &mut Totals, unsent: Unsent) {
    totals.unsent += unsent.packets();
    totals.packets -= unsent.relayed;
    totals.bytes -= unsent.relayed_bytes;
    totals.spoken -= unsent.spoken;
    totals.mixed -= unsent.mixed;
}

impl Table {
    /// The socket that a tag names, if its flow is still there.
    pub(super) fn descriptor(&self, tag: u64) -> Option<RawFd> {
        let (key, at) = FlowKey::from_tag(tag);
        self.get(key).map(|flow| door(flow, at).socket())
    }
}

/// Relays the `n`-th datagram of a batch; `spare` has room for what else comes of it.
pub fn relay(
    table: &mut Table,
    io: &mut Exchange,
    n: usize,
    now_ns: u64,
    spare: &mut [u8],
    happened: &mut Vec<MediaEvent>,
) {
    let (key, at) = FlowKey::from_tag(io.tag(n));
    let Some(slot) = table.slots.get_mut(key.slot()) else {
        return;
    };
    if slot.generation != key.generation || table.broken.flows.contains(&key) {
        return;
    }
    let Some(flow) = &mut slot.flow else { return };
    let totals = &mut table.totals;
    let mut source = RawAddress::empty();
    let length = match io.open_datagram(n, door(flow, at), &mut source) {
        Received::Datagram(length) => length,
        Received::TooLarge => {
            totals.not_rtp += 1;
            return;
        }
        Received::Nothing => return,
    };
    totals.add(flow.refresh());
    let known = happened.len();
    let mut withheld = false;
    match flow.judge(at, &source, io.room(n), length, now_ns, happened) {
        Verdict::Send {
            from,
            learned: new,
            length,
        } => {
            // Further packets begin as this one does.
            spare[..2].copy_from_slice(&io.room(n)[..2]);
            let to = flow.remote(from);
            if to.is_some_and(|to| io.forward(n, door(flow, from), length, to)) {
                totals.packets += 1;
                totals.bytes += length as u64;
            } else {
                totals.unsent += 1;
            }
            more::send(io, flow, at.side(), spare, now_ns, totals);
            happened.extend(new.then(|| latched(flow, at, &source)).flatten());
        }
        Verdict::Waits { learned: new } => {
            happened.extend(new.then(|| latched(flow, at, &source)).flatten());
        }
        Verdict::Withheld { learned: new } => {
            totals.withheld += 1;
            withheld = true;
            happened.extend(new.then(|| latched(flow, at, &source)).flatten());
        }
        Verdict::Control { learned: new } => {
            happened.extend(new.then(|| latched(flow, at, &source)).flatten());
            return legs::serve(table, key, now_ns);
        }
        refused => totals.refuse(refused),
    }
    totals.add(flow.recall_if_misplaced());
    totals.digits += digits(&happened[known..]);
    if withheld || happened.len() > known {
        // Noise in its place, or a digit in other words, may have to be said.
        table.note_due(key);
    }
}

fn digits(events: &[MediaEvent]) -> u64 {
    let digit = |event: &&MediaEvent| matches!(event, MediaEvent::Dtmf { .. });
    events.iter().filter(digit).count() as u64
}

fn latched(flow: &Flow, at: SocketId, source: &RawAddress) -> Option<MediaEvent> {
    Some(MediaEvent::Latched {
        call_id: flow.call_id.to_string(),
        tag: flow.sides[at.side()].tag.to_string(),
        source: source.to_std()?,
    })
}
