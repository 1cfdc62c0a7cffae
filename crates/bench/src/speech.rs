//! Packets of a run: what each flow says, and how what arrives is judged.
//!
//! Where payloads stay as they are, every packet of a run is different and is compared. Where they
//! are transcoded, phones say something like speech; packets are then known by their order, so
//! times mean something only when nothing is lost.

use raftpbx_media::srtp::Inbound;
use raftpbx_media::srtp::MasterKey;
use raftpbx_media::srtp::Outbound;

use crate::BenchError;
use crate::plan::{self, HEADER_BYTES, PACKET_BYTES};
use crate::profile::{Offered, Profile};
use crate::sound::voice;

/// Room for one packet, bytes.
pub const ROOM_BYTES: usize = 512;

/// Pitch of the calling and of the called voices, Hz.
const PITCHES_HZ: [f64; 2] = [130.0, 210.0];

/// What the called phone of a call agreed on.
pub struct Agreed {
    /// What it was offered.
    pub offered: Offered,
    /// With what it protects.
    pub own: Option<MasterKey>,
}

/// Says what flows say.
pub struct Speaker {
    profile: Profile,
    /// Payloads of a voice of each side.
    voices: [Vec<Vec<u8>>; 2],
    payload_types: [u8; 2],
    /// Of each called phone.
    secure: Vec<Option<Outbound>>,
}

impl Speaker {
    /// For these calls.
    ///
    /// # Errors
    /// A codec cannot be made.
    pub fn new(profile: Profile, calls: &[Agreed]) -> Result<Speaker, BenchError> {
        let say = |side: usize| match profile.is_transcoded() {
            true => voice(profile.codec(side), PITCHES_HZ[side], false),
            false => Ok(Vec::new()),
        };
        let protect = |agreed: &Agreed| agreed.own.clone().map(|key| Outbound::new(key, 0));
        Ok(Speaker {
            profile,
            voices: [say(0)?, say(1)?],
            payload_types: payload_types(calls),
            secure: calls.iter().map(protect).collect(),
        })
    }

    /// Writes the packet of a flow in a round; its length.
    pub fn write(&mut self, room: &mut [u8; ROOM_BYTES], flow: u32, round: u32) -> usize {
        let side = (flow & 1) as usize;
        if self.profile.is_transcoded() {
            let voice = &self.voices[side];
            let payload = &voice[round as usize % voice.len()];
            let step = self.profile.codec(side).clock_hz() / plan::ROUNDS_PER_SECOND as u32;
            plan::write_header(room, flow, round, step);
            room[1] = self.payload_types[side];
            let end = HEADER_BYTES + payload.len();
            room[HEADER_BYTES..end].copy_from_slice(payload);
            return end;
        }
        let mut packet = [0; PACKET_BYTES];
        plan::write(&mut packet, flow, round);
        room[..PACKET_BYTES].copy_from_slice(&packet);
        match &mut self.secure[(flow / 2) as usize] {
            Some(secure) if side == 1 => secure.protect_rtp(room, PACKET_BYTES).unwrap_or(0),
            _ => PACKET_BYTES,
        }
    }
}

/// Judges what arrives.
pub struct Listener {
    profile: Profile,
    payload_types: [u8; 2],
    /// What arrives at each called phone.
    secure: Vec<Option<Inbound>>,
    /// Packets of each flow so far.
    counts: Vec<u32>,
}

impl Listener {
    /// For these calls.
    #[must_use]
    pub fn new(profile: Profile, calls: &[Agreed]) -> Listener {
        let open = |agreed: &Agreed| {
            let crypto = agreed.offered.crypto.clone()?;
            Some(Inbound::new(crypto.key, crypto.mki_bytes))
        };
        Listener {
            profile,
            payload_types: payload_types(calls),
            secure: calls.iter().map(open).collect(),
            counts: vec![0; 2 * calls.len()],
        }
    }

