//! Flows that the kernel relays, between network namespaces. They need CAP_BPF, CAP_NET_ADMIN and
//! Linux 6.6, and are passed over without.

mod phones;

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc::channel;

use phones::{Lab, Phone, Talk, relay_address, until};
use raftpbx_media::{Interface, MediaEvent};
use serde_json::{Value, json};

/// Capabilities by their numbers, capabilities(7).
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;

fn capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(line.expect("capabilities").trim(), 16).expect("a number")
}

/// Whether the test can be; says when not.
fn is_possible(test: &str) -> bool {
    let missing = [NET_ADMIN, SYS_ADMIN, BPF].map(|bit| capabilities() >> bit & 1 == 0);
    if missing.contains(&true) {
        eprintln!("passed over for want of capabilities: {test}");
    }
    !missing.contains(&true)
}

fn leave_namespace() {
    // SAFETY: plain system call; it concerns this thread alone.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "unshare");
}

fn ip(arguments: &str) {
    let words = arguments.split(' ');
    let status = Command::new("ip").args(words).status().expect("run ip");
    assert!(status.success(), "ip {arguments}");
}

/// The phones' sockets, made in a namespace of their own behind one cable. This thread is the
/// relay's from now on: 10.9.1.1 and fd00:9::1. Both namespaces end with the test.
fn cabled<T: Send + 'static>(open: impl FnOnce() -> T + Send + 'static) -> T {
    leave_namespace();
    let (told, thread) = channel();
    let (go, ready) = channel();
    let phones = std::thread::spawn(move || {
        leave_namespace();
        // SAFETY: plain system call.
        told.send(unsafe { libc::gettid() }).expect("told");
        ready.recv().expect("a cable");
        for address in ["10.9.1.2/24", "10.9.1.3/24", "fd00:9::2/64", "fd00:9::3/64"] {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            ip(&format!("address add {address} dev phones{nodad}"));
        }
        ip("link set phones up");
        open()
    });
    let thread = thread.recv().expect("a thread");
    ip(&format!(
        "link add relay type veth peer name phones netns {thread}"
    ));
    ip("address add 10.9.1.1/24 dev relay");
    ip("address add fd00:9::1/64 dev relay nodad");
    ip("link set relay up");
    go.send(()).expect("waiting");
    phones.join().expect("phones")
}

fn lab() -> Lab {
    Lab::with(20_000..=20_099, |config| {
        let local = |text: &str| Interface {
            local: text.parse().expect("an address"),
            advertised: None,
        };
        config.interfaces = vec![local("10.9.1.1"), local("fd00:9::1")];
        config.fast_path = true;
    })
}

fn call(lab: &Lab, name: &str, [a, b]: [Phone; 2], more: &str) -> Talk {
    let events = |phone: &Phone| phone.sdp(more).replace("RTP/AVP 0\r", "RTP/AVP 0 101\r");
    let from_b = relay_address(&lab.sdp("offer", name, ["ta", ""], &events(&a)));
    let from_a = relay_address(&lab.sdp("answer", name, ["ta", "tb"], &events(&b)));
    Talk {
        a,
        b,
        from_a,
        from_b,
    }
}

const EVENTS: &str = "a=rtpmap:101 telephone-event/8000\r\n";

/// The phones talk until the kernel relays this many directions.
fn talk_until_offloaded(lab: &Lab, talk: &Talk, directions: u64) {
    until("the kernel relays", || {
        talk.assert_both_ways();
        lab.engine.stats().kernel_flows == directions
    });
}

fn query(lab: &Lab, tag: &str) -> Value {
    let answer = lab.ng(json!({"command": "query", "call-id": "fast"}));
    answer["tags"][tag]["medias"][0]["streams"][0].clone()
}

