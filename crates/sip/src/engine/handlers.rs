//! Request handlers (section 9 of the protocol): a new request is shown to a web server, or
//! taken straight to an application that the engine connects to.
use serde::Deserialize;

use super::sending::Ticket;
use super::server::Stage;
use super::{AppId, Core, Id, Output};
use crate::config::HandlerMethod;
use crate::drachtio::command::ProxyCommand;
use crate::limits::{ANSWER_MS, OUTBOUND_MAX};
use crate::message::{Address, Message, Name, Start, Uri};

/// First id of connections made by the engine; those that were accepted are below.
const FIRST_OUTBOUND: AppId = 1 << 32;
/// Port of an application when the URL has none.
const PORT: u16 = 9_021;
/// What the caller hears when nobody could be asked or reached.
const UNREACHABLE: u16 = 480;

/// A question for a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// GET, or POST with the request as the body.
    pub method: HandlerMethod,
    /// The address.
    pub url: String,
    /// What the query says.
    pub query: Vec<(&'static str, String)>,
    /// The SIP request, for POST.
    pub body: String,
}

/// Where an application listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// With TLS.
    pub secure: bool,
}

impl Place {
    /// `host[:port][;transport=tcp|tls]`, also as `tcp:` or `tls:` URL.
    pub fn parse(text: &str) -> Option<Place> {
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme @ ("tcp" | "tls" | "sip"), rest)) => (scheme, rest),
            _ => ("tcp", text),
        };
        let rest = rest.trim_start_matches('/');
        let (address, parameters) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = crate::message::uri::host_and_port(address)?;
        let mut parameters = parameters.split(';').filter_map(|one| one.split_once('='));
        let transport = parameters.find(|(name, _)| name.eq_ignore_ascii_case("transport"));
        let transport = transport.map_or(scheme, |(_, value)| value);
        (!host.is_empty()).then(|| Place {
            host: host.to_owned(),
            port: port.unwrap_or(PORT),
            secure: transport.eq_ignore_ascii_case("tls"),
        })
    }
}

/// What a web server answers.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", content = "data", rename_all = "lowercase")]
enum Decision {
    Reject(Reject),
    Redirect(Redirect),
    Proxy(Proxy),
    Route(Route),
}

