//! Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3).
use crate::message::{Essentials, Message, Name};

/// Branches that begin so identify a transaction alone.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// The key of a server transaction. An ACK has the key of its INVITE; a CANCEL asks for
/// the key of what it cancels with `method`.
pub fn server_key(message: &Message<'_>, essentials: &Essentials<'_>, method: &str) -> String {
    let method = if method == "ACK" { "INVITE" } else { method };
    let via = &essentials.via;
    match via.branch() {
        Some(branch) if branch.starts_with(MAGIC_COOKIE) => {
            let port = via.port.unwrap_or(0);
            format!("{branch} {}:{port} {method}", via.host.to_ascii_lowercase())
        }
        _ => {
            // RFC 2543 peers: the top Via, From tag, Call-ID and CSeq number together.
            let via = message.get(Name::Via).unwrap_or_default();
            let tag = essentials.from.tag().unwrap_or_default();
            format!(
                "{via} {tag} {} {} {method}",
                essentials.call_id, essentials.cseq
            )
        }
    }
}

/// The key of a client transaction: our branch and the method in CSeq.
pub fn client_key(branch: &str, method: &str) -> String {
    format!("{branch} {method}")
}
