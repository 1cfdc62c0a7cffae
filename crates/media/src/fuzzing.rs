//! Entrances for fuzzers: any bytes into everything that reads bytes it did not write.
//!
//! Each function checks more than the absence of panics; `crates/media/fuzz` and the property
//! tests below call the same ones.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use crate::address::RawAddress;
use crate::audio::clip::Clip;
use crate::audio::event::{Event, EventListener};
use crate::audio::reports::{Renaming, rename};
use crate::codec::{Codec, SAMPLES_MAX};
use crate::epoll::monotonic_ns;
use crate::ng::bencode::{Measured, Value, decode, encode, from_json, measure};
use crate::ng::request::{command, read};
use crate::packet::{Kind, classify, payload};
use crate::sdp::{MediaOut, Rewrite, Sdp, SdpError, Takes, rewrite};
use crate::security::{check_transport, offered_lines};
use crate::srtp::{Inbound, MasterKey, Suite};
use crate::stream::Quality;
use crate::webrtc::stun::Message;
use crate::webrtc::{Credentials, Handshake, Identity, Leg, Remote, Spec};

/// A datagram at an RTP port: its header, its sound in every codec, events, encryption.
pub fn rtp(input: &[u8]) {
    let mut room = input.to_vec();
    let key = [7; 30];
    if let Some(key) = MasterKey::new(Suite::Aes128CmSha1_80, &key) {
        let mut inbound = Inbound::new(key, 0);
        let opened = inbound.open_rtp(&mut room);
        assert!(opened.is_err(), "nobody knows the key");
    }
    let Kind::Rtp(header) = classify(input) else {
        return;
    };
    let content = payload(input, &header);
    assert!(content.len() <= input.len() - header.payload_at);
    let mut quality = Quality::default();
    quality.take(&header, 8_000, 1);
    quality.take(&header, 8_000, 2);
    assert_eq!(quality.lost(), 0, "a repetition is no loss");
    if let Some(event) = Event::parse(content) {
        let mut listener = EventListener::default();
        listener.take(header.ssrc, header.timestamp, event, 8_000, 1);
    }
    let mut samples = vec![0; SAMPLES_MAX];
    for codec in [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::L16(16_000),
        Codec::Opus,
    ] {
        let coder = codec.coder(codec.rate_hz());
        let count = coder.and_then(|mut coder| coder.decode(content, &mut samples));
        assert!(count.is_none_or(|count| count <= samples.len()));
    }
}

/// A datagram at an RTCP port: opened, and renamed there and back.
pub fn rtcp(input: &[u8]) {
    let mut room = input.to_vec();
    if let Some(key) = MasterKey::new(Suite::Aes128CmSha1_80, &[7; 30]) {
        let mut inbound = Inbound::new(key, 0);
        assert!(
            inbound.open_rtcp(&mut room).is_err(),
            "nobody knows the key"
        );
    }
    if classify(input) != Kind::Rtcp {
        return;
    }
    let source = input.get(4..8).and_then(|word| word.first_chunk());
    let source = source.map_or(0, |word| u32::from_be_bytes(*word));
    let name = !source;
    let mut renamed = input.to_vec();
    let there = Some((source, name));
    rename(
        &mut renamed,
        Renaming {
            sender: there,
            ..Renaming::default()
        },
    );
    assert_eq!(renamed.len(), input.len());
    // A report of four bytes names nobody.
    if input[1] == 201 && input[2..4] != [0, 0] {
        assert_eq!(renamed[4..8], name.to_be_bytes());
    }
}

/// Made once: a certificate takes longer than what is tried with it.
static IDENTITY: LazyLock<Option<Arc<Identity>>> = LazyLock::new(|| Identity::new().ok());

/// A datagram of STUN, to a party that is asked and asks itself: nothing is believed that does not
/// know the password.
pub fn stun(input: &[u8]) {
    if let Some(message) = Message::parse(input) {
        assert!(!message.is_genuine("nobody knows this password"));
    }
    let (ours, theirs) = (Credentials::random(), Credentials::random());
    let remote = Remote {
        credentials: theirs,
        lite: true,
        candidates: [9, 10].map(|port| vec![SocketAddr::from(([192, 0, 2, 1], port))]),
    };
    let spec = Spec {
        ice: Some((ours, remote)),
        apart: true,
        ..Spec::default()
    };
    let Some(identity) = &*IDENTITY else { return };
    let mut leg = Leg::new(identity, spec, 1);
    let source = RawAddress::from(SocketAddr::from(([192, 0, 2, 1], 9)));
    for rtcp in [false, true] {
        let taken = leg.hear(rtcp, &source, input, 2);
        assert!(taken.valid.is_none() && taken.keys.is_none());
    }
    leg.tick([Some(&source); 2], 3);
}

