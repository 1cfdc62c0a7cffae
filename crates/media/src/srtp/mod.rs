//! Secure RTP: RFC 3711, RFC 6188 (longer keys), RFC 7714 (GCM), keyed by SDP (RFC 4568).
//!
//! Pure. Packets are protected and opened in place; nothing is allocated for one. A context
//! belongs to one direction of one leg and follows a bounded number of sources.
//!
//! - `suite`: the crypto suites. `keys`: from a master key to session keys.
//! - `cipher`: AES in counter mode and GCM, authentication. `index`: roll-over and replay.
//! - `outbound`, `inbound`: the two kinds of context. `sdes`: keys in session descriptions.
//! - `state`: contexts written down, for another engine.

mod cipher;
mod inbound;
mod index;
mod keys;
mod outbound;
pub mod sdes;
mod state;
mod suite;

#[cfg(test)]
mod tests;

pub use inbound::Inbound;
pub use keys::MasterKey;
pub use outbound::Outbound;
pub use state::{InboundState, OutboundState};
pub use suite::Suite;

/// Bytes a packet grows by at most: an authentication tag and, in SRTCP, its index.
pub const GROWTH_MAX: usize = 16 + 4;

/// The bit of the index of SRTCP that says the packet is encrypted (RFC 3711 section 3.4).
const ENCRYPTED: u32 = 1 << 31;

/// Why a packet was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unopened {
    /// Too short, or its header does not fit it.
    Malformed,
    /// It was seen before, or is too old to know.
    Replayed,
    /// Its tag is wrong: another key, or a forgery.
    Forged,
}

/// Where the payload of an RTP packet begins: behind fixed header, sources and extension.
fn payload_at(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut at = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = packet.get(at + 2..at + 4)?;
        at += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (at <= packet.len()).then_some(at)
}

/// Sequence number and source of an RTP packet that is long enough for a header.
fn rtp_fields(packet: &[u8]) -> Option<(u16, u32)> {
    let head = packet.first_chunk::<12>()?;
    let sequence = u16::from_be_bytes([head[2], head[3]]);
    Some((
        sequence,
        u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
    ))
}

/// Source of an RTCP packet that is long enough for a header.
fn rtcp_source(packet: &[u8]) -> Option<u32> {
    let head = packet.first_chunk::<8>()?;
    Some(u32::from_be_bytes([head[4], head[5], head[6], head[7]]))
}
