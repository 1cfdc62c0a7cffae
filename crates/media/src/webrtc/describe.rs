//! What a description says about the writer's ICE and DTLS. Pure.

use std::net::{IpAddr, SocketAddr};

use super::fingerprint::Fingerprint;
use super::ice::{Credentials, Remote};
use crate::limits::{CANDIDATES_MAX, FINGERPRINTS_MAX};
use crate::sdp::{Media, Sdp};

/// Who begins the handshake (`a=setup`, RFC 4145).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Setup {
    /// The writer.
    Active,
    /// The reader.
    Passive,
    /// As the reader likes.
    ActPass,
    /// Nobody for now.
    HoldConn,
}

/// What a party says on one media line.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Peer {
    /// Its ICE; none: it has none.
    pub ice: Option<Remote>,
    /// Its certificates; none: no DTLS.
    pub fingerprints: Vec<Fingerprint>,
    /// `a=setup`.
    pub setup: Option<Setup>,
    /// `a=mid`.
    pub mid: Option<String>,
    /// The line is in a group of BUNDLE.
    pub bundled: bool,
    /// It speaks as browsers do.
    pub browser: bool,
}

/// Whether a transport is the one of browsers: keys by DTLS (RFC 5764 section 8).
pub fn is_browser(protocol: &str) -> bool {
    protocol.starts_with("UDP/TLS/RTP/")
}

impl Peer {
    /// Reads one line of a description; what the line does not say the session says.
    pub fn of(sdp: &Sdp<'_>, media: &Media<'_>) -> Peer {
        let all = |prefix: &'static str| {
            let lines = media.lines.iter().chain(&sdp.session);
            lines.filter_map(move |line| line.strip_prefix(prefix))
        };
        let one = |prefix: &'static str| all(prefix).next().map(str::trim);
        let own = all("a=fingerprint:").filter_map(Fingerprint::parse);
        let setup = one("a=setup:").and_then(|word| {
            Some(match word {
                "active" => Setup::Active,
                "passive" => Setup::Passive,
                "actpass" => Setup::ActPass,
                "holdconn" => Setup::HoldConn,
                _ => return None,
            })
        });
        let mid = media
            .lines
            .iter()
            .find_map(|line| line.strip_prefix("a=mid:"));
        let groups = sdp
            .session
            .iter()
            .filter_map(|line| line.strip_prefix("a=group:BUNDLE "));
        let bundled = mid.is_some_and(|mid| {
            let mut words = groups.flat_map(str::split_ascii_whitespace);
            words.any(|word| word == mid)
        });
        Peer {
            ice: ice(sdp, media, one("a=ice-ufrag:"), one("a=ice-pwd:")),
            fingerprints: own.take(FINGERPRINTS_MAX).collect(),
            setup,
            mid: mid.map(str::to_owned),
            bundled,
            browser: is_browser(media.protocol),
        }
    }
}

fn ice(
    sdp: &Sdp<'_>,
    media: &Media<'_>,
    name: Option<&str>,
    password: Option<&str>,
) -> Option<Remote> {
    let credentials = Credentials::checked(name?, password?)?;
    let mut remote = Remote {
        credentials,
        lite: sdp.session.contains(&"a=ice-lite"),
        ..Remote::default()
    };
    let lines = media.lines.iter();
    for value in lines.filter_map(|line| line.strip_prefix("a=candidate:")) {
        if let Some((component, address)) = candidate(value)
            && remote.candidates[component].len() < CANDIDATES_MAX
        {
            remote.candidates[component].push(address);
        }
    }
    Some(remote)
}

/// `<foundation> <component> <transport> <priority> <address> <port> typ <type> ...`; names (mDNS)
/// and TCP are passed over.
fn candidate(value: &str) -> Option<(usize, SocketAddr)> {
    let mut fields = value.split_ascii_whitespace();
    let component: usize = fields.nth(1)?.parse().ok()?;
    let transport = fields.next()?;
    let ip: IpAddr = fields.nth(1)?.parse().ok()?;
    let port: u16 = fields.next()?.parse().ok()?;
    let fits = transport.eq_ignore_ascii_case("udp")
        && matches!(component, 1 | 2)
        && port != 0
        && !ip.is_unspecified()
        && !ip.is_multicast();
    fits.then(|| (component - 1, SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWORD: &str = "abcdefghijklmnopqrstuv";

    fn peer(session: &str, media: &str) -> Peer {
        let text = format!(
            "v=0\r\nc=IN IP4 10.0.0.1\r\n{session}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{media}"
        );
        let sdp = Sdp::parse(&text).expect("an SDP");
        Peer::of(&sdp, &sdp.media[0])
    }

    #[test]
    fn the_line_speaks_before_the_session() {
        let fingerprint = Fingerprint::of(b"x").to_string();
        let seen = peer(
            &format!(
                "a=group:BUNDLE 0\r\na=ice-lite\r\na=setup:active\r\na=ice-pwd:{PASSWORD}\r\n"
            ),
            &format!(
                "a=mid:0\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\na=fingerprint:{fingerprint}\r\n\
                 a=candidate:1 1 UDP 2130706431 10.0.0.1 4000 typ host\r\n\
                 a=candidate:1 2 udp 2130706430 10.0.0.1 4001 typ host\r\n\
                 a=candidate:2 1 TCP 1 10.0.0.1 9 typ host tcptype active\r\n\
                 a=candidate:3 1 UDP 1 5e4f.local 4002 typ host\r\n"
            ),
        );
        let ice = seen.ice.expect("ICE");
        assert!(ice.lite && seen.bundled && seen.browser);
        assert_eq!(ice.candidates.each_ref().map(Vec::len), [1, 1]);
        assert_eq!(
            (seen.setup, seen.fingerprints.len()),
            (Some(Setup::ActPass), 1)
        );
    }

    #[test]
    fn what_is_not_whole_is_not_there() {
        let seen = peer(
            "",
            "a=ice-ufrag:abcd\r\na=fingerprint:sha-256 AB\r\na=setup:maybe\r\n",
        );
        assert_eq!(
            (seen.ice, seen.fingerprints.len(), seen.setup),
            (None, 0, None)
        );
    }

    proptest! {
        #[test]
        fn no_candidate_makes_it_panic(value in "[0-9a-fUDP:. ]{0,60}") {
            let _ = candidate(&value);
        }
    }
}
