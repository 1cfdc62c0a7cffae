//! Where a new request goes.
use std::net::{IpAddr, SocketAddr};

use super::flow::Flow;
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

/// What is known about a destination.
pub(super) enum Route {
    /// Send here.
    To(Flow),
    /// Look this name up first.
    Name(String),
}

impl Core {
    /// The way to a URI: the flow of a registered Contact, or its host and port.
    pub(super) fn route(&self, text: &str, resolved: Option<IpAddr>) -> Result<Route, String> {
        if let Some(flow) = self.registered_flow(text) {
            return Ok(Route::To(flow));
        }
        let text = text.trim_matches(['<', '>']);
        let uri = Uri::parse(text).filter(|uri| uri.scheme == Scheme::Sip);
        let uri = uri.ok_or_else(|| format!("cannot send to {text}"))?;
        let transport = match uri.params.get("transport") {
            None => Transport::Udp,
            Some(name) if name.eq_ignore_ascii_case("udp") => Transport::Udp,
            Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            Some(name) => return Err(format!("transport {name} is not offered")),
        };
        let localhost = uri.host.eq_ignore_ascii_case("localhost");
        let ip = match uri.ip().or(resolved) {
            Some(ip) => ip,
            None if localhost => IpAddr::from([127, 0, 0, 1]),
            None => return Ok(Route::Name(uri.host.to_owned())),
        };
        let remote = SocketAddr::new(ip, uri.port.unwrap_or(5060));
        if self.is_own(transport, remote) {
            return Err("can not send request to myself".to_owned());
        }
        let local = self.listener(transport, remote.ip())?;
        Ok(Route::To(Flow {
            transport,
            local,
            remote,
        }))
    }

    /// The flow a Contact registered over: same address, same connection.
    fn registered_flow(&self, text: &str) -> Option<Flow> {
        let reach = self.replica.reach(text, self.now.wall_ms())?;
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

    pub(super) fn look_up(&mut self, host: String, lookup: Lookup) {
        let token = self.token();
        self.lookups.insert(token, lookup);
        self.out.push(Output::Resolve { token, host });
    }

    pub(super) fn resolved(&mut self, token: u64, address: Option<IpAddr>) {
        if self.branch_resolved(token, address) {
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
        match address {
            Some(address) => self.app_request(ticket, &route_url, &message, Some(address)),
            None => self.fail(&ticket, "cannot resolve the host"),
        }
    }
}
