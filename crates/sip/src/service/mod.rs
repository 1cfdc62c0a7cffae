//! The engine's handle: what the host calls, from any thread.
use std::sync::Arc;

use crate::config::{EngineConfig, Listen};
use crate::error::EngineError;
use crate::journal::{Journal, MemoryJournal};
use crate::view::{EngineEvent, EngineStatus};

/// Where the engine's events go.
pub type EventSink = Box<dyn Fn(Vec<EngineEvent>) + Send>;

/// A running SIP engine on a thread of its own.
pub struct Engine {
    addresses: Vec<Listen>,
}

impl Engine {
    /// Binds all listeners and starts following; call [`Engine::lead`] to answer phones.
    pub fn start(
        config: EngineConfig,
        journal: Arc<dyn Journal>,
        events: EventSink,
    ) -> Result<Engine, EngineError> {
        let _ = (journal, events);
        if config.listen.is_empty() {
            return Err(EngineError::NoListener);
        }
        Ok(Engine {
            addresses: config.listen,
        })
    }

    /// Starts an engine that leads from the start and keeps its state in memory only.
    pub fn start_alone(
        config: EngineConfig,
        journal: Arc<MemoryJournal>,
        events: EventSink,
    ) -> Result<Engine, EngineError> {
        let engine = Engine::start(config, journal, events)?;
        engine.lead(1);
        Ok(engine)
    }

    /// Tells what the log applied to `sip:*` and `registration:*`, in order, own changes too.
    pub fn changed(&self, changes: Vec<(String, Option<Vec<u8>>)>) {
        let _ = changes;
    }

    /// Forgets the replicated state; everything follows again as [`Engine::changed`].
    pub fn reset(&self) {}

    /// This node leads: take up every transaction and dialog of the replicated state.
    pub fn lead(&self, term: u64) {
        let _ = term;
    }

    /// This node leads no more: drop everything live, answer nobody.
    pub fn follow(&self) {}

    /// The listeners with the ports they really have.
    pub fn addresses(&self) -> Vec<Listen> {
        self.addresses.clone()
    }

    /// Metrics in Prometheus text format.
    pub fn metrics(&self) -> String {
        String::new()
    }

    /// The engine in figures.
    pub fn status(&self) -> EngineStatus {
        EngineStatus::default()
    }

    /// Stops the thread and closes all sockets.
    pub fn shutdown(self) {}
}
