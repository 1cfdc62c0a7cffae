//! Sessions that outlive their engine.
//!
//! `snapshot` writes a session down; whoever owns the call keeps that beside it. When the engine
//! dies, another one makes the same session of it with `restore`: its sockets are bound to the
//! ports the parties know, at an address that is not there yet. So it is armed, and silent. With
//! `activate` the address comes ([`Addresses`]), and with it the packets.
//!
//! ```text
//!   engine A --snapshot--> owner of the call --restore--> engine B: armed
//!      dies                                  --activate-> engine B: the address is here
//! ```
//!
//! Invariants: what was written down before the engine died is enough, however old it is (see
//! `srtp::state`); no key stream is used twice; an address is taken by command alone, and only one
//! that the configuration names.

mod addresses;
mod engine;
mod session;

pub use addresses::{Addresses, Held};
pub use session::SessionState;
