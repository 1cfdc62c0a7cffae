//! The replicated store of raftpbx: one Raft log, two deterministic appliers, one Redis door.
//!
//! Every change of a cluster (registrations, calls, dialogs, settings, call records) is a command
//! in one log that three servers agree on. This crate owns that log, the state it builds and the
//! doors through which the rest of the process and other programs reach it.
//!
//! # Layout
//!
//! - [`account`], [`config`], [`error`], [`event`], [`member`], [`reply`], [`status`]: the words
//!   of the public interface.
//! - [`limits`]: every bound of this crate, with its reason.
//! - [`store`]: [`Store`], the handle held by the bridge and the SIP engine.
//! - [`environment`]: clocks, threads, streams and randomness, which a simulation replaces.
//! - `proposer`: sequences, batches, holds and retries requests until the log has them.
//! - `keyspace`: the Redis-like state; `apply` is pure and deterministic.
//! - `sql`: the SQLite applier fed by the same log.
//! - `machine`: the state machine: keyspace, SQL and duplicate detection in log order.
//! - [`backup`]: all of the state as one stream, and back.
//! - `histogram`: how long things take.
//! - `snapshot`: the state machine as one checksummed file.
//! - `fuzzing`: entrances for fuzzers.
//! - `disk`: files as a trait, real or simulated with faults.
//! - `format`, `healing`: what a directory is checked for before it is used.
//! - `wal`: the write-ahead log: segments, checksums, group commit, recovery.
//! - `raft`: consensus and its transport; the only place that knows the Raft library.
//! - `resp`: the Redis protocol server.
//! - `mutations`: promises broken on purpose, for the proof; off in every product.
//! - [`certificates`]: the authority and certificates of a lab or a small site.
//!
//! # Invariants
//!
//! 1. Nothing is acknowledged before a majority has it on disk and this node has applied it.
//! 2. `apply` reads no clock, no randomness and no environment: the same log gives the same bytes.
//! 3. Every queue, map and buffer has a named bound in [`limits`].
#![forbid(clippy::todo)]

pub mod account;
pub mod backup;
mod batch;
pub mod certificates;
#[doc(hidden)]
pub mod clock;
pub mod config;
#[doc(hidden)]
pub mod disk;
#[doc(hidden)]
pub mod environment;
pub mod error;
pub mod event;
mod events;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod healing;
mod histogram;
mod keyspace;
pub mod limits;
mod machine;
pub mod member;
mod mutations;
mod origins;
mod proposer;
mod raft;
pub mod reply;
mod resp;
mod snapshot;
mod sql;
pub mod status;
pub mod store;
#[doc(hidden)]
pub mod testing;
mod wal;

pub use account::{Account, PasswordHash, Role};
pub use config::{PeerAddress, RespConfig, RespTls, StoreConfig, Timing, TlsFiles};
pub use error::StoreError;
pub use event::{Change, StoreEvent};
pub use member::{Member, MemberChange, MemberRefusal};
#[doc(hidden)]
pub use raft::Tuning;
pub use reply::{Command, Reply, Request};
pub use status::{Alarm, PeerStatus, StoreStatus};
pub use store::{ReadMode, Store};
