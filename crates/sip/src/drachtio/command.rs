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
    Proxy,
    /// Something else: the connection is closed.
    Unknown,
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
        let mut tokens = leader.split('|');
        let (id, kind) = (tokens.next()?, tokens.next()?);
        let mut token = || tokens.next().unwrap_or("");
        let kind = match kind {
            "authenticate" => Kind::Authenticate { secret: token() },
            "route" => Kind::Route { verb: token() },
            "remove_route" => Kind::RemoveRoute { verb: token() },
            "ping" => Kind::Ping,
            "sip" => {
                let (transaction_id, dialog_id, route_url) = (token(), token(), token());
                Kind::Sip(SipCommand {
                    transaction_id,
                    dialog_id,
                    route_url,
                    message,
                })
            }
            "proxy" => Kind::Proxy,
            _ => Kind::Unknown,
        };
        Some(Command { id, kind })
    }
}
