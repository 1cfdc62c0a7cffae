//! Parties that somebody listens to, to recognise what they say.

mod phones;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use phones::callers::{Caller, End, amplitude, while_singing};
use phones::{DEADLINE, Lab, Phone, relay_address, until};
use raftpbx_media::codec::Codec;
use raftpbx_media::srtp::sdes::Crypto;
use raftpbx_media::srtp::{GROWTH_MAX, MasterKey, Outbound, Suite};
use raftpbx_media::{MediaConfig, TapError};
use serde_json::json;

/// Samples of a tap.
struct Chunk {
    tap: u32,
    position: u64,
    samples: Vec<i16>,
}

fn chunks(batch: &[u8]) -> Vec<Chunk> {
    let mut rest = batch;
    let mut all = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<16>() {
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four"));
        let (samples, next) = behind.split_at(2 * number(4) as usize);
        let sample = |two: &[u8]| i16::from_le_bytes([two[0], two[1]]);
        all.push(Chunk {
            tap: number(0),
            position: u64::from(number(8)),
            samples: samples.chunks(2).map(sample).collect(),
        });
        rest = next;
    }
    all
}

/// An engine and what its taps hear.
struct Ears {
    lab: Lab,
    batches: Receiver<Vec<u8>>,
}

impl Ears {
    fn start(ports: std::ops::RangeInclusive<u16>) -> Ears {
        let lab = Lab::with(ports, |_: &mut MediaConfig| {});
        let (sender, batches) = channel();
        let sink = Box::new(move |batch| sender.send(batch).is_ok());
        lab.engine.on_sound(sink).expect("a listener");
        Ears { lab, batches }
    }

    /// Half a second of a tap without a gap.
    fn hear(&self, tap: u32, rate_hz: u32) -> (u32, Vec<i16>) {
        let mut heard: Vec<i16> = Vec::new();
        let mut next = None;
        while heard.len() < rate_hz as usize / 2 {
            let batch = self.batches.recv_timeout(DEADLINE).expect("a batch");
            for chunk in chunks(&batch).into_iter().filter(|chunk| chunk.tap == tap) {
                if next.is_some_and(|next| next != chunk.position) {
                    heard.clear();
                }
                next = Some(chunk.position + chunk.samples.len() as u64);
                heard.extend(chunk.samples);
            }
        }
        // The beginning is where the sound begins.
        (rate_hz, heard.split_off(rate_hz as usize / 10))
    }

    /// The tap hears this tone and hardly another one: on a busy machine not every half second is
    /// whole, so the next ones may say it.
    fn hears(&self, tap: u32, rate_hz: u32, hz: f64) {
        until("the tone is heard", || {
            let heard = self.hear(tap, rate_hz);
            let (own, other) = (amplitude(&heard, hz), amplitude(&heard, hz + 100.0));
            (4_000.0..6_000.0).contains(&own) && other < 500.0
        });
    }

    fn ends(&self, tap: u32) {
        until("the end of a tap is told", || {
            let batch = self.batches.recv_timeout(DEADLINE).expect("a batch");
            let mut all = chunks(&batch).into_iter();
            all.any(|chunk| chunk.tap == tap && chunk.samples.is_empty())
        });
    }
}

#[test]
fn a_tap_hears_what_its_party_says_in_any_codec_and_at_any_rate() {
    let ears = Ears::start(37_100..=37_139);
    let cases = [
        (Codec::Pcmu, 16_000),
        (Codec::G722, 8_000),
        (Codec::Opus, 48_000),
    ];
    for (n, (codec, rate_hz)) in cases.into_iter().enumerate() {
        let name = format!("call-{n}");
        let caller = Caller::call(&ears.lab, &name, codec);
        let tap = ears.lab.engine.tap(&name, "phone", rate_hz).expect("a tap");
        let hz = 500.0 + 200.0 * n as f64;
        while_singing(&caller, hz, || {
            ears.hears(tap, rate_hz, hz);
        });
        assert_eq!(ears.lab.engine.stats().taps, 1);
        assert!(ears.lab.engine.untap(tap));
        ears.ends(tap);
        assert!(!ears.lab.engine.untap(tap), "it has ended before");
    }
    let stats = ears.lab.engine.stats();
    assert_eq!((stats.taps, stats.tap_lost, stats.tap_refused), (0, 0, 0));
}

