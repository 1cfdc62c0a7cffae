use super::super::SdpError;
use super::*;
use proptest::prelude::*;

const PLAIN: &str = "v=0\r\no=alice 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\n\
    t=0 0\r\nm=audio 5000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n\
    a=sendrecv\r\n";

fn written(text: &str, media: &[MediaOut<'_>]) -> String {
    let address = "192.0.2.9".parse().expect("an address");
    let sdp = Sdp::parse(text).expect("an SDP");
    rewrite(
        &sdp,
        &Rewrite {
            address,
            origin: true,
            media,
        },
    )
}

const OUT: MediaOut<'_> = MediaOut {
    protocol: None,
    port: 30_000,
    rtcp: Some(30_001),
    mux: false,
    mux_only: false,
    crypto: Vec::new(),
    way: NO_WAY,
    formats: None,
    ptime_ms: None,
};

const NO_WAY: Way = Way {
    ice: Vec::new(),
    lite: false,
    secrecy: Vec::new(),
    mid: None,
    bundle: false,
    strips: false,
};

#[test]
fn a_plain_offer_becomes_one_for_a_browser_and_the_other_way_round() {
    let way = Way {
        ice: vec!["ice-ufrag:u".into(), "ice-pwd:p".into()],
        lite: true,
        secrecy: vec!["setup:actpass".into(), "fingerprint:sha-256 AB".into()],
        ..NO_WAY
    };
    let out = MediaOut {
        protocol: Some("UDP/TLS/RTP/SAVPF"),
        rtcp: Some(30_000),
        mux: true,
        way,
        ..OUT
    };
    let text = written(PLAIN, &[out]);
    let expected = "t=0 0\r\na=ice-lite\r\nm=audio 30000 UDP/TLS/RTP/SAVPF 0 101\r\n\
        a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\na=rtcp:30000\r\na=rtcp-mux\r\n\
        a=setup:actpass\r\na=fingerprint:sha-256 AB\r\na=ptime:20\r\n\
        a=ice-ufrag:u\r\na=ice-pwd:p\r\n\
        a=candidate:1 1 UDP 2130706431 192.0.2.9 30000 typ host\r\na=end-of-candidates\r\n";
    assert!(text.ends_with(expected), "{text}");
    let browser = PLAIN.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF")
        + "a=mid:0\r\na=msid:- x\r\na=ssrc:1 cname:x\r\na=rtcp-fb:0 nack\r\n\
           a=rtcp-rsize\r\na=extmap:1 urn:x\r\na=setup:actpass\r\na=fingerprint:sha-256 AB\r\n";
    let strips = Way {
        strips: true,
        ..NO_WAY
    };
    let out = MediaOut {
        protocol: Some("RTP/AVP"),
        way: strips,
        ..OUT
    };
    let plain = written(PLAIN, &[OUT]);
    assert_eq!(written(&browser, &[out]), plain);
}

#[test]
fn the_name_of_a_line_and_its_bundle_are_those_of_the_reader() {
    let way = |mid: &str| Way {
        mid: Some(mid.into()),
        bundle: true,
        strips: true,
        ice: vec!["ice-ufrag:u".into()],
        ..NO_WAY
    };
    let out = MediaOut {
        way: way("audio"),
        ..OUT
    };
    let text = written(
        &(PLAIN.to_owned() + "a=mid:7\r\n"),
        std::slice::from_ref(&out),
    );
    assert!(text.contains("a=group:BUNDLE audio\r\nm=audio"), "{text}");
    assert!(
        text.contains("a=mid:audio\r\n") && !text.contains("mid:7"),
        "{text}"
    );
    assert!(
        text.contains(" 2 UDP 2130706430 192.0.2.9 30001 typ host"),
        "{text}"
    );
    let two = PLAIN.to_owned() + "m=video 4002 RTP/AVP 97\r\n";
    let other = MediaOut {
        way: way("video"),
        ..OUT
    };
    assert!(!written(&two, &[out, other]).contains("BUNDLE"));
}

#[test]
fn a_plain_offer_gets_the_relay_in_rtpengines_order() {
    let expected = "v=0\r\no=alice 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\n\
        t=0 0\r\nm=audio 30000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n\
        a=rtcp:30001\r\na=ptime:20\r\n";
    assert_eq!(written(PLAIN, &[OUT]), expected);
}

#[test]
fn rtcp_has_a_candidate_where_it_has_a_port() {
    let written_with = |rtcp, mux| {
        let way = Way {
            ice: vec!["ice-ufrag:u".into(), "ice-pwd:p".into()],
            ..NO_WAY
        };
        written(
            PLAIN,
            &[MediaOut {
                rtcp,
                mux,
                way,
                ..OUT
            }],
        )
    };
    let second = "a=candidate:1 2 UDP 2130706430 192.0.2.9 30001 typ host\r\n";
    // An offer to share the port has both, until the answer says which.
    assert!(written_with(Some(30_001), true).contains(second));
    assert!(written_with(Some(30_001), false).contains(second));
    assert!(!written_with(Some(30_000), true).contains("a=candidate:1 2 "));
    assert!(!written_with(None, false).contains("a=candidate:1 2 "));
}