/// Records of DTLS, to both ends of a connection: no bytes make keys. Each datagram is a length
/// (one byte, times 8) and as many bytes.
pub fn dtls(input: &[u8]) {
    let Some(identity) = &*IDENTITY else { return };
    let now_ns = monotonic_ns();
    for active in [false, true] {
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let expected = vec![identity.fingerprint().clone()];
        let Some(mut end) = Handshake::begin(identity, active, expected, source, now_ns) else {
            return;
        };
        drop(end.tick(now_ns));
        let mut rest = input;
        while let Some((length, behind)) = rest.split_first() {
            let (packet, next) = behind.split_at(behind.len().min(usize::from(*length) * 8));
            rest = next;
            match end.take(packet, now_ns) {
                Ok(step) => assert!(step.keys.is_none(), "keys for nobody"),
                Err(_) => break,
            }
        }
    }
}

/// A message of the NG protocol without its cookie, in both notations.
pub fn ng(input: &[u8]) {
    let measured = measure(input);
    let value = match decode(input) {
        Some(value) => {
            assert!(
                matches!(measured, Measured::Whole(length) if length <= input.len()),
                "read, but not measured"
            );
            let mut written = Vec::new();
            encode(&value, &mut written);
            assert_eq!(decode(&written).as_ref(), Some(&value), "written is read");
            Some(value)
        }
        None => serde_json::from_slice(input)
            .ok()
            .and_then(|document| from_json(&document, 0)),
    };
    if let Some(Value::Dict(dict)) = value {
        let (_, request) = (command(&dict), read(&dict));
        if let Some(text) = request.ok().and_then(|request| request.sdp) {
            sdp(text.as_bytes());
        }
    }
}

/// A session description: read, its formats and keys, and written anew.
pub fn sdp(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(sdp) = Sdp::parse(text) else { return };
    let request = read(&Default::default()).unwrap_or_default();
    let _ = (
        check_transport(&sdp, &request),
        offered_lines(&sdp, &request),
    );
    let media: Vec<MediaOut<'_>> = sdp
        .media
        .iter()
        .map(|media| {
            let _ = (Takes::of(media).first_audio(), media.rtcp_address());
            MediaOut {
                port: if media.port == 0 { 0 } else { 20_000 },
                rtcp: Some(20_001),
                mux: media.mux,
                ..MediaOut::default()
            }
        })
        .collect();
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let origin = true;
    let written = rewrite(
        &sdp,
        &Rewrite {
            address,
            origin,
            media: &media,
        },
    );
    match Sdp::parse(&written) {
        Ok(again) => assert_eq!(again.media.len(), sdp.media.len(), "{written}"),
        Err(error) => assert_eq!(error, SdpError::TooLarge, "{written}"),
    }
}

/// A WAV file.
pub fn clip(input: &[u8]) {
    if let Ok(clip) = Clip::parse_wav(input) {
        assert!(clip.samples.len() <= input.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that begin like what is wanted more often than chance has it.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..400)
    }

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/SAVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:4001\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
        m=video 0 RTP/AVP 96\r\na=sendonly\r\n";

    fn changed(whole: &[u8], changes: Vec<(usize, u8)>) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        bytes
    }

    #[test]
    fn a_report_too_short_to_name_its_sender_is_left_alone() {
        rtcp(&[0x80, 201, 0, 0, 1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_relay_panic(mut input in bytes(), kind in any::<bool>()) {
            if let [first, second, ..] = &mut input[..] {
                *first = *first & 0x3f | 0x80;
                if kind {
                    *second = 200 + *second % 8;
                }
            }
            rtp(&input);
            rtcp(&input);
        }

        #[test]
        fn no_bytes_make_ice_or_dtls_panic(mut input in bytes(), kind in 0_u8..3) {
            if let [first, second, third, ..] = &mut input[..] {
                match kind {
                    0 => (*first, *second) = (0, 1),
                    1 => (*first, *second, *third) = (20, 22, 0xfe),
                    _ => {}
                }
            }
            stun(&input);
            dtls(&input);
        }

        #[test]
        fn no_bytes_make_ng_panic(input in bytes()) {
            ng(&input);
            clip(&input);
        }

        #[test]
        fn no_change_of_a_description_makes_it_panic(
            changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..12),
            cut in 0_usize..400,
        ) {
            let input = changed(OFFER.as_bytes(), changes.clone());
            sdp(&input);
            sdp(&input[..cut.min(input.len())]);
            let head = "d7:call-id1:x7:command5:offer8:from-tag1:t3:sdp";
            let message = format!("{head}{}:{OFFER}e", OFFER.len());
            ng(&changed(message.as_bytes(), changes));
        }
    }
}
