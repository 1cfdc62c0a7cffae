//! What another engine needs to go on with a context: its key, and how far each source has come.
//!
//! Pure. The state is older than the end of its engine by seconds or minutes. So a number is read
//! as the next one ahead of the known index, for what is sent; and what comes in says by its tag
//! whether the counter has rolled over since.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::keys::MasterKey;
use super::suite::Suite;

/// A master key as it is written down; secret.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyText {
    suite: Suite,
    key: String,
}

impl From<MasterKey> for KeyText {
    fn from(key: MasterKey) -> KeyText {
        KeyText {
            suite: key.suite(),
            key: STANDARD.encode(key.bytes()),
        }
    }
}

impl TryFrom<KeyText> for MasterKey {
    type Error = &'static str;

    fn try_from(text: KeyText) -> Result<MasterKey, &'static str> {
        let bytes = STANDARD.decode(&text.key).map_err(|_| "no key in base64")?;
        MasterKey::new(text.suite, &bytes).ok_or("a key of another length than its suite's")
    }
}

/// How far a source has come under a key: the newest indices of RTP and of RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// Its name.
    pub ssrc: u32,
    /// RTP; none before the first packet.
    pub rtp: Option<u64>,
    /// RTCP; none before the first packet, and for what is sent.
    pub rtcp: Option<u64>,
}

/// An [`super::Inbound`] written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundState {
    /// Its key.
    pub key: MasterKey,
    /// Bytes of the key's identifier in each packet.
    pub mki_bytes: usize,
    /// What was heard.
    pub sources: Vec<SourceState>,
}

/// An [`super::Outbound`] written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundState {
    /// Its key.
    pub key: MasterKey,
    /// What was sent.
    pub sources: Vec<SourceState>,
    /// Of the newest packet of RTCP.
    pub rtcp_index: u32,
}

/// A packet this far behind the known index is a late one and no roll-over.
const LATE_MAX: u64 = 1_024;

/// The index a sequence number means for somebody who knows that at least `known` was reached.
pub(super) fn ahead(known: u64, sequence: u16) -> u64 {
    let least = known.saturating_sub(LATE_MAX);
    let step = sequence.wrapping_sub(least as u16);
    least + u64::from(step)
}

#[cfg(test)]
mod tests {
    use super::super::{GROWTH_MAX, Inbound, Outbound};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_means_the_next_index_ahead() {
        assert_eq!(ahead(10, 11), 11);
        assert_eq!(ahead(65_535, 0), 65_536);
        assert_eq!(ahead(65_536 + 50_000, 10), 2 * 65_536 + 10);
        // A late packet of before.
        assert_eq!(ahead(65_536 + 5, 65_535), 65_535);
        assert_eq!(ahead(65_536 + 5, 6), 65_536 + 6);
    }

    fn packet(sequence: u64, payload: u64) -> Vec<u8> {
        let mut packet = vec![0x80, 0];
        packet.extend((sequence as u16).to_be_bytes());
        packet.extend([0, 0, 0, 160, 0, 0, 0, 9]);
        packet.extend(payload.to_be_bytes());
        packet
    }

    fn sent(out: &mut Outbound, sequence: u64) -> Vec<u8> {
        let mut room = packet(sequence, sequence);
        let length = room.len();
        room.resize(length + GROWTH_MAX, 0);
        let length = out.protect_rtp(&mut room, length).expect("protected");
        room.truncate(length);
        room
    }

    fn written<T: Serialize + serde::de::DeserializeOwned>(state: &T) -> T {
        let text = serde_json::to_string(state).expect("JSON");
        serde_json::from_str(&text).expect("a state")
    }

    #[test]
    fn keys_do_not_end_up_in_logs() {
        let key = MasterKey::random(Suite::AeadAes128Gcm);
        let out = Outbound::new(key.clone(), 7);
        let shown = format!("{:?}", out.state());
        assert!(!shown.contains(&STANDARD.encode(key.bytes())), "{shown}");
    }

    proptest! {
        // The far end goes on with its own context: each packet opens, so none has an index that
        // was used before, and the counter is right.
        #[test]
        fn the_far_end_takes_all_that_a_successor_sends(
            first in 0_u64..65_536,
            before in 1_u64..400,
            unknown in 0_u64..30_000,
            suite in 0..8_usize,
        ) {
            let key = MasterKey::random(Suite::ALL[suite]);
            let (mut old, mut far) = (Outbound::new(key.clone(), 0), Inbound::new(key, 0));
            for n in first..first + before {
                prop_assert!(far.open_rtp(&mut sent(&mut old, n)).is_ok());
            }
            let state = written(&old.state());
            // What was sent after the state was written down; some of it is enough to know.
            for n in (first + before..first + before + unknown).step_by(1_000) {
                prop_assert!(far.open_rtp(&mut sent(&mut old, n)).is_ok());
            }
            let mut new = Outbound::resumed(state, 0);
            for n in first + before + unknown..first + before + unknown + 3 {
                prop_assert!(far.open_rtp(&mut sent(&mut new, n)).is_ok());
            }
        }

        #[test]
        fn a_successor_opens_what_a_party_sends_on(
            first in 0_u64..65_536,
            before in 0_u64..400,
            unknown in 0_u64..70_000,
            suite in 0..8_usize,
        ) {
            let key = MasterKey::random(Suite::ALL[suite]);
            let (mut far, mut old) = (Outbound::new(key.clone(), 0), Inbound::new(key, 0));
            for n in first..first + before {
                prop_assert!(old.open_rtp(&mut sent(&mut far, n)).is_ok());
            }
            let mut new = Inbound::resumed(written(&old.state()));
            for n in (first + before..first + before + unknown).step_by(1_000) {
                sent(&mut far, n);
            }
            let next = first + before + unknown;
            let mut forged = sent(&mut far, next);
            forged[13] ^= 1;
            prop_assert!(new.open_rtp(&mut forged).is_err());
            for n in next + 1..next + 4 {
                let packet = sent(&mut far, n);
                prop_assert!(new.open_rtp(&mut packet.clone()).is_ok());
                prop_assert!(new.open_rtp(&mut packet.clone()).is_err(), "once only");
            }
        }
    }

    #[test]
    fn reports_go_on_with_greater_numbers() {
        let key = MasterKey::random(Suite::Aes128CmSha1_80);
        let (mut old, mut far) = (Outbound::new(key.clone(), 5), Inbound::new(key, 0));
        let report = [0x80, 200, 0, 1, 0, 0, 0, 9];
        let mut indices = Vec::new();
        for resumed in [false, true] {
            if resumed {
                old = Outbound::resumed(written(&old.state()), 4);
            }
            let mut room = [report.to_vec(), vec![0; GROWTH_MAX]].concat();
            let length = old
                .protect_rtcp(&mut room, report.len())
                .expect("protected");
            indices.push(old.state().rtcp_index);
            assert!(far.open_rtcp(&mut room[..length]).is_ok());
        }
        assert!(indices[1] > indices[0]);
    }
}
