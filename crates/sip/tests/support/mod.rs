//! A journal that can be held, an application, and a phone, all over real sockets.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

pub mod app;
pub mod bench;
pub mod certificates;
pub mod desk;
pub mod journal;
pub mod line;
pub mod names;
pub mod phone;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use raftpbx_sip::{DrachtioConfig, Engine, EngineConfig, Listen, RegistrarConfig, Transport};

pub use app::App;
pub use bench::Bench;
pub use journal::TestJournal;
pub use phone::Phone;

/// How long an expected message may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long to listen before believing that nothing comes.
pub const QUIET: Duration = Duration::from_millis(150);
pub const SECRET: &str = "s3cret";

pub fn config(listen: SocketAddr) -> EngineConfig {
    EngineConfig {
        listen: vec![Listen {
            transport: Transport::Udp,
            address: listen,
        }],
        udp_workers: 1,
        name_servers: Vec::new(),
        connections_per_source: 1_024,
        dialog_limits: raftpbx_sip::DialogLimits::default(),
        tls: None,
        drachtio: DrachtioConfig {
            listen: "127.0.0.1:0".parse().expect("an address"),
            secure: None,
            tls: None,
            secret: SECRET.to_owned(),
        },
        request_handlers: Vec::new(),
        registrar: Some(RegistrarConfig {
            domains: Vec::new(),
            realm: "pbx.test".to_owned(),
            nonce_key: [1; 32],
            min_expires_s: 60,
            max_expires_s: 7_200,
            default_expires_s: 3_600,
            max_bindings: 3,
            offer: raftpbx_sip::Offer::Md5,
            policy: raftpbx_sip::RegistrarPolicy::default(),
        }),
        authenticate_calls: false,
        trusted: Vec::new(),
        session_timer: raftpbx_sip::SessionTimer::default(),
        topology_hiding: raftpbx_sip::TopologyHiding::default(),
        tag_key: [2; 32],
        trace_bytes: 1024 * 1024,
        hep: None,
    }
}

/// An engine that leads and shares `journal`.
pub fn leader(journal: &Arc<TestJournal>, listen: SocketAddr) -> Arc<Engine> {
    let engine = follower(journal, listen);
    engine.lead(1);
    engine
}

/// An engine that hears of everything and does nothing.
pub fn follower(journal: &Arc<TestJournal>, listen: SocketAddr) -> Arc<Engine> {
    start(config(listen), journal)
}

/// An engine of these settings that leads, and its journal.
pub fn leading(config: EngineConfig) -> (Arc<Engine>, Arc<TestJournal>) {
    let journal = TestJournal::new();
    let engine = start(config, &journal);
    engine.lead(1);
    (engine, journal)
}

fn start(config: EngineConfig, journal: &Arc<TestJournal>) -> Arc<Engine> {
    let events = journal.events();
    let engine = Engine::start(config, journal.clone(), Box::new(events));
    let engine = Arc::new(engine.expect("the engine starts"));
    journal.feed(&engine);
    engine
}

pub fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// Where an engine listens.
pub fn address(engine: &Engine) -> SocketAddr {
    engine.addresses()[0].address
}

/// Ends an engine as a dying process would; its successor can bind its address.
pub fn kill(engine: Arc<Engine>, journal: &TestJournal) {
    journal.forget();
    let engine = Arc::try_unwrap(engine)
        .ok()
        .expect("nobody else holds the engine");
    engine.shutdown();
}
