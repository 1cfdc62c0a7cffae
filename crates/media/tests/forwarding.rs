//! Sound of calls for a consumer outside (`start forwarding`), over real sockets.

mod phones;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixListener;
use std::path::Path;

use phones::callers::{Caller, amplitude, while_singing};
use phones::{DEADLINE, Lab, Phone, relay_address, until};
use raftpbx_media::codec::Codec;
use raftpbx_media::{Consumer, ForwardTo};
use serde_json::{Value, json};

/// Who takes forwarded sound.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn tcp(address: SocketAddr) -> (Listener, Consumer) {
        let listener = TcpListener::bind(address).expect("a listener");
        listener.set_nonblocking(true).expect("a socket");
        let consumer = Consumer::Tcp(listener.local_addr().expect("bound"));
        (Listener::Tcp(listener), consumer)
    }

    fn unix(path: &Path) -> (Listener, Consumer) {
        let listener = UnixListener::bind(path).expect("a listener");
        listener.set_nonblocking(true).expect("a socket");
        (Listener::Unix(listener), Consumer::Unix(path.to_owned()))
    }

    /// The next stream, if it is there.
    fn try_accept(&self) -> Option<Box<dyn Read>> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().ok()?;
                stream.set_nonblocking(false).expect("a socket");
                stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
                Some(Box::new(stream))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().ok()?;
                stream.set_nonblocking(false).expect("a socket");
                stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
                Some(Box::new(stream))
            }
        }
    }

    fn accept(&self, rate_hz: u32) -> Stream {
        let mut accepted = None;
        until("a stream comes", || {
            accepted = self.try_accept();
            accepted.is_some()
        });
        let mut bytes = accepted.expect("a stream");
        let mut metadata = Vec::new();
        let mut one = [0];
        loop {
            bytes.read_exact(&mut one).expect("the beginning in time");
            if one == [0] {
                break;
            }
            metadata.push(one[0]);
        }
        Stream {
            metadata: String::from_utf8(metadata).expect("text"),
            bytes,
            rate_hz,
        }
    }
}

/// A stream that was begun.
struct Stream {
    metadata: String,
    bytes: Box<dyn Read>,
    rate_hz: u32,
}

impl Stream {
    /// It carries this tone and hardly another one: on a busy machine not every half second is
    /// whole, so the next ones may say it.
    fn hears(&mut self, hz: f64) {
        let mut bytes = vec![0; self.rate_hz as usize];
        until("the tone is heard", || {
            self.bytes.read_exact(&mut bytes).expect("sound in time");
            let pairs = bytes.as_chunks::<2>().0.iter();
            let samples: Vec<i16> = pairs.map(|pair| i16::from_le_bytes(*pair)).collect();
            // Where the sound begins there is silence or half a packet.
            let heard = (self.rate_hz, samples[samples.len() / 5..].to_vec());
            let (own, other) = (amplitude(&heard, hz), amplitude(&heard, hz + 100.0));
            (4_000.0..6_000.0).contains(&own) && other < 500.0
        });
    }

    fn ends(&mut self) {
        let mut rest = Vec::new();
        self.bytes.read_to_end(&mut rest).expect("an end in time");
        assert_eq!(rest.len() % 2, 0, "whole samples");
    }
}

fn lab(ports: RangeInclusive<u16>, consumer: Consumer, rate_hz: u32) -> Lab {
    Lab::with(ports, |config| {
        config.forward = Some(ForwardTo { consumer, rate_hz });
    })
}

fn ok(lab: &Lab, command: Value) {
    let answer = lab.ng(command);
    assert_eq!(
        answer,
        json!({"result": "ok"}),
        "nothing else, as in rtpengine"
    );
}

