//! Which packet is sent when, and what is in it.
//!
//! Pure. A flow is one direction of a call: flow `2n` from the calling phone of call `n`,
//! flow `2n + 1` back. Time runs in slots of one millisecond, twenty to a round; every flow
//! sends one packet a round, in its own slot, so that the load is even.

use std::ops::Range;

/// Slots of a round; a round is one packet time of 20 ms.
pub const SLOTS: usize = 20;
/// Rounds in a second.
pub const ROUNDS_PER_SECOND: usize = 50;
/// Bytes of an RTP header without extras.
pub const HEADER_BYTES: usize = 12;
/// Bytes of 20 ms of G.711.
pub const PAYLOAD_BYTES: usize = 160;
/// Bytes of a packet.
pub const PACKET_BYTES: usize = HEADER_BYTES + PAYLOAD_BYTES;

/// One packet.
pub type Packet = [u8; PACKET_BYTES];

/// Writes an RTP header of PCMU; `step` are the ticks of its clock in a round.
pub fn write_header(packet: &mut [u8], flow: u32, round: u32, step: u32) {
    packet[0] = 0x80;
    packet[1] = 0;
    packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&round.wrapping_mul(step).to_be_bytes());
    packet[8..12].copy_from_slice(&flow.to_be_bytes());
}

/// Writes the packet of a flow in a round: every packet of a run is different.
pub fn write(packet: &mut Packet, flow: u32, round: u32) {
    write_header(packet, flow, round, 160);
    let mut state = (flow.wrapping_mul(0x9e37_79b9) ^ round) | 1;
    for chunk in packet[HEADER_BYTES..].chunks_exact_mut(4) {
        // Xorshift: cheap, and no payload of another flow or round looks like it.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        chunk.copy_from_slice(&state.to_be_bytes());
    }
}

/// Round of a received packet.
pub fn round_of(packet: &[u8]) -> Option<u32> {
    let sequence: [u8; 2] = packet.get(2..4)?.try_into().ok()?;
    (packet.len() >= HEADER_BYTES).then(|| u32::from(u16::from_be_bytes(sequence)))
}

/// True when the packet is exactly what the flow sent in the round.
pub fn is_intact(packet: &[u8], flow: u32, round: u32) -> bool {
    let mut expected = [0; PACKET_BYTES];
    write(&mut expected, flow, round);
    packet == expected
}

/// Flows that send in a slot, those of one socket together.
pub fn flows_of_slot(calls: usize, sockets: usize, slot: usize) -> Vec<u32> {
    let mut flows: Vec<u32> = (0..calls)
        .flat_map(|call| {
            // The way back is half a round later: phones are not in step.
            let there = (call / sockets) % SLOTS;
            let back = (there + SLOTS / 2) % SLOTS;
            [(there, 2 * call), (back, 2 * call + 1)]
        })
        .filter(|(at, _)| *at == slot)
        .map(|(_, flow)| flow as u32)
        .collect();
    flows.sort_by_key(|flow| (flow & 1, (flow / 2) as usize % sockets, *flow));
    flows
}

/// Rounds that are measured: after a second of warm-up.
pub fn measured(seconds: u32) -> Range<u32> {
    let per_second = ROUNDS_PER_SECOND as u32;
    per_second..per_second * (seconds + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_sends_once_a_round() {
        let mut flows: Vec<u32> = (0..SLOTS).flat_map(|s| flows_of_slot(123, 4, s)).collect();
        flows.sort_unstable();
        assert_eq!(flows, (0..246).collect::<Vec<_>>());
    }

    #[test]
    fn a_packet_belongs_to_its_flow_and_round_only() {
        let mut packet = [0; PACKET_BYTES];
        write(&mut packet, 7, 300);
        assert_eq!(round_of(&packet), Some(300));
        assert!(is_intact(&packet, 7, 300));
        assert!(!is_intact(&packet, 8, 300) && !is_intact(&packet[..100], 7, 300));
        packet[100] ^= 1;
        assert!(!is_intact(&packet, 7, 300));
    }
}
