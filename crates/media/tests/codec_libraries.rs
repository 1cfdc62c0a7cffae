//! A codec of a shared library, in a call; and libraries that cannot be used.
//!
//! The library is made of `plugin/linear8.c` with the C compiler that Opus needs as well.

mod phones;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use phones::{Lab, Phone, line, relay_address};
use raftpbx_media::codec::{Codec, load};
use serde_json::json;

/// Makes a library; its file is in `folder`.
fn compiled(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = folder.join(name);
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-O1"])
        .args(options)
        .arg("-I")
        .arg(home.join("include"))
        .arg(home.join("tests/plugin/linear8.c"))
        .arg("-o")
        .arg(&library)
        .output()
        .expect("a C compiler");
    let words = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{words}");
    library
}

fn sends(phone: &Phone, to: SocketAddr, payload_type: u8, sequence: u16, payload: &[u8]) {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend([0, 0, 0, 7]);
    packet.extend(payload);
    phone.rtp.send_to(&packet, to).expect("send");
}

fn hears(phone: &Phone) -> (u8, Vec<u8>) {
    let mut buffer = [0; 2_048];
    let (length, _) = phone.rtp.recv_from(&mut buffer).expect("a packet in time");
    (buffer[1] & 0x7f, buffer[12..length].to_vec())
}

#[test]
fn a_codec_of_a_library_is_offered_and_transcoded_like_our_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = compiled(folder.path(), "linear8.so", &[]);
    let lab = Lab::with(37_320..=37_339, |config| config.codecs = vec![library]);
    assert!(Codec::from_name("x-linear8").is_some());
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = lab.sdp_of(json!({
        "command": "offer", "call-id": "plug", "from-tag": "ta", "sdp": a.sdp(""),
        "codec": {"mask": ["PCMU"], "transcode": ["X-LINEAR8"]},
    }));
    assert!(line(&offer, "m=audio ").ends_with("RTP/AVP 18"), "{offer}");
    assert!(offer.contains("a=rtpmap:18 X-LINEAR8/8000\r\n"), "{offer}");
    assert!(offer.contains("a=fmtp:18 level=8\r\n"), "{offer}");
    let own = "RTP/AVP 18\r\na=rtpmap:18 X-LINEAR8/8000";
    let sdp = b.sdp("").replace("RTP/AVP 0\r\na=rtpmap:0 PCMU/8000", own);
    let answer = lab.sdp("answer", "plug", ["ta", "tb"], &sdp);
    let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
    for n in 0..20_u16 {
        let loud = raftpbx_media::codec::ulaw_encode(8_000);
        sends(&a, from_a, 0, n, &[loud; 160]);
        let (payload_type, payload) = hears(&b);
        assert_eq!((payload_type, payload.len()), (18, 160));
        assert!(payload.iter().all(|octet| (158..=160).contains(octet)));
        sends(&b, from_b, 18, n, &[160; 160]);
        let (payload_type, payload) = hears(&a);
        assert_eq!((payload_type, payload.len()), (0, 160));
        let sample = raftpbx_media::codec::ulaw_decode(payload[80]);
        assert!((7_800..8_500).contains(&sample), "{sample}");
    }
    // What is malformed is no sound, and no harm.
    sends(&b, from_b, 18, 20, &[160; 81]);
    sends(&b, from_b, 18, 21, &[160; 160]);
    assert_eq!(hears(&a).1.len(), 160);
}

#[test]
fn a_library_that_cannot_be_used_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |library: PathBuf| load(&[library]).expect_err("no codec").to_string();
    let missing = refused(folder.path().join("none.so"));
    assert!(
        missing.contains("none.so: ") && missing.contains("No such file"),
        "{missing}"
    );
    let relative = refused("g729.so".into());
    assert_eq!(relative, "g729.so: name it by its whole path");
    let empty = folder.path().join("empty.c");
    std::fs::write(&empty, "int nothing;\n").expect("written");
    let other = folder.path().join("other.so");
    let mut made = Command::new("cc");
    made.args(["-shared", "-fPIC", "-o"])
        .arg(&other)
        .arg(&empty);
    assert!(made.status().expect("a C compiler").success());
    assert!(refused(other).ends_with("it has no function raftpbx_codecs"));
    let built_in = compiled(folder.path(), "pcmu.so", &["-DCODEC_NAME=\"pcmu\""]);
    assert!(refused(built_in).ends_with("the codec pcmu has the name of one that is built in"));
    let nameless = compiled(folder.path(), "nameless.so", &["-DCODEC_NAME=\"a b\""]);
    assert!(refused(nameless).ends_with("a codec has no name that can stand in a=rtpmap"));
    let once = compiled(folder.path(), "once.so", &["-DCODEC_NAME=\"X-ONCE\""]);
    let twice = compiled(folder.path(), "twice.so", &["-DCODEC_NAME=\"X-ONCE\""]);
    load(&[once.clone(), once]).expect("the same one again changes nothing");
    assert!(refused(twice).ends_with("another library has the codec X-ONCE"));
}
