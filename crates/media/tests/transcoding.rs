//! Parties without a common codec, on real packets.

mod phones;

use std::net::SocketAddr;

use phones::{Lab, Phone, Talk, line, relay_address, until};
use raftpbx_media::codec::{Codec, Coder};
use raftpbx_media::dsp::detect::Detector;
use raftpbx_media::dsp::resample::Resampler;
use raftpbx_media::dsp::tone::Oscillators;
use serde_json::{Value, json};

const EVENTS: &str = "a=rtpmap:101 telephone-event/8000\r\n";

/// The description of a phone that takes these payload types.
fn sdp(phone: &Phone, types: &str, lines: &str) -> String {
    let text = phone.sdp("").replace("a=rtpmap:0 PCMU/8000\r\n", lines);
    text.replace("RTP/AVP 0", &format!("RTP/AVP {types}"))
}

/// What the phones of a call were told.
struct Told {
    talk: Talk,
    offer: String,
    answer: String,
}

fn call(lab: &Lab, name: &str, codec: Value, first: (&str, &str), second: (&str, &str)) -> Told {
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = lab.sdp_of(json!({
        "command": "offer", "call-id": name, "from-tag": "ta", "codec": codec,
        "sdp": sdp(&a, first.0, first.1),
    }));
    let answer = lab.sdp_of(json!({
        "command": "answer", "call-id": name, "from-tag": "ta", "to-tag": "tb",
        "sdp": sdp(&b, second.0, second.1),
    }));
    let (from_b, from_a) = (relay_address(&offer), relay_address(&answer));
    let talk = Talk {
        a,
        b,
        from_a,
        from_b,
    };
    Told {
        talk,
        offer,
        answer,
    }
}

/// One end of a stream.
struct End {
    payload_type: u8,
    clock_hz: u32,
    coder: Box<dyn Coder>,
    tone: Oscillators,
    sequence: u16,
}

impl End {
    fn new(payload_type: u8, codec: Codec) -> End {
        let coder = codec.coder(codec.rate_hz()).expect("memory");
        let tone = Oscillators::new(coder.rate_hz(), -10.0);
        let clock_hz = codec.clock_hz();
        End {
            payload_type,
            clock_hz,
            coder,
            tone,
            sequence: 0,
        }
    }

    /// Sends 20 ms of a tone.
    fn send(&mut self, phone: &Phone, to: SocketAddr) {
        let mut pcm = vec![0; self.coder.rate_hz() as usize / 50];
        self.tone.fill([1_000.0, 0.0], &mut pcm);
        let mut payload = [0; 2_000];
        let length = self.coder.encode(&pcm, &mut payload).expect("encoded");
        let mut packet = vec![0x80, self.payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend((u32::from(self.sequence) * self.clock_hz / 50).to_be_bytes());
        packet.extend([0, 0, 0, 7]);
        packet.extend(&payload[..length]);
        self.sequence += 1;
        phone.rtp.send_to(&packet, to).expect("send");
    }

    /// The next packet: its number, its time and how loud it is.
    fn hear(&mut self, phone: &Phone) -> (u16, u32, u16) {
        let mut buffer = [0; 4_096];
        let (length, _) = phone.rtp.recv_from(&mut buffer).expect("a packet in time");
        assert_eq!(buffer[1] & 0x7f, self.payload_type);
        let mut pcm = [0; 960];
        let count = self
            .coder
            .decode(&buffer[12..length], &mut pcm)
            .expect("decoded");
        assert_eq!(count, self.coder.rate_hz() as usize / 50);
        let loudest = pcm[..count]
            .iter()
            .map(|sample| sample.unsigned_abs())
            .max();
        let time = u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]);
        (
            u16::from_be_bytes([buffer[2], buffer[3]]),
            time,
            loudest.unwrap_or(0),
        )
    }
}

/// Each packet must come out before the next one goes in.
fn assert_heard(from: (&Phone, &mut End, SocketAddr), to: (&Phone, &mut End)) {
    let mut first = None;
    for n in 0..15_u16 {
        from.1.send(from.0, from.2);
        let (number, time, loudest) = to.1.hear(to.0);
        let (first_number, first_time) = *first.get_or_insert((number, time));
        assert_eq!(number, first_number.wrapping_add(n));
        assert_eq!(
            time,
            first_time.wrapping_add(u32::from(n) * to.1.clock_hz / 50)
        );
        // -10 dBm0 is an amplitude of 7,200.
        assert!(
            n < 8 || (5_000..9_500).contains(&loudest),
            "packet {n}: {loudest}"
        );
    }
}

