//! The drachtio wire protocol toward call control: framing, commands, messages, and the
//! rules for headers an application may set. Pure; the sockets are in `service`.
#![forbid(unsafe_code)]

pub mod command;
pub mod format;
pub mod frame;
pub mod headers;
#[cfg(test)]
mod tests;

pub use command::{Command, ProxyCommand, SipCommand};
pub use frame::{FrameError, FrameReader, write_frame};
