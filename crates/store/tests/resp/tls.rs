//! TLS at the door, and its certificate changed while clients are there.

use std::path::Path;
use std::sync::Arc;

use raftpbx_store::{RespTls, certificates};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Client, Cluster, PASSWORD, until};

fn issue(authority: &(String, String), files: &RespTls) {
    let ips = ["127.0.0.1".parse().expect("an address")];
    let issued = certificates::issue(&authority.0, &authority.1, "door", &ips, &[]);
    let (certificate, key) = issued.expect("issued");
    std::fs::write(&files.certificate, certificate).expect("written");
    std::fs::write(&files.key, key).expect("written");
}

fn connector(authority: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut authority.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A client whose certificate authority is this one; `None` when it does not trust the door.
async fn connect(cluster: &Cluster, authority: &str) -> Option<Client> {
    let address = cluster.nodes[&1].status().resp_addresses[0];
    let stream = TcpStream::connect(address).await.expect("the door is open");
    let name = ServerName::from(address.ip());
    let stream = connector(authority).connect(name, stream).await.ok()?;
    Some(Client::over(Box::new(stream)))
}

fn files(directory: &Path) -> RespTls {
    RespTls {
        certificate: directory.join("door.pem"),
        key: directory.join("door.key"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_speak_tls_and_a_new_certificate_disturbs_nobody() {
    let mut cluster = Cluster::prepare();
    let files = files(cluster.directory.path());
    let old = certificates::create_authority().expect("an authority");
    issue(&old, &files);
    let resp = cluster
        .configs
        .get_mut(&1)
        .and_then(|config| config.resp.as_mut());
    resp.expect("configured").tls = Some(files.clone());
    (1..=3).for_each(|id| cluster.open(id));
    cluster.leader().await;
    let mut first = connect(&cluster, &old.0).await.expect("trusted");
    first.ask(&["AUTH", "node", PASSWORD], "+OK\r\n").await;
    let long = "x".repeat(300_000);
    first.ask(&["SET", "k", &long], "+OK\r\n").await;
    first
        .ask(&["GET", "k"], &format!("$300000\r\n{long}\r\n"))
        .await;
    first.ask_containing(&["CLIENT", "INFO"], "tls=1").await;

    let new = certificates::create_authority().expect("an authority");
    issue(&new, &files);
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    let mut second = loop {
        if let Some(client) = connect(&cluster, &new.0).await {
            break client;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the new certificate is never used"
        );
    };
    second.ask(&["AUTH", "node", PASSWORD], "+OK\r\n").await;
    assert!(connect(&cluster, &old.0).await.is_none());
    first.ask(&["STRLEN", "k"], ":300000\r\n").await;

    let mut plain = Client::connect(&cluster.nodes[&1]).await;
    plain.send(&["PING"]).await;
    plain.expect_end().await;
    until("the plain client is counted", || {
        let counted = cluster.nodes[&1].metrics();
        !counted.contains("raftpbx_store_protocol_errors_total 0\n")
    })
    .await;
}
