//! What the two phones of a call speak, and what a relay has to do about it.

use std::net::SocketAddr;
use std::str::FromStr;

use raftpbx_media::codec::Codec;
use raftpbx_media::srtp::MasterKey;
use raftpbx_media::srtp::Suite;
use raftpbx_media::srtp::sdes::Crypto;
use serde_json::{Value, json};

/// What the called phones speak; the calling ones speak PCMU without encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The same: packets are only relayed.
    Plain,
    /// PCMU in SRTP, AES-128 in counter mode with HMAC-SHA1 of ten bytes.
    Srtp,
    /// G.722.
    G722,
    /// Opus.
    Opus,
}

impl FromStr for Profile {
    type Err = ();

    fn from_str(text: &str) -> Result<Profile, ()> {
        match text {
            "plain" => Ok(Profile::Plain),
            "srtp" => Ok(Profile::Srtp),
            "g722" => Ok(Profile::G722),
            "opus" => Ok(Profile::Opus),
            _ => Err(()),
        }
    }
}

impl Profile {
    /// What a side (0 calling, 1 called) speaks.
    #[must_use]
    pub fn codec(self, side: usize) -> Codec {
        match self {
            Profile::G722 if side == 1 => Codec::G722,
            Profile::Opus if side == 1 => Codec::Opus,
            _ => Codec::Pcmu,
        }
    }

    /// Whether payloads change on the way.
    #[must_use]
    pub fn is_transcoded(self) -> bool {
        self.codec(0) != self.codec(1)
    }

    /// What an offer says besides: how the called phones are to be spoken to.
    #[must_use]
    pub fn flags(self) -> Value {
        match self {
            Profile::Plain => json!({}),
            Profile::Srtp => json!({"transport-protocol": "RTP/SAVP"}),
            Profile::G722 => json!({"codec": {"transcode": ["G722"]}}),
            Profile::Opus => json!({"codec": {"transcode": ["opus"]}}),
        }
    }
}

/// What a phone was offered.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Payload type of the codec that it will speak.
    pub payload_type: u8,
    /// The key with which the other party protects, and its number.
    pub crypto: Option<Crypto>,
}

impl Offered {
    /// Reads the description for a called phone; none when it cannot speak what it should.
    #[must_use]
    pub fn read(profile: Profile, sdp: &str) -> Option<Offered> {
        let codec = profile.codec(1);
        let named = sdp.lines().find_map(|line| {
            let (number, map) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            let same = map.eq_ignore_ascii_case(&codec.rtpmap());
            number.parse().ok().filter(|_| same)
        });
        let mut keys = sdp.lines().filter_map(|line| {
            let crypto = Crypto::parse(line.strip_prefix("a=crypto:")?)?;
            (crypto.key.suite() == Suite::Aes128CmSha1_80).then_some(crypto)
        });
        let crypto = keys.next();
        if profile == Profile::Srtp && crypto.is_none() {
            return None;
        }
        Some(Offered {
            payload_type: named.or(codec.static_type())?,
            crypto: crypto.filter(|_| profile == Profile::Srtp),
        })
    }

    /// What a calling phone speaks.
    #[must_use]
    pub fn plain() -> Offered {
        Offered {
            payload_type: 0,
            crypto: None,
        }
    }
}

/// The description of a phone at `address` that protects with `key`.
#[must_use]
pub fn sdp(
    address: SocketAddr,
    codec: Codec,
    payload_type: u8,
    crypto: Option<(u32, &MasterKey)>,
) -> String {
    let (ip, port) = (address.ip(), address.port());
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let transport = if crypto.is_some() { "SAVP" } else { "AVP" };
    let key = crypto.map_or_else(String::new, |(tag, key)| {
        let line = Crypto {
            tag,
            key: key.clone(),
            mki_bytes: 0,
        };
        format!("a=crypto:{}\r\n", line.value(true))
    });
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/{transport} {payload_type}\r\n\
         a=rtpmap:{payload_type} {}\r\n{key}a=sendrecv\r\na=ptime:20\r\n",
        codec.rtpmap()
    )
}
