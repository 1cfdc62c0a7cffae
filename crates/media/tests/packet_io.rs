//! Ways of receiving and sending; all other tests run over the one that `RAFTPBX_PACKET_IO` names.

mod phones;

use std::os::fd::AsRawFd;

use phones::{Lab, Phone, Talk, packet_io, relay_address, until};
use raftpbx_media::PacketIo;
use serde_json::json;

/// Type of service of the next datagram at a phone.
fn next_mark(phone: &Phone) -> u8 {
    let mut bytes = [0_u8; 2_048];
    let mut control = [0_u64; 8];
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all-zero is a valid header; what it is made to point at lives as long.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        let received = libc::recvmsg(phone.rtp.as_raw_fd(), &raw mut message, 0);
        assert!(received > 0, "a packet in time");
        let first = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!first.is_null(), "a mark");
        *libc::CMSG_DATA(first)
    }
}

#[test]
fn metrics_say_which_way_workers_go() {
    let lab = Lab::with(37_000..=37_019, |config| {
        config.packet_io = PacketIo::Epoll;
    });
    let stats = lab.engine.stats();
    assert_eq!((stats.workers_epoll, stats.workers_io_uring), (2, 0));
    let line = "raftpbx_media_workers{packet_io=\"epoll\"} 2\n";
    assert!(lab.engine.metrics().contains(line));
    let lab = Lab::start(37_020..=37_039);
    let stats = lab.engine.stats();
    let ways = [
        stats.workers_epoll,
        stats.workers_io_uring,
        stats.workers_sk_lookup,
    ];
    // One way for all; where the wanted one is refused it is epoll.
    assert_eq!(ways.iter().sum::<u64>(), 2);
    assert_eq!(ways.iter().max(), Some(&2), "{ways:?}");
    if packet_io() == PacketIo::Epoll {
        assert_eq!(stats.workers_epoll, 2);
    }
}

#[test]
fn what_leaves_is_marked_as_the_call_wants_it() {
    let lab = Lab::start(37_040..=37_059);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let yes = 1_i32;
    // SAFETY: pointer and length describe `yes`.
    let set = unsafe {
        let (fd, value) = (b.rtp.as_raw_fd(), (&raw const yes).cast());
        libc::setsockopt(fd, libc::SOL_IP, libc::IP_RECVTOS, value, 4)
    };
    assert_eq!(set, 0);
    lab.sdp_of(json!({
        "command": "offer", "call-id": "marked", "from-tag": "ta", "TOS": 184, "sdp": a.sdp(""),
    }));
    let from_a = relay_address(&lab.sdp("answer", "marked", ["ta", "tb"], &b.sdp("")));
    a.say(from_a, "marked");
    assert_eq!(next_mark(&b), 184);
}

#[test]
fn calls_come_and_go_on_the_same_few_ports_while_packets_come_in() {
    let lab = Lab::start(37_060..=37_067);
    let other = Talk::set_up(&lab, "other", ["127.0.0.2", "127.0.0.3"]);
    for round in 0..5 {
        let (a, b) = (Phone::at("127.0.0.4"), Phone::at("127.0.0.5"));
        let name = format!("round{round}");
        let offer = || {
            lab.ng(json!({
                "command": "offer", "call-id": name, "from-tag": "ta", "sdp": a.sdp(""),
            }))
        };
        // Ports rest for half a second between two calls.
        until("a pair is free", || offer()["result"] == "ok");
        let from_b = relay_address(offer()["sdp"].as_str().expect("an SDP"));
        let from_a = relay_address(&lab.sdp("answer", &name, ["ta", "tb"], &b.sdp("")));
        let talk = Talk {
            a,
            b,
            from_a,
            from_b,
        };
        talk.assert_both_ways();
        talk.a.say(talk.from_a, "on its way");
        let gone = lab.ng(json!({"command": "delete", "call-id": name, "from-tag": "ta"}));
        assert_eq!(gone["result"], "ok", "{gone}");
        // What comes too late is nobody's, and harms nobody.
        for _ in 0..20 {
            let _ = talk.a.rtp.send_to(&[0x80, 0, 0, 1], talk.from_a);
        }
        other.assert_both_ways();
    }
    let stats = lab.engine.stats();
    assert_eq!((stats.sessions, stats.ports_used), (1, 2));
    assert_eq!((stats.forged, stats.unsent), (0, 0));
}