#[test]
fn payload_types_are_exchanged_with_all_that_is_said_of_them() {
    let text = PLAIN.replace("a=ptime:20\r\n", "a=fmtp:0 x\r\na=fmtp:101 0-15\r\n");
    let formats = FormatsOut {
        list: vec![96, 101],
        maps: vec!["rtpmap:96 opus/48000/2".into()],
    };
    let out = MediaOut {
        formats: Some(formats),
        ..OUT
    };
    let text = written(&text, &[out]);
    assert!(
        text.contains("m=audio 30000 RTP/AVP 96 101\r\na=fmtp:101 0-15\r\n"),
        "{text}"
    );
    assert!(
        text.contains("a=rtpmap:96 opus/48000/2\r\na=sendrecv"),
        "{text}"
    );
    assert!(!text.contains("PCMU") && !text.contains("fmtp:0"), "{text}");
}

#[test]
fn traces_of_ice_and_bundling_are_removed_and_the_rest_is_kept() {
    let text = PLAIN.replace("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE 0\r\na=ice-lite\r\n")
        + "a=candidate:1 1 UDP 1 10.0.0.1 5000 typ host\r\na=ice-ufrag:x\r\na=mid:0\r\n\
           a=rtcp-mux\r\na=rtcp:5001 IN IP4 10.0.0.1\r\n";
    let text = written(&text, &[OUT]);
    assert!(
        !text.contains("a=ice") && !text.contains("candidate"),
        "{text}"
    );
    assert!(
        !text.contains("BUNDLE") && !text.contains("rtcp-mux"),
        "{text}"
    );
    assert!(
        text.contains("a=mid:0\r\n") && !text.contains("10.0.0.1"),
        "{text}"
    );
}

#[test]
fn an_old_style_hold_stays_one_and_says_sendonly() {
    let text = PLAIN.replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0");
    let text = written(&text, &[OUT]);
    assert!(text.contains("c=IN IP4 0.0.0.0\r\n") && text.contains("a=sendonly\r\n"));
}

#[test]
fn a_browser_without_an_address_yet_is_not_on_hold() {
    let text = PLAIN.replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0");
    let browser = text.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF");
    for text in [browser, text + "a=ice-ufrag:abcd\r\n"] {
        let text = written(&text, &[OUT]);
        assert!(text.contains("c=IN IP4 192.0.2.9\r\n"), "{text}");
        assert!(text.contains("a=sendrecv\r\n"), "{text}");
    }
}

#[test]
fn facts_are_read_from_media_and_session() {
    let text = "v=0\no=a 1 1 IN IP6 fd00::1\ns=-\nc=IN IP6 fd00::1\na=sendonly\nt=0 0\n\
        m=audio 4000 RTP/AVP 96\na=rtpmap:96 opus/48000/2\na=rtcp:4100\n\
        m=video 4002/2 RTP/AVPF 97\nc=IN IP4 10.0.0.7\na=inactive\na=rtcp-mux\n\
        m=image 0 udptl t38\n";
    let sdp = Sdp::parse(text).expect("an SDP");
    let [audio, video, image] = &sdp.media[..] else {
        panic!("three lines")
    };
    assert_eq!(audio.rtp_address(), "[fd00::1]:4000".parse().ok());
    assert_eq!(audio.rtcp_address(), "[fd00::1]:4100".parse().ok());
    assert_eq!(
        (audio.clock_hz, audio.direction),
        (48_000, Direction::SendOnly)
    );
    assert_eq!(video.rtcp_address(), "10.0.0.7:4003".parse().ok());
    assert_eq!((video.mux, video.direction), (true, Direction::Inactive));
    assert_eq!((image.rtp_address(), image.is_rtp()), (None, false));
}

#[test]
fn what_is_no_sdp_is_named() {
    let refused = |text: &str| Sdp::parse(text).expect_err("refused");
    assert_eq!(refused("hello"), SdpError::Malformed);
    assert_eq!(refused("v=0\r\ns=-\r\n"), SdpError::NoMedia);
    assert_eq!(
        refused("v=0\r\nm=audio 4000 RTP/AVP 0\r\n"),
        SdpError::Incomplete
    );
    assert_eq!(
        refused("v=0\r\nm=audio x RTP/AVP 0\r\n"),
        SdpError::Malformed
    );
    assert_eq!(
        refused(&format!("v=0\r\n{}", "m=audio 0 RTP/AVP 0\r\n".repeat(9))),
        SdpError::TooLarge
    );
    assert_eq!(refused(&"a=x\r\n".repeat(9_000)), SdpError::TooLarge);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = Sdp::parse(&text);
    }

    #[test]
    fn no_near_miss_makes_it_panic(
        lines in prop::collection::vec(
            concat!(
                "(v=0|m=audio [0-9/]{0,7} RTP/AVP [0-9 ]{0,5}|c=IN IP[46] [0-9.:/]{0,12}",
                "|a=[a-z:]{0,9}|o=.{0,9}|a=rtcp:[0-9 ]{0,6})",
            ),
            0..12,
        )
    ) {
        if let Ok(sdp) = Sdp::parse(&lines.join("\r\n")) {
            let port = |m: &Media<'_>| if m.port == 0 { 0 } else { OUT.port };
            let media: Vec<_> =
                sdp.media.iter().map(|m| MediaOut { port: port(m), ..OUT }).collect();
            let address = "::1".parse().expect("an address");
            let changes = Rewrite { address, origin: true, media: &media };
            let text = rewrite(&sdp, &changes);
            prop_assert!(Sdp::parse(&text).is_ok(), "{}", text);
        }
    }
}
