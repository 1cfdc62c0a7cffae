//! A phone that encrypts with keys in its description, and looks closely at what it hears.

use std::net::SocketAddr;

use raftpbx_media::srtp::sdes::Crypto;
use raftpbx_media::srtp::{GROWTH_MAX, Inbound, MasterKey, Outbound, Suite};

use super::Phone;

/// The phone.
pub struct Secret {
    pub phone: Phone,
    pub crypto: Crypto,
    /// Number of the next packet.
    pub sequence: u16,
    keys: Option<(Outbound, Inbound)>,
}

impl Secret {
    /// Its numbers are about to roll over.
    pub fn at(ip: &str, suite: Suite) -> Secret {
        let key = MasterKey::random(suite);
        Secret {
            phone: Phone::at(ip),
            crypto: Crypto {
                tag: 1,
                key,
                mki_bytes: 0,
            },
            sequence: 65_530,
            keys: None,
        }
    }

    /// The same with another number for its first packet.
    pub fn beginning(ip: &str, suite: Suite, sequence: u16) -> Secret {
        Secret {
            sequence,
            ..Secret::at(ip, suite)
        }
    }

    pub fn sdp(&self) -> String {
        let crypto = format!("a=crypto:{}\r\n", self.crypto.value(false));
        self.phone.sdp(&crypto).replace("RTP/AVP", "RTP/SAVP")
    }

    /// Takes the keys of the other side from a description.
    pub fn agree(&mut self, sdp: &str) {
        let theirs = offered(sdp, self.crypto.key.suite());
        self.crypto.tag = theirs.tag;
        self.keys = Some((
            Outbound::new(self.crypto.key.clone(), 0),
            Inbound::new(theirs.key, 0),
        ));
    }

    /// The next packet.
    pub fn packet(&mut self, payload: &str) -> Vec<u8> {
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 8]);
        packet.extend_from_slice(payload.as_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        let length = packet.len();
        packet.resize(length + GROWTH_MAX, 0);
        let (out, _) = self.keys.as_mut().expect("keys");
        let length = out.protect_rtp(&mut packet, length).expect("protected");
        packet.truncate(length);
        packet
    }

    pub fn say(&mut self, to: SocketAddr, payload: &str) {
        let packet = self.packet(payload);
        self.phone.rtp.send_to(&packet, to).expect("send");
    }

    pub fn hear(&mut self) -> String {
        self.hear_numbered().2
    }

    /// Source, number and content of the next packet, which must be genuine and new.
    pub fn hear_numbered(&mut self) -> (u32, u16, String) {
        let mut buffer = [0; 2_048];
        let (length, _) = self.phone.rtp.recv_from(&mut buffer).expect("in time");
        let (_, inbound) = self.keys.as_mut().expect("keys");
        let length = inbound.open_rtp(&mut buffer[..length]).expect("genuine");
        let number = u16::from_be_bytes([buffer[2], buffer[3]]);
        let source = u32::from_be_bytes([buffer[8], buffer[9], buffer[10], buffer[11]]);
        let said = String::from_utf8_lossy(&buffer[12..length]).into_owned();
        (source, number, said)
    }
}

/// The line of a suite in a description.
pub fn offered(sdp: &str, suite: Suite) -> Crypto {
    let lines = sdp.lines();
    let lines = lines.filter_map(|line| line.strip_prefix("a=crypto:"));
    let mut cryptos = lines.map(|value| Crypto::parse(value).expect("a crypto"));
    let found = cryptos.find(|crypto| crypto.key.suite() == suite);
    found.expect("the suite is offered")
}
