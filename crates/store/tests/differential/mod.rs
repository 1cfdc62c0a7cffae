//! A real redis-server beside our keyspace: the wire, the commands and what may differ.

pub mod compare;
pub mod generate;
pub mod server;