fn phones_at(ips: [&'static str; 2]) -> impl FnOnce() -> [Phone; 2] + Send + 'static {
    move || ips.map(Phone::at)
}

#[test]
fn the_kernel_relays_what_is_established_and_nothing_is_lost_or_counted_twice() {
    if !is_possible("established flows") {
        return;
    }
    let four = phones_at(["10.9.1.2", "10.9.1.3"]);
    let six = phones_at(["fd00:9::2", "fd00:9::3"]);
    let (four, six) = cabled(move || (four(), six()));
    let lab = lab();
    assert_eq!(lab.engine.stats().fast_path, 1);
    for (phones, name) in [(four, "fast"), (six, "six")] {
        let talk = call(&lab, name, phones, "");
        talk_until_offloaded(&lab, &talk, 2);
        let before = lab.engine.stats();
        for _ in 0..50 {
            talk.assert_both_ways();
        }
        let after = lab.engine.stats();
        assert_eq!(after.kernel_packets - before.kernel_packets, 100);
        assert_eq!(after.packets - before.packets, 100);
        assert_eq!(after.bytes - before.bytes, 100 * 18);
        if name == "fast" {
            let stream = query(&lab, "ta");
            assert_eq!(stream["stats"]["lost"], 0, "{stream}");
            let said = lab.engine.stats().packets / 2;
            assert_eq!(stream["stats"]["packets"], said, "{stream}");
        }
        let gone = lab.ng(json!({"command": "delete", "call-id": name}));
        assert_eq!(gone["result"], "ok", "{gone}");
        assert_eq!(lab.engine.stats().kernel_flows, 0);
        assert_eq!(lab.engine.stats().packets, after.packets);
    }
}

#[test]
fn a_command_takes_a_flow_from_the_kernel_at_once() {
    if !is_possible("commands") {
        return;
    }
    let lab_phones = cabled(phones_at(["10.9.1.2", "10.9.1.3"]));
    let lab = lab();
    let talk = call(&lab, "fast", lab_phones, "");
    talk_until_offloaded(&lab, &talk, 2);
    let sent = query(&lab, "ta")["stats"]["packets"].clone();
    let answer = lab.ng(json!({"command": "block media", "call-id": "fast", "from-tag": "ta"}));
    assert_eq!(answer["result"], "ok", "{answer}");
    assert_eq!(lab.engine.stats().kernel_flows, 0);
    talk.a.say(talk.from_a, "kept back");
    until("kept back", || lab.engine.stats().withheld == 1);
    lab.ng(json!({"command": "unblock media", "call-id": "fast", "from-tag": "ta"}));
    talk.assert_both_ways();
    let stream = query(&lab, "ta");
    assert_eq!(stream["stats"]["lost"], 0, "{stream}");
    let now = stream["stats"]["packets"].as_u64().expect("a number");
    assert_eq!(now, sent.as_u64().expect("a number") + 2);
}

#[test]
fn a_new_offer_leads_packets_to_the_new_place() {
    if !is_possible("a new offer") {
        return;
    }
    let open = || ["10.9.1.2", "10.9.1.3", "10.9.1.3"].map(Phone::at);
    let [a, b, other] = cabled(open);
    let lab = lab();
    let talk = call(&lab, "fast", [a, b], "");
    talk_until_offloaded(&lab, &talk, 2);
    lab.sdp("offer", "fast", ["ta", "tb"], &talk.a.sdp(""));
    lab.sdp("answer", "fast", ["ta", "tb"], &other.sdp(""));
    let talk = Talk { b: other, ..talk };
    talk.assert_both_ways();
    talk_until_offloaded(&lab, &talk, 2);
    talk.assert_both_ways();
}

fn press(phone: &Phone, to: SocketAddr, sequence: u16, end: bool) {
    let mut packet = vec![0x80, 101];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&9_000_u32.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 7]);
    packet.extend_from_slice(&[5, u8::from(end) << 7 | 10, 3, 32]);
    phone.rtp.send_to(&packet, to).expect("send");
}

