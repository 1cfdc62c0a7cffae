//! The Redis protocol door as clients see it: real bytes over real sockets, three nodes.

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod administration;
mod blocking;
mod door;
mod tls;
mod transactions;
mod views;
