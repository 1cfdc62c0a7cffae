//! What an application sends: frames, commands, the messages in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raftpbx_sip::drachtio::command::{Command, Kind};
use raftpbx_sip::drachtio::frame::FrameReader;
use raftpbx_sip::drachtio::headers::{complete, copy_headers, parse};
use raftpbx_sip::limits::MESSAGE_BYTES_MAX;
use raftpbx_sip::message::{Message, Writer};

fn read(payload: &str) {
    let Some(Command {
        kind: Kind::Sip(sip),
        ..
    }) = Command::parse(payload)
    else {
        return;
    };
    let text = complete(sip.message);
    if let Ok(message) = parse(&text) {
        let local = "192.0.2.9:5060".parse().expect("an address");
        let mut writer = Writer::request("INVITE", "sip:a@b");
        if copy_headers(&mut writer, &message, &[], local).is_ok() {
            let written = writer.finish(message.body);
            let long = written.len() > MESSAGE_BYTES_MAX;
            assert!(long || Message::parse(&written).is_ok());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut reader = FrameReader::default();
    for piece in bytes.chunks(bytes.first().map_or(1, |byte| usize::from(*byte) + 1)) {
        reader.push(piece);
        while let Ok(Some(payload)) = reader.next_frame() {
            read(payload);
        }
    }
    if let Ok(payload) = std::str::from_utf8(bytes) {
        read(payload);
    }
});
