//! The engine's handle: what the host calls, from any thread.
//!
//! Owner of the engine thread and its sockets. Calls return at once; what they mean happens
//! on the engine thread, in the order of the calls.
mod applications;
mod byte_stream;
mod collector;
mod handlers;
mod mailbox;
mod run;
mod shell;
mod streams;
mod tap;
mod udp_workers;
mod web_socket;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::config::{EngineConfig, Listen, Transport};
use crate::digest::directory::Directory;
use crate::engine::metrics::Metrics;
use crate::engine::{Core, Setup, status_of};
use crate::error::EngineError;
use crate::journal::{Journal, MemoryJournal};
use crate::limits::UDP_WORKERS_MAX;
use crate::trace::{CallTrace, Trace};
use crate::transport::bind;
use crate::transport::tls::Tls;
use crate::view::{EngineEvent, EngineStatus};

use mailbox::{Command, Mailbox};
use parking_lot::Mutex;
use run::Sockets;
use shell::Shell;
use tap::Tap;

/// Where the engine's events go; called on the engine thread.
pub type EventSink = Box<dyn Fn(Vec<EngineEvent>) + Send>;

/// A running SIP engine on a thread of its own.
pub struct Engine {
    addresses: Vec<Listen>,
    applications: SocketAddr,
    secure_applications: Option<SocketAddr>,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    trace: Option<Arc<Mutex<Trace>>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Binds all listeners and starts following; call [`Engine::lead`] to answer phones.
    pub fn start(
        config: EngineConfig,
        journal: Arc<dyn Journal>,
        events: EventSink,
    ) -> Result<Engine, EngineError> {
        if config.listen.is_empty() {
            return Err(EngineError::NoListener);
        }
        if config.authenticate_calls && config.registrar.is_none() {
            return Err(EngineError::NoRegistrar);
        }
        let (addresses, sockets) = open(&config)?;
        let applications = sockets
            .applications
            .local_addr()
            .map_err(EngineError::Thread)?;
        let secure = sockets.secure_applications.as_ref();
        let secure_applications = secure
            .map(TcpListener::local_addr)
            .transpose()
            .map_err(EngineError::Thread)?;
        let seed = random_seed().map_err(EngineError::Thread)?;
        let metrics = Arc::new(Metrics::default());
        let mailbox = Arc::new(Mailbox::default());
        let tap = Tap::open(&config, metrics.clone()).map_err(EngineError::Thread)?;
        let trace = tap.trace();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(EngineError::Thread)?;
        let (listen, for_thread) = (addresses.clone(), (mailbox.clone(), metrics.clone()));
        let thread = std::thread::Builder::new()
            .name("sip-engine".to_owned())
            .spawn(move || {
                let (mailbox, metrics) = for_thread;
                let core = core(config, listen, seed, journal.clone(), metrics);
                let shell = Shell::new(core, journal, events, mailbox.clone(), tap);
                run::run(&runtime, shell, sockets, &mailbox);
            })
            .map_err(EngineError::Thread)?;
        Ok(Engine {
            addresses,
            applications,
            secure_applications,
            mailbox,
            metrics,
            trace,
            thread: Some(thread),
        })
    }

    /// Starts an engine that leads from the start and keeps its state in memory only.
    pub fn start_alone(
        config: EngineConfig,
        journal: Arc<MemoryJournal>,
        events: EventSink,
    ) -> Result<Engine, EngineError> {
        let engine = Engine::start(config, journal.clone(), events)?;
        let mailbox = engine.mailbox.clone();
        journal.watch(move |changes| mailbox.command(Command::Changed(changes)));
        engine.lead(1);
        Ok(engine)
    }

    /// Tells what the log applied to `sip:*` and `registration:*`, in order, own changes too.
    pub fn changed(&self, changes: Vec<(String, Option<Vec<u8>>)>) {
        self.mailbox.command(Command::Changed(changes));
    }

    /// Forgets the replicated state; everything follows again as [`Engine::changed`].
    pub fn reset(&self) {
        self.mailbox.command(Command::Reset);
    }

    /// This node leads: take up every transaction and dialog of the replicated state.
    pub fn lead(&self, term: u64) {
        tracing::info!(term, "told to lead");
        self.mailbox.command(Command::Lead);
    }

