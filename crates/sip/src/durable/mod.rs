//! What survives a leader: the records in the journal and every node's copy of them.
//!
//! Owner of `sip:transaction:*`, `sip:dialog:*` and `registration:*`: the leading engine;
//! `sip:peer:*` is call control's.
//! Followers only decode what the log applied.
#![forbid(unsafe_code)]

pub mod earlier;
pub mod peers;
pub mod proxied;
mod record;
pub mod replica;
#[cfg(test)]
mod tests;

pub use record::{
    DIALOG, DialogRecord, End, Provisional, REGISTRATION, Side, TransactionRecord, dialog_key,
    registration_key, transaction_key,
};
pub use replica::{Reach, Replica};
