//! TLS of phones and of servers we connect to, with files that may change while we run.
//!
//! New connections get the new certificate; those that are open go on with the old one. Files
//! that cannot be read leave the old certificate in use, and an error in the log.
use std::fs::File;
use std::io::{self, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::TlsFiles;
use crate::error::EngineError;
use crate::limits::CERTIFICATE_LOOK;

/// A connection, whatever is around it.
pub trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Certificate, key and authorities in use.
pub struct Tls {
    files: TlsFiles,
    now: RwLock<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

fn wrong(file: &Path, error: impl std::fmt::Display) -> EngineError {
    EngineError::Certificate {
        file: file.to_owned(),
        reason: error.to_string(),
    }
}

fn open(path: &Path) -> Result<BufReader<File>, EngineError> {
    let file = File::open(path).map_err(|error| wrong(path, error))?;
    Ok(BufReader::new(file))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let found = rustls_pemfile::certs(&mut open(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(path, error))?;
    if found.is_empty() {
        return Err(wrong(path, "no certificate in this file"));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, EngineError> {
    rustls_pemfile::private_key(&mut open(path)?)
        .map_err(|error| wrong(path, error))?
        .ok_or_else(|| wrong(path, "no private key in this file"))
}

fn authorities(files: &TlsFiles) -> Result<RootCertStore, EngineError> {
    let mut roots = RootCertStore::empty();
    match &files.authority {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| wrong(path, error))?;
            }
        }
        None => {
            // What is unusable among the system's is left out, as browsers do.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    Ok(roots)
}

impl Loaded {
    fn read(files: &TlsFiles) -> Result<Loaded, EngineError> {
        let chain = certificates(&files.certificate)?;
        let key = private_key(&files.key)?;
        let roots = authorities(files)?;
        let provider = Arc::new(default_provider());
        let versions = [&TLS13, &TLS12];
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| wrong(&files.certificate, error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| wrong(&files.certificate, error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Loaded {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }
}

impl Tls {
    /// Reads the files; fails when they do not belong together.
    pub fn open(files: TlsFiles) -> Result<Tls, EngineError> {
        let now = RwLock::new(Loaded::read(&files)?);
        Ok(Tls { files, now })
    }

    /// The authority of the configuration; None when the system's are asked.
    pub fn authority(&self) -> Option<Vec<CertificateDer<'static>>> {
        certificates(self.files.authority.as_ref()?).ok()
    }

    /// Secures a connection that a peer began.
    pub async fn accept<W: Wire + 'static>(&self, wire: W) -> io::Result<Box<dyn Wire>> {
        let acceptor = self.now.read().acceptor.clone();
        Ok(Box::new(acceptor.accept(wire).await?))
    }

    /// Secures a connection that we began; the peer's certificate must name `host`, or its
    /// address when there is no name (RFC 5922 section 7.2).
    pub async fn connect<W: Wire + 'static>(
        &self,
        wire: W,
        host: Option<&str>,
        address: IpAddr,
    ) -> io::Result<Box<dyn Wire>> {
        let connector = self.now.read().connector.clone();
        let name = match host {
            Some(host) => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
            None => ServerName::from(address),
        };
        Ok(Box::new(connector.connect(name, wire).await?))
    }

    /// When the files were written last.
    fn written(&self) -> Vec<Option<SystemTime>> {
        let TlsFiles {
            certificate,
            key,
            authority,
        } = &self.files;
        let modified = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified());
        [Some(certificate), Some(key), authority.as_ref()]
            .into_iter()
            .flatten()
            .map(|path| modified(path).ok())
            .collect()
    }

    /// Looks after the files for ever.
    pub async fn follow(self: Arc<Self>) {
        let mut known = self.written();
        loop {
            tokio::time::sleep(CERTIFICATE_LOOK).await;
            let now = self.written();
            if now == known {
                continue;
            }
            match Loaded::read(&self.files) {
                Ok(loaded) => {
                    *self.now.write() = loaded;
                    tracing::info!("the certificate of the SIP listeners was read again");
                }
                Err(error) => {
                    // A half-written pair: the next change tries again.
                    tracing::error!(%error, "the old certificate of the SIP listeners stays");
                }
            }
            known = now;
        }
    }
}