fn hear_type(phone: &Phone) -> u8 {
    let mut buffer = [0; 64];
    let (_, _) = phone.rtp.recv_from(&mut buffer).expect("a packet");
    buffer[1] & 0x7f
}

#[test]
fn digits_are_told_and_the_flow_returns_to_the_kernel_after_them() {
    if !is_possible("digits") {
        return;
    }
    let phones = cabled(phones_at(["10.9.1.2", "10.9.1.3"]));
    let lab = lab();
    let talk = call(&lab, "fast", phones, EVENTS);
    talk_until_offloaded(&lab, &talk, 2);
    let next = talk.a.sequence();
    press(&talk.a, talk.from_a, next, false);
    assert_eq!(hear_type(&talk.b), 101);
    // While it is pressed the flow is ours: a lost end is noticed by the packets after it.
    assert_eq!(lab.engine.stats().kernel_flows, 0);
    press(&talk.a, talk.from_a, next + 1, true);
    assert_eq!(hear_type(&talk.b), 101);
    assert!(matches!(
        lab.next_event(),
        MediaEvent::Dtmf {
            digit: '5',
            duration_ms: 100,
            ..
        }
    ));
    talk.a.skip(2);
    talk_until_offloaded(&lab, &talk, 2);
    let stream = query(&lab, "ta");
    assert_eq!(stream["stats"]["lost"], 0, "{stream}");
}

#[test]
fn strangers_and_new_sources_are_the_engines() {
    if !is_possible("strangers") {
        return;
    }
    let open = || {
        let stranger = UdpSocket::bind("10.9.1.3:0").expect("bind");
        (["10.9.1.2", "10.9.1.3"].map(Phone::at), stranger)
    };
    let (phones, stranger) = cabled(open);
    let lab = lab();
    let talk = call(&lab, "fast", phones, "");
    talk_until_offloaded(&lab, &talk, 2);
    talk.a.say_from(&stranger, talk.from_a, "stranger");
    until("refused", || lab.engine.stats().wrong_source == 1);
    assert_eq!(
        lab.engine.stats().kernel_flows,
        2,
        "a stranger changes nothing"
    );
    let before = lab.engine.stats().kernel_packets;
    let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99];
    packet.extend_from_slice(b"a new source");
    talk.a.rtp.send_to(&packet, talk.from_a).expect("send");
    assert_eq!(talk.b.hear().0, "a new source");
    let stats = lab.engine.stats();
    assert_eq!((stats.kernel_packets, stats.kernel_flows), (before, 0));
    talk_until_offloaded(&lab, &talk, 2);
}

#[test]
fn without_the_kernel_packets_are_relayed_all_the_same() {
    let lab = Lab::with(20_100..=20_119, |config| config.fast_path = true);
    // The loopback is no Ethernet.
    assert_eq!(lab.engine.stats().fast_path, 0);
    Talk::set_up(&lab, "slow", ["127.0.0.2", "127.0.0.3"]).assert_both_ways();
    let metrics = lab.engine.metrics();
    assert!(metrics.contains("raftpbx_media_fast_path 0\n"), "{metrics}");
}

#[test]
fn without_capabilities_packets_are_relayed_all_the_same() {
    if !is_possible("capabilities taken away") {
        return;
    }
    let phones = cabled(phones_at(["10.9.1.2", "10.9.1.3"]));
    // A thread's own, inherited by the engine's threads.
    let head = [0x2008_0522_u32, 0];
    let none = [0_u32; 6];
    // SAFETY: version 3 and room for two sets of three words, capset(2).
    let result = unsafe { libc::syscall(libc::SYS_capset, head.as_ptr(), none.as_ptr()) };
    assert_eq!((result, capabilities()), (0, 0));
    let lab = lab();
    assert_eq!(lab.engine.stats().fast_path, 0);
    call(&lab, "fast", phones, "").assert_both_ways();
}