#[test]
fn parties_without_a_common_codec_hear_each_other_at_once() {
    let lab = Lab::start(36_000..=36_099);
    let kinds = [
        (0, Codec::Pcmu, ""),
        (8, Codec::Pcma, ""),
        (9, Codec::G722, ""),
        (97, Codec::L16(16_000), "a=rtpmap:97 L16/16000\r\n"),
        (96, Codec::Opus, "a=rtpmap:96 opus/48000/2\r\n"),
    ];
    for (n, (type_a, codec_a, lines_a)) in kinds.iter().enumerate() {
        for (type_b, codec_b, lines_b) in &kinds[n + 1..] {
            let name = format!("{codec_a:?}-{codec_b:?}");
            let flags = json!({"transcode": [codec_b.rtpmap()]});
            let types = [type_a, type_b].map(|number: &u8| number.to_string());
            let told = call(
                &lab,
                &name,
                flags,
                (&types[0], lines_a),
                (&types[1], lines_b),
            );
            let both = format!("RTP/AVP {} {}", types[0], types[1]);
            // L16 has a free number here, not the one of our phone.
            if codec_b.static_type().is_some() {
                assert!(told.offer.contains(&both), "{}", told.offer);
            }
            assert!(line(&told.answer, "m=audio ").ends_with(&format!("RTP/AVP {}", types[0])));
            let sent_by_b = line(&told.offer, "m=audio ")
                .split(' ')
                .next_back()
                .expect("a type");
            let mut a = End::new(*type_a, *codec_a);
            let mut to_b = End::new(*type_b, *codec_b);
            let talk = &told.talk;
            assert_heard((&talk.a, &mut a, talk.from_a), (&talk.b, &mut to_b));
            let mut b = End::new(sent_by_b.parse().expect("a number"), *codec_b);
            assert_heard(
                (&talk.b, &mut b, talk.from_b),
                (&talk.a, &mut End::new(*type_a, *codec_a)),
            );
            lab.ng(json!({"command": "delete", "call-id": name}));
        }
    }
}

#[test]
fn an_offer_changes_nothing_before_its_answer() {
    let lab = Lab::start(36_180..=36_199);
    let opus = "a=rtpmap:96 opus/48000/2\r\n";
    let told = call(
        &lab,
        "again",
        json!({"transcode": ["opus"]}),
        ("0", ""),
        ("96", opus),
    );
    let talk = told.talk;
    lab.sdp_of(json!({
        "command": "offer", "call-id": "again", "from-tag": "ta", "to-tag": "tb",
        "codec": {"transcode": ["opus"]}, "sdp": sdp(&talk.a, "0", ""),
    }));
    let (mut a, mut b) = (End::new(0, Codec::Pcmu), End::new(96, Codec::Opus));
    assert_heard((&talk.a, &mut a, talk.from_a), (&talk.b, &mut b));
    // And the answer changes what it says: now both have PCMU.
    let answer = json!({
        "command": "answer", "call-id": "again", "from-tag": "ta", "to-tag": "tb",
        "sdp": sdp(&talk.b, "0", ""),
    });
    lab.sdp_of(answer);
    assert_heard(
        (&talk.a, &mut a, talk.from_a),
        (&talk.b, &mut End::new(0, Codec::Pcmu)),
    );
    assert_eq!(lab.engine.stats().bridged, 0);
}

#[test]
fn a_common_codec_is_relayed_as_it_is_although_more_was_offered() {
    let lab = Lab::start(36_100..=36_119);
    let flags = json!({"transcode": ["opus", "G722"]});
    let types = format!("0 101\r\n{EVENTS}");
    let told = call(
        &lab,
        "common",
        flags,
        (types.trim_end(), ""),
        ("0 101", EVENTS),
    );
    assert!(
        line(&told.offer, "m=audio ").ends_with("RTP/AVP 0 96 9 97 101"),
        "{}",
        told.offer
    );
    assert!(
        told.offer.contains("a=rtpmap:96 opus/48000/2\r\n"),
        "{}",
        told.offer
    );
    assert!(
        line(&told.answer, "m=audio ").ends_with("RTP/AVP 0 101"),
        "{}",
        told.answer
    );
    told.talk.assert_both_ways();
}

