//! One simulated server: its clocks, its disk, and the node that runs on it, if one does.
//!
//! Each life of a node has a tokio runtime of its own, of one thread, with time that stands still
//! until the world moves it. Dropping the runtime is the crash: every task ends where it waits,
//! and nothing is tidied up. A server whose runtime is not moved is a paused one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raftpbx_store::clock::{Clock, TimeSource};
use raftpbx_store::disk::{Disk, SharedDisk, SimulatedDisk};
use raftpbx_store::environment::Environment;
use raftpbx_store::environment::workers::Workers;
use raftpbx_store::{Store, StoreConfig, StoreError, Tuning};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::clocks::Clocks;
use crate::defects::LyingDisk;
use crate::net::Net;

/// One server.
pub struct Node {
    /// Its number, from 1.
    pub id: u64,
    /// Its clocks.
    pub clocks: Arc<Clocks>,
    /// Its disk: log files live here.
    pub disk: SimulatedDisk,
    /// A defect: the disk says that it has flushed and has not.
    pub disk_lies: bool,
    /// Steps for which it stays paused.
    pub paused_ms: u64,
    /// A clock that gains (or loses) one millisecond in so many; 0 for a true one.
    pub drift: i64,
    config: StoreConfig,
    tuning: Tuning,
    net: Net,
    life: Option<Life>,
    owed_ms: u64,
    steps: i64,
}

struct Life {
    runtime: Runtime,
    opening: Option<JoinHandle<Result<Store, StoreError>>>,
    store: Option<Store>,
    /// Steps since the store was open.
    age_ms: u64,
    lease: Arc<AtomicU64>,
}

/// How a node ends without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: the kernel keeps its files and closes its connections.
    Kill,
    /// The power is lost: what was not flushed may be gone, and nobody is told.
    Power,
}

impl Node {
    /// A server whose node has not been started.
    pub fn new(config: StoreConfig, tuning: Tuning, net: Net, disk: SimulatedDisk) -> Self {
        Self {
            id: config.id,
            clocks: Arc::default(),
            disk,
            disk_lies: false,
            paused_ms: 0,
            drift: 0,
            config,
            tuning,
            net,
            life: None,
            owed_ms: 0,
            steps: 0,
        }
    }

    /// Starts the node; it opens its files in simulated time.
    pub fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without input and output needs nothing of the system");
        self.net.set_power(self.id, true);
        let disk: SharedDisk = if self.disk_lies {
            Arc::new(LyingDisk(self.disk.clone()))
        } else {
            Arc::new(self.disk.clone())
        };
        let environment = Environment {
            clock: Clock::from_source(self.clocks.clone()),
            workers: Workers::Tasks,
            network: self.net.of_server(self.id),
            disk,
        };
        let opening = Store::open_in(environment, self.config.clone(), self.tuning);
        let opening = Some(runtime.spawn(opening));
        self.life = Some(Life {
            runtime,
            opening,
            store: None,
            age_ms: 0,
            lease: Arc::default(),
        });
    }

    /// Whether a node runs here, open or not.
    pub fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// The open store.
    pub fn store(&self) -> Option<&Store> {
        self.life.as_ref()?.store.as_ref()
    }

    /// For how many steps its store has been open.
    pub fn age_ms(&self) -> u64 {
        self.life.as_ref().map_or(0, |life| life.age_ms)
    }

    /// Whether it is open and moves.
    pub fn is_serving(&self) -> bool {
        self.paused_ms == 0 && self.store().is_some()
    }

    /// The directory of the real files: SQLite and snapshots.
    pub fn directory(&self) -> &PathBuf {
        &self.config.directory
    }

    /// The segments of its log, in order.
    pub fn segments(&self) -> Vec<PathBuf> {
        let directory = self.config.directory.join("log");
        let names = self.disk.names(&directory).unwrap_or_default();
        let segments = names.into_iter().filter(|name| name.ends_with(".wal"));
        segments.map(|name| directory.join(name)).collect()
    }

    /// Whether the node believes that it may act as the leader right now.
    pub fn holds_lease(&self) -> bool {
        let lease = self.life.as_ref().map(|life| &life.lease);
        lease.is_some_and(|end| end.load(Ordering::Acquire) > self.clocks.boot_ns())
    }

    /// Spawns something on the node's runtime.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(life) = &self.life {
            life.runtime.spawn(work);
        }
    }

    /// Calls something inside the node's runtime.
    pub fn enter<T>(&self, work: impl FnOnce(&Store) -> T) -> Option<T> {
        let life = self.life.as_ref()?;
        let store = life.store.as_ref()?;
        let _inside = life.runtime.enter();
        Some(work(store))
    }

    /// Lets one true millisecond pass. Answers why the node could not open its files, if so.
    pub fn step(&mut self) -> Option<StoreError> {
        self.steps += 1;
        let by_ms = match self.drift {
            drift if drift > 0 && self.steps % drift == 0 => 2,
            drift if drift < 0 && self.steps % drift == 0 => 0,
            _ => 1,
        };
        if self.paused_ms > 0 {
            self.paused_ms -= 1;
            self.owed_ms += by_ms;
            self.clocks.advance(by_ms);
            return None;
        }
        let owed = std::mem::take(&mut self.owed_ms);
        let Some(life) = &mut self.life else {
            self.clocks.advance(by_ms);
            return None;
        };
        if owed > 0 {
            // The clocks went on while it was paused; its timers hear of it now.
            life.runtime
                .block_on(async { tokio::time::advance(Duration::from_millis(owed)).await });
        }
        for _ in 0..by_ms {
            life.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
            self.clocks.advance(1);
        }
        life.age_ms += u64::from(life.store.is_some());
        let opened = life.opening.take_if(|opening| opening.is_finished())?;
        match life.runtime.block_on(opened) {
            Ok(Ok(store)) => {
                life.lease = store.lease();
                life.store = Some(store);
                None
            }
            Ok(Err(error)) => Some(error),
            Err(error) => Some(StoreError::Storage(error.to_string())),
        }
    }

    /// Ends the node at once.
    pub fn crash(&mut self, how: Crash) {
        let Some(life) = self.life.take() else { return };
        if how == Crash::Power {
            self.net.set_power(self.id, false);
            self.disk.lose_power();
        }
        self.paused_ms = 0;
        self.owed_ms = 0;
        drop(life.runtime);
        drop(life.store);
    }

    /// Asks the node to stop; [`Node::crash`] ends it later.
    pub fn shut_down(&self) {
        if let Some(store) = self.store().cloned() {
            self.spawn(async move { store.shutdown().await });
        }
    }
}
