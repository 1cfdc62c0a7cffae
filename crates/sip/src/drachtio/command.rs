//! What an application says.

/// A parsed payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// The application's message id: answers carry it.
    pub id: &'a str,
    /// What it wants.
    pub kind: Kind<'a>,
}

/// The commands of section 2 of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Present the secret.
    Authenticate {
        /// The secret.
        secret: &'a str,
        /// `tag1,tag2`: what this application is, for routing; may be empty.
        tags: &'a str,
    },
    /// Ask for requests of a method, or for call records (`cdr:...`).
    Route {
        /// Lower-case method.
        verb: &'a str,
    },
    /// Ask no more.
    RemoveRoute {
        /// Lower-case method.
        verb: &'a str,
    },
    /// Is anybody there?
    Ping,
    /// Send a SIP message.
    Sip(SipCommand<'a>),
    /// Forward a request.
    Proxy(ProxyCommand<'a>),
    /// Something else, or too little of something: the connection is closed with this text.
    Invalid(&'static str),
}

/// How a request is to be forwarded (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyCommand<'a> {
    /// The request.
    pub transaction_id: &'a str,
    /// Stay in the path of later requests.
    pub remain_in_dialog: bool,
    /// Tell each final response, then `done`; else `done` at once.
    pub full_response: bool,
    /// Try the Contacts of a 3xx.
    pub follow_redirects: bool,
    /// All destinations at once rather than one after the other.
    pub simultaneous: bool,
    /// How long to wait for any response, `2s` or `1500ms`; empty for no limit.
    pub provisional_timeout: &'a str,
    /// How long to wait for a final response.
    pub final_timeout: &'a str,
    /// Where to, joined by `|`.
    pub destinations: &'a str,
    /// A start line and headers to be added or replaced.
    pub message: &'a str,
}

/// A SIP message from the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipCommand<'a> {
    /// The transaction to answer or cancel; empty for none.
    pub transaction_id: &'a str,
    /// The dialog to send in; empty for none.
    pub dialog_id: &'a str,
    /// Where to send instead of the Request-URI; empty for none.
    pub route_url: &'a str,
    /// The message.
    pub message: &'a str,
}

impl<'a> Command<'a> {
    /// Parses a payload; None when it has no type.
    pub fn parse(payload: &'a str) -> Option<Command<'a>> {
        let (leader, message) = payload.split_once("\r\n").unwrap_or((payload, ""));
        let count = leader.split('|').count();
        let mut tokens = leader.split('|');
        let (id, kind) = (tokens.next()?, tokens.next()?);
        let mut token = || tokens.next().unwrap_or("");
        let kind = match kind {
            "authenticate" => {
                let (secret, tags) = (token(), token());
                Kind::Authenticate { secret, tags }
            }
            "route" => Kind::Route { verb: token() },
            "remove_route" => Kind::RemoveRoute { verb: token() },
            "ping" => Kind::Ping,
            "sip" if count < 4 => Kind::Invalid("Invalid message format"),
            "sip" => {
                let (transaction_id, dialog_id, route_url) = (token(), token(), token());
                Kind::Sip(SipCommand {
                    transaction_id,
                    dialog_id,
                    route_url,
                    message,
                })
            }
            "proxy" if count < 10 => {
                Kind::Invalid("Invalid proxy request: not enough information provided")
            }
            "proxy" => Kind::Proxy(ProxyCommand {
                transaction_id: token(),
                remain_in_dialog: token() == "remainInDialog",
                full_response: token() == "fullResponse",
                follow_redirects: token() == "followRedirects",
                simultaneous: token() == "simultaneous",
                provisional_timeout: token(),
                final_timeout: token(),
                destinations: leader.splitn(10, '|').nth(9).unwrap_or_default(),
                message,
            }),
            _ => Kind::Invalid("Unknown message type"),
        };
        Some(Command { id, kind })
    }
}
