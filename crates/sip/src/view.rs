//! What the engine tells its host: confirmed dialogs, and its own state in figures.
use serde::{Serialize, Serializer};

/// Which side of a dialog the application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The peer called.
    Uas,
    /// The application called.
    Uac,
}

/// A confirmed dialog as the log has it: enough to build a `Srf.Dialog`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DialogView {
    /// `Call-ID;from-tag=tag`, what drachtio-srf calls stackDialogId.
    pub id: String,
    /// The application's side.
    pub role: Role,
    /// `callId/legNo` when call control named the leg with `X-Leg`.
    pub leg: Option<String>,
    /// The transaction of the INVITE.
    pub transaction_id: String,
    /// The INVITE as the application saw or sent it.
    pub request: String,
    /// The 2xx.
    pub response: String,
    /// `udp` or `tcp`.
    pub protocol: String,
    /// The peer's address.
    pub address: String,
    /// The peer's port.
    pub port: u16,
    /// Our address in this dialog.
    pub local_address: String,
    /// Our port in this dialog.
    pub local_port: u16,
    /// The peer's BYE is committed and nobody has finished it yet.
    pub ended_remotely: bool,
}

/// What changed in the replicated state, on every node, in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// A dialog was confirmed, or changed (new SDP, ended).
    DialogConfirmed(DialogView),
    /// A dialog is gone.
    DialogRemoved {
        /// Its id.
        id: String,
    },
    /// A registered device stopped or began to answer OPTIONS; told on the leader only.
    ContactReachable {
        /// Whose.
        user: String,
        /// Its Contact URI.
        contact: String,
        /// Whether it answers.
        reachable: bool,
    },
}

impl Serialize for EngineEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "camelCase")]
        enum Tagged<'a> {
            DialogConfirmed {
                dialog: &'a DialogView,
            },
            DialogRemoved {
                id: &'a str,
            },
            ContactReachable {
                user: &'a str,
                contact: &'a str,
                reachable: bool,
            },
        }
        match self {
            EngineEvent::DialogConfirmed(dialog) => Tagged::DialogConfirmed { dialog },
            EngineEvent::DialogRemoved { id } => Tagged::DialogRemoved { id },
            EngineEvent::ContactReachable {
                user,
                contact,
                reachable,
            } => Tagged::ContactReachable {
                user,
                contact,
                reachable: *reachable,
            },
        }
        .serialize(serializer)
    }
}

/// The engine in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineStatus {
    /// Whether this node answers phones.
    pub leading: bool,
    /// Live transactions.
    pub transactions: usize,
    /// Confirmed dialogs.
    pub dialogs: usize,
    /// Bindings of all users.
    pub bindings: usize,
    /// SIP connections (TCP).
    pub connections: usize,
    /// Authenticated application connections.
    pub applications: usize,
}
