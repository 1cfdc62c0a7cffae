//! The 200 to a REGISTER, and what is asked of one beyond its Contacts.
use bytes::Bytes;

use super::Core;
use super::flow::Flow;
use crate::message::{Essentials, Message, Name, Refusal, Uri};
use crate::registrar::request::{
    EXTENSIONS, first_hop_keeps_flows, lists, path_of, unknown_extensions,
};
use crate::registrar::{Binding, Contacts, Gruus, Registration, contacts_of};

/// What a REGISTER says, checked.
pub(super) struct Asked {
    pub contacts: Contacts,
    pub path: Vec<String>,
}

/// How a REGISTER is refused that is well-formed.
pub(super) enum Denied {
    /// With a status.
    Refused(Refusal),
    /// 420 with these extensions.
    Unsupported(String),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Denied {
        Denied::Refused(refusal)
    }
}

impl Core {
    /// Whether the request insists on something nobody here knows (RFC 3261 section 10.3
    /// step 2). Said before the challenge: it tells nothing about any user.
    pub(super) fn refuse_extensions(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        known: &[&str],
    ) -> bool {
        let unknown = unknown_extensions(message, known);
        if unknown.is_empty() {
            return false;
        }
        let unknown = unknown.join(", ");
        self.respond(flow, message, essentials, 420, &[("Unsupported", &unknown)]);
        true
    }

    /// Reads a REGISTER as far as the registrar's policy goes.
    pub(super) fn asked(&self, message: &Message<'_>) -> Result<Asked, Denied> {
        let contacts = contacts_of(message)?;
        let path = path_of(message)?;
        // RFC 3327 section 5.3: a device that does not know of Path may not bear it.
        if !path.is_empty() && !lists(message, Name::Supported, "path") {
            return Err(Denied::Unsupported("path".to_owned()));
        }
        let Contacts::Some(wishes) = &contacts else {
            return Ok(Asked { contacts, path });
        };
        let has_flows = wishes.iter().any(|wish| wish.reg_id.is_some());
        if has_flows && !first_hop_keeps_flows(message, &path) {
            return Err(Denied::Refused(Refusal {
                status: 439,
                reason: "First Hop Lacks Outbound Support",
            }));
        }
        let providers = self.setup.registrar.as_ref();
        let providers = providers.map_or(&[][..], |config| config.policy.push_providers.as_slice());
        let mut pushes = wishes.iter().filter_map(|wish| wish.push.as_ref());
        let is_known = |name: &str| providers.iter().any(|one| one.eq_ignore_ascii_case(name));
        if !providers.is_empty() && pushes.any(|push| !is_known(&push.provider)) {
            return Err(Denied::Refused(Refusal {
                status: 555,
                reason: "Push Notification Service Not Supported",
            }));
        }
        Ok(Asked { contacts, path })
    }

    /// The 200 with all bindings and what is left of them.
    pub(super) fn registered(
        &self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        registration: &Registration,
    ) -> Bytes {
        let domain = Uri::parse(essentials.to.uri).map_or("", |uri| uri.host);
        let domain = Some(domain).filter(|_| lists(message, Name::Supported, "gruu"));
        let bindings = registration.bindings.iter();
        let mut headers: Vec<(&str, String)> = bindings
            .map(|binding| ("Contact", self.contact_of(binding, registration, domain)))
            .collect();
        for path in message.all(Name::Path) {
            headers.push(("Path", path.to_owned()));
        }
        if let Some(config) = &self.setup.registrar {
            for route in &config.policy.service_routes {
                headers.push(("Service-Route", format!("<{route}>")));
            }
            for provider in &config.policy.push_providers {
                headers.push(("Feature-Caps", format!("*;+sip.pns=\"{provider}\"")));
            }
            let flow_timer_s = config.policy.flow_timer_s;
            if self.keeps_flow(message, essentials, registration) {
                // RFC 5626 section 6: says that the flow will be used.
                headers.push(("Require", "outbound".to_owned()));
                if flow_timer_s > 0 {
                    headers.push(("Flow-Timer", flow_timer_s.to_string()));
                }
            }
        }
        headers.push(("Supported", EXTENSIONS.join(", ")));
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.build_reply(flow, message, essentials, (200, "OK"), &headers)
    }

    /// Whether this REGISTER made or refreshed a flow.
    fn keeps_flow(
        &self,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        registration: &Registration,
    ) -> bool {
        lists(message, Name::Supported, "outbound")
            && registration.bindings.iter().any(|binding| {
                binding.reg_id.is_some()
                    && binding.call_id == essentials.call_id
                    && binding.cseq == essentials.cseq
            })
    }

    fn contact_of(&self, binding: &Binding, of: &Registration, domain: Option<&str>) -> String {
        let left_ms = binding.expires_at.saturating_sub(self.now.wall_ms());
        let mut text = format!("<{}>", binding.contact);
        if binding.q < 1.0 {
            text.push_str(&format!(";q={}", binding.q));
        }
        text.push_str(&format!(";expires={}", left_ms.div_ceil(1_000)));
        let Some(instance) = &binding.instance else {
            return text;
        };
        text.push_str(&format!(";+sip.instance=\"{instance}\""));
        if let Some(reg_id) = binding.reg_id {
            text.push_str(&format!(";reg-id={reg_id}"));
        }
        if let Some(domain) = domain {
            let public = Gruus::public(&of.user, domain, instance);
            text.push_str(&format!(";pub-gruu=\"{public}\""));
            if let Some(temporary) = self.gruus.temporary(domain, &of.user, binding) {
                text.push_str(&format!(";temp-gruu=\"{temporary}\""));
            }
        }
        text
    }
}
