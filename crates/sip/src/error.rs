//! What can go wrong while the engine starts.
use std::io;
use std::path::PathBuf;

use crate::config::Listen;

/// Why the engine cannot start or take a setting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A listen address that is not `transport/host:port`.
    #[error(
        "'{text}' is not a SIP listen address; write udp, tcp, tls, ws or wss, then an address: \
         udp/10.0.0.1:5060 or tls/[fd00::1]:5061"
    )]
    Listen {
        /// What was given.
        text: String,
    },
    /// No SIP listener was given.
    #[error("the engine needs at least one SIP listen address")]
    NoListener,
    /// TLS without a certificate.
    #[error("the listener {0} needs a certificate and its key")]
    NoCertificate(Listen),
    /// Applications over TLS without a certificate.
    #[error("applications over TLS on {0} need a certificate: set sip.applications.tls or sip.tls")]
    NoApplicationCertificate(std::net::SocketAddr),
    /// A request handler over TLS without a certificate.
    #[error("the request handler {0} needs the authorities of sip.tls: set sip.tls")]
    NoHandlerCertificate(String),
    /// Certificate, key or authorities cannot be used.
    #[error("{}: {reason}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Calls cannot be challenged without knowing users.
    #[error("authenticate_calls needs a registrar")]
    NoRegistrar,
    /// A SIP listener could not be bound.
    #[error("cannot listen on {listen}: {source}")]
    Bind {
        /// The listener.
        listen: Listen,
        /// Why.
        source: io::Error,
    },
    /// The drachtio listener could not be bound.
    #[error("cannot listen for applications on {address}: {source}")]
    BindDrachtio {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A network that is not written `address/bits`.
    #[error("{text} is not an address or a network like 192.0.2.0/24")]
    Network {
        /// What was given.
        text: String,
    },
    /// The engine thread or its runtime could not start.
    #[error("cannot start the engine thread: {0}")]
    Thread(io::Error),
}