    /// This node leads no more: drop everything live, answer nobody.
    pub fn follow(&self) {
        self.mailbox.command(Command::Follow);
    }

    /// The listeners with the ports they really have.
    pub fn addresses(&self) -> Vec<Listen> {
        self.addresses.clone()
    }

    /// Where applications connect.
    pub fn applications(&self) -> SocketAddr {
        self.applications
    }

    /// Where they connect over TLS.
    pub fn secure_applications(&self) -> Option<SocketAddr> {
        self.secure_applications
    }

    /// Metrics in Prometheus text format.
    pub fn metrics(&self) -> String {
        self.metrics.render()
    }

    /// The engine in figures.
    pub fn status(&self) -> EngineStatus {
        status_of(&self.metrics)
    }

    /// What this node said and heard of calls, each named by call control's id or by a Call-ID.
    pub fn trace(&self, ids: &[String]) -> CallTrace {
        let trace = self.trace.as_ref();
        trace.map_or_else(CallTrace::default, |trace| trace.lock().of(ids))
    }

    /// Stops the thread and closes all sockets.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.mailbox.command(Command::Stop);
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The event sink may own the last handle: a thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the engine thread panicked");
        }
    }
}

fn open(config: &EngineConfig) -> Result<(Vec<Listen>, Sockets), EngineError> {
    let tls = config.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
    let readers = config.udp_workers.clamp(1, UDP_WORKERS_MAX);
    let (mut addresses, mut udp, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    for listen in &config.listen {
        let failed = |source| EngineError::Bind {
            listen: *listen,
            source,
        };
        let transport = listen.transport;
        if transport.is_secure() && tls.is_none() {
            return Err(EngineError::NoCertificate(*listen));
        }
        let address = if transport == Transport::Udp {
            let sockets = bind::udp_shared(listen.address, readers).map_err(failed)?;
            let address = sockets[0].local_addr().map_err(failed)?;
            udp.push((address, sockets));
            address
        } else {
            let listener = bind::tcp(listen.address).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            streams.push((Listen { transport, address }, listener));
            address
        };
        addresses.push(Listen { transport, address });
    }
    let own = config.drachtio.tls.clone().map(Tls::open).transpose()?;
    let applications_tls = own.map(Arc::new).or_else(|| tls.clone());
    let (applications, secure_applications) = open_for_applications(config)?;
    let sockets = Sockets {
        udp,
        streams,
        per_source_max: config.connections_per_source,
        name_servers: config.name_servers.clone(),
        tls,
        applications,
        secure_applications,
        applications_tls,
    };
    Ok((addresses, sockets))
}

/// The listener for applications, and the one over TLS.
fn open_for_applications(
    config: &EngineConfig,
) -> Result<(TcpListener, Option<TcpListener>), EngineError> {
    let handlers = &config.request_handlers;
    let own = config.drachtio.tls.is_some();
    if let (None, false, Some(address)) = (&config.tls, own, config.drachtio.secure) {
        return Err(EngineError::NoApplicationCertificate(address));
    }
    let secure = handlers.iter().find(|one| one.url.starts_with("tls:"));
    if let (None, Some(handler)) = (&config.tls, secure) {
        return Err(EngineError::NoHandlerCertificate(handler.url.clone()));
    }
    let bound = |address| {
        bind::tcp(address).map_err(|source| EngineError::BindDrachtio { address, source })
    };
    let secure = config.drachtio.secure.map(bound).transpose()?;
    Ok((bound(config.drachtio.listen)?, secure))
}

fn core(
    config: EngineConfig,
    listen: Vec<Listen>,
    seed: [u8; 32],
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
) -> Core {
    Core::new(Setup {
        listen,
        secret: config.drachtio.secret,
        request_handlers: config.request_handlers,
        registrar: config.registrar,
        authenticate_calls: config.authenticate_calls,
        trusted: config.trusted,
        session_timer: config.session_timer,
        dialog_limits: config.dialog_limits,
        topology_hiding: config.topology_hiding,
        tag_key: config.tag_key,
        seed,
        users: {
            let changes = journal.user_changes();
            Directory::new(move |user| journal.credentials(user)).with_copies(changes)
        },
        source_address: bind::source_address,
        metrics,
    })
}

fn random_seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}