    /// The round of a packet that arrived of `flow`, and whether it is as it should be; none when
    /// it is no packet of a flow.
    pub fn read(&mut self, packet: &mut [u8], flow: u32) -> Option<(u32, bool)> {
        let towards = 1 - (flow & 1) as usize;
        if self.profile.is_transcoded() {
            let count = self.counts.get_mut(flow as usize)?;
            *count += 1;
            let known = packet.get(1)? & 0x7f == self.payload_types[towards];
            return Some((*count - 1, known && packet.len() > HEADER_BYTES));
        }
        let length = match self.secure.get_mut((flow / 2) as usize)? {
            Some(secure) if towards == 1 => match secure.open_rtp(packet) {
                Ok(length) => length,
                Err(_) => return Some((plan::round_of(packet)?, false)),
            },
            _ => packet.len(),
        };
        let packet = &packet[..length];
        let round = plan::round_of(packet)?;
        Some((round, plan::is_intact(packet, flow, round)))
    }
}

fn payload_types(calls: &[Agreed]) -> [u8; 2] {
    [0, calls.first().map_or(0, |call| call.offered.payload_type)]
}

#[cfg(test)]
mod tests {
    use raftpbx_media::srtp::Suite;
    use raftpbx_media::srtp::sdes::Crypto;

    use super::*;

    fn agreed(profile: Profile) -> Agreed {
        let key = || MasterKey::random(Suite::Aes128CmSha1_80);
        let secure = profile == Profile::Srtp;
        let crypto = Crypto {
            tag: 1,
            key: key(),
            mki_bytes: 0,
        };
        Agreed {
            offered: Offered {
                payload_type: profile.codec(1).static_type().unwrap_or(96),
                crypto: secure.then_some(crypto),
            },
            own: secure.then(key),
        }
    }

    #[test]
    fn plain_packets_are_compared() {
        let calls = [agreed(Profile::Plain)];
        let mut speaker = Speaker::new(Profile::Plain, &calls).expect("no codec is needed");
        let mut listener = Listener::new(Profile::Plain, &calls);
        let mut room = [0; ROOM_BYTES];
        let length = speaker.write(&mut room, 1, 7);
        assert_eq!(listener.read(&mut room[..length], 1), Some((7, true)));
        room[40] ^= 1;
        assert_eq!(listener.read(&mut room[..length], 1), Some((7, false)));
    }

    #[test]
    fn encrypted_packets_are_opened_at_the_called_phone_only() {
        let calls = [agreed(Profile::Srtp)];
        let mut speaker = Speaker::new(Profile::Srtp, &calls).expect("no codec is needed");
        let mut listener = Listener::new(Profile::Srtp, &calls);
        let mut room = [0; ROOM_BYTES];
        // The calling phone speaks in clear, which is not what the called one is to hear.
        let length = speaker.write(&mut room, 0, 7);
        assert_eq!(length, PACKET_BYTES);
        assert_eq!(listener.read(&mut room[..length], 0), Some((7, false)));
        let length = speaker.write(&mut room, 1, 7);
        assert_eq!(length, PACKET_BYTES + 10);
        let mut relay = Inbound::new(calls[0].own.clone().expect("a key"), 0);
        assert_eq!(relay.open_rtp(&mut room[..length]), Ok(PACKET_BYTES));
        assert_eq!(listener.read(&mut room[..PACKET_BYTES], 1), Some((7, true)));
    }

    #[test]
    fn transcoded_packets_are_known_by_their_order() {
        for profile in [Profile::G722, Profile::Opus] {
            let calls = [agreed(profile)];
            let mut speaker = Speaker::new(profile, &calls).expect("codecs");
            let mut listener = Listener::new(profile, &calls);
            let mut room = [0; ROOM_BYTES];
            for round in 0..3 {
                // As if the relay had made of it what the other side speaks.
                let length = speaker.write(&mut room, 1, round);
                assert!(length > HEADER_BYTES);
                assert_eq!(listener.read(&mut room[..length], 0), Some((round, true)));
            }
        }
    }
}
