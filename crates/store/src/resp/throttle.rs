//! Failed logins by source: each costs a token, tokens come back with time. A pure machine.
//!
//! A source without tokens is refused before its password is looked at, right or wrong: otherwise
//! it could go on guessing. A source is an IPv4 address or the /64 network of an IPv6 one, because
//! that is what one person gets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::limits::{LOGIN_FAILURE_PAUSE, LOGIN_FAILURES_MAX, LOGIN_SOURCES_MAX};

/// Failures of every source that has failed lately.
#[derive(Debug, Default)]
pub struct Throttle {
    sources: HashMap<IpAddr, Failures>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    /// When `count` was right; whole pauses since then are forgiven.
    at: Instant,
}

impl Failures {
    fn forgive(&mut self, now: Instant) {
        let pause = LOGIN_FAILURE_PAUSE.as_millis();
        let passed = now.saturating_duration_since(self.at).as_millis() / pause;
        let forgiven = u32::try_from(passed).unwrap_or(u32::MAX).min(self.count);
        self.count -= forgiven;
        self.at += LOGIN_FAILURE_PAUSE * forgiven;
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

impl Throttle {
    /// Whether a source may try.
    pub fn admits(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = network(source);
        let Some(failures) = self.sources.get_mut(&source) else {
            return true;
        };
        failures.forgive(now);
        if failures.count == 0 {
            self.sources.remove(&source);
            return true;
        }
        failures.count < LOGIN_FAILURES_MAX
    }

    /// Remembers a failure; the source that failed longest ago makes room.
    pub fn failed(&mut self, source: IpAddr, now: Instant) {
        let source = network(source);
        if self.sources.len() >= LOGIN_SOURCES_MAX && !self.sources.contains_key(&source) {
            let oldest = self.sources.iter().min_by_key(|(_, failures)| failures.at);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.sources.remove(&oldest);
            }
        }
        let fresh = Failures { count: 0, at: now };
        let failures = self.sources.entry(source).or_insert(fresh);
        failures.forgive(now);
        if failures.count == 0 {
            failures.at = now;
        }
        failures.count = (failures.count + 1).min(LOGIN_FAILURES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_source_that_fails_too_often_waits_and_others_do_not() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let (bad, good) = (source("192.0.2.1"), source("192.0.2.2"));
        for _ in 0..LOGIN_FAILURES_MAX {
            assert!(throttle.admits(bad, start));
            throttle.failed(bad, start);
        }
        assert!(!throttle.admits(bad, start) && throttle.admits(good, start));
        assert!(throttle.admits(bad, start + LOGIN_FAILURE_PAUSE));
        throttle.failed(bad, start + LOGIN_FAILURE_PAUSE);
        assert!(!throttle.admits(bad, start + LOGIN_FAILURE_PAUSE));
        let later = start + LOGIN_FAILURE_PAUSE * (LOGIN_FAILURES_MAX + 2);
        assert!(throttle.admits(bad, later));
        assert!(throttle.sources.is_empty(), "what is forgiven is forgotten");
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_mapped_addresses_are_ipv4() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for host in 0..LOGIN_FAILURES_MAX {
            throttle.failed(source(&format!("2001:db8::{host:x}")), now);
        }
        assert!(!throttle.admits(source("2001:db8::ffff"), now));
        assert!(throttle.admits(source("2001:db8:0:1::1"), now));
        for _ in 0..LOGIN_FAILURES_MAX {
            throttle.failed(source("::ffff:192.0.2.1"), now);
        }
        assert!(!throttle.admits(source("192.0.2.1"), now));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..u32::try_from(LOGIN_SOURCES_MAX).expect("small") + 10 {
            throttle.failed(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(throttle.sources.len(), LOGIN_SOURCES_MAX);
    }
}
