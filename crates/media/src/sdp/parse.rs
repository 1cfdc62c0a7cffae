//! Reading: lines into a session part and media parts, and the facts the relay needs.

use std::net::{IpAddr, SocketAddr};

use super::{Direction, SdpError};
use crate::limits::{MEDIA_LINES_MAX, SDP_BYTES_MAX, SDP_LINES_MAX};

/// A parsed SDP; borrows its text.
#[derive(Debug)]
pub struct Sdp<'a> {
    /// Lines before the first `m=`.
    pub session: Vec<&'a str>,
    /// The media parts, at least one.
    pub media: Vec<Media<'a>>,
}

/// One media part.
#[derive(Debug)]
pub struct Media<'a> {
    /// `audio`, `video`, `image`, ...
    pub kind: &'a str,
    /// Port of RTP; 0 when the line is rejected or disabled.
    pub port: u16,
    /// Transport, such as `RTP/AVP`.
    pub protocol: &'a str,
    /// Payload types or other formats, as written.
    pub formats: &'a str,
    /// Lines after `m=`.
    pub lines: Vec<&'a str>,
    /// Address of RTP: own `c=` or the session's; none while disabled.
    pub address: Option<IpAddr>,
    /// Direction, with the session's as the default.
    pub direction: Direction,
    /// RTCP shares the RTP port (RFC 5761).
    pub mux: bool,
    /// `a=rtcp` (RFC 3605): port and, when given, address.
    pub rtcp: Option<(u16, Option<IpAddr>)>,
    /// Clock of the first format, Hz.
    pub clock_hz: u32,
}

