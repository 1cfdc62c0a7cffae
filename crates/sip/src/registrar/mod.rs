//! The registrar (RFC 3261 section 10.3), pure: bindings and a wish go in, bindings or a
//! refusal come out.
//!
//! # Layout
//! - `request`: what a REGISTER asks for; `seen`: where its device can be reached
//! - `machine`: the rules; `binding`: what is stored
//! - `gruu`: names of single devices (RFC 5627)
//!
//! Owner: `registration:{user}` in the journal; this module only computes the next value.
//! It keeps no transactions: answering a repeated REGISTER changes nothing.
#![forbid(unsafe_code)]

pub mod binding;
pub mod gruu;
pub mod machine;
pub mod request;
pub mod seen;
#[cfg(test)]
mod tests;

pub use binding::{Binding, Push, Registration};
pub use gruu::{Gruu, Gruus};
pub use machine::{Outcome, Rules, Wish, register};
pub use request::{ContactWish, Contacts, contacts_of};
