//! The certificate of the Redis door, read again when its files change.
//!
//! New connections get the new certificate; those that are open go on with the old one. Files
//! that cannot be read leave the old certificate in use, and an error in the log.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::RespTls;
use crate::error::StoreError;
use crate::limits::CERTIFICATE_LOOK;

/// Certificate and key in use.
pub struct Certificate {
    files: RespTls,
    acceptor: RwLock<TlsAcceptor>,
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Certificate(format!("{}: {error}", path.display()))
}

fn open(path: &Path) -> Result<BufReader<File>, StoreError> {
    let file = File::open(path).map_err(|error| wrong(path, error))?;
    Ok(BufReader::new(file))
}

fn load(files: &RespTls) -> Result<TlsAcceptor, StoreError> {
    let chain = rustls_pemfile::certs(&mut open(&files.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&files.certificate, error))?;
    let key = rustls_pemfile::private_key(&mut open(&files.key)?)
        .map_err(|error| wrong(&files.key, error))?
        .ok_or_else(|| wrong(&files.key, "no private key in this file"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| wrong(&files.certificate, error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// When the files were written last.
fn written(files: &RespTls) -> Vec<Option<SystemTime>> {
    [&files.certificate, &files.key]
        .map(|path| {
            std::fs::metadata(path)
                .and_then(|meta| meta.modified())
                .ok()
        })
        .to_vec()
}

impl Certificate {
    /// Reads the files; fails when they do not belong together.
    pub fn open(files: &RespTls) -> Result<Certificate, StoreError> {
        Ok(Certificate {
            acceptor: RwLock::new(load(files)?),
            files: files.clone(),
        })
    }

    /// What greets new connections.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().clone()
    }

    /// Looks after the files until `stop` changes.
    pub async fn follow(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut known = written(&self.files);
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(CERTIFICATE_LOOK) => {}
            }
            let now = written(&self.files);
            if now == known {
                continue;
            }
            match load(&self.files) {
                Ok(acceptor) => {
                    *self.acceptor.write() = acceptor;
                    tracing::info!("the certificate of the Redis door was read again");
                }
                Err(error) => {
                    // A half-written pair: the next change tries again.
                    tracing::error!(%error, "the old certificate of the Redis door stays in use");
                }
            }
            known = now;
        }
    }
}
