//! A deterministic simulator of a store cluster: the real code, a world that follows from a seed.
//!
//! ```text
//!  seed --> dice --> nemesis, clients, network, disks, clocks, election timeouts
//!                       |
//!  world: every simulated millisecond: network, clients, each node, oracle
//! ```
//!
//! One thread runs everything, each node on a tokio runtime of its own whose time the world moves.
//! The same seed gives the same run, so a failure found once is found again.
//!
//! - [`world`]: one run from the seed to the report.
//! - [`node`], [`clocks`], [`net`]: servers and what they stand on; disks are
//!   [`raftpbx_store::disk::SimulatedDisk`].
//! - [`nemesis`], [`damage`]: faults. [`operator`]: changes of the members. [`clients`]: requests.
//!   [`defects`]: promises broken on purpose.
//! - [`oracle`]: what must be true; [`history`], [`model`] and [`checker`]: linearizability.
//!
//! Invariant: nothing here reads a clock, a thread's fate or the order of a hash map.
#![forbid(unsafe_code)]

pub mod checker;
pub mod clients;
pub mod clocks;
pub mod damage;
pub mod defects;
pub mod dice;
pub mod history;
pub mod model;
pub mod nemesis;
pub mod net;
pub mod node;
pub mod operator;
pub mod oracle;
pub mod trace;
pub mod world;

pub use world::{Defect, Report, Scenario, run};