#[test]
fn what_nobody_here_can_read_stays_and_nothing_is_offered_in_its_place() {
    let lab = Lab::start(36_200..=36_219);
    let types = |sdp: &str| {
        let (_, types) = line(sdp, "m=audio ").split_once("RTP/AVP ").expect("types");
        types.to_owned()
    };
    let flags = json!({"transcode": ["opus", "PCMU"]});
    let both = call(&lab, "both", flags.clone(), ("18 0", ""), ("18 0", ""));
    assert_eq!(
        (types(&both.offer), types(&both.answer)),
        ("18 0 96".into(), "18 0".into())
    );
    let one = call(&lab, "one", flags, ("18", ""), ("18", ""));
    assert_eq!(
        (types(&one.offer), types(&one.answer)),
        ("18".into(), "18".into())
    );
}

#[test]
fn codecs_are_stripped_masked_and_excepted() {
    let lab = Lab::start(36_120..=36_159);
    let offered = |name: &str, codec: Value| {
        let told = call(&lab, name, codec, ("0 8 9 101", EVENTS), ("9", ""));
        let types = |sdp: &str| {
            let (_, types) = line(sdp, "m=audio ").split_once("RTP/AVP ").expect("types");
            types.to_owned()
        };
        (types(&told.offer), types(&told.answer))
    };
    let got = |offer: &str, answer: &str| (offer.to_owned(), answer.to_owned());
    assert_eq!(
        offered("strip", json!({"strip": ["PCMU", "PCMA"]})),
        got("9 101", "9")
    );
    assert_eq!(
        offered("all", json!({"strip": "all", "offer": ["G722"]})),
        got("9 101", "9")
    );
    let masked = json!({"mask": ["all"], "transcode": ["opus"]});
    assert_eq!(offered("mask", masked).0, "96 97 101");
    let accepted = json!({"accept": ["PCMA"]});
    assert_eq!(offered("accept", accepted), got("0 8 9 101", "8 9 101"));
    // What would leave nothing is not done.
    assert_eq!(offered("nothing", json!({"strip": ["all"]})).0, "0 8 9 101");
}

#[test]
fn a_party_without_events_hears_digits_as_tones() {
    let lab = Lab::start(36_160..=36_179);
    let flags = json!({"transcode": ["G722"]});
    let told = call(&lab, "tones", flags, ("0 101", EVENTS), ("9", ""));
    assert!(
        line(&told.answer, "m=audio ").ends_with("RTP/AVP 0 101"),
        "{}",
        told.answer
    );
    let talk = told.talk;
    for n in 0..4_u8 {
        let end = if n == 3 { 0x80 } else { 0 };
        let mut packet = vec![0x80, 101, 0, n, 0, 0, 0, 0, 0, 0, 0, 7];
        packet.extend([8, end | 10, 3 + n / 3, 32]);
        talk.a.rtp.send_to(&packet, talk.from_a).expect("send");
    }
    let mut coder = Codec::G722.coder(16_000).expect("memory");
    let mut down = Resampler::new(16_000, 8_000).expect("a ratio");
    let (mut detector, mut heard) = (Detector::default(), Vec::new());
    while heard.is_empty() {
        let mut buffer = [0; 2_000];
        let (length, _) = talk.b.rtp.recv_from(&mut buffer).expect("a packet in time");
        assert_eq!(buffer[1] & 0x7f, 9);
        let (mut pcm, mut narrow) = ([0; 640], [0; 640]);
        let count = coder
            .decode(&buffer[12..length], &mut pcm)
            .expect("decoded");
        let count = down.run(&pcm[..count], &mut narrow);
        detector.take(&narrow[..count], |digit| heard.push(digit.digit.key()));
    }
    assert_eq!(heard, ['8']);
    until("counted", || lab.engine.stats().digits == 1);
}
