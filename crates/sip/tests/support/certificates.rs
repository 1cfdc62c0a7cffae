//! Certificates in files, from an authority of their own.
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use raftpbx_sip::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

/// An authority, its certificate for loopback, and the files of it.
pub struct Certificates {
    folder: TempDir,
    pub authority: CertificateDer<'static>,
}

impl Certificates {
    pub fn new() -> Certificates {
        let folder = TempDir::new().expect("a folder");
        let mut made = Certificates {
            folder,
            authority: CertificateDer::from(Vec::new()),
        };
        made.renew();
        made
    }

    /// What an engine reads.
    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("certificate.pem"),
            key: self.path("key.pem"),
            authority: Some(self.path("authority.pem")),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new authority with a new certificate in the same files; gives the old authority back.
    pub fn renew(&mut self) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        let names = [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ];
        params
            .subject_alt_names
            .extend(names.map(SanType::IpAddress));
        let ours = params.signed_by(&key, &issuer).expect("a certificate");
        std::fs::write(self.path("key.pem"), key.serialize_pem()).expect("a folder");
        std::fs::write(self.path("certificate.pem"), ours.pem()).expect("a folder");
        std::fs::write(self.path("authority.pem"), authority.pem()).expect("a folder");
        std::mem::replace(&mut self.authority, authority.der().clone())
    }
}