impl<'a> Sdp<'a> {
    /// Reads an SDP.
    ///
    /// # Errors
    /// See [`SdpError`].
    pub fn parse(text: &'a str) -> Result<Sdp<'a>, SdpError> {
        if text.len() > SDP_BYTES_MAX {
            return Err(SdpError::TooLarge);
        }
        let mut session = Vec::new();
        let mut media: Vec<Media<'a>> = Vec::new();
        for (n, line) in text.lines().enumerate() {
            if n >= SDP_LINES_MAX {
                return Err(SdpError::TooLarge);
            }
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            if line.as_bytes().get(1) != Some(&b'=') {
                return Err(SdpError::Malformed);
            }
            if let Some(rest) = line.strip_prefix("m=") {
                if media.len() == MEDIA_LINES_MAX {
                    return Err(SdpError::TooLarge);
                }
                media.push(Media::begin(rest).ok_or(SdpError::Malformed)?);
            } else if let Some(last) = media.last_mut() {
                last.lines.push(line);
            } else {
                session.push(line);
            }
        }
        if session.first() != Some(&"v=0") {
            return Err(SdpError::Malformed);
        }
        if media.is_empty() {
            return Err(SdpError::NoMedia);
        }
        let facts = Facts::of(&session)?;
        media.iter_mut().try_for_each(|m| m.finish(&facts))?;
        Ok(Sdp { session, media })
    }
}

/// What the session part says for all media.
struct Facts {
    address: Option<IpAddr>,
    direction: Direction,
    mux: bool,
}

impl Facts {
    fn of(lines: &[&str]) -> Result<Facts, SdpError> {
        let mut facts = Facts {
            address: None,
            direction: Direction::SendRecv,
            mux: false,
        };
        for line in lines {
            if let Some(rest) = line.strip_prefix("c=") {
                facts.address = Some(connection(rest).ok_or(SdpError::Malformed)?);
            } else if let Some(attribute) = line.strip_prefix("a=") {
                if let Some(direction) = Direction::from_attribute(attribute) {
                    facts.direction = direction;
                }
                facts.mux |= attribute == "rtcp-mux";
            }
        }
        Ok(facts)
    }
}

impl<'a> Media<'a> {
    /// `<media> <port>[/<count>] <proto> <fmt> ...`
    fn begin(rest: &'a str) -> Option<Media<'a>> {
        let mut fields = rest.splitn(4, ' ');
        let kind = fields.next().filter(|kind| !kind.is_empty())?;
        let port = fields.next()?;
        let port = port
            .split_once('/')
            .map_or(port, |(port, _)| port)
            .parse()
            .ok()?;
        let protocol = fields.next().filter(|protocol| !protocol.is_empty())?;
        let formats = fields.next()?.trim();
        Some(Media {
            kind,
            port,
            protocol,
            formats,
            lines: Vec::new(),
            address: None,
            direction: Direction::SendRecv,
            mux: false,
            rtcp: None,
            clock_hz: 8_000,
        })
    }

    fn finish(&mut self, session: &Facts) -> Result<(), SdpError> {
        self.address = session.address;
        self.direction = session.direction;
        self.mux = session.mux;
        let first = self.formats.split(' ').next().unwrap_or_default();
        for line in &self.lines {
            if let Some(rest) = line.strip_prefix("c=") {
                self.address = Some(connection(rest).ok_or(SdpError::Malformed)?);
            }
            let Some(attribute) = line.strip_prefix("a=") else {
                continue;
            };
            if let Some(direction) = Direction::from_attribute(attribute) {
                self.direction = direction;
            } else if attribute == "rtcp-mux" {
                self.mux = true;
            } else if let Some(value) = attribute.strip_prefix("rtcp:") {
                self.rtcp = Some(rtcp_attribute(value).ok_or(SdpError::Malformed)?);
            } else if let Some(value) = attribute.strip_prefix("rtpmap:")
                && let Some((format, encoding)) = value.split_once(' ')
                && format == first
            {
                let clock = encoding
                    .split('/')
                    .nth(1)
                    .and_then(|clock| clock.parse().ok());
                self.clock_hz = clock.filter(|hz| *hz > 0).unwrap_or(self.clock_hz);
            }
        }
        if self.port != 0 && self.address.is_none() {
            return Err(SdpError::Incomplete);
        }
        Ok(())
    }

    /// Where the writer receives RTP; none while the line is disabled or held the old way
    /// (`c=IN IP4 0.0.0.0`, RFC 3264 section 8.4).
    pub fn rtp_address(&self) -> Option<SocketAddr> {
        let ip = self.address.filter(|ip| !ip.is_unspecified())?;
        (self.port != 0).then(|| SocketAddr::new(ip, self.port))
    }

    /// Where the writer receives RTCP when it does not share the RTP port.
    pub fn rtcp_address(&self) -> Option<SocketAddr> {
        let rtp = self.rtp_address()?;
        match self.rtcp {
            Some((port, ip)) => {
                let ip = ip.filter(|ip| !ip.is_unspecified()).unwrap_or(rtp.ip());
                (port != 0).then(|| SocketAddr::new(ip, port))
            }
            None => rtp
                .port()
                .checked_add(1)
                .map(|port| SocketAddr::new(rtp.ip(), port)),
        }
    }

    /// Held the old way.
    pub fn unspecified(&self) -> bool {
        // Who has ICE writes this while it knows no better address (RFC 8840 section 4.1.1).
        let has_ice = || self.lines.iter().any(|line| line.starts_with("a=ice-"));
        let unspecified = self.address.is_some_and(|ip| ip.is_unspecified());
        unspecified && !self.protocol.starts_with("UDP/TLS/") && !has_ice()
    }

    /// True for the RTP family of transports, those of browsers included.
    pub fn is_rtp(&self) -> bool {
        is_rtp(self.protocol)
    }

    /// True for transports that UDP relaying cannot serve.
    pub fn is_stream(&self) -> bool {
        self.protocol.starts_with("TCP")
    }
}

/// True for the RTP family of transports.
pub fn is_rtp(protocol: &str) -> bool {
    let inner = protocol.strip_prefix("UDP/TLS/").unwrap_or(protocol);
    inner.starts_with("RTP/")
}

/// `IN IP4 <address>[/<ttl>]`
fn connection(rest: &str) -> Option<IpAddr> {
    let mut fields = rest.split_ascii_whitespace();
    let (network, family, address) = (fields.next()?, fields.next()?, fields.next()?);
    let address = address
        .split_once('/')
        .map_or(address, |(address, _)| address);
    let ip: IpAddr = address.parse().ok()?;
    let fits = match family {
        "IP4" => ip.is_ipv4(),
        "IP6" => ip.is_ipv6(),
        _ => false,
    };
    (network == "IN" && fits && !ip.is_multicast()).then_some(ip)
}

/// `<port>[ IN IP4 <address>]`
fn rtcp_attribute(value: &str) -> Option<(u16, Option<IpAddr>)> {
    match value.split_once(' ') {
        Some((port, rest)) => Some((port.parse().ok()?, Some(connection(rest)?))),
        None => Some((value.trim().parse().ok()?, None)),
    }
}