#[test]
fn both_parties_of_a_transcoded_call_are_heard_in_the_same_batches() {
    let ears = Ears::start(37_140..=37_159);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let opus = b.sdp("").replace(
        "RTP/AVP 0\r\na=rtpmap:0 PCMU/8000",
        "RTP/AVP 111\r\na=rtpmap:111 opus/48000/2",
    );
    let from_b = relay_address(&ears.lab.sdp_of(json!({
        "command": "offer", "call-id": "two", "from-tag": "ta", "sdp": a.sdp(""),
        "codec": {"mask": ["PCMU"], "transcode": ["opus"]},
    })));
    let from_a = relay_address(&ears.lab.sdp("answer", "two", ["ta", "tb"], &opus));
    let singer = |phone: Phone, to, codec| Caller {
        rtp: phone.rtp,
        to,
        codec,
        call: "two".into(),
    };
    let (a, b) = (
        singer(a, from_a, Codec::Pcmu),
        singer(b, from_b, Codec::Opus),
    );
    let tap = |tag| ears.lab.engine.tap("two", tag, 16_000).expect("a tap");
    let (first, second) = (tap("ta"), tap("tb"));
    while_singing(&a, 600.0, || {
        while_singing(&b, 1_000.0, || {
            ears.hears(first, 16_000, 600.0);
            ears.hears(second, 16_000, 1_000.0);
        });
    });
}

#[test]
fn an_encrypted_party_is_heard() {
    let ears = Ears::start(37_160..=37_179);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let crypto = Crypto {
        tag: 1,
        key: MasterKey::random(Suite::Aes128CmSha1_80),
        mki_bytes: 0,
    };
    let secret = a
        .sdp(&format!("a=crypto:{}\r\n", crypto.value(false)))
        .replace("RTP/AVP", "RTP/SAVP");
    ears.lab.sdp_of(json!({
        "command": "offer", "call-id": "secret", "from-tag": "ta", "sdp": secret,
        "transport-protocol": "RTP/AVP",
    }));
    let answer = ears.lab.sdp("answer", "secret", ["ta", "tb"], &b.sdp(""));
    let to = relay_address(&answer);
    let tap = ears.lab.engine.tap("secret", "ta", 8_000).expect("a tap");
    let mut keys = Outbound::new(crypto.key, 0);
    let mut coder = Codec::Pcmu.coder(8_000).expect("memory");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for sequence in 0..1_000_u16 {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let angle = |n: u32| f64::from(n) * 700.0 * std::f64::consts::TAU / 8_000.0;
                let begin = u32::from(sequence) * 160;
                let sample = |n: u32| (5_000.0 * angle(begin + n).sin()) as i16;
                let pcm: Vec<i16> = (0..160).map(sample).collect();
                let mut packet = vec![0; 172 + GROWTH_MAX];
                packet[0] = 0x80;
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                packet[4..8].copy_from_slice(&begin.to_be_bytes());
                packet[8..12].copy_from_slice(&[0, 0, 0, 9]);
                coder.encode(&pcm, &mut packet[12..172]).expect("encoded");
                let length = keys.protect_rtp(&mut packet, 172).expect("protected");
                a.rtp.send_to(&packet[..length], to).expect("send");
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        });
        let _end = End(&over);
        ears.hears(tap, 8_000, 700.0);
    });
}

#[test]
fn what_cannot_be_tapped_is_refused_with_a_reason() {
    let lab = Lab::start(37_180..=37_199);
    Caller::call(&lab, "one", Codec::Pcmu);
    let tap = |call, tag, rate| lab.engine.tap(call, tag, rate);
    assert_eq!(tap("one", "phone", 8_000), Err(TapError::Unheard));
    let (sender, batches) = channel();
    let sink = Box::new(move |batch| sender.send(batch).is_ok());
    lab.engine.on_sound(sink).expect("a listener");
    assert_eq!(tap("one", "phone", 44_100), Err(TapError::Rate(44_100)));
    let unknown = TapError::Party("Unknown call-ID".into());
    assert_eq!(tap("none", "phone", 8_000), Err(unknown));
    let unknown = TapError::Party("From-tag given, but no such tag exists".into());
    assert_eq!(tap("one", "nobody", 8_000), Err(unknown));
    // A tap ends with its call.
    tap("one", "phone", 8_000).expect("a tap");
    lab.ng(json!({"command": "delete", "call-id": "one", "from-tag": "phone"}));
    let end = batches.recv_timeout(DEADLINE).expect("the end");
    assert!(chunks(&end)[0].samples.is_empty());
    assert_eq!(lab.engine.stats().taps, 0);
}
