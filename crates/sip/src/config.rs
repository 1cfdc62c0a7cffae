//! What the host decides before the engine starts. The engine never changes it.
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dialog::session::SessionTimer;
use crate::digest::Offer;
use crate::engine::dialog_counts::DialogLimits;
use crate::error::EngineError;
use crate::policy::RegistrarPolicy;
use crate::trust::Network;

/// How SIP messages travel between the engine and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams; a message may be lost, so it is retransmitted.
    Udp,
    /// A byte stream framed by Content-Length (RFC 3261 section 18.3).
    Tcp,
    /// The same inside TLS 1.2 or 1.3 (RFC 3261 section 26.2.1).
    Tls,
    /// A message in each WebSocket message (RFC 7118).
    Ws,
    /// The same inside TLS.
    Wss,
}

impl Transport {
    /// Whether lost messages are the transport's business rather than the transaction's.
    pub fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// Whether messages are encrypted on their way.
    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// Whether messages travel in WebSocket messages, which only the peer can begin.
    pub fn is_web(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// The name in a Via header.
    pub fn via_name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The name in addresses and drachtio messages.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// The transport with this name.
    pub fn named(name: &str) -> Option<Transport> {
        [
            Transport::Udp,
            Transport::Tcp,
            Transport::Tls,
            Transport::Ws,
            Transport::Wss,
        ]
        .into_iter()
        .find(|transport| name.eq_ignore_ascii_case(transport.name()))
    }

    /// The `transport` parameter of our URIs; UDP is what a URI without one means. Both kinds
    /// of WebSocket are `ws` (RFC 7118 section 5.2.3).
    pub fn uri_parameter(self) -> &'static str {
        match self {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        }
    }

    /// Where a URI without a port means (RFC 3261 section 19.1.2, RFC 7118 section 5.2.4).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A local address with its transport, written `udp/10.77.0.100:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listen {
    /// The transport spoken there.
    pub transport: Transport,
    /// The address; it need not be up yet. Port 0 takes a free one.
    pub address: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport, self.address)
    }
}

impl FromStr for Listen {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || EngineError::Listen {
            text: text.to_owned(),
        };
        let (transport, address) = text.split_once('/').ok_or_else(wrong)?;
        Ok(Listen {
            transport: Transport::named(transport).ok_or_else(wrong)?,
            address: address.parse().map_err(|_| wrong())?,
        })
    }
}

/// Files in PEM of everything over TLS: listeners, applications, connections we make.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Our chain, our own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whose certificates we accept where we connect; None asks the operating system.
    pub authority: Option<PathBuf>,
}

/// Where call control connects.
#[derive(Clone, Debug)]
pub struct DrachtioConfig {
    /// TCP address of the drachtio protocol server.
    pub listen: SocketAddr,
    /// The same over TLS; None offers none.
    pub secure: Option<SocketAddr>,
    /// The certificate for it; None shows the one of the SIP listeners.
    pub tls: Option<TlsFiles>,
    /// What every connection must present before anything else.
    pub secret: String,
}

/// How a request handler is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerMethod {
    /// Everything in the query.
    Get,
    /// The SIP request as the body, too.
    Post,
}

/// Who decides about new requests of a method instead of the applications that route it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHandler {
    /// Upper-case SIP method, or `*` for all that have no handler of their own.
    pub sip_method: String,
    /// How a web server is asked.
    pub http_method: HandlerMethod,
    /// `http:`, `https:`: a web server; `tcp:`, `tls:`: an application to connect to.
    pub url: String,
}

/// What peers may learn of each other when the engine forwards between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopologyHiding {
    /// Via, Record-Route and Contact of each side stay with us.
    pub enabled: bool,
    /// Call-IDs, too: phones write their addresses into them.
    pub call_ids: bool,
}

/// The registrar's rules. Times are seconds.
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// Hosts of Request-URIs this registrar serves besides its own addresses; none = any.
    pub domains: Vec<String>,
    /// The digest realm.
    pub realm: String,
    /// Signs nonces; the same on every node, so that any node accepts them.
    pub nonce_key: [u8; 32],
    /// A shorter wish is answered 423.
    pub min_expires_s: u32,
    /// A longer wish is cut to this.
    pub max_expires_s: u32,
    /// Used when the phone names no time.
    pub default_expires_s: u32,
    /// Bindings one user may have.
    pub max_bindings: usize,
    /// The digest algorithms that challenges name.
    pub offer: Offer,
    /// What goes beyond RFC 3261.
    pub policy: RegistrarPolicy,
}

/// A collector that gets a copy of every message, in HEP version 3.
#[derive(Clone)]
pub struct HepConfig {
    /// `host:port`, UDP.
    pub address: String,
    /// How the collector tells its sources apart.
    pub id: u32,
    /// What it may ask for.
    pub password: Option<String>,
}

impl fmt::Debug for HepConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, id, .. } = self;
        write!(f, "HepConfig {{ address: {address:?}, id: {id} }}")
    }
}

/// Everything the engine needs to start.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// SIP listeners, bound with `IP_FREEBIND` so that a virtual address may come later.
    pub listen: Vec<Listen>,
    /// Threads that read UDP; with 1, or 0, the engine thread does it itself.
    pub udp_workers: usize,
    /// Whom to ask for host names; none = the operating system's.
    pub name_servers: Vec<SocketAddr>,
    /// Connections one address may have begun; an office behind a NAT is one address.
    pub connections_per_source: usize,
    /// Needed by the listeners `tls` and `wss`, and for applications over TLS.
    pub tls: Option<TlsFiles>,
    /// The protocol server toward call control.
    pub drachtio: DrachtioConfig,
    /// Who decides about new requests; none: the applications that route them.
    pub request_handlers: Vec<RequestHandler>,
    /// None leaves REGISTER to the application.
    pub registrar: Option<RegistrarConfig>,
    /// Challenge INVITEs that come from outside (407); needs a registrar.
    pub authenticate_calls: bool,
    /// Peers whose asserted identities are believed, and who may learn hidden ones.
    pub trusted: Vec<Network>,
    /// Session timers toward peers that know them.
    pub session_timer: SessionTimer,
    /// How many dialogs an address and a user may have.
    pub dialog_limits: DialogLimits,
    /// What forwarded requests and responses show of the other side.
    pub topology_hiding: TopologyHiding,
    /// Derives To tags; the same on every node, so that any node answers with the same tag.
    pub tag_key: [u8; 32],
    /// Bytes of memory for copies of the newest messages; 0 keeps none.
    pub trace_bytes: usize,
    /// Who gets a copy of every message.
    pub hep: Option<HepConfig>,
}