fn refused(lab: &Lab, command: Value) -> String {
    let answer = lab.ng(command);
    assert_eq!(answer["result"], "error", "{answer}");
    answer["error-reason"]
        .as_str()
        .expect("a reason")
        .to_owned()
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Two phones in a call: the first has PCMU, the second Opus.
fn transcoded(lab: &Lab, name: &str, between: impl FnOnce()) -> (Caller, Caller) {
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let opus = b.sdp("").replace(
        "RTP/AVP 0\r\na=rtpmap:0 PCMU/8000",
        "RTP/AVP 111\r\na=rtpmap:111 opus/48000/2",
    );
    let from_b = relay_address(&lab.sdp_of(json!({
        "command": "offer", "call-id": name, "from-tag": "ta", "sdp": a.sdp(""),
        "codec": {"mask": ["PCMU"], "transcode": ["opus"]},
    })));
    between();
    let from_a = relay_address(&lab.sdp("answer", name, ["ta", "tb"], &opus));
    let singer = |phone: Phone, to, codec| Caller {
        rtp: phone.rtp,
        to,
        codec,
        call: name.into(),
    };
    (
        singer(a, from_a, Codec::Pcmu),
        singer(b, from_b, Codec::Opus),
    )
}

#[test]
fn a_whole_call_is_a_stream_for_each_party_also_for_who_comes_later() {
    let (listener, consumer) = Listener::tcp(any_port());
    let lab = lab(38_600..=38_619, consumer, 16_000);
    let about = r#"{"call":"one"}"#;
    let (a, b) = transcoded(&lab, "one", || {
        ok(
            &lab,
            json!({"command": "start forwarding", "call-id": "one", "metadata": about}),
        );
    });
    assert!(listener.try_accept().is_none(), "nobody has said anything");
    let (mut first, mut second) = (None, None);
    while_singing(&a, 600.0, || {
        let mut stream = listener.accept(16_000);
        assert_eq!(stream.metadata, about);
        stream.hears(600.0);
        while_singing(&b, 1_000.0, || {
            let mut stream = listener.accept(16_000);
            assert_eq!(stream.metadata, about);
            stream.hears(1_000.0);
            second = Some(stream);
        });
        first = Some(stream);
    });
    let stats = lab.engine.stats();
    assert_eq!((stats.forwarded, stats.forward_connected), (2, 2));
    ok(
        &lab,
        json!({"command": "stop forwarding", "call-id": "one"}),
    );
    first.expect("a stream").ends();
    second.expect("a stream").ends();
    until("nothing is forwarded", || {
        let stats = lab.engine.stats();
        (stats.forwarded, stats.forward_connected) == (0, 0)
    });
    let stats = lab.engine.stats();
    let lost = (
        stats.forward_lost,
        stats.forward_dropped,
        stats.forward_failed,
    );
    assert_eq!(lost, (0, 0, 0));
    // Commands are counted under rtpengine's names.
    let counted = lab.ng(json!({"command": "statistics"}));
    let counted = &counted["statistics"]["controlstatistics"];
    assert_eq!(counted["totalstartfwdcount"], 1, "{counted}");
    assert_eq!(counted["totalstopfwdcount"], 1, "{counted}");
}

#[test]
fn a_party_is_forwarded_apart_from_its_call_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let (listener, consumer) = Listener::unix(&folder.path().join("asr"));
    let lab = lab(38_620..=38_639, consumer, 8_000);
    let (a, b) = transcoded(&lab, "two", || {});
    ok(
        &lab,
        json!({
            "command": "start forwarding", "call-id": "two", "from-tag": "tb", "metadata": "of b",
        }),
    );
    while_singing(&a, 600.0, || {
        while_singing(&b, 1_000.0, || {
            let mut stream = listener.accept(8_000);
            assert_eq!(stream.metadata, "of b");
            stream.hears(1_000.0);
            assert!(
                listener.try_accept().is_none(),
                "the other one is not heard"
            );
            // That of the whole call begins and ends, this one goes on.
            ok(
                &lab,
                json!({"command": "start forwarding", "call-id": "two"}),
            );
            let mut other = listener.accept(8_000);
            assert_eq!(other.metadata, "");
            other.hears(600.0);
            ok(
                &lab,
                json!({"command": "stop forwarding", "call-id": "two"}),
            );
            other.ends();
            assert_eq!(lab.engine.stats().forwarded, 1);
            stream.hears(1_000.0);
            ok(
                &lab,
                json!({"command": "stop forwarding", "call-id": "two", "flags": ["all"]}),
            );
            stream.ends();
        });
    });
    // It ends with its call, too.
    ok(
        &lab,
        json!({"command": "start forwarding", "call-id": "two", "from-tag": "ta"}),
    );
    assert_eq!(lab.engine.stats().forwarded, 1);
    while_singing(&a, 700.0, || {
        let mut stream = listener.accept(8_000);
        stream.hears(700.0);
        lab.ng(json!({"command": "delete", "call-id": "two", "from-tag": "ta"}));
        stream.ends();
    });
    assert_eq!(lab.engine.stats().forwarded, 0);
}

