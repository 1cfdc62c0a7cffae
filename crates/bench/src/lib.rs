//! Load generators, each a program under `src/bin`, and what they share.
//!
//! Owner of nothing that lasts. Invariant: a load ends by itself after its seconds and only
//! goes to loopback or private addresses.
//!
//! # Layout
//! - [`options`]: command lines. [`cpu`]: processor time of a process.
//! - [`ng`]: sets calls up at any NG server. [`cycles`]: nothing but that.
//! - [`profile`]: what the phones of a call speak. [`plan`]: which packet is sent when.
//! - [`speech`]: what is in the packets; [`sound`]: a voice for it.
//! - [`traffic`]: the sending and the receiving thread. [`results`]: latency and the report.
//! - [`room`]: the load of a room.

pub mod cpu;
pub mod cycles;
pub mod ng;
pub mod options;
pub mod plan;
pub mod profile;
pub mod results;
pub mod room;
pub mod sound;
pub mod speech;
pub mod traffic;

use std::io;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The NG server refused or answered nonsense.
    #[error("NG server: {0}")]
    Server(String),
}

impl BenchError {
    /// For `map_err`: names what was attempted.
    pub fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
        let action = action.into();
        move |source| BenchError::System { action, source }
    }
}
