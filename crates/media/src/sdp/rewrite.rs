//! Writing: the same SDP with the relay's addresses and ports in it.
//!
//! The order of the attributes the relay writes itself is rtpengine's: direction, `rtcp`,
//! `rtcp-mux`, `crypto`, `setup`, `fingerprint`, `ptime`, ICE, after all others.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Direction, Media, Sdp};

/// Attributes that would tell the peer to go around the relay, or that it writes itself.
const REMOVED: [&str; 17] = [
    "crypto",
    "fingerprint",
    "setup",
    "tls-id",
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

/// What only browsers say, and who only browsers understand.
const BROWSERS: [&str; 7] = [
    "mid",
    "msid",
    "msid-semantic",
    "ssrc",
    "ssrc-group",
    "extmap",
    "extmap-allow-mixed",
];

/// What belongs to a profile with feedback (RFC 4585, RFC 5506).
const FEEDBACK: [&str; 2] = ["rtcp-fb", "rtcp-rsize"];

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
    /// RTCP shares the port of RTP in any case (RFC 8858).
    pub mux_only: bool,
    /// `crypto:` attributes to write.
    pub crypto: Vec<String>,
    /// What is said about ICE and DTLS.
    pub way: Way,
    /// Payload types to write in place of the given ones.
    pub formats: Option<FormatsOut>,
    /// Length of packets to write in place of the given one, ms.
    pub ptime_ms: Option<u32>,
}

/// What is said about ICE and DTLS on one media line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// Attributes of ICE but candidates; empty: there is no ICE.
    pub ice: Vec<String>,
    /// We only answer checks.
    pub lite: bool,
    /// Attributes of DTLS.
    pub secrecy: Vec<String>,
    /// `a=mid` as the reader has it.
    pub mid: Option<String>,
    /// The reader has this line in a group of BUNDLE.
    pub bundle: bool,
    /// What only browsers say is left out.
    pub strips: bool,
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
    let strips = changes.media.iter().any(|media| media.way.strips);
    for line in &sdp.session {
        match line.as_bytes()[0] {
            b'o' if changes.origin => push(&mut out, &origin(line, changes.address)),
            b'c' => push(&mut out, &connection(changes.address, held)),
            _ if !keeps(line) || line.starts_with("a=group:BUNDLE") => {}
            _ if strips && is_named(line, &BROWSERS) => {}
            _ => push(&mut out, line),
        }
    }
    write_session(&mut out, changes.media);
    for (media, change) in sdp.media.iter().zip(changes.media) {
        rewrite_media(&mut out, media, change, changes, held);
    }
    out
}

/// What the session says because of its lines.
fn write_session(out: &mut String, media: &[MediaOut<'_>]) {
    if media.iter().any(|line| line.way.lite) {
        push(out, "a=ice-lite");
    }
    // One line at most: each has its own port here.
    let bundled = |line: &&MediaOut<'_>| line.way.bundle && line.port != 0;
    let mut bundled = media.iter().filter(bundled);
    if let (Some(line), None) = (bundled.next(), bundled.next())
        && let Some(mid) = &line.way.mid
    {
        push(out, &format!("a=group:BUNDLE {mid}"));
    }
}

/// Whether a line is of the media that are exchanged with the reader.
fn is_kept(line: &str, change: &MediaOut<'_>, feedback: bool) -> bool {
    let other_formats = change.formats.as_ref();
    let dropped = other_formats.is_some_and(|new| new.drops(line))
        || change.way.strips && is_named(line, &BROWSERS)
        || !feedback && is_named(line, &FEEDBACK);
    keeps(line) && !dropped
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
    // A profile that never had any is left as it is.
    let feedback = protocol.ends_with('F') || !media.protocol.ends_with('F');
    if change.way.strips
        && let Some(mid) = &change.way.mid
    {
        push(out, &format!("a=mid:{mid}"));
    }
    for line in &media.lines {
        if line.starts_with("c=") {
            push(out, &connection(changes.address, held));
        } else if line.starts_with("a=ptime:") || line.starts_with("a=maxptime:") {
            packet_times.push(*line);
        } else if is_kept(line, change, feedback) {
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
        if change.mux_only {
            push(out, "a=rtcp-mux-only");
        }
    }
    for attribute in change.crypto.iter().chain(&change.way.secrecy) {
        push(out, &format!("a={attribute}"));
    }
    write_packet_times(out, change, &packet_times);
    if !change.way.ice.is_empty() {
        write_ice(out, change, changes.address);
    }
}

/// Lines about the length of packets, ours in place of the given one.
fn write_packet_times(out: &mut String, change: &MediaOut<'_>, given: &[&str]) {
    if let Some(ms) = change.ptime_ms {
        push(out, &format!("a=ptime:{ms}"));
    }
    let kept = |line: &&&str| change.ptime_ms.is_none() || !line.starts_with("a=ptime:");
    given.iter().filter(kept).for_each(|line| push(out, line));
}

/// Our one address, and for RTCP the next port unless it shares the first. An offer to share it has
/// both, for who does not (RFC 5761 section 5.1.3).
fn write_ice(out: &mut String, change: &MediaOut<'_>, address: IpAddr) {
    for attribute in &change.way.ice {
        push(out, &format!("a={attribute}"));
    }
    for (component, preference) in [(1, 255), (2, 254)] {
        if component == 2 && change.rtcp != Some(change.port + 1) {
            continue;
        }
        // RFC 8445 section 5.1.2.1: a host candidate, the only one.
        let priority = (126_u32 << 24) | (65_535 << 8) | preference;
        let port = change.port + (component - 1);
        push(
            out,
            &format!("a=candidate:1 {component} UDP {priority} {address} {port} typ host"),
        );
    }
    push(out, "a=end-of-candidates");
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

fn is_named(line: &str, names: &[&str]) -> bool {
    let attribute = line.strip_prefix("a=");
    let name = attribute.and_then(|attribute| attribute.split(':').next());
    name.is_some_and(|name| names.contains(&name))
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
mod tests;
