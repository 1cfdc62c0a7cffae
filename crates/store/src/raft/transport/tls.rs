//! Mutual TLS: both ends show a certificate of the same authority.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::TlsFiles;
use crate::environment::network::Wire;
use crate::error::StoreError;

/// How streams are secured.
#[derive(Clone)]
pub enum Security {
    /// Not at all.
    Plain,
    /// With our certificates.
    Tls {
        /// Calling side.
        connector: TlsConnector,
        /// Called side.
        acceptor: TlsAcceptor,
    },
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Certificate(format!("{}: {error}", path.display()))
}

fn open(path: &Path) -> Result<BufReader<File>, StoreError> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|error| wrong(path, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let found: Vec<_> = rustls_pemfile::certs(&mut open(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, error))?;
    if found.is_empty() {
        Err(wrong(path, "no certificate in this file"))
    } else {
        Ok(found)
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, StoreError> {
    let key = rustls_pemfile::private_key(&mut open(path)?).map_err(|error| wrong(path, error))?;
    key.ok_or_else(|| wrong(path, "no private key in this file"))
}

impl Security {
    /// Reads the files, or stays plain without them.
    pub fn open(files: Option<&TlsFiles>) -> Result<Security, StoreError> {
        let Some(files) = files else {
            return Ok(Security::Plain);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.authority)? {
            roots
                .add(certificate)
                .map_err(|error| wrong(&files.authority, error))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| wrong(&files.authority, error))?;
        let chain = certificates(&files.certificate)?;
        let versions = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .and_then(|builder| {
                let builder = builder.with_client_cert_verifier(verifier);
                builder.with_single_cert(chain.clone(), private_key_or(files)?)
            })
            .map_err(|error| wrong(&files.certificate, error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .and_then(|builder| {
                let builder = builder.with_root_certificates(roots);
                builder.with_client_auth_cert(chain, private_key_or(files)?)
            })
            .map_err(|error| wrong(&files.certificate, error))?;
        Ok(Security::Tls {
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
        })
    }

    /// Secures a stream to a node; its certificate must name the address.
    pub async fn connect(
        &self,
        stream: Box<dyn Wire>,
        address: SocketAddr,
    ) -> io::Result<Box<dyn Wire>> {
        match self {
            Security::Plain => Ok(stream),
            Security::Tls { connector, .. } => {
                let name = ServerName::from(address.ip());
                Ok(Box::new(connector.connect(name, stream).await?))
            }
        }
    }

    /// Secures a stream from a node.
    pub async fn accept(&self, stream: Box<dyn Wire>) -> io::Result<Box<dyn Wire>> {
        match self {
            Security::Plain => Ok(stream),
            Security::Tls { acceptor, .. } => Ok(Box::new(acceptor.accept(stream).await?)),
        }
    }
}

fn private_key_or(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, rustls::Error> {
    private_key(&files.key).map_err(|error| rustls::Error::General(error.to_string()))
}
