//! A proxied INVITE in the journal: enough for the next leader to go on with its branches.
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::engine::flow::Flow;
use crate::proxy::Machine;

/// Prefix of proxied INVITEs.
pub const PROXY: &str = "sip:proxy:";

/// The key of a proxied INVITE, by the transaction id of the caller's request.
pub fn proxy_key(id: &str) -> String {
    format!("{PROXY}{id}")
}

/// One branch as it was sent, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchRecord {
    /// Its transaction id; empty while its host is being looked up.
    pub client: String,
    /// Exactly as sent.
    pub request: ByteBuf,
    /// Between whom.
    pub flow: Option<Flow>,
    /// When it was begun, Unix milliseconds.
    pub begun_ms: u64,
    /// Its final response.
    pub response: Option<ByteBuf>,
}

/// A proxied INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyRecord {
    /// The transaction id of the caller's request.
    pub id: String,
    /// What was tried and what came of it.
    pub machine: Machine,
    /// As many as the machine has.
    pub branches: Vec<BranchRecord>,
    /// We stay in the path of later requests.
    pub stay: bool,
    /// Start line and headers of the application.
    pub more: String,
}

#[derive(Serialize, Deserialize)]
enum Versioned {
    One(ProxyRecord),
}

impl ProxyRecord {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let versioned = Versioned::One(self.clone());
        postcard::to_stdvec(&versioned).expect("records hold plain values only")
    }

    /// Reads the stored form; None when it is not one of ours.
    pub fn decode(bytes: &[u8]) -> Option<ProxyRecord> {
        let Versioned::One(record) = postcard::from_bytes(bytes).ok()?;
        Some(record)
    }
}
