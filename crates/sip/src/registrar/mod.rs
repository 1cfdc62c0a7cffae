//! The registrar (RFC 3261 section 10.3), pure: bindings and a wish go in, bindings or a
//! refusal come out.
//!
//! Owner: `registration:{user}` in the journal; this module only computes the next value.
//! It keeps no transactions: answering a repeated REGISTER changes nothing.
#![forbid(unsafe_code)]

pub mod binding;
pub mod machine;
pub mod request;
#[cfg(test)]
mod tests;

pub use binding::{Binding, Registration};
pub use machine::{Outcome, Rules, Wish, register};
pub use request::{ContactWish, Contacts, contacts_of};
