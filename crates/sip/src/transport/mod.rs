//! Sockets: binding to addresses that may come later, and datagrams in batches. The only
//! place with system calls of our own.

pub mod bind;
pub mod udp;
