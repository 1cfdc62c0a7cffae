//! The SIP engine of raftpbx: transports, transactions, dialogs, registrar, and the
//! drachtio wire protocol toward call control.
//!
//! Invariant: the message that stops a peer's retransmissions is never sent before the
//! state it acknowledges is committed to the [`Journal`].
//!
//! # Layout
//!
//! - [`config`], [`journal`], [`view`], [`error`]: what a host hands in and gets back.
//! - [`policy`]: what a host chooses beyond the standards.
//! - [`limits`]: every bound of this crate, each with its reason.
//! - [`message`]: the parser, typed headers, stream framing, building.
//! - [`transaction`], [`dialog`], [`proxy`], [`registrar`], [`digest`], [`defence`]: the
//!   machines, pure; [`generations`], a map that forgets, for some of them.
//! - [`durable`]: the records in the journal and each node's copy of them.
//! - [`drachtio`]: the wire protocol toward call control, pure.
//! - [`engine`]: the core that puts these together, `step(now, input)` to outputs.
//! - [`trace`]: copies of the newest messages, and of all for a collector.
//! - [`seal`]: what only this cluster can read again.
//! - [`trust`]: whose word on identities counts.
//! - [`transport`], [`service`]: sockets, and the [`Engine`] handle with its thread.
pub mod config;
pub mod defence;
pub mod dialog;
pub mod digest;
pub mod drachtio;
pub mod durable;
pub mod engine;
pub mod error;
pub mod generations;
pub mod journal;
pub mod limits;
pub mod message;
pub mod policy;
pub mod proxy;
pub mod registrar;
pub mod seal;
pub mod service;
pub mod trace;
pub mod transaction;
pub mod transport;
pub mod trust;
pub mod view;

pub use config::{
    DrachtioConfig, EngineConfig, HandlerMethod, HepConfig, Listen, RegistrarConfig,
    RequestHandler, TlsFiles, TopologyHiding, Transport,
};
pub use dialog::session::SessionTimer;
pub use digest::Offer;
pub use engine::dialog_counts::DialogLimits;
pub use error::EngineError;
pub use journal::{Credentials, Journal, JournalError, JournalOp, MemoryJournal, digest_ha1};
pub use policy::{RegistrarPolicy, WhenFull};
pub use service::Engine;
pub use trace::{CallTrace, TracedMessage};
pub use trust::Network;
pub use view::{DialogView, EngineEvent, EngineStatus, Role};
