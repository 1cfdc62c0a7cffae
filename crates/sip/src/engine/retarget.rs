//! From a URI call control names to the device behind it: GRUUs, flows, and the proxies on
//! the way (RFC 5627 section 5.6, RFC 5626 section 5.3, RFC 3327 section 5.4).
use std::collections::{HashSet, VecDeque};

use super::Core;
use super::flow::Flow;
use crate::config::Listen;
use crate::limits::LOST_FLOWS_MAX;
use crate::message::{Address, Scheme, Uri};
use crate::registrar::{Binding, Gruu, Gruus};

/// Connections that closed and over which nothing came since.
#[derive(Debug, Default)]
pub(super) struct LostFlows {
    lost: HashSet<Flow>,
    order: VecDeque<Flow>,
}

impl LostFlows {
    pub fn add(&mut self, flow: Flow) {
        if self.lost.insert(flow) {
            self.order.push_back(flow);
        }
        while self.order.len() > LOST_FLOWS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.lost.remove(&oldest);
            }
        }
    }

    /// Something came over it.
    pub fn found(&mut self, flow: &Flow) {
        if !self.lost.is_empty() && self.lost.remove(flow) {
            self.order.retain(|one| one != flow);
        }
    }

    pub fn has(&self, flow: &Flow) -> bool {
        self.lost.contains(flow)
    }

    fn holds(&self, binding: &Binding) -> bool {
        flow_of(binding).is_some_and(|flow| self.has(&flow))
    }

    pub fn clear(&mut self) {
        self.lost.clear();
        self.order.clear();
    }
}

pub(super) fn flow_of(binding: &Binding) -> Option<Flow> {
    let peer: Listen = binding.received.parse().ok()?;
    let ours: Listen = binding.local.parse().ok()?;
    Some(Flow {
        transport: peer.transport,
        local: ours.address,
        remote: peer.address,
    })
}

/// Where a request goes instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The Request-URI: the Contact of a binding.
    pub uri: String,
    /// Route headers to put in, nearest to us first.
    pub path: Vec<String>,
}

impl Core {
    /// What a Request-URI stands for; None when it is to be taken as it is.
    pub(super) fn target(&self, uri: &str) -> Option<Target> {
        let now_ms = self.now.wall_ms();
        let binding = match self.gruu(uri) {
            Some(gruu) => {
                let bindings = self.replica.registration(gruu.user())?.bindings;
                let live = bindings.into_iter().filter(|one| one.expires_at > now_ms);
                self.best(live.filter(|one| self.gruus.names(&gruu, one)))?
            }
            None => self.living_flow(uri, now_ms)?,
        };
        (binding.contact != uri || !binding.path.is_empty()).then_some(Target {
            uri: binding.contact,
            path: binding.path,
        })
    }

    /// The flow of the device that the target of a dialog names: a registered Contact, the
    /// same with the `ob` of requests that begin dialogs (RFC 5626 section 4.3), or a GRUU.
    pub(super) fn device_flow(&self, uri: &str) -> Option<Flow> {
        let registered = self.registered_flow(uri);
        let plain = || self.registered_flow(&without_ob(uri)?);
        let of_gruu = || self.registered_flow(&self.target(uri)?.uri);
        registered.or_else(plain).or_else(of_gruu)
    }

    /// The binding of a Contact, or another flow of its device when that one is closed.
    fn living_flow(&self, contact: &str, now_ms: u64) -> Option<Binding> {
        let bindings = self.replica.bindings_with(contact, now_ms)?;
        let named = bindings.iter().find(|one| one.contact == contact)?.clone();
        if named.reg_id.is_none() || !self.lost_flows.holds(&named) {
            return Some(named);
        }
        self.best(
            bindings
                .into_iter()
                .filter(|one| one.is_same_device(&named)),
        )
    }

    /// The flow to try first: one that is not closed, then the one refreshed last.
    fn best(&self, bindings: impl Iterator<Item = Binding>) -> Option<Binding> {
        bindings.max_by_key(|one| (!self.lost_flows.holds(one), one.refreshed_at))
    }

    fn gruu(&self, text: &str) -> Option<Gruu> {
        let uri = Uri::parse(text.trim_matches(['<', '>']))?;
        self.gruus.open(&uri)
    }

    /// The public form of a temporary GRUU in a request of the network: call control knows
    /// devices by it. None when the URI is to be left as it is.
    pub(super) fn public_form(&self, text: &str) -> Option<String> {
        let gruu = self.gruu(text)?;
        let Gruu::Temporary { user, .. } = &gruu else {
            return None;
        };
        let host = Uri::parse(text)
            .filter(|uri| uri.scheme == Scheme::Sip)?
            .host;
        let bindings = self.replica.registration(user)?.bindings;
        let named = bindings.iter().find(|one| self.gruus.names(&gruu, one))?;
        Some(Gruus::public(user, host, named.instance.as_deref()?))
    }
}

/// The URI without its `ob` parameter; None when it has none.
fn without_ob(uri: &str) -> Option<String> {
    const OB: &str = ";ob";
    let ends = |at: &usize| matches!(uri.as_bytes().get(at + OB.len()), None | Some(b';' | b'?'));
    let at = uri.match_indices(OB).map(|(at, _)| at).find(ends)?;
    Some(format!("{}{}", &uri[..at], &uri[at + OB.len()..]))
}

/// A request of an application, aimed at its target: where it goes first, and its text. The
/// way stands in Path headers, which belong to REGISTER: `Route` is what applications may not
/// write, so it could not be told from theirs.
pub(super) fn aimed(text: &str, target: &Target) -> Option<(Option<String>, String)> {
    let (first, rest) = text.split_once("\r\n")?;
    let mut words = first.split(' ');
    let (method, version) = (words.next()?, words.nth(1)?);
    let mut aimed = format!("{method} {} {version}\r\n", target.uri);
    for route in &target.path {
        aimed.push_str(&format!("Path: {route}\r\n"));
    }
    aimed.push_str(rest);
    let next = target.path.first().and_then(|value| Address::parse(value));
    Some((next.map(|address| address.uri.to_owned()), aimed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ob_is_taken_out_of_a_uri_and_nothing_else() {
        for (uri, plain) in [
            (
                "sip:a@b.invalid;transport=ws;ob",
                Some("sip:a@b.invalid;transport=ws"),
            ),
            ("sip:a@b;ob;transport=ws", Some("sip:a@b;transport=ws")),
            ("sip:a@b;ob?x=1", Some("sip:a@b?x=1")),
            ("sip:a@b;obey;transport=ws", None),
            ("sip:ob@b", None),
        ] {
            assert_eq!(without_ob(uri).as_deref(), plain, "{uri}");
        }
    }
}