#[derive(Debug, Deserialize)]
struct Reject {
    status: u16,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Redirect {
    contacts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Proxy {
    record_route: bool,
    follow_redirects: bool,
    simultaneous: bool,
    provisional_timeout: String,
    final_timeout: String,
    destination: Destinations,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Destinations {
    One(String),
    Many(Vec<String>),
}

impl Default for Destinations {
    fn default() -> Self {
        Destinations::Many(Vec::new())
    }
}

#[derive(Debug, Deserialize)]
struct Route {
    uri: Option<String>,
    tag: Option<String>,
}

impl Core {
    /// Whether requests of a method are decided outside.
    pub(super) fn has_handler(&self, method: &str) -> bool {
        self.handler(method).is_some()
    }

    fn handler(&self, method: &str) -> Option<&crate::config::RequestHandler> {
        let all = &self.setup.request_handlers;
        let own = all.iter().find(|handler| handler.sip_method == method);
        own.or_else(|| all.iter().find(|handler| handler.sip_method == "*"))
    }

    /// Asks outside what to do with a request; false when there is nobody to ask.
    pub(super) fn ask_handler(&mut self, id: &Id) -> bool {
        let Some(server) = self.servers.get(id) else {
            return false;
        };
        if server.stage != Stage::Open || server.cancelled || server.dialog.is_some() {
            return false;
        }
        let Some(handler) = self.handler(&server.method) else {
            return false;
        };
        let (url, method) = (handler.url.clone(), handler.http_method);
        if let Some(server) = self.servers.get_mut(id) {
            server.asked = true;
        }
        let web = ["http:", "https:"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        if !web {
            self.reach(id, &url);
            return true;
        }
        if self.questions.len() >= OUTBOUND_MAX {
            self.unreachable(id);
            return true;
        }
        let Some(question) = self.question(id, url, method) else {
            self.unreachable(id);
            return true;
        };
        let token = self.token();
        self.questions.insert(token, id.clone());
        self.out.push(Output::Ask { token, question });
        true
    }

    fn question(&self, id: &Id, url: String, method: HandlerMethod) -> Option<Question> {
        let server = self.servers.get(id)?;
        let message = Message::parse(&server.request).ok()?;
        let Start::Request { method: verb, uri } = message.start else {
            return None;
        };
        let user = |name: Name| {
            let address = message.get(name).and_then(Address::parse);
            let uri = address.and_then(|address| Uri::parse(address.uri));
            uri.and_then(|uri| uri.user).unwrap_or_default().to_owned()
        };
        let target = Uri::parse(uri);
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        Some(Question {
            method,
            url,
            query: vec![
                ("method", verb.to_owned()),
                ("domain", text(target.map(|uri| uri.host))),
                ("protocol", server.flow.transport.name().to_owned()),
                ("source_address", server.flow.remote.ip().to_string()),
                ("fromUser", user(Name::From)),
                ("toUser", user(Name::To)),
                ("uriUser", text(target.and_then(|uri| uri.user))),
                ("uri", uri.to_owned()),
                ("contentType", text(message.get(Name::ContentType))),
            ],
            body: String::from_utf8_lossy(&server.request).into_owned(),
        })
    }

    /// The web server answered, or did not.
    pub(super) fn handler_answered(&mut self, token: u64, answer: Option<&str>) {
        let Some(id) = self.questions.remove(&token) else {
            return;
        };
        let decision = answer.map(serde_json::from_str::<Decision>);
        match decision {
            Some(Ok(decision)) => self.decide_request(&id, decision),
            Some(Err(error)) => {
                tracing::warn!(callId = %id, %error, "a request handler answers nonsense");
                self.unreachable(&id);
            }
            None => self.unreachable(&id),
        }
    }

    fn decide_request(&mut self, id: &Id, decision: Decision) {
        match decision {
            Decision::Reject(Reject { status, reason }) if (300..700).contains(&status) => {
                let reason = reason.unwrap_or_default();
                self.answer_with_phrase(id, status, &reason);
            }
            Decision::Redirect(Redirect { contacts }) if !contacts.is_empty() => {
                let contacts: Vec<String> = contacts.iter().map(|c| bracketed(c)).collect();
                self.answer_ourselves(id, 302, &[("Contact", &contacts.join(", "))]);
            }
            Decision::Proxy(proxy) => {
                let destinations = match proxy.destination {
                    Destinations::One(one) => one,
                    Destinations::Many(many) => many.join("|"),
                };
                let command = ProxyCommand {
                    transaction_id: id,
                    remain_in_dialog: proxy.record_route,
                    full_response: false,
                    follow_redirects: proxy.follow_redirects,
                    simultaneous: proxy.simultaneous,
                    provisional_timeout: &proxy.provisional_timeout,
                    final_timeout: &proxy.final_timeout,
                    destinations: &destinations,
                    message: "INVITE sip:handler SIP/2.0\r\n",
                };
                // Nobody waits for the answer to this command.
                let ticket = Ticket {
                    app: 0,
                    id: String::new(),
                };
                self.proxy_command(ticket, &command);
                if !self.is_forwarded(id) {
                    self.unreachable(id);
                }
            }
            Decision::Route(Route { uri: Some(uri), .. }) => self.reach(id, &uri),
            Decision::Route(Route { tag: Some(tag), .. }) => {
                if let Some(server) = self.servers.get_mut(id) {
                    server.tag = Some(tag);
                }
                if !self.deliver(id) {
                    self.unreachable(id);
                }
            }
            _ => self.unreachable(id),
        }
    }

    /// Connects to the application that is to have a request.
    fn reach(&mut self, id: &Id, text: &str) {
        let place = Place::parse(text).filter(|_| self.called_for.len() < OUTBOUND_MAX);
        let Some(place) = place else {
            tracing::warn!(callId = %id, place = text, "cannot connect to an application there");
            self.unreachable(id);
            return;
        };
        self.outbound += 1;
        let app = FIRST_OUTBOUND + self.outbound;
        self.called_for.insert(app, id.clone());
        self.out.push(Output::Dial { app, place });
    }

    /// The application the engine connected to presented the secret.
    pub(super) fn reached(&mut self, app: AppId) {
        let Some(id) = self.called_for.remove(&app) else {
            return;
        };
        let open = |s: &&mut super::server::Server| s.stage == Stage::Open && !s.cancelled;
        match self.servers.get_mut(&id).filter(open) {
            Some(server) => {
                server.app = Some(app);
                self.deliver(&id);
            }
            // The caller gave up meanwhile.
            None => self.close_app(app),
        }
    }

    /// The application could not be connected to, or went away before it had the request.
    pub(super) fn not_reached(&mut self, app: AppId) {
        if let Some(id) = self.called_for.remove(&app) {
            self.unreachable(&id);
        }
    }

    fn unreachable(&mut self, id: &Id) {
        let open = |s: &&super::server::Server| s.stage == Stage::Open && !s.cancelled;
        if self.servers.get(id).filter(open).is_some() {
            self.answer_ourselves(id, UNREACHABLE, &[]);
        }
    }
}

/// A Contact value around a bare URI.
fn bracketed(contact: &str) -> String {
    if contact.contains('<') {
        contact.to_owned()
    } else {
        format!("<{contact}>")
    }
}

/// How long a web server may take: its request must be answered before that.
pub const QUESTION_MS: u64 = ANSWER_MS / 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_applications() {
        for (text, host, port, secure) in [
            ("10.0.0.1:9022;transport=tls", "10.0.0.1", 9_022, true),
            ("app.example", "app.example", 9_021, false),
            ("tcp://app.example:1", "app.example", 1, false),
            ("tls:[::1]:9023", "::1", 9_023, true),
        ] {
            let place = Place::parse(text).expect("a place");
            assert_eq!(
                (place.host.as_str(), place.port, place.secure),
                (host, port, secure)
            );
        }
        assert_eq!(Place::parse(""), None);
    }

    #[test]
    fn decisions_are_read_as_web_servers_write_them() {
        for text in [
            r#"{"action":"reject","data":{"status":503,"reason":"Later"}}"#,
            r#"{"action":"redirect","data":{"contacts":["sip:a@b"]}}"#,
            r#"{"action":"proxy","data":{"recordRoute":true,"destination":"sip:a@b"}}"#,
            r#"{"action":"proxy","data":{"destination":["sip:a@b","sip:c@d"],"finalTimeout":"9s"}}"#,
            r#"{"action":"route","data":{"uri":"10.0.0.1:9022;transport=tls"}}"#,
            r#"{"action":"route","data":{"tag":"red"}}"#,
        ] {
            assert!(serde_json::from_str::<Decision>(text).is_ok(), "{text}");
        }
        assert!(serde_json::from_str::<Decision>(r#"{"action":"dance"}"#).is_err());
    }
}
