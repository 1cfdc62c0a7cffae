//! Sockets: binding to addresses that may come later, datagrams in batches, TLS. The only
//! place with system calls of our own.

pub mod bind;
pub mod dns;
pub mod tls;
pub mod udp;
