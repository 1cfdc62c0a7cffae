//! Forwarded messages on their way through a hidden topology: where our tokens lead, and
//! what each side gets to see. The tokens hold everything, so a takeover changes nothing.
use std::borrow::Cow;

use bytes::Bytes;

use super::flow::Flow;
use super::proxying::is_pass;
use super::{Core, Id};
use crate::limits::VEILS_MAX;
use crate::message::{Address, Essentials, Message, Name, Start, list};
use crate::proxy::{Place, forward, hidden};

/// Where a request goes that our tokens led here.
pub(super) struct Unveiled {
    /// The Request-URI.
    pub target: String,
    /// The Route values.
    pub routes: Vec<String>,
    /// How that side names the call.
    sealed_call: bool,
}

impl Core {
    /// What our tokens in a request stand for; None when there are none of this call.
    pub(super) fn unveiled(
        &self,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> Option<Unveiled> {
        let Start::Request { uri, .. } = message.start else {
            return None;
        };
        let call = self.veil.plain_call(essentials.call_id);
        let ours = |uri: &str| self.veil.place_in(uri, &call);
        let aimed = ours(uri);
        let mut led: Option<Place> = None;
        let mut rest = Vec::new();
        for value in message.all(Name::Route).flat_map(list) {
            let route = Address::parse(value).filter(|_| rest.is_empty());
            match route.map(|route| (ours(route.uri), route.uri)) {
                Some((Some(place), _)) => led = Some(place),
                Some((None, uri)) if self.is_own_uri(uri) => {}
                _ => rest.push(value.to_owned()),
            }
        }
        let sealed_call = aimed.as_ref().or(led.as_ref())?.sealed_call;
        let target = aimed.map_or_else(|| uri.to_owned(), |place| place.uri);
        let mut routes = led.map_or_else(Vec::new, |place| place.routes);
        routes.append(&mut rest);
        let mut found = Unveiled {
            target,
            routes,
            sealed_call,
        };
        // A call that came through us twice: the token behind the token.
        for _ in 0..VEILS_MAX {
            let next = found.routes.is_empty().then(|| ours(&found.target));
            let Some(place) = next.flatten() else { break };
            found = Unveiled {
                target: place.uri,
                routes: place.routes,
                sealed_call: place.sealed_call,
            };
        }
        (!found.target.is_empty()).then_some(found)
    }

    /// A request outside any dialog to a Contact that one of our tokens hides, as in a
    /// redirect: what it stands for.
    pub(super) fn aimed_at_hidden(&self, message: &Message<'_>) -> Option<(String, Vec<String>)> {
        let place = self.veil.place(message.uri()?)?;
        (!place.uri.is_empty()).then_some((place.uri, place.routes))
    }

    /// Whether the two sides of a request do not get to know each other. A registrar further
    /// on has to know the Contact itself.
    pub(super) fn is_veiled(&self, message: &Message<'_>, essentials: &Essentials<'_>) -> bool {
        let on = self.setup.topology_hiding.enabled && essentials.method != "REGISTER";
        on || self.unveiled(message, essentials).is_some()
    }

    /// The Route values without us, and with those that our tokens stand for.
    pub(super) fn routes_left<'a>(
        &self,
        message: &Message<'a>,
        essentials: &Essentials<'_>,
    ) -> Vec<Cow<'a, str>> {
        if let Some(found) = self.unveiled(message, essentials) {
            return found.routes.into_iter().map(Cow::Owned).collect();
        }
        let pass = forward::pass(&self.setup.tag_key, essentials.call_id);
        let own = |uri: &str| is_pass(uri, &pass) || self.is_own_uri(uri);
        let left = forward::routes(message, own).into_iter();
        left.map(Cow::Borrowed).collect()
    }

    /// The mark that tells a loop: the same under both names of the call.
    pub(super) fn loop_mark(&self, message: &Message<'_>, essentials: &Essentials<'_>) -> String {
        let call = self.veil.plain_call(essentials.call_id);
        let call_id = call.as_ref();
        let plain = Essentials {
            call_id,
            ..*essentials
        };
        forward::mark(&self.setup.tag_key, message, &plain)
    }

    /// A request as the next hop is to see it. `came` is the one of the other side.
    pub(super) fn veil_request(
        &self,
        sent: Vec<u8>,
        (came, essentials): (&Message<'_>, &Essentials<'_>),
        flow: &Flow,
    ) -> Vec<u8> {
        if !self.is_veiled(came, essentials) {
            return sent;
        }
        let call = self.veil.plain_call(essentials.call_id);
        let from_sealed = call != essentials.call_id;
        let sealed = match self.unveiled(came, essentials) {
            Some(found) => found.sealed_call,
            None => from_sealed || self.setup.topology_hiding.call_ids,
        };
        let call_id = if sealed {
            self.veil.hide_call(&call)
        } else {
            call.clone().into_owned()
        };
        let contact = |token: &str| self.contact(flow, Some(token));
        let side = hidden::Side {
            veil: &self.veil,
            call: &call,
            sealed_call: from_sealed,
            call_id: &call_id,
            seals_calls: self.setup.topology_hiding.call_ids,
            host: self.shown(flow).ip(),
            contact: &contact,
        };
        let message = Message::parse(&sent).ok();
        let veiled = message.and_then(|message| hidden::request(&message, &side));
        veiled.unwrap_or(sent)
    }

    /// A response of a branch as the caller is to see it; None when it is for nobody.
    pub(super) fn passed_response(
        &self,
        id: &Id,
        index: usize,
        message: &Message<'_>,
        challenges: &[(String, String)],
    ) -> Option<Bytes> {
        let server = self.servers.get(id)?;
        let branch = self.proxies.get(id)?.branches.get(index)?;
        let sent = Message::parse(&branch.request).ok()?;
        // The request shows how it was sent, whatever the configuration says by now.
        let veiled = sent.all(Name::Via).flat_map(list).count() == 1;
        if !veiled {
            return forward::response(message, challenges).map(Bytes::from);
        }
        let request = Message::parse(&server.request).ok()?;
        let call_id = request.get(Name::CallId)?;
        let call = self.veil.plain_call(call_id);
        let contact = |token: &str| self.contact(&server.flow, Some(token));
        let side = hidden::Side {
            veil: &self.veil,
            call: &call,
            sealed_call: sent.get(Name::CallId)? != call,
            call_id,
            seals_calls: self.setup.topology_hiding.call_ids,
            host: self.shown(&server.flow).ip(),
            contact: &contact,
        };
        hidden::response(message, &request, challenges, &side).map(Bytes::from)
    }

    /// A message of an application with its session description as peers are to see it; all
    /// else in it is the application's own choice.
    pub(super) fn veil_body<'a>(&self, text: &'a str) -> Cow<'a, str> {
        const END: &str = "\r\n\r\n";
        let body = text.find(END).map(|at| at + END.len());
        let body = body.filter(|at| self.setup.topology_hiding.enabled && *at < text.len());
        let (Some(at), Some(listen)) = (body, self.setup.listen.first()) else {
            return Cow::Borrowed(text);
        };
        let kind = crate::drachtio::headers::parse(text).ok();
        let kind = kind.and_then(|message| message.get(Name::ContentType).map(str::to_owned));
        let kind = kind.unwrap_or_else(|| "application/sdp".to_owned());
        let body = hidden::body(&kind, &text.as_bytes()[at..], listen.address.ip());
        Cow::Owned(format!("{}{}", &text[..at], String::from_utf8_lossy(&body)))
    }
}
