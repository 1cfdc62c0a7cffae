//! Parties in browsers: ICE (RFC 8445) finds the way to them, DTLS (RFC 5764) makes their keys.
//!
//! Pure apart from random numbers. Invariant: nothing from such a party is believed before it has
//! proved that it knows what signalling said: the password of ICE, the key behind the fingerprint.
//!
//! ```text
//!   offer, answer -> line (what both said) --Spec--> leg (on the worker that owns the flow)
//!   datagram -> first byte (RFC 7983) -> STUN: ice | DTLS: handshake -> keys of srtp
//! ```
//!
//! - `stun`: messages. `ice`: whose checks are answered, and our own towards who sends none.
//! - `fingerprint`, `identity`: certificates, theirs and ours. `handshake`: DTLS. `secrecy`: from
//!   agreement to keys, for one port.
//! - `describe`: what a description says. `line`: offers and answers. `leg`: one party of a flow.
//! - `state`: a party as it can be handed to another media server.

mod describe;
mod fingerprint;
mod handshake;
mod ice;
mod identity;
mod leg;
mod line;
mod secrecy;
mod state;
pub mod stun;

pub use describe::{Peer, is_browser};
pub use fingerprint::Fingerprint;
pub(crate) use handshake::Handshake;
pub use ice::Credentials;
pub(crate) use ice::Remote;
pub use identity::{Identity, WebrtcCounts};
pub use leg::{Control, Leg, Spec, Taken};
pub use line::LineLegs;
pub use state::{DtlsState, IceState, KeyState, LegState, RtcpState};
