//! Writing: the same SDP with the relay's addresses and ports in it.
//!
//! The order of the attributes the relay writes itself is rtpengine's: direction, `rtcp`,
//! `rtcp-mux`, `crypto`, `ptime`, after all others.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Direction, Media, Sdp};

/// Attributes that would tell the peer to go around the relay, or that it writes itself.
const REMOVED: [&str; 14] = [
    "crypto",
    "candidate",
    "end-of-candidates",
    "remote-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-lite",
    "ice-options",
    "ice-mismatch",
    "ice-pacing",
    "ice2",
    "rtcp",
    "rtcp-mux",
    "rtcp-mux-only",
];

/// What is changed in the whole SDP.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite<'a> {
    /// Address to write.
    pub address: IpAddr,
    /// Write it into `o=` as well.
    pub origin: bool,
    /// What is changed per media line, one for each.
    pub media: &'a [MediaOut<'a>],
}

/// What is changed in one media line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaOut<'a> {
    /// Transport to write instead of the given one.
    pub protocol: Option<&'a str>,
    /// Even port of the relay, 0 to reject the line.
    pub port: u16,
    /// Port for `a=rtcp`, none to leave it out.
    pub rtcp: Option<u16>,
    /// Write `a=rtcp-mux`.
    pub mux: bool,
    /// `crypto:` attributes to write.
    pub crypto: Vec<String>,
    /// Payload types to write in place of the given ones.
    pub formats: Option<FormatsOut>,
}

/// Other payload types than the given ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatsOut {
    /// All that are written, in this order.
    pub list: Vec<u8>,
    /// `rtpmap:` attributes of those that were not given.
    pub maps: Vec<String>,
}

impl FormatsOut {
    /// As they stand in an `m=` line.
    pub fn list(&self) -> String {
        let numbers: Vec<String> = self.list.iter().map(u8::to_string).collect();
        numbers.join(" ")
    }

    /// Whether a line belongs to a payload type that is not written, or is written anew.
    fn drops(&self, line: &str) -> bool {
        let known = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
        let value = known.iter().find_map(|prefix| line.strip_prefix(prefix));
        let number = value.and_then(|value| value.split(' ').next()?.parse().ok());
        number.is_some_and(|number: u8| {
            let anew = format!("rtpmap:{number} ");
            !self.list.contains(&number) || self.maps.iter().any(|map| map.starts_with(&anew))
        })
    }
}

/// Writes `sdp` with the changes.
pub fn rewrite(sdp: &Sdp<'_>, changes: &Rewrite<'_>) -> String {
    let mut out = String::with_capacity(1_024);
    // The session's `c=` stays unspecified only when all media are held the old way.
    let held = sdp.media.iter().all(Media::unspecified);
    for line in &sdp.session {
        match line.as_bytes()[0] {
            b'o' if changes.origin => push(&mut out, &origin(line, changes.address)),
            b'c' => push(&mut out, &connection(changes.address, held)),
            _ if !keeps(line) || line.starts_with("a=group:BUNDLE") => {}
            _ => push(&mut out, line),
        }
    }
    for (media, change) in sdp.media.iter().zip(changes.media) {
        rewrite_media(&mut out, media, change, changes, held);
    }
    out
}

fn rewrite_media(
    out: &mut String,
    media: &Media<'_>,
    change: &MediaOut<'_>,
    changes: &Rewrite<'_>,
    session_held: bool,
) {
    let protocol = change.protocol.unwrap_or(media.protocol);
    push(
        out,
        &format!(
            "m={} {} {protocol} {}",
            media.kind,
            change.port,
            change
                .formats
                .as_ref()
                .map_or_else(|| media.formats.to_owned(), FormatsOut::list),
        ),
    );
    if change.port == 0 {
        return;
    }
    let held = media.unspecified();
    let own_address = media.lines.iter().any(|line| line.starts_with("c="));
    if held && !session_held && !own_address {
        push(out, &connection(changes.address, held));
    }
    let mut packet_times = Vec::new();
    for line in &media.lines {
        if line.starts_with("c=") {
            push(out, &connection(changes.address, held));
        } else if line.starts_with("a=ptime:") || line.starts_with("a=maxptime:") {
            packet_times.push(*line);
        } else if keeps(line) && !change.formats.as_ref().is_some_and(|new| new.drops(line)) {
            push(out, line);
        }
    }
    for map in change.formats.iter().flat_map(|new| &new.maps) {
        push(out, &format!("a={map}"));
    }
    let direction = match media.direction {
        Direction::SendRecv if held => Direction::SendOnly,
        direction => direction,
    };
    push(out, &format!("a={direction}"));
    if let Some(port) = change.rtcp {
        push(out, &format!("a=rtcp:{port}"));
    }
    if change.mux {
        push(out, "a=rtcp-mux");
    }
    for crypto in &change.crypto {
        push(out, &format!("a={crypto}"));
    }
    packet_times.into_iter().for_each(|line| push(out, line));
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

fn keeps(line: &str) -> bool {
    let Some(attribute) = line.strip_prefix("a=") else {
        return true;
    };
    let name = attribute
        .split_once(':')
        .map_or(attribute, |(name, _)| name);
    !REMOVED.contains(&name) && Direction::from_attribute(name).is_none()
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

fn connection(address: IpAddr, held: bool) -> String {
    match (held, address) {
        (false, address) => format!("c=IN {} {address}", family(address)),
        (true, IpAddr::V4(_)) => "c=IN IP4 0.0.0.0".into(),
        (true, IpAddr::V6(_)) => "c=IN IP6 ::".into(),
    }
}

/// `o=<user> <id> <version> IN IP4 <address>`: only family and address change.
fn origin(line: &str, address: IpAddr) -> String {
    let fields: Vec<&str> = line.split(' ').collect();
    let [user, id, version, ..] = fields[..] else {
        return line.into();
    };
    let mut out = String::new();
    let family = family(address);
    // Writing to a string cannot fail.
    let _ = write!(out, "{user} {id} {version} IN {family} {address}");
    out
}

#[cfg(test)]
mod tests {
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
        crypto: Vec::new(),
        formats: None,
    };

    #[test]
    fn a_plain_offer_gets_the_relay_in_rtpengines_order() {
        let expected = "v=0\r\no=alice 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\n\
            t=0 0\r\nm=audio 30000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n\
            a=rtcp:30001\r\na=ptime:20\r\n";
        assert_eq!(written(PLAIN, &[OUT]), expected);
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
}
