//! SIP messages: a zero-copy header index, typed headers on demand, framing, building.
//!
//! Owner: nobody; everything here borrows from the bytes it was given.
//! Invariant: no input makes this module panic, and none is accepted beyond the limits.
#![forbid(unsafe_code)]

pub mod address;
pub mod build;
pub mod essentials;
pub mod framing;
pub mod lexical;
pub mod names;
pub mod parse;
pub mod stun;
pub mod uri;
pub mod via;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod torture;

pub use address::{Address, Params, list};
pub use build::Writer;
pub use essentials::{Essentials, Refusal};
pub use framing::{Frame, Framer, FramingError};
pub use names::{Name, canonical};
pub use parse::{Header, Message, ParseError, Start, latin1_to_utf8};
pub use uri::{Scheme, Uri};
pub use via::Via;
