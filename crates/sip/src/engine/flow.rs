//! Between which two addresses messages travel.
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::config::{Listen, Transport};
use crate::message::Via;

/// A transport, one of our listen addresses, and a peer's address. On TCP it names the
/// connection to that peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// Our listen address.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
}

impl Flow {
    /// Our end.
    pub fn listen(&self) -> Listen {
        Listen {
            transport: self.transport,
            address: self.local,
        }
    }

    /// The peer's end.
    pub fn peer(&self) -> Listen {
        Listen {
            transport: self.transport,
            address: self.remote,
        }
    }

    /// Where responses go (RFC 3261 section 18.2.2, RFC 3581 section 4).
    pub fn reply(&self, via: &Via<'_>) -> Flow {
        if self.transport.is_reliable() || via.params.get("rport").is_some() {
            return *self;
        }
        let remote = SocketAddr::new(self.remote.ip(), via.port.unwrap_or(5060));
        Flow { remote, ..*self }
    }
}

/// The top Via value as we pass it on: `received` and `rport` filled in. `value` is the
/// whole header value, `via` its first part parsed.
pub fn stamped_via(value: &str, via: &Via<'_>, remote: SocketAddr) -> String {
    let same_host = via.host.parse::<IpAddr>().is_ok_and(|ip| ip == remote.ip());
    let wants_port = via.params.get("rport").is_some();
    if same_host && !wants_port {
        return value.to_owned();
    }
    let one = &value[..via.end];
    let mut text = one
        .split_once(';')
        .map_or(one, |(first, _)| first)
        .trim_end()
        .to_owned();
    for (name, parameter) in via.params.iter() {
        if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
            continue;
        }
        text.push(';');
        text.push_str(name);
        if let Some(parameter) = parameter {
            text.push('=');
            text.push_str(parameter);
        }
    }
    text.push_str(&format!(";received={}", remote.ip()));
    if wants_port {
        text.push_str(&format!(";rport={}", remote.port()));
    }
    text.push_str(&value[via.end..]);
    text
}

/// Whether an address can only be reached inside its own network.
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vias_tell_where_a_request_really_came_from() {
        let remote: SocketAddr = "192.0.2.7:4000".parse().expect("an address");
        for (given, stamped) in [
            (
                "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1",
                "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1",
            ),
            (
                "SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK1, SIP/2.0/UDP a",
                "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;received=192.0.2.7;rport=4000, \
                 SIP/2.0/UDP a",
            ),
            (
                "SIP/2.0/UDP phone.example;branch=z9hG4bK1;received=6.6.6.6",
                "SIP/2.0/UDP phone.example;branch=z9hG4bK1;received=192.0.2.7",
            ),
        ] {
            let via = Via::parse(given).expect("valid");
            assert_eq!(stamped_via(given, &via, remote), stamped);
        }
    }

    #[test]
    fn responses_go_to_the_source_port_when_asked_and_else_to_the_stated_one() {
        let flow = Flow {
            transport: Transport::Udp,
            local: "192.0.2.9:5060".parse().expect("an address"),
            remote: "192.0.2.7:4000".parse().expect("an address"),
        };
        for (via, port) in [("x;rport", 4000), ("x:5070", 5070), ("x", 5060)] {
            let value = format!("SIP/2.0/UDP {via}");
            let via = Via::parse(&value).expect("valid");
            assert_eq!(flow.reply(&via).remote.port(), port);
        }
    }
}
