//! A private authority and the certificates it signs, for labs and small sites.
//!
//! Nodes authenticate each other by being signed by the same authority and by naming their node id
//! (see `raft::transport`): a certificate for node 2 has the host name [`node_name`]`(2)`.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::error::StoreError;

fn wrong(error: impl std::fmt::Display) -> StoreError {
    StoreError::Certificate(error.to_string())
}

/// The host name by which a certificate stands for a node of the store.
pub fn node_name(id: u64) -> String {
    format!("node-{id}.raftpbx")
}

/// Makes a new authority and returns `(certificate, private key)`, both PEM.
pub fn create_authority() -> Result<(String, String), StoreError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(wrong)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = named("raftpbx authority");
    let key = KeyPair::generate().map_err(wrong)?;
    let certificate = params.self_signed(&key).map_err(wrong)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Signs a certificate for `name` that is valid for the given addresses and host names, both as a
/// server and as a client. Returns `(certificate, private key)`, both PEM.
pub fn issue(
    authority_certificate: &str,
    authority_key: &str,
    name: &str,
    ips: &[IpAddr],
    dns: &[String],
) -> Result<(String, String), StoreError> {
    let signer = KeyPair::from_pem(authority_key).map_err(wrong)?;
    let issuer = Issuer::from_ca_cert_pem(authority_certificate, signer).map_err(wrong)?;
    let mut params = CertificateParams::new(dns.to_vec()).map_err(wrong)?;
    params
        .subject_alt_names
        .extend(ips.iter().map(|ip| SanType::IpAddress(*ip)));
    params.distinguished_name = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().map_err(wrong)?;
    let certificate = params.signed_by(&key, &issuer).map_err(wrong)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
