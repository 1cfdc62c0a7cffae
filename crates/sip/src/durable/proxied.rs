//! A proxied INVITE in the journal: enough for the next leader to go on with its branches.
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::earlier::ProxyOne;
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
    /// When timer C ends it, Unix milliseconds; at most half a minute older than it really is.
    pub rings_until_ms: u64,
    /// Where it goes when this server fails (RFC 3263 section 4.3).
    pub alternatives: Vec<Flow>,
    /// The name all of them must prove over TLS.
    pub host: Option<String>,
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
    One(ProxyOne),
    Two(ProxyRecord),
}

impl ProxyRecord {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let versioned = Versioned::Two(self.clone());
        postcard::to_stdvec(&versioned).expect("records hold plain values only")
    }

    /// Reads the stored form; None when it is not one of ours.
    pub fn decode(bytes: &[u8]) -> Option<ProxyRecord> {
        match postcard::from_bytes(bytes).ok()? {
            Versioned::One(old) => Some(old.into()),
            Versioned::Two(record) => Some(record),
        }
    }
}
