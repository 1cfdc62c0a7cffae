//! The SIP engine, wired to the store: the log feeds its replica and tells it when to lead.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use napi_derive::napi;
use parking_lot::Mutex;
use raftpbx_sip::{
    DialogLimits, DrachtioConfig, Engine, EngineConfig, EngineEvent, HandlerMethod, HepConfig,
    Listen, MemoryJournal, Network, Offer, RegistrarConfig, RegistrarPolicy, RequestHandler,
    SessionTimer, TlsFiles, TopologyHiding, WhenFull,
};
use raftpbx_store::StoreEvent;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::journal::StoreJournal;
use crate::store::NativeStore;
use crate::{Sink, deliver, failure, options};

/// The keys that make up the engine's replica.
const REPLICA_PREFIXES: [&str; 2] = ["sip:", "registration:"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireSipOptions {
    listen: Vec<String>,
    #[serde(default)]
    udp_workers: usize,
    name_servers: Vec<std::net::SocketAddr>,
    connections_per_address: usize,
    #[serde(default)]
    dialogs_per_address: Option<usize>,
    #[serde(default)]
    dialogs_per_user: Option<usize>,
    tls: Option<WireTls>,
    drachtio: WireDrachtio,
    #[serde(default)]
    request_handlers: Vec<WireRequestHandler>,
    registrar: Option<WireRegistrar>,
    authenticate_calls: bool,
    session_timer: WireSessionTimer,
    trusted: Vec<String>,
    #[serde(default)]
    topology_hiding: WireTopologyHiding,
    secret: String,
    /// 0 keeps no trace.
    #[serde(default)]
    trace_bytes: usize,
    #[serde(default)]
    hep: Option<WireHep>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireTopologyHiding {
    enabled: bool,
    call_ids: bool,
}

impl From<WireTopologyHiding> for TopologyHiding {
    fn from(wire: WireTopologyHiding) -> Self {
        TopologyHiding {
            enabled: wire.enabled,
            call_ids: wire.call_ids,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHep {
    address: String,
    id: u32,
    password: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireSessionTimer {
    expires_s: u32,
    min_se_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTls {
    certificate: PathBuf,
    key: PathBuf,
    authority: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDrachtio {
    listen: std::net::SocketAddr,
    #[serde(default)]
    secure: Option<std::net::SocketAddr>,
    #[serde(default)]
    tls: Option<WireKeyPair>,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKeyPair {
    certificate: PathBuf,
    key: PathBuf,
}

impl From<WireDrachtio> for DrachtioConfig {
    fn from(wire: WireDrachtio) -> Self {
        DrachtioConfig {
            listen: wire.listen,
            secure: wire.secure,
            tls: wire.tls.map(|pair| TlsFiles {
                certificate: pair.certificate,
                key: pair.key,
                authority: None,
            }),
            secret: wire.secret,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireRequestHandler {
    sip_method: String,
    http_method: WireHttpMethod,
    url: String,
}

#[derive(Clone, Copy, Deserialize)]
enum WireHttpMethod {
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "POST")]
    Post,
}

impl From<WireRequestHandler> for RequestHandler {
    fn from(wire: WireRequestHandler) -> Self {
        RequestHandler {
            sip_method: wire.sip_method,
            http_method: match wire.http_method {
                WireHttpMethod::Get => HandlerMethod::Get,
                WireHttpMethod::Post => HandlerMethod::Post,
            },
            url: wire.url,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireRegistrar {
    domains: Vec<String>,
    realm: String,
    min_expires_s: u32,
    max_expires_s: u32,
    default_expires_s: u32,
    max_bindings: usize,
    digest: WireDigest,
    when_full: WireWhenFull,
    service_routes: Vec<String>,
    push_providers: Vec<String>,
    qualify_s: u32,
    flow_timer_s: u32,
    trusted: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireWhenFull {
    Refuse,
    ReplaceOldest,
}

impl WireRegistrar {
    fn policy(&self) -> napi::Result<RegistrarPolicy> {
        let trusted = self.trusted.iter();
        Ok(RegistrarPolicy {
            when_full: match self.when_full {
                WireWhenFull::Refuse => WhenFull::Refuse,
                WireWhenFull::ReplaceOldest => WhenFull::ReplaceOldest,
            },
            service_routes: self.service_routes.clone(),
            push_providers: self.push_providers.clone(),
            qualify_s: self.qualify_s,
            flow_timer_s: self.flow_timer_s,
            trusted: trusted
                .map(|text| text.parse::<Network>().map_err(failure))
                .collect::<napi::Result<Vec<Network>>>()?,
        })
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireDigest {
    Md5,
    #[serde(rename = "sha-256-and-md5")]
    Sha256AndMd5,
}

/// A key of its own for each purpose, from the one secret of the cluster.
fn derive(secret: &str, purpose: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(secret.as_bytes())
        .chain_update([0])
        .chain_update(purpose.as_bytes())
        .finalize()
        .into()
}

impl WireSipOptions {
    fn config(self) -> napi::Result<EngineConfig> {
        let listen = self
            .listen
            .iter()
            .map(|text| text.parse::<Listen>().map_err(failure))
            .collect::<napi::Result<Vec<Listen>>>()?;
        let policy = self.registrar.as_ref().map(WireRegistrar::policy);
        let policy = policy.transpose()?.unwrap_or_default();
        let registrar = self.registrar.map(|wire| RegistrarConfig {
            policy,
            domains: wire.domains,
            realm: wire.realm,
            nonce_key: derive(&self.secret, "nonce"),
            min_expires_s: wire.min_expires_s,
            max_expires_s: wire.max_expires_s,
            default_expires_s: wire.default_expires_s,
            max_bindings: wire.max_bindings,
            offer: match wire.digest {
                WireDigest::Md5 => Offer::Md5,
                WireDigest::Sha256AndMd5 => Offer::Sha256AndMd5,
            },
        });
        Ok(EngineConfig {
            listen,
            udp_workers: self.udp_workers,
            name_servers: self.name_servers,
            connections_per_source: self.connections_per_address,
            dialog_limits: {
                let usual = DialogLimits::default();
                DialogLimits {
                    per_source: self.dialogs_per_address.unwrap_or(usual.per_source),
                    per_user: self.dialogs_per_user.unwrap_or(usual.per_user),
                }
            },
            tls: self.tls.map(|wire| TlsFiles {
                certificate: wire.certificate,
                key: wire.key,
                authority: wire.authority,
            }),
            drachtio: self.drachtio.into(),
            request_handlers: self.request_handlers.into_iter().map(Into::into).collect(),
            registrar,
            authenticate_calls: self.authenticate_calls,
            trusted: self
                .trusted
                .iter()
                .map(|text| text.parse::<Network>().map_err(failure))
                .collect::<napi::Result<Vec<Network>>>()?,
            session_timer: SessionTimer {
                expires_s: self.session_timer.expires_s,
                min_se_s: self.session_timer.min_se_s,
            },
            topology_hiding: self.topology_hiding.into(),
            tag_key: derive(&self.secret, "tag"),
            trace_bytes: self.trace_bytes,
            hep: self.hep.map(|wire| HepConfig {
                address: wire.address,
                id: wire.id,
                password: wire.password,
            }),
        })
    }
}

/// The engine; empty once it was shut down.
pub type SharedEngine = Arc<Mutex<Option<Engine>>>;

/// The SIP engine of this node.
#[napi]
pub struct NativeSip {
    engine: SharedEngine,
}

impl NativeSip {
    /// The engine, for those who wire it further.
    pub fn shared(&self) -> SharedEngine {
        Arc::clone(&self.engine)
    }
}

/// Binds the listeners and, with a store, follows its log.
#[napi]
pub fn start_sip(wire: String, store: Option<&NativeStore>, sink: Sink) -> napi::Result<NativeSip> {
    let config = options::<WireSipOptions>(&wire)?.config()?;
    let events = Box::new(move |events: Vec<EngineEvent>| deliver(&sink, &events));
    let engine = match store {
        Some(native) => Engine::start(
            config,
            Arc::new(StoreJournal::new(native.store().clone())),
            events,
        ),
        None => Engine::start_alone(config, Arc::new(MemoryJournal::default()), events),
    }
    .map_err(failure)?;
    let engine = Arc::new(Mutex::new(Some(engine)));
    if let Some(native) = store {
        let watched = Arc::clone(&engine);
        native.store().watch(
            REPLICA_PREFIXES.map(Bytes::from).to_vec(),
            Box::new(move |events| {
                if let Some(engine) = watched.lock().as_ref() {
                    events.into_iter().for_each(|event| tell(engine, event));
                }
            }),
        );
    }
    Ok(NativeSip { engine })
}

/// One event of the log, as the engine knows it.
fn tell(engine: &Engine, event: StoreEvent) {
    match event {
        StoreEvent::Changed(changes) => engine.changed(
            changes
                .into_iter()
                .map(|change| {
                    let key = String::from_utf8_lossy(&change.key).into_owned();
                    (key, change.value.map(|value| value.to_vec()))
                })
                .collect(),
        ),
        StoreEvent::Reset => engine.reset(),
        StoreEvent::Leading { term } => engine.lead(term),
        StoreEvent::Following { .. } => engine.follow(),
    }
}

#[napi]
impl NativeSip {
    /// The listeners with the ports they really have.
    #[napi]
    pub fn addresses(&self) -> Vec<String> {
        let engine = self.engine.lock();
        engine
            .as_ref()
            .map(|engine| engine.addresses().iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    /// Counts of what lives in the engine, JSON.
    #[napi]
    pub fn status(&self) -> napi::Result<String> {
        let engine = self.engine.lock();
        serde_json::to_string(&engine.as_ref().map(Engine::status)).map_err(failure)
    }

    /// Prometheus text.
    #[napi]
    pub fn metrics(&self) -> String {
        self.engine
            .lock()
            .as_ref()
            .map(Engine::metrics)
            .unwrap_or_default()
    }

    /// What this node said and heard of calls, each named by its id or by a Call-ID; JSON.
    #[napi]
    pub fn trace(&self, ids: Vec<String>) -> napi::Result<String> {
        let trace = self.engine.lock().as_ref().map(|engine| engine.trace(&ids));
        serde_json::to_string(&trace.unwrap_or_default()).map_err(failure)
    }

    /// Closes the listeners; a second call does nothing.
    #[napi]
    pub fn shutdown(&self) {
        if let Some(engine) = self.engine.lock().take() {
            engine.shutdown();
        }
    }
}
