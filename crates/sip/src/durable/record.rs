//! Records: versioned, compact, complete enough to carry on from.
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::earlier::{DialogOne, DialogTwo, TransactionOne, TransactionTwo};
use crate::dialog::Dialog;
use crate::dialog::session::Session;
use crate::dialog::subscription::Subscription;
use crate::engine::flow::Flow;
use crate::view::{DialogView, Role};

/// Prefix of transaction keys.
pub const TRANSACTION: &str = "sip:transaction:";
/// Prefix of dialog keys.
pub const DIALOG: &str = "sip:dialog:";
/// Prefix of registration keys.
pub const REGISTRATION: &str = "registration:";

/// The key of a transaction.
pub fn transaction_key(id: &str) -> String {
    format!("{TRANSACTION}{id}")
}

/// The key of a dialog.
pub fn dialog_key(id: &str) -> String {
    format!("{DIALOG}{id}")
}

/// The key of a user's bindings.
pub fn registration_key(user: &str) -> String {
    format!("{REGISTRATION}{user}")
}

/// Who sent the INVITE of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The peer.
    Server,
    /// The application.
    Client,
}

/// An INVITE transaction that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionRecord {
    /// The id the application knows.
    pub id: String,
    /// Who called.
    pub side: Side,
    /// The INVITE: as the application saw it, or exactly as sent.
    pub request: ByteBuf,
    /// Between whom.
    pub flow: Flow,
    /// The authenticated user.
    pub user: Option<String>,
    /// `X-Leg` of the application.
    pub leg: Option<String>,
    /// The dialog a re-INVITE belongs to.
    pub dialog: Option<String>,
    /// A CANCEL was accepted or asked for.
    pub cancelled: bool,
    /// The 2xx that waits for its ACK.
    pub answer: Option<ByteBuf>,
    /// The newest reliable provisional response.
    pub provisional: Option<Provisional>,
    /// Where a request of ours goes when this server fails (RFC 3263 section 4.3).
    pub alternatives: Vec<Flow>,
    /// The name all of them must prove over TLS.
    pub host: Option<String>,
}

/// A reliable provisional response (RFC 3262) to an INVITE of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisional {
    /// Its RSeq.
    pub rseq: u32,
    /// Exactly as sent.
    pub bytes: ByteBuf,
    /// The PRACK came.
    pub acknowledged: bool,
}

/// How a dialog is ending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The peer sent this BYE.
    Remote {
        /// The BYE as the application sees it.
        bye: ByteBuf,
        /// Where it came from.
        flow: Flow,
        /// Its transaction id.
        transaction_id: String,
        /// When, Unix milliseconds.
        at_ms: u64,
    },
    /// We send this BYE.
    Local {
        /// Exactly as sent.
        bye: ByteBuf,
        /// Where to.
        flow: Flow,
        /// Its transaction id.
        transaction_id: String,
    },
}

/// A confirmed dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialogRecord {
    /// `Call-ID;from-tag=tag`.
    pub id: String,
    /// Our side.
    pub role: Role,
    /// Sequence numbers, route set, targets.
    pub dialog: Dialog,
    /// Between whom.
    pub flow: Flow,
    /// `X-Leg` of the application.
    pub leg: Option<String>,
    /// Transaction id of the INVITE.
    pub transaction_id: String,
    /// CSeq number of the last INVITE we sent in it: what an ACK of ours carries.
    pub invite_seq: u32,
    /// The INVITE as the application saw or sent it, with the newest SDP.
    pub request: ByteBuf,
    /// The 2xx, with the newest SDP.
    pub response: ByteBuf,
    /// Set when it is ending.
    pub end: Option<End>,
    /// An INVITE made it, and no BYE has ended that yet.
    pub is_call: bool,
    /// The session timer, when one was agreed on.
    pub session: Option<Session>,
    /// Subscriptions in it.
    pub subscriptions: Vec<Subscription>,
    /// Tags of its application: only one with such a tag may take it over.
    pub tags: Vec<String>,
}

impl DialogRecord {
    /// What the host is told.
    pub fn view(&self) -> DialogView {
        DialogView {
            id: self.id.clone(),
            role: self.role,
            leg: self.leg.clone(),
            transaction_id: self.transaction_id.clone(),
            request: String::from_utf8_lossy(&self.request).into_owned(),
            response: String::from_utf8_lossy(&self.response).into_owned(),
            protocol: self.flow.transport.name().to_owned(),
            address: self.flow.remote.ip().to_string(),
            port: self.flow.remote.port(),
            local_address: self.flow.local.ip().to_string(),
            local_port: self.flow.local.port(),
            ended_remotely: matches!(self.end, Some(End::Remote { .. })),
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        encode(&VersionedDialog::Three(self.clone()))
    }

    /// Reads the stored form; None when it is not one of ours.
    pub fn decode(bytes: &[u8]) -> Option<DialogRecord> {
        match postcard::from_bytes(bytes).ok()? {
            VersionedDialog::One(old) => Some(old.into()),
            VersionedDialog::Two(old) => Some(old.into()),
            VersionedDialog::Three(record) => Some(record),
        }
    }
}

impl TransactionRecord {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        encode(&VersionedTransaction::Three(self.clone()))
    }

    /// Reads the stored form; None when it is not one of ours.
    pub fn decode(bytes: &[u8]) -> Option<TransactionRecord> {
        match postcard::from_bytes(bytes).ok()? {
            VersionedTransaction::One(old) => Some(old.into()),
            VersionedTransaction::Two(old) => Some(old.into()),
            VersionedTransaction::Three(record) => Some(record),
        }
    }
}

/// A new layout becomes a new variant; old ones stay readable.
#[derive(Serialize, Deserialize)]
enum VersionedDialog {
    One(DialogOne),
    Two(DialogTwo),
    Three(DialogRecord),
}

#[derive(Serialize, Deserialize)]
enum VersionedTransaction {
    One(TransactionOne),
    Two(TransactionTwo),
    Three(TransactionRecord),
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    postcard::to_stdvec(record).expect("records hold plain values only")
}
