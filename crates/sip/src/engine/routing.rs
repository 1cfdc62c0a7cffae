//! Where a new request goes.
use std::net::{IpAddr, SocketAddr};

use super::flow::Flow;
use super::location::{NameQuery, Target};
use super::sending::Ticket;
use super::{Core, Output};
use crate::config::{Listen, Transport};
use crate::message::{Scheme, Uri};

/// A request that waits for the address of a host.
#[derive(Debug)]
pub(super) struct Lookup {
    pub ticket: Ticket,
    pub route_url: String,
    pub message: String,
}

impl Lookup {
    /// A request as the application gave it.
    pub(super) fn new(ticket: Ticket, route_url: &str, message: &str) -> Lookup {
        Lookup {
            ticket,
            route_url: route_url.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// Servers that may be tried.
pub(super) struct Way {
    /// In this order.
    pub flows: Vec<Flow>,
    /// Nobody said which transport: a long request may go over TCP.
    pub open: bool,
    /// The name that led here.
    pub host: Option<String>,
}

/// What is known about a destination.
pub(super) enum Route {
    /// Send to the first, to the next when that fails; there is at least one.
    To(Way),
    /// Look this name up first.
    Ask(NameQuery),
}

impl Core {
    /// The way to a URI: the flow of a registered Contact, or its host and port, or the
    /// servers that were found for it (RFC 3263).
    pub(super) fn route(&self, text: &str, found: Option<Vec<Target>>) -> Result<Route, String> {
        if let Some(flow) = self.registered_flow(text) {
            let flows = vec![flow];
            return Ok(Route::To(Way {
                flows,
                open: false,
                host: None,
            }));
        }
        let text = text.trim_matches(['<', '>']);
        let uri = Uri::parse(text);
        let uri = uri.filter(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips));
        let uri = uri.ok_or_else(|| format!("cannot send to {text}"))?;
        let question = self.name_query(&uri)?;
        let localhost = uri.host.eq_ignore_ascii_case("localhost");
        let targets = match (uri.ip(), found) {
            (Some(ip), _) => vec![question.direct(ip)],
            (None, _) if localhost => vec![question.direct(IpAddr::from([127, 0, 0, 1]))],
            (None, None) => return Ok(Route::Ask(question)),
            (None, Some(found)) if found.is_empty() => {
                return Err("cannot resolve the host".to_owned());
            }
            (None, Some(found)) => found,
        };
        let mut flows = Vec::with_capacity(targets.len());
        let mut trouble = String::new();
        for Target { transport, address } in targets {
            if self.is_own(transport, address) {
                trouble = "can not send request to myself".to_owned();
                continue;
            }
            match self.listener(transport, address.ip()) {
                Ok(local) => flows.push(Flow {
                    transport,
                    local,
                    remote: address,
                }),
                Err(error) => trouble = error,
            }
        }
        if flows.is_empty() {
            return Err(trouble);
        }
        let open = question.transport.is_none();
        let host = uri.ip().is_none().then(|| uri.host.to_owned());
        Ok(Route::To(Way { flows, open, host }))
    }

    /// Whoever answers on these flows must prove to be `host` (RFC 5922 section 7.2).
    pub(super) fn expect(&mut self, flows: &[Flow], host: Option<&str>) {
        let Some(host) = host else { return };
        for flow in flows.iter().filter(|flow| flow.transport.is_secure()) {
            let (flow, host) = (*flow, host.to_owned());
            self.out.push(Output::Expect { flow, host });
        }
    }

    /// What a URI asks for; `sips` is TLS whatever its parameter says (RFC 3261 section 26.2.2).
    fn name_query(&self, uri: &Uri<'_>) -> Result<NameQuery, String> {
        let secure = uri.scheme == Scheme::Sips;
        let transport = match uri.params.get("transport") {
            None => None,
            Some(name) => match Transport::named(name) {
                Some(Transport::Tcp) if secure => Some(Transport::Tls),
                Some(transport) => Some(transport),
                None => return Err(format!("transport {name} is not offered")),
            },
        };
        if transport.is_some_and(Transport::is_web) {
            return Err("only a registered phone is reached over WebSocket".to_owned());
        }
        if let Some(transport) = transport.filter(|one| secure && !one.is_secure()) {
            return Err(format!("{transport} is not secure as sips asks for"));
        }
        Ok(NameQuery {
            host: uri.host.to_owned(),
            port: uri.port,
            transport,
            secure,
            offered: self.setup.listen.iter().map(|l| l.transport).collect(),
        })
    }

    /// The same way over TCP, for a request that is too long for a datagram.
    pub(super) fn over_tcp(&self, flow: &Flow) -> Option<Flow> {
        let transport = Transport::Tcp;
        let local = self.listener(transport, flow.remote.ip()).ok()?;
        Some(Flow {
            transport,
            local,
            remote: flow.remote,
        })
    }

    /// The flow a Contact registered over: same address, same connection.
    pub(super) fn registered_flow(&self, text: &str) -> Option<Flow> {
        let Some(reach) = self.replica.reach(text, self.now.wall_ms()) else {
            return self.known_flow(text);
        };
        let peer: Listen = reach.received.parse().ok()?;
        let ours: Listen = reach.local.parse().ok()?;
        let local = if self.setup.listen.contains(&ours) {
            ours.address
        } else {
            self.listener(peer.transport, peer.address.ip()).ok()?
        };
        Some(Flow {
            transport: peer.transport,
            local,
            remote: peer.address,
        })
    }

    fn is_own(&self, transport: Transport, remote: SocketAddr) -> bool {
        self.setup.listen.iter().any(|listen| {
            let any = listen.address.ip().is_unspecified() && remote.ip().is_loopback();
            listen.transport == transport
                && listen.address.port() == remote.port()
                && (listen.address.ip() == remote.ip() || any)
        })
    }

    /// The listener to send from: same transport and family, loopback to loopback.
    fn listener(&self, transport: Transport, remote: IpAddr) -> Result<SocketAddr, String> {
        let fits = |listen: &&Listen| {
            listen.transport == transport && listen.address.is_ipv4() == remote.is_ipv4()
        };
        let near = |listen: &&Listen| {
            let ip = listen.address.ip();
            ip.is_unspecified() || ip.is_loopback() == remote.is_loopback()
        };
        let all = || self.setup.listen.iter().filter(fits);
        let found = all().find(near).or_else(|| all().next());
        found
            .map(|listen| listen.address)
            .ok_or_else(|| format!("no {transport} listener fits"))
    }

    pub(super) fn look_up(&mut self, question: NameQuery, lookup: Lookup) {
        let token = self.token();
        self.lookups.insert(token, lookup);
        self.out.push(Output::Resolve { token, question });
    }

    pub(super) fn resolved(&mut self, token: u64, targets: Vec<Target>) {
        if self.branch_resolved(token, &targets) {
            return;
        }
        let Some(Lookup {
            ticket,
            route_url,
            message,
        }) = self.lookups.remove(&token)
        else {
            return;
        };
        self.app_request(ticket, &route_url, &message, Some(targets));
    }
}
