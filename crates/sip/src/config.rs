//! What the host decides before the engine starts. The engine never changes it.
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dialog::session::SessionTimer;
use crate::digest::Offer;
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
}

impl Transport {
    /// Whether lost messages are the transport's business rather than the transaction's.
    pub fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// The name in a Via header.
    pub fn via_name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }

    /// The name in addresses, URIs and drachtio messages.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
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
        let transport = match transport {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            _ => return Err(wrong()),
        };
        Ok(Listen {
            transport,
            address: address.parse().map_err(|_| wrong())?,
        })
    }
}

/// Where call control connects.
#[derive(Clone, Debug)]
pub struct DrachtioConfig {
    /// TCP address of the drachtio protocol server.
    pub listen: SocketAddr,
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
    /// `http:`, `https:`: a web server; `tcp:`: an application to connect to.
    pub url: String,
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

/// Everything the engine needs to start.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// SIP listeners, bound with `IP_FREEBIND` so that a virtual address may come later.
    pub listen: Vec<Listen>,
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
    /// Derives To tags; the same on every node, so that any node answers with the same tag.
    pub tag_key: [u8; 32],
}
