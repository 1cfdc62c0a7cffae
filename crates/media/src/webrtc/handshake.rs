//! One DTLS connection: a handshake whose only fruit are keys for SRTP (RFC 5764). Pure but for
//! the random numbers of the library.

use std::net::IpAddr;
use std::sync::Arc;

use dimpl::{Dtls, Output, SrtpProfile};

use super::fingerprint::Fingerprint;
use super::identity::{Identity, Slot};
use crate::limits::{DTLS_BYTES_MAX, DTLS_LINGER_MS};
use crate::srtp::{MasterKey, Suite};

/// Why there will be no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The certificate is not the one that signalling named.
    Mismatch,
    /// The peer gave up, broke the protocol, or was silent for too long.
    Broken,
}

/// The keys of both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// What the peer encrypts with.
    pub theirs: MasterKey,
    /// What we encrypt with.
    pub ours: MasterKey,
}

/// What a step brought forth.
#[derive(Debug, Default)]
pub struct Step {
    /// Datagrams for the peer.
    pub packets: Vec<Vec<u8>>,
    /// The end of the handshake.
    pub keys: Option<Keys>,
}

/// A connection.
pub struct Handshake {
    identity: Arc<Identity>,
    dtls: Dtls,
    active: bool,
    /// One of these is the peer's certificate.
    expected: Vec<Fingerprint>,
    verified: bool,
    /// Given back when the handshake ends, one way or the other.
    slot: Option<Slot>,
    due_ns: u64,
    room: Vec<u8>,
}

impl Handshake {
    /// Begins with a peer at this address; none when too many are under way.
    pub fn begin(
        identity: &Arc<Identity>,
        active: bool,
        expected: Vec<Fingerprint>,
        source: IpAddr,
        now_ns: u64,
    ) -> Option<Handshake> {
        Some(Handshake {
            slot: Some(identity.take_slot(source)?),
            dtls: identity.connection(active, now_ns),
            identity: Arc::clone(identity),
            active,
            expected,
            verified: false,
            due_ns: now_ns,
            room: vec![0; DTLS_BYTES_MAX],
        })
    }

    /// A datagram came.
    ///
    /// # Errors
    /// See [`Failure`]; the connection must not be used any more.
    pub fn take(&mut self, packet: &[u8], now_ns: u64) -> Result<Step, Failure> {
        self.tell_time(now_ns)?;
        self.dtls.handle_packet(packet).map_err(broken)?;
        self.step(now_ns)
    }

    /// Time has passed.
    ///
    /// # Errors
    /// See [`Failure`]; the connection must not be used any more.
    pub fn tick(&mut self, now_ns: u64) -> Result<Step, Failure> {
        self.tell_time(now_ns)?;
        self.step(now_ns)
    }

    /// When it wants [`Self::tick`] at the latest.
    pub fn due_ns(&self) -> Option<u64> {
        Some(self.due_ns).filter(|due_ns| *due_ns != u64::MAX)
    }

    fn tell_time(&mut self, now_ns: u64) -> Result<(), Failure> {
        let now = self.identity.instant(now_ns);
        self.dtls.handle_timeout(now).map_err(broken)
    }

    fn step(&mut self, now_ns: u64) -> Result<Step, Failure> {
        let mut step = Step::default();
        loop {
            let room = self.room.len();
            match self.dtls.poll_output(&mut self.room) {
                Output::Packet(packet) => step.packets.push(packet.to_vec()),
                Output::BufferTooSmall { needed } if needed > room => {
                    self.room.resize(needed, 0);
                }
                Output::PeerCert(certificate) => {
                    if !Fingerprint::any_matches(&self.expected, certificate) {
                        return Err(Failure::Mismatch);
                    }
                    self.verified = true;
                }
                Output::KeyingMaterial(material, profile) => {
                    if !self.verified {
                        return Err(Failure::Mismatch);
                    }
                    step.keys = Some(keys(&material, profile, self.active).ok_or(Failure::Broken)?);
                    self.slot = None;
                }
                Output::Timeout(at) => {
                    self.due_ns = self.identity.nanoseconds(at);
                    if self.slot.is_none() && self.due_ns > now_ns + DTLS_LINGER_MS * 1_000_000 {
                        self.due_ns = u64::MAX;
                    }
                    return Ok(step);
                }
                Output::BufferTooSmall { .. } => return Err(Failure::Broken),
                // What travels inside the connection is nothing to us.
                _ => {}
            }
        }
    }
}

fn broken(error: dimpl::Error) -> Failure {
    tracing::debug!(%error, "a DTLS connection has failed");
    Failure::Broken
}

