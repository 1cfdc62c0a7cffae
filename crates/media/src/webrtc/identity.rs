//! Who we are towards DTLS: a certificate that is made at the start and that descriptions name by
//! its fingerprint. Shared by all flows, with what is counted and bounded for all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate};
use parking_lot::Mutex;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::fingerprint::Fingerprint;
use crate::MediaStats;
use crate::epoll::monotonic_ns;
use crate::limits::{
    DTLS_FIRST_WAIT_MS, DTLS_HANDSHAKE_MS, DTLS_MTU, DTLS_REPEATS, HANDSHAKES_MAX,
    HANDSHAKES_PER_SOURCE_MAX,
};
use crate::metrics::Count;

/// What is counted about parties in browsers.
#[derive(Default)]
pub struct WebrtcCounts {
    /// Handshakes that ended with keys.
    pub handshakes: Count,
    /// Handshakes that did not.
    pub failed: Count,
    /// Certificates that were not the one signalling named.
    pub mismatched: Count,
    /// Handshakes that were not begun because too many were under way, or tried too often.
    pub refused: Count,
    /// Checks answered.
    pub checks: Count,
    /// STUN messages that were malformed or whose writer does not know the password.
    pub strange_checks: Count,
}

impl WebrtcCounts {
    /// Puts them among all figures.
    pub fn tell(&self, stats: &mut MediaStats) {
        stats.handshakes = self.handshakes.get();
        stats.handshakes_failed = self.failed.get();
        stats.fingerprints_wrong = self.mismatched.get();
        stats.handshakes_refused = self.refused.get();
        stats.checks = self.checks.get();
        stats.checks_strange = self.strange_checks.get();
    }
}

/// Our certificate and what all handshakes share.
pub struct Identity {
    certificate: DtlsCertificate,
    fingerprint: Fingerprint,
    config: Arc<Config>,
    running: AtomicUsize,
    /// Of them, how many with each address.
    sources: Mutex<HashMap<IpAddr, u32>>,
    /// The same moment by both clocks.
    epoch: (Instant, u64),
    /// What happened.
    pub counts: WebrtcCounts,
}

/// A place among the handshakes that are under way.
pub struct Slot {
    identity: Arc<Identity>,
    source: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.identity.running.fetch_sub(1, Ordering::Relaxed);
        let mut sources = self.identity.sources.lock();
        if let Some(count) = sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

impl Identity {
    /// Makes a certificate (ECDSA P-256, what each browser takes) and its key.
    ///
    /// # Errors
    /// The text of what went wrong: there are no random numbers.
    pub fn new() -> Result<Arc<Identity>, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| failed(&e))?;
        let mut params = CertificateParams::default();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "raftpbx");
        let certificate = params.self_signed(&key).map_err(|e| failed(&e))?;
        let certificate = certificate.der().to_vec();
        let config = Config::builder()
            .mtu(DTLS_MTU)
            .flight_start_rto(Duration::from_millis(DTLS_FIRST_WAIT_MS))
            .flight_retries(DTLS_REPEATS)
            .handshake_timeout(Duration::from_millis(DTLS_HANDSHAKE_MS))
            .build()
            .map_err(|e| failed(&e))?;
        Ok(Arc::new(Identity {
            fingerprint: Fingerprint::of(&certificate),
            certificate: DtlsCertificate {
                certificate,
                private_key: key.serialize_der(),
            },
            config: Arc::new(config),
            running: AtomicUsize::new(0),
            sources: Mutex::default(),
            epoch: (Instant::now(), monotonic_ns()),
            counts: WebrtcCounts::default(),
        }))
    }

    /// What descriptions say about the certificate.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Handshakes under way.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// A place among the handshakes, unless all are taken, or too many by this address.
    pub fn take_slot(self: &Arc<Identity>, source: IpAddr) -> Option<Slot> {
        let mut sources = self.sources.lock();
        let known = sources.get(&source).copied().unwrap_or(0);
        if known >= HANDSHAKES_PER_SOURCE_MAX {
            return None;
        }
        let more = |running| (running < HANDSHAKES_MAX).then_some(running + 1);
        let order = Ordering::Relaxed;
        let taken = self.running.fetch_update(order, order, more);
        taken.ok()?;
        sources.insert(source, known + 1);
        Some(Slot {
            identity: Arc::clone(self),
            source,
        })
    }

    /// One end of a connection that has not begun.
    pub(super) fn connection(&self, active: bool, now_ns: u64) -> Dtls {
        let (config, certificate) = (Arc::clone(&self.config), self.certificate.clone());
        // DTLS 1.2 is what RFC 8827 section 6.5 asks of everybody.
        let mut dtls = Dtls::new_12(config, certificate, self.instant(now_ns));
        dtls.set_active(active);
        dtls
    }

    /// A moment of `CLOCK_MONOTONIC` for those who want an [`Instant`].
    pub(super) fn instant(&self, now_ns: u64) -> Instant {
        self.epoch.0 + Duration::from_nanos(now_ns.saturating_sub(self.epoch.1))
    }

    /// The other way round; `u64::MAX` for what lies beyond all time.
    pub(super) fn nanoseconds(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch.0).as_nanos();
        u64::try_from(since).map_or(u64::MAX, |since| self.epoch.1.saturating_add(since))
    }
}
