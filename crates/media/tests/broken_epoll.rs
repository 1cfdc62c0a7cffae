//! The kernel lets a worker wait no more, because of what has become of its descriptor.

mod phones;

use std::collections::BTreeSet;
use std::fs::{File, read_dir, read_link};
use std::os::fd::AsRawFd;

use phones::{DEADLINE, Lab, Phone, Talk, until};
use raftpbx_media::{MediaEvent, PacketIo};
use serde_json::json;

/// Descriptors of this process that are epoll instances.
fn pollers() -> BTreeSet<i32> {
    let entries = read_dir("/proc/self/fd").expect("the descriptors");
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let what = read_link(entry.path()).ok()?;
        let is_poller = what.to_string_lossy() == "anon_inode:[eventpoll]";
        entry
            .file_name()
            .to_string_lossy()
            .parse()
            .ok()
            .filter(|_| is_poller)
    };
    entries.filter_map(number).collect()
}

#[test]
fn a_worker_that_can_never_wait_again_ends_with_an_event_for_each_call() {
    let lab = Lab::with(37_200..=37_219, |config| {
        config.packet_io = PacketIo::Epoll;
        config.workers = 1;
    });
    let talk = Talk::set_up(&lab, "call", ["127.0.0.2", "127.0.0.3"]);
    talk.assert_both_ways();
    let nothing = File::open("/dev/null").expect("a file");
    let pollers = pollers();
    assert_eq!(pollers.len(), 1, "the worker's");
    for poller in pollers {
        // SAFETY: both are open; what the descriptor meant before is closed by the kernel.
        assert!(unsafe { libc::dup2(nothing.as_raw_fd(), poller) } >= 0);
    }
    // It waits for the last time until something comes.
    talk.a.say(talk.from_a, "the last one");
    let lost = MediaEvent::Lost {
        call_id: "call".into(),
    };
    until("the end is told", || {
        lab.events
            .recv_timeout(DEADLINE)
            .expect("events")
            .contains(&lost)
    });
    let stats = lab.engine.stats();
    assert_eq!((stats.worker_failures, stats.lost), (1, 1));
    assert_eq!((stats.sessions, stats.ports_used), (0, 0));
    assert_eq!(stats.workers_epoll, 0);
    let answer = lab.ng(json!({
        "command": "offer", "call-id": "next", "from-tag": "ta",
        "sdp": Phone::at("127.0.0.2").sdp(""),
    }));
    let reason = answer["error-reason"].as_str().unwrap_or_default();
    assert!(reason.contains("the worker has failed"), "{answer}");
    let room = lab.ng(json!({"command": "room create", "room": "room"}));
    assert_eq!(room["error-reason"], "No worker is left", "{room}");
    assert_eq!(lab.engine.stats().ports_used, 0);
}
