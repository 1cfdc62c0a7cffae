//! Music that several parties on hold hear as one stream.

mod phones;

use phones::{Lab, Talk, until};
use serde_json::json;

/// A second of sound that never repeats within it, as raw G.711.
fn music(folder: &std::path::Path) -> String {
    let path = folder.join("music.ul");
    let bytes: Vec<u8> = (0..8_000_u32).map(|n| (n * 37 % 251) as u8).collect();
    std::fs::write(&path, bytes).expect("written");
    path.to_string_lossy().into_owned()
}

/// The next payload of so many bytes.
fn hear(talk: &Talk) -> Vec<u8> {
    let mut buffer = [0; 2_048];
    let (length, _) = talk.a.rtp.recv_from(&mut buffer).expect("in time");
    buffer[12..length].to_vec()
}

#[test]
fn who_joins_hears_the_same_bytes_and_they_are_encoded_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = music(folder.path());
    let home = folder.path().to_owned();
    let lab = Lab::with(37_440..=37_479, |config| config.prompts = Some(home));
    let play = |call: &str| {
        let answer = lab.ng(json!({
            "command": "play media", "call-id": call, "from-tag": "ta", "file": file,
            "shared": "yes",
        }));
        assert_eq!(answer["result"], "ok", "{answer}");
    };
    let talks = ["one", "two"].map(|name| Talk::set_up(&lab, name, ["127.0.0.2", "127.0.0.3"]));
    play("one");
    let first: Vec<_> = (0..10).map(|_| hear(&talks[0])).collect();
    assert_eq!(lab.engine.stats().music_saved, 0, "nobody to share with");
    play("two");
    let joined = hear(&talks[1]);
    assert!(
        !first[..5].contains(&joined),
        "it begins where the first one is"
    );
    let rest: Vec<_> = (0..30).map(|_| hear(&talks[0])).collect();
    assert!(rest.contains(&hear(&talks[1])));
    until("frames are saved", || lab.engine.stats().music_saved >= 20);
    // Each may stop; the other one goes on.
    let stopped = lab.ng(json!({"command": "stop media", "call-id": "one", "from-tag": "ta"}));
    assert!(stopped["last-frame-pos"].is_number(), "{stopped}");
    let more: Vec<_> = (0..40).map(|_| hear(&talks[1])).collect();
    assert!(more.windows(2).all(|two| two[0] != two[1]));
}
