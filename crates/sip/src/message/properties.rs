//! Nothing that arrives may end the process, and what is written can be read back.
use proptest::prelude::*;

use super::*;

const SEED: &[u8] =
    b"INVITE sip:b@c;x=\"1\" SIP/2.0\r\nVia: SIP/2.0/UDP [::1]:5;branch=z9hG4bK1;rport\r\n\
    f: \"A\\\"\" <sip:a@b>;tag=1\r\nTo: sip:b@c\r\nContact: <sip:a@1.2.3.4>;q=1, \"x\" <sip:b>\r\n\
    Call-ID: 1@2\r\nCSeq: 1 INVITE\r\nContent-Length: 2\r\n\r\nab";

fn exercise(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    let _ = Essentials::of(&message);
    for header in &message.headers {
        let _ = canonical(header.text);
        for one in list(header.value) {
            if let Some(address) = Address::parse(one) {
                let _ = (
                    address.tag(),
                    address.params.iter().count(),
                    Uri::parse(address.uri),
                );
            }
            let _ = Via::parse(one).map(|via| via.branch().is_some());
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        exercise(&bytes);
        let mut framer = Framer::default();
        framer.push(&bytes);
        while let Ok(Some(_)) = framer.next_frame() {}
    }

    #[test]
    fn damaged_messages_never_panic(
        edits in prop::collection::vec((0..SEED.len(), any::<u8>()), 1..12),
    ) {
        let mut bytes = SEED.to_vec();
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        exercise(&bytes);
    }

    #[test]
    fn arbitrary_text_never_panics_in_typed_headers(text in "\\PC{0,80}") {
        let _ = (Uri::parse(&text), Address::parse(&text), Via::parse(&text));
        let _ = (list(&text).count(), Params(&text).iter().count());
    }

    #[test]
    fn what_is_written_is_read_back(
        method in "[A-Z]{1,12}",
        headers in prop::collection::vec(("X-[A-Z][a-z]{1,8}", "[!-~]([ -~]{0,40}[!-~])?"), 0..40),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut writer = Writer::request(&method, "sip:b@c");
        for (name, value) in &headers {
            writer.named(name, value);
        }
        let bytes = writer.finish(&body);
        let message = Message::parse(&bytes).expect("it was written so");
        prop_assert_eq!(message.method(), Some(method.as_str()));
        prop_assert_eq!(message.body, body.as_slice());
        prop_assert_eq!(message.headers.len(), headers.len() + 1);
        for (header, (name, value)) in message.headers.iter().zip(&headers) {
            prop_assert_eq!(header.text, name.as_str());
            prop_assert_eq!(header.value, value.as_str());
        }
    }
}
