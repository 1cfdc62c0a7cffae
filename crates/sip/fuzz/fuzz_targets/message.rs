//! What the network sends, read as far as anybody reads it; framed, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raftpbx_sip::message::{Address, Essentials, Framer, Message, Uri, Via, latin1_to_utf8, list};
use raftpbx_sip::registrar::contacts_of;

fn read(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    let _ = (
        Essentials::of(&message).is_ok(),
        contacts_of(&message).is_ok(),
    );
    for header in &message.headers {
        for one in list(header.value) {
            let _ = Via::parse(one).map(|via| via.branch().is_some());
            let Some(address) = Address::parse(one) else {
                continue;
            };
            let _ = (address.tag(), address.params.iter().count());
            let _ = Uri::parse(address.uri).map(|uri| uri.params.iter().count());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if let Some(repaired) = latin1_to_utf8(bytes) {
        read(&repaired);
    }
    let mut framer = Framer::default();
    for piece in bytes.chunks(bytes.first().map_or(1, |byte| usize::from(*byte) + 1)) {
        framer.push(piece);
        while let Ok(Some(_)) = framer.next_frame() {}
    }
});
