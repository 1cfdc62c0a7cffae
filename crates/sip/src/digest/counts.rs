//! Which nonces were used how often, so that a captured answer is worth nothing (RFC 7616
//! section 3.4.5).
//!
//! Each node counts by itself. A new leader knows no counts: it takes the first one it sees
//! and holds every later one against it. What that leaves open is one replay of a captured
//! request, within a nonce's life, after a takeover; and of a REGISTER not even that, because
//! its CSeq is replicated. The alternative, to call all older nonces stale, would cost a round
//! trip of every phone in the very seconds when all of them come at once.
use crate::generations::Generations;
use crate::limits::{NONCE_LIFETIME_S, NONCES_MAX};

#[derive(Clone, Copy, Debug)]
struct Use {
    count: u32,
    /// Which request used it: a retransmission of that one is no replay.
    request: u64,
}

/// The last use of each nonce.
#[derive(Debug)]
pub struct NonceCounts(Generations<u64, Use>);

impl Default for NonceCounts {
    fn default() -> Self {
        Self(Generations::new(NONCES_MAX, NONCE_LIFETIME_S))
    }
}

impl NonceCounts {
    /// Takes note of a use of a nonce, both known by a hash. False when it was used with this
    /// count or a higher one, or so long ago that nobody knows: the device gets a new nonce.
    pub fn take(&mut self, nonce: (u64, u64), count: u32, request: u64, now_s: u64) -> bool {
        let (nonce, issued_s) = nonce;
        self.0.turn(now_s);
        if issued_s < self.0.known_since() {
            return false;
        }
        let known = self.0.get(&nonce);
        if let Some(known) = known {
            let again = known.count == count && known.request == request;
            if again || count <= known.count {
                return again;
            }
        }
        self.0.insert(nonce, Use { count, request }, now_s);
        true
    }

    /// Forgets everything: this node leads no more.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_000_000;

    #[test]
    fn counts_only_rise_and_a_retransmission_is_no_replay() {
        let mut counts = NonceCounts::default();
        let nonce = (7, NOW_S);
        assert!(counts.take(nonce, 1, 100, NOW_S));
        assert!(counts.take(nonce, 1, 100, NOW_S));
        assert!(!counts.take(nonce, 1, 101, NOW_S));
        assert!(counts.take(nonce, 3, 102, NOW_S));
        assert!(!counts.take(nonce, 2, 103, NOW_S));
        assert!(counts.take((8, NOW_S), 1, 104, NOW_S));
    }

    #[test]
    fn what_is_forgotten_is_refused_not_believed() {
        let mut counts = NonceCounts::default();
        assert!(counts.take((0, NOW_S), 1, 1, NOW_S));
        for at in 1..=2 * NONCES_MAX as u64 {
            assert!(counts.take((at, NOW_S + 10), 1, 1, NOW_S + 10));
        }
        assert!(counts.0.len() <= 2 * NONCES_MAX);
        assert!(!counts.take((0, NOW_S), 1, 2, NOW_S + 11));
    }

    #[test]
    fn a_use_is_known_as_long_as_its_nonce_lives() {
        let mut counts = NonceCounts::default();
        assert!(counts.take((1, NOW_S), 1, 1, NOW_S));
        for later_s in [10, NONCE_LIFETIME_S / 2, NONCE_LIFETIME_S] {
            assert!(!counts.take((1, NOW_S), 1, 2, NOW_S + later_s), "{later_s}");
            assert!(counts.take((later_s, NOW_S + later_s), 1, 1, NOW_S + later_s));
        }
    }
}