/// Cuts exported material into keys: client's key, server's key, client's salt, server's salt
/// (RFC 5764 section 4.2).
fn keys(material: &[u8], profile: SrtpProfile, active: bool) -> Option<Keys> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::Aes128CmSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
        _ => return None,
    };
    let (key, salt) = (suite.key_bytes(), suite.salt_bytes());
    let part = |n: usize| {
        let salts = 2 * key + n * salt;
        let key = material.get(n * key..(n + 1) * key)?;
        let both = [key, material.get(salts..salts + salt)?].concat();
        MasterKey::new(suite, &both)
    };
    let (client, server) = (part(0)?, part(1)?);
    let (ours, theirs) = if active {
        (client, server)
    } else {
        (server, client)
    };
    Some(Keys { theirs, ours })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{HANDSHAKES_MAX, HANDSHAKES_PER_SOURCE_MAX};
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;
    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn identity() -> Arc<Identity> {
        Identity::new().expect("an identity")
    }

    /// Two ends that expect each other's certificate.
    fn pair() -> (Arc<Identity>, [Handshake; 2]) {
        let (client, server) = (identity(), identity());
        let expects = |who: &Arc<Identity>| vec![who.fingerprint().clone()];
        let now_ns = now();
        let ends = [
            Handshake::begin(&client, true, expects(&server), HOME, now_ns),
            Handshake::begin(&server, false, expects(&client), HOME, now_ns),
        ];
        (server, ends.map(|end| end.expect("begun")))
    }

    fn now() -> u64 {
        crate::epoll::monotonic_ns()
    }

    /// Carries datagrams to and fro until nothing is said any more. Each that `lose` says is lost.
    fn run(
        ends: &mut [Handshake; 2],
        mut lose: impl FnMut(usize) -> bool,
    ) -> Result<[Option<Keys>; 2], (usize, Failure)> {
        let mut keys = [None, None];
        let (mut sent, mut now_ns) = (0, now());
        for _ in 0..60 {
            let mut waiting: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
            for (n, end) in ends.iter_mut().enumerate() {
                let step = end.tick(now_ns).map_err(|failure| (n, failure))?;
                waiting[1 - n].extend(step.packets);
            }
            while let Some(n) = (0..2).find(|&n| !waiting[n].is_empty()) {
                let packet = waiting[n].remove(0);
                sent += 1;
                if lose(sent) {
                    continue;
                }
                let step = ends[n].take(&packet, now_ns);
                let step = step.map_err(|failure| (n, failure))?;
                waiting[1 - n].extend(step.packets);
                keys[n] = step.keys.or(keys[n].take());
            }
            if keys.iter().all(Option::is_some) {
                break;
            }
            now_ns += 500 * MS;
        }
        Ok(keys)
    }

    #[test]
    fn both_ends_get_the_same_keys_and_give_their_places_back() {
        let (server, mut ends) = pair();
        assert_eq!(server.running(), 1);
        let [Some(client), Some(served)] = run(&mut ends, |_| false).expect("no failure") else {
            panic!("both have keys")
        };
        assert_eq!(
            (&client.ours, &client.theirs),
            (&served.theirs, &served.ours)
        );
        assert_ne!(client.ours, client.theirs);
        assert_eq!(client.ours.suite(), Suite::AeadAes256Gcm);
        assert_eq!(server.running(), 0);
    }

    #[test]
    fn lost_datagrams_are_sent_again() {
        let (_, mut ends) = pair();
        let keys = run(&mut ends, |n| n % 3 == 1).expect("no failure");
        assert!(keys.iter().all(Option::is_some));
    }

    #[test]
    fn another_certificate_than_the_named_one_is_refused_on_either_side() {
        for wrong in 0..2 {
            let (_, mut ends) = pair();
            ends[wrong].expected = vec![Fingerprint::of(b"another")];
            let refused = run(&mut ends, |_| false).expect_err("refused");
            assert_eq!(refused, (wrong, Failure::Mismatch));
        }
    }

    #[test]
    fn a_silent_peer_is_given_up_and_places_are_bounded() {
        let identity = identity();
        let mut end = Handshake::begin(&identity, true, Vec::new(), HOME, now()).expect("begun");
        let (mut now_ns, mut packets) = (now(), 0);
        let failure = loop {
            match end.tick(now_ns) {
                Ok(step) => packets += step.packets.len(),
                Err(failure) => break failure,
            }
            now_ns = end.due_ns().expect("a time").max(now_ns);
        };
        assert_eq!(failure, Failure::Broken);
        assert!((2..=16).contains(&packets), "{packets}");
        drop(end);
        let from = |n: usize| IpAddr::from([10, 0, (n / 100) as u8, (n % 100) as u8]);
        let take = |n| identity.take_slot(from(n));
        let slots: Vec<_> = (0..HANDSHAKES_MAX).map(take).collect();
        assert!(slots.iter().all(Option::is_some));
        assert!(Handshake::begin(&identity, false, Vec::new(), HOME, now()).is_none());
        drop(slots);
        assert_eq!(identity.running(), 0);
    }

    #[test]
    fn one_address_cannot_take_the_places_of_all() {
        let identity = identity();
        let begin = |source| Handshake::begin(&identity, false, Vec::new(), source, now());
        let greedy = (0..HANDSHAKES_PER_SOURCE_MAX).map(|_| begin(HOME));
        let mut greedy: Vec<_> = greedy.collect();
        assert!(greedy.iter().all(Option::is_some));
        assert!(begin(HOME).is_none());
        assert!(begin(IpAddr::from([10, 0, 0, 1])).is_some());
        greedy.pop();
        assert!(begin(HOME).is_some(), "a place is free again");
        drop(greedy);
        assert_eq!(identity.running(), 0);
    }

    #[test]
    fn material_is_cut_as_the_rfc_says() {
        let material: Vec<u8> = (0..60).collect();
        let keys = keys(&material, SrtpProfile::AES128_CM_SHA1_80, true).expect("keys");
        let ours: Vec<u8> = (0..16).chain(32..46).collect();
        let theirs: Vec<u8> = (16..32).chain(46..60).collect();
        assert_eq!(
            (keys.ours.bytes(), keys.theirs.bytes()),
            (&ours[..], &theirs[..])
        );
        assert!(super::keys(&material[..59], SrtpProfile::AES128_CM_SHA1_80, true).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_datagrams_make_it_panic(
            active: bool,
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
        ) {
            let end = Handshake::begin(&identity(), active, Vec::new(), HOME, now());
            let mut end = end.expect("begun");
            for packet in packets {
                let mut record = vec![22, 0xfe, 0xfd];
                record.extend_from_slice(&[0; 9]);
                record.push(packet.len() as u8);
                record.extend_from_slice(&packet);
                if end.take(&record, now()).is_err() || end.take(&packet, now()).is_err() {
                    break;
                }
            }
        }
    }
}
