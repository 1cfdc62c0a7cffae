//! A stand-alone engine for tests and measurements: state in memory, no replication.
//!
//! `engine --listen udp/127.0.0.1:5070,tcp/127.0.0.1:5070 --drachtio 127.0.0.1:9022
//! --secret S [--users FILE --realm R] [--authenticate-calls] [--udp-workers N]`; a line of FILE is
//! `user,password`. Prints one line beginning with `ready`; leaves on SIGTERM.
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use raftpbx_sip::{
    DrachtioConfig, Engine, EngineConfig, Listen, MemoryJournal, RegistrarConfig, digest_ha1,
};

type Failure = Box<dyn std::error::Error>;

fn options() -> Result<HashMap<String, String>, Failure> {
    let mut options = HashMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let name = word
            .strip_prefix("--")
            .ok_or(format!("unexpected '{word}'"))?
            .to_owned();
        let flag = name == "authenticate-calls";
        let value = if flag {
            String::new()
        } else {
            words.next().ok_or("a value is missing")?
        };
        options.insert(name, value);
    }
    Ok(options)
}

fn config(options: &HashMap<String, String>) -> Result<EngineConfig, Failure> {
    let get = |name: &str| options.get(name).ok_or(format!("--{name} is missing"));
    let listen: Result<Vec<Listen>, _> = get("listen")?.split(',').map(str::parse).collect();
    let registrar = options.get("realm").map(|realm| RegistrarConfig {
        domains: Vec::new(),
        realm: realm.clone(),
        nonce_key: [1; 32],
        min_expires_s: 60,
        max_expires_s: 7_200,
        default_expires_s: 3_600,
        max_bindings: 10,
        offer: raftpbx_sip::Offer::Md5,
        policy: raftpbx_sip::RegistrarPolicy::default(),
    });
    Ok(EngineConfig {
        listen: listen?,
        udp_workers: options.get("udp-workers").map_or(Ok(1), |n| n.parse())?,
        name_servers: Vec::new(),
        connections_per_source: 1_024,
        dialog_limits: raftpbx_sip::DialogLimits::default(),
        tls: None,
        drachtio: DrachtioConfig {
            listen: get("drachtio")?.parse()?,
            secure: None,
            tls: None,
            secret: get("secret")?.clone(),
        },
        request_handlers: Vec::new(),
        registrar,
        authenticate_calls: options.contains_key("authenticate-calls"),
        trusted: Vec::new(),
        session_timer: raftpbx_sip::SessionTimer::default(),
        topology_hiding: raftpbx_sip::TopologyHiding::default(),
        tag_key: [2; 32],
        trace_bytes: 1024 * 1024,
        hep: None,
    })
}

fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_max_level(match std::env::var("LOG").as_deref() {
            Ok("debug") => tracing::Level::DEBUG,
            Ok("info") => tracing::Level::INFO,
            _ => tracing::Level::WARN,
        })
        .with_writer(std::io::stderr)
        .init();
    let options = options()?;
    let config = config(&options)?;
    let journal = Arc::new(MemoryJournal::new());
    if let (Some(file), Some(realm)) = (options.get("users"), options.get("realm")) {
        for line in std::fs::read_to_string(file)?.lines() {
            let (user, password) = line.split_once(',').ok_or("a line is not user,password")?;
            journal.set_user(user, digest_ha1(user, realm, password));
        }
    }
    let engine = Engine::start_alone(config, journal, Box::new(|_| {}))?;
    let addresses: Vec<String> = engine.addresses().iter().map(ToString::to_string).collect();
    writeln!(std::io::stdout(), "ready {}", addresses.join(","))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        term.recv().await;
        Ok::<(), std::io::Error>(())
    })?;
    write!(std::io::stderr(), "{}", engine.metrics())?;
    engine.shutdown();
    Ok(())
}
