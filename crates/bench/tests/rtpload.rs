//! The load generator against our own media engine.

use std::process::Command;

use raftpbx_media::{Interface, MediaConfig, MediaEngine, PacketIo, RecordingFormat};
use serde_json::Value;

fn rtpload(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rtpload"))
        .args(arguments)
        .output()
        .expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn engine(first_port: u16) -> MediaEngine {
    let local = [127, 0, 0, 1].into();
    let config = MediaConfig {
        interfaces: vec![Interface {
            local,
            advertised: None,
        }],
        floating: None,
        ports: first_port..=first_port + 99,
        workers: 1,
        ng_listen: Some((local, 0).into()),
        ng_tcp_listen: None,
        media_timeout_s: 0,
        recordings: None,
        prompts: None,
        fast_path: false,
        packet_io: PacketIo::Auto,
        recording_format: RecordingFormat::default(),
        codecs: Vec::new(),
        forward: None,
    };
    MediaEngine::start(config, Box::new(drop)).expect("start")
}

#[test]
fn a_short_load_arrives_complete_and_unchanged_and_leaves_nothing() {
    let engine = engine(34_000);
    let ng = engine.ng_address().expect("listening").to_string();
    let pid = std::process::id().to_string();
    let (ok, line, errors) = rtpload(&["--ng", &ng, "--calls", "5", "--secs", "1", "--pid", &pid]);
    assert!(ok, "{errors}");
    let report: Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(report["sent"], 500, "{report}");
    assert_eq!(
        (&report["lost"], &report["bad"]),
        (&0.into(), &0.into()),
        "{report}"
    );
    assert_eq!(engine.stats().sessions, 0);
}

#[test]
fn a_load_of_each_profile_arrives_complete() {
    let engine = engine(34_100);
    let ng = engine.ng_address().expect("listening").to_string();
    for profile in ["srtp", "g722", "opus"] {
        let words = [
            "--ng",
            &ng,
            "--calls",
            "3",
            "--secs",
            "1",
            "--profile",
            profile,
        ];
        let (ok, line, errors) = rtpload(&words);
        assert!(ok, "{profile}: {errors}");
        let report: Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!(report["sent"], 300, "{profile}: {report}");
        let wrong = (&report["lost"], &report["bad"]);
        assert_eq!(wrong, (&0.into(), &0.into()), "{profile}: {report}");
    }
    assert_eq!(engine.stats().sessions, 0);
}

#[test]
fn a_missing_server_is_said() {
    let (ok, _, errors) = rtpload(&["--ng", "127.0.0.1:9", "--calls", "1", "--secs", "1"]);
    assert!(!ok && errors.contains("rtpload: "), "{errors}");
}