#[test]
fn a_consumer_that_is_away_is_tried_again_until_it_is_there() {
    // A port of which somebody has just gone.
    let (gone, consumer) = Listener::tcp(any_port());
    let Consumer::Tcp(address) = consumer else {
        panic!("a port");
    };
    drop(gone);
    let lab = lab(38_640..=38_659, consumer, 8_000);
    let caller = Caller::call(&lab, "away", Codec::Pcmu);
    ok(
        &lab,
        json!({"command": "start forwarding", "call-id": "away", "metadata": "m", "all": "all"}),
    );
    while_singing(&caller, 800.0, || {
        until("it is missed", || lab.engine.stats().forward_failed > 0);
        assert_eq!(lab.engine.stats().forward_connected, 0);
        let (listener, _) = Listener::tcp(address);
        let mut stream = listener.accept(8_000);
        assert_eq!(stream.metadata, "m");
        stream.hears(800.0);
        // It goes and comes again: another connection, which begins as the first one.
        drop(stream);
        let mut stream = listener.accept(8_000);
        assert_eq!(stream.metadata, "m");
        stream.hears(800.0);
        assert!(lab.engine.stats().forward_failed > 1);
    });
}

#[test]
fn a_consumer_that_does_not_read_loses_sound_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (listener, consumer) = Listener::unix(&folder.path().join("asr"));
    let lab = lab(38_660..=38_679, consumer, 48_000);
    let caller = Caller::call(&lab, "slow", Codec::Pcmu);
    ok(
        &lab,
        json!({"command": "start forwarding", "call-id": "slow"}),
    );
    while_singing(&caller, 800.0, || {
        let mut stream = listener.accept(48_000);
        until("some is left out", || {
            lab.engine.stats().forward_dropped > 0
        });
        assert_eq!(lab.engine.stats().forward_lost, 0);
        // Commands go on, and the connection holds.
        lab.ng(json!({"command": "ping"}));
        stream.hears(800.0);
        assert_eq!(lab.engine.stats().forward_failed, 0);
    });
}

#[test]
fn what_cannot_be_forwarded_is_refused_with_a_reason() {
    let plain = Lab::start(38_680..=38_689);
    Caller::call(&plain, "one", Codec::Pcmu);
    for command in ["start forwarding", "stop forwarding"] {
        let reason = refused(&plain, json!({"command": command, "call-id": "one"}));
        assert_eq!(reason, "Forwarding is not configured");
    }
    let lab = lab(38_690..=38_699, Consumer::Unix("/nobody".into()), 8_000);
    Caller::call(&lab, "one", Codec::Pcmu);
    let start = |mut more: Value| {
        more["command"] = "start forwarding".into();
        refused(&lab, more)
    };
    assert_eq!(start(json!({})), "No call-id in message");
    assert_eq!(start(json!({"call-id": "none"})), "Unknown call-ID");
    let nobody = start(json!({"call-id": "one", "from-tag": "nobody"}));
    assert_eq!(nobody, "From-tag given, but no such tag exists");
    let nobody = start(json!({"call-id": "one", "label": "nobody"}));
    assert_eq!(nobody, "No monologue matching the given label");
    let long = start(json!({"call-id": "one", "metadata": "x".repeat(8_193)}));
    assert_eq!(long, "Metadata too long");
    let zero = start(json!({"call-id": "one", "metadata": "a\0b"}));
    assert_eq!(zero, "Metadata contains a zero byte");
    assert_eq!(lab.engine.stats().forwarded, 0, "nothing has begun");
}
