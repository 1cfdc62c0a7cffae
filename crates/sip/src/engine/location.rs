//! Finding the servers of a name (RFC 3263): what is asked, and in which order the answers
//! are tried. Asking itself is `transport::dns`.
use std::net::{IpAddr, SocketAddr};

use crate::config::Transport;

/// What a URI with a host name leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameQuery {
    /// The host name.
    pub host: String,
    /// The port of the URI.
    pub port: Option<u16>,
    /// The transport of the URI.
    pub transport: Option<Transport>,
    /// A `sips` URI: only secure transports.
    pub secure: bool,
    /// What we can send with.
    pub offered: Vec<Transport>,
}

impl NameQuery {
    /// Whether a transport may be used at all.
    pub fn allows(&self, transport: Transport) -> bool {
        self.offered.contains(&transport)
            && !transport.is_web()
            && (transport.is_secure() || !self.secure)
            && self.transport.is_none_or(|wanted| wanted == transport)
    }

    /// The target of an address that needs no asking.
    pub fn direct(&self, ip: IpAddr) -> Target {
        let transport = self.fallback();
        let port = self.port.unwrap_or(transport.default_port());
        Target {
            transport,
            address: SocketAddr::new(ip, port),
        }
    }

    /// The transport when nothing else says one (RFC 3263 section 4.1).
    pub fn fallback(&self) -> Transport {
        let usual = if self.secure {
            Transport::Tls
        } else {
            Transport::Udp
        };
        self.transport.unwrap_or(usual)
    }
}

/// A server that may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// How to send to it.
    pub transport: Transport,
    /// Where it is.
    pub address: SocketAddr,
}

/// A NAPTR record of a domain (RFC 3403 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lowest first.
    pub order: u16,
    /// Lowest first among equal orders.
    pub preference: u16,
    /// `s` leads to SRV records.
    pub flags: String,
    /// `SIP+D2U` and the like.
    pub service: String,
    /// The name of the SRV records.
    pub replacement: String,
}

impl Naptr {
    /// The transport it stands for.
    pub fn transport(&self) -> Option<Transport> {
        let service = self.service.to_ascii_uppercase();
        match (self.flags.eq_ignore_ascii_case("s"), service.as_str()) {
            (true, "SIP+D2U") => Some(Transport::Udp),
            (true, "SIP+D2T") => Some(Transport::Tcp),
            (true, "SIPS+D2T") => Some(Transport::Tls),
            _ => None,
        }
    }
}

/// The SRV names to ask for with the transport of each, best first, from the NAPTR records of
/// the domain; its own SRV names when there are none (RFC 3263 section 4.1).
pub fn service_names(question: &NameQuery, mut records: Vec<Naptr>) -> Vec<(Transport, String)> {
    records.sort_by_key(|record| (record.order, record.preference));
    let named: Vec<_> = records
        .into_iter()
        .filter_map(|record| Some((record.transport()?, record.replacement)))
        .filter(|(transport, _)| question.allows(*transport))
        .collect();
    if !named.is_empty() {
        return named;
    }
    [
        (Transport::Udp, "_sip._udp"),
        (Transport::Tcp, "_sip._tcp"),
        (Transport::Tls, "_sips._tcp"),
    ]
    .into_iter()
    .filter(|(transport, _)| question.allows(*transport))
    .map(|(transport, service)| (transport, format!("{service}.{}", question.host)))
    .collect()
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lowest first.
    pub priority: u16,
    /// Its share among equal priorities.
    pub weight: u16,
    /// Port of the server.
    pub port: u16,
    /// Name of the server.
    pub target: String,
}

/// The order of trying: by priority, and within one at random by weight. `draw(n)` is a random
/// number from 0 to n, n included (RFC 2782, "Weight").
pub fn order_services(mut records: Vec<Srv>, mut draw: impl FnMut(u32) -> u32) -> Vec<Srv> {
    // A single record with the root as target says that there is no such service.
    records.retain(|record| !matches!(record.target.as_str(), "" | "."));
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let same = records.iter().take_while(|r| r.priority == priority);
        let sum = same.map(|record| u32::from(record.weight)).sum();
        let drawn = draw(sum);
        let mut running = 0;
        let chosen = records.iter().position(|record| {
            running += u32::from(record.weight);
            running >= drawn
        });
        ordered.push(records.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> NameQuery {
        NameQuery {
            host: "example.com".to_owned(),
            port: None,
            transport: None,
            secure: false,
            offered: vec![Transport::Udp, Transport::Tcp, Transport::Tls],
        }
    }

    fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: "s".to_owned(),
            service: service.to_owned(),
            replacement: replacement.to_owned(),
        }
    }

    #[test]
    fn the_domain_says_which_transports_it_likes_best() {
        // The example of RFC 3263 section 4.1.
        let records = vec![
            naptr(90, 50, "SIP+D2U", "_sip._udp.example.com"),
            naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
            naptr(90, 40, "SIP+D2T", "_sip._tcp.example.com"),
            naptr(10, 10, "E2U+sip", "elsewhere"),
        ];
        let names = service_names(&question(), records.clone());
        let transports: Vec<_> = names.into_iter().map(|(transport, _)| transport).collect();
        assert_eq!(transports, [Transport::Tls, Transport::Tcp, Transport::Udp]);
        let secure = NameQuery {
            secure: true,
            ..question()
        };
        let names = service_names(&secure, records);
        assert_eq!(
            names,
            [(Transport::Tls, "_sips._tcp.example.com".to_owned())]
        );
    }

    #[test]
    fn a_domain_that_says_nothing_is_asked_for_every_transport() {
        let names = service_names(&question(), Vec::new());
        assert_eq!(names[0], (Transport::Udp, "_sip._udp.example.com".into()));
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn servers_are_tried_by_priority_and_then_by_weight() {
        let srv = |priority, weight, target: &str| Srv {
            priority,
            weight,
            port: 5060,
            target: target.to_owned(),
        };
        let records = vec![srv(20, 1, "c"), srv(10, 60, "a"), srv(10, 40, "b")];
        let order = |draws: &[u32]| {
            let mut draws = draws.iter();
            let draw = |_| draws.next().copied().unwrap_or(0);
            let ordered = order_services(records.clone(), draw);
            ordered.into_iter().map(|r| r.target).collect::<String>()
        };
        assert_eq!(order(&[41, 1, 1]), "abc");
        assert_eq!(order(&[40, 1, 1]), "bac");
        assert!(order_services(vec![srv(0, 0, ".")], |_| 0).is_empty());
    }
}
