//! Mutual TLS: both ends show a certificate of the same authority that names their node id.
//!
//! The files are read again when they change; new connections use the new ones.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificates::node_name;
use crate::config::TlsFiles;
use crate::environment::network::Wire;
use crate::error::StoreError;

/// How streams are secured; clones share it.
#[derive(Clone)]
pub struct Security(Option<Arc<Tls>>);

struct Tls {
    files: TlsFiles,
    now: RwLock<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    texts: Texts,
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// The files as they were read.
#[derive(Clone, PartialEq, Eq)]
struct Texts {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Who is at the other end of a stream that was accepted.
pub enum Caller {
    /// Nobody can say: the stream is not secured.
    Anybody,
    /// The holder of this certificate.
    Holder(CertificateDer<'static>),
}

impl Caller {
    /// Whether the caller may speak for node `id`.
    pub fn is_node(&self, id: u64) -> bool {
        let Caller::Holder(certificate) = self else {
            return true;
        };
        let parsed = ParsedCertificate::try_from(certificate);
        let name = ServerName::try_from(node_name(id));
        let (Ok(parsed), Ok(name)) = (parsed, name) else {
            return false;
        };
        verify_server_name(&parsed, &name).is_ok()
    }
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Certificate(format!("{}: {error}", path.display()))
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let found: Vec<_> = rustls_pemfile::certs(&mut &*text)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, error))?;
    if found.is_empty() {
        Err(wrong(path, "no certificate in this file"))
    } else {
        Ok(found)
    }
}

fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, StoreError> {
    let key = rustls_pemfile::private_key(&mut &*text).map_err(|error| wrong(path, error))?;
    key.ok_or_else(|| wrong(path, "no private key in this file"))
}

impl Texts {
    fn read(files: &TlsFiles) -> Result<Texts, StoreError> {
        let read = |path: &Path| fs::read(path).map_err(|error| wrong(path, error));
        Ok(Texts {
            authority: read(&files.authority)?,
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
        })
    }
}

impl Loaded {
    fn new(files: &TlsFiles, texts: Texts) -> Result<Loaded, StoreError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.authority, &texts.authority)? {
            roots
                .add(certificate)
                .map_err(|error| wrong(&files.authority, error))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| wrong(&files.authority, error))?;
        let chain = certificates(&files.certificate, &texts.certificate)?;
        let key = private_key(&files.key, &texts.key)?;
        let versions = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .and_then(|builder| {
                let builder = builder.with_client_cert_verifier(verifier);
                builder.with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(|error| wrong(&files.certificate, error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .and_then(|builder| {
                let builder = builder.with_root_certificates(roots);
                builder.with_client_auth_cert(chain, key)
            })
            .map_err(|error| wrong(&files.certificate, error))?;
        Ok(Loaded {
            texts,
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
        })
    }
}

impl Security {
    /// Reads the files, or stays plain without them.
    pub fn open(files: Option<&TlsFiles>) -> Result<Security, StoreError> {
        let Some(files) = files else {
            return Ok(Security(None));
        };
        let loaded = Loaded::new(files, Texts::read(files)?)?;
        Ok(Security(Some(Arc::new(Tls {
            files: files.clone(),
            now: RwLock::new(loaded),
        }))))
    }

    /// Reads the files again; whether they had changed. After an error the old ones stay in use.
    pub fn reload(&self) -> Result<bool, StoreError> {
        let Some(tls) = &self.0 else {
            return Ok(false);
        };
        let texts = Texts::read(&tls.files)?;
        if tls.now.read().texts == texts {
            return Ok(false);
        }
        let loaded = Loaded::new(&tls.files, texts)?;
        *tls.now.write() = loaded;
        Ok(true)
    }

    /// Secures a stream to node `to`; its certificate must name that node.
    pub async fn connect(&self, stream: Box<dyn Wire>, to: u64) -> io::Result<Box<dyn Wire>> {
        let Some(tls) = &self.0 else {
            return Ok(stream);
        };
        let connector = tls.now.read().connector.clone();
        let name = ServerName::try_from(node_name(to)).map_err(io::Error::other)?;
        Ok(Box::new(connector.connect(name, stream).await?))
    }

    /// Secures a stream from a node.
    pub async fn accept(&self, stream: Box<dyn Wire>) -> io::Result<(Box<dyn Wire>, Caller)> {
        let Some(tls) = &self.0 else {
            return Ok((stream, Caller::Anybody));
        };
        let acceptor = tls.now.read().acceptor.clone();
        let stream = acceptor.accept(stream).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first).cloned();
        let certificate = certificate.ok_or(io::ErrorKind::PermissionDenied)?;
        Ok((Box::new(stream), Caller::Holder(certificate)))
    }
}
