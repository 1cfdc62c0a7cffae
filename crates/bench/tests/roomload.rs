//! The load of a room against our own media engine.

use std::process::Command;

use raftpbx_media::{Interface, MediaConfig, MediaEngine, PacketIo, RecordingFormat};
use serde_json::Value;

#[test]
fn a_small_room_is_heard_by_all_and_leaves_nothing() {
    let local = [127, 0, 0, 1].into();
    let config = MediaConfig {
        interfaces: vec![Interface {
            local,
            advertised: None,
        }],
        floating: None,
        ports: 34_100..=34_199,
        workers: 1,
        ng_listen: Some((local, 0).into()),
        ng_tcp_listen: None,
        media_timeout_s: 0,
        recordings: None,
        recording_format: RecordingFormat::default(),
        codecs: Vec::new(),
        forward: None,
        prompts: None,
        fast_path: false,
        packet_io: PacketIo::Auto,
    };
    let engine = MediaEngine::start(config, Box::new(drop)).expect("start");
    let ng = engine.ng_address().expect("listening").to_string();
    let pid = std::process::id().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_roomload"))
        .args([
            "--ng",
            &ng,
            "--parties",
            "5",
            "--talkers",
            "2",
            "--open",
            "1",
        ])
        .args([
            "--codec", "opus", "--rate", "16000", "--secs", "1", "--pid", &pid,
        ])
        .output()
        .expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    assert!(output.status.success(), "{}", text(output.stderr));
    let report: Value = serde_json::from_str(&text(output.stdout)).expect("one line of JSON");
    // The second may begin and end within a frame.
    assert!(report["least_heard"].as_u64() >= Some(45), "{report}");
    assert!(report["received"].as_u64() <= Some(265), "{report}");
    let stats = engine.stats();
    assert_eq!((stats.sessions, stats.rooms.rooms), (0, 0));
    // Two talk: their packets and one for all others, not five.
    assert!(
        stats.rooms.encoded * 10 < stats.rooms.packets * 8,
        "{stats:?}"
    );
}
