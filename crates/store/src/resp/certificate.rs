//! The certificate of the Redis door, read again when its files change.
//!
//! New connections get the new certificate; those that are open go on with the old one. Files
//! that cannot be read leave the old certificate in use, and raise an alarm.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::RespTls;
use crate::error::StoreError;
use crate::limits::CERTIFICATE_LOOK;
use crate::raft::Alarms;

/// Certificate and key in use.
pub struct Certificate {
    files: RespTls,
    acceptor: RwLock<TlsAcceptor>,
    /// When the files were written that were looked at last.
    seen: Mutex<Vec<Option<SystemTime>>>,
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
            seen: Mutex::new(written(files)),
            acceptor: RwLock::new(load(files)?),
            files: files.clone(),
        })
    }

    /// What greets new connections.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().clone()
    }

    /// Reads the files again when they have changed; whether they had.
    pub fn reload(&self) -> Result<bool, StoreError> {
        let mut seen = self.seen.lock();
        let now = written(&self.files);
        if now == *seen {
            return Ok(false);
        }
        let acceptor = load(&self.files)?;
        *self.acceptor.write() = acceptor;
        *seen = now;
        tracing::info!("the certificate of the Redis door was read again");
        Ok(true)
    }

    /// Looks after the files until `stop` changes. What does not fit together is tried again:
    /// it may be a pair that is being written.
    pub async fn follow(self: Arc<Self>, alarms: Arc<Alarms>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(CERTIFICATE_LOOK) => {}
            }
            let wrong = self.reload().err().map(|error| {
                let text = format!("the old certificate of the Redis door stays in use: {error}");
                (
                    text,
                    "write a certificate and a key that fit together".to_owned(),
                )
            });
            alarms.put("PBX_STORE_DOOR_CERTIFICATE", wrong);
        }
    }
}
