//! Signalling load against our own media engine.

use std::process::Command;

use raftpbx_media::{Interface, MediaConfig, MediaEngine, PacketIo, RecordingFormat};
use serde_json::Value;

#[test]
fn calls_that_are_set_up_and_taken_down_leave_nothing() {
    let local = [127, 0, 0, 1].into();
    let config = MediaConfig {
        interfaces: vec![Interface {
            local,
            advertised: None,
        }],
        ports: 40_000..=59_999,
        workers: 1,
        ng_listen: Some((local, 0).into()),
        ng_tcp_listen: None,
        media_timeout_s: 0,
        recordings: None,
        prompts: None,
        floating: None,
        codecs: Vec::new(),
        forward: None,
        fast_path: false,
        packet_io: PacketIo::Auto,
        recording_format: RecordingFormat::default(),
    };
    let engine = MediaEngine::start(config, Box::new(drop)).expect("start");
    let ng = engine.ng_address().expect("listening").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_ngload"))
        .args(["--ng", &ng, "--clients", "1", "--secs", "1"])
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert!(report["cycles"].as_u64() > Some(0), "{report}");
    assert_eq!(engine.stats().sessions, 0);
}
