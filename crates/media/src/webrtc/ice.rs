//! Interactive connectivity establishment for one party (RFC 8445). Pure.
//!
//! We have one address and are reached without help, so we are lite: the party checks, we answer.
//! Towards a party that is lite as well somebody has to check, and that is us.

use std::fmt;
use std::net::SocketAddr;

use super::stun::{self, Check, Class, Message, Transaction};
use crate::limits::{
    CANDIDATES_MAX, CHECK_EVERY_MS, CHECK_TRIES, CONSENT_EVERY_MS, CONSENT_LASTS_MS,
};

const MS: u64 = 1_000_000;
/// Priority of a peer-reflexive candidate of component 1, one more than of component 2 (RFC 8445
/// section 5.1.2.1).
const REFLEXIVE_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;
/// `ice-char`, RFC 8839 section 5.4.
const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What one side is called and proves itself with.
#[derive(Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Credentials {
    /// `ice-ufrag`.
    pub name: String,
    /// `ice-pwd`.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the password: this ends up in logs.
        write!(f, "Credentials({})", self.name)
    }
}

impl Credentials {
    /// New ones that nobody can guess: 48 and 144 bits, twice what RFC 8445 section 5.3 wants.
    pub fn random() -> Credentials {
        let mut bytes = [0_u8; 32];
        rand::fill(&mut bytes[..]);
        let text = |bytes: &[u8]| -> String {
            let character = |byte: &u8| char::from(CHARACTERS[usize::from(byte & 63)]);
            bytes.iter().map(character).collect()
        };
        Credentials {
            name: text(&bytes[..8]),
            password: text(&bytes[8..]),
        }
    }

    /// Those of a description; none when they are not what RFC 8839 section 5.4 allows.
    pub fn checked(name: &str, password: &str) -> Option<Credentials> {
        let fits = |text: &str, least| {
            let length = (least..=256).contains(&text.len());
            length && text.bytes().all(|byte| CHARACTERS.contains(&byte))
        };
        (fits(name, 4) && fits(password, 22)).then(|| Credentials {
            name: name.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// What a description says about its writer's ICE.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Remote {
    /// `ice-ufrag` and `ice-pwd`.
    pub credentials: Credentials,
    /// It only answers checks.
    pub lite: bool,
    /// Addresses by component: RTP, RTCP. Only read of a lite party; others are learned.
    pub candidates: [Vec<SocketAddr>; 2],
}

/// What a message of the party means.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: malformed, or its writer does not know the password.
    Strange,
    /// Genuine, without meaning for the way.
    Noise,
    /// Its source is the party's.
    Valid {
        /// It is to be used from now on.
        nominated: bool,
        /// What is to be answered to where it came from.
        reply: Option<Vec<u8>>,
    },
    /// Genuine, but another answer is due.
    Reply(Vec<u8>),
}

/// A way that we check.
#[derive(Debug, Clone)]
struct Pair {
    rtcp: bool,
    to: SocketAddr,
    transaction: Transaction,
    tries: u32,
    due_ns: u64,
    /// When it answered last; 0 for never.
    answered_ns: u64,
}

/// A check of ours that is due.
#[derive(Debug, PartialEq, Eq)]
pub struct DueCheck {
    /// From the port of RTCP.
    pub rtcp: bool,
    /// Where it goes.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// ICE with one party.
#[derive(Debug)]
pub struct Agent {
    ours: Credentials,
    theirs: Remote,
    /// USERNAME of its checks, and of ours.
    names: [String; 2],
    tie_breaker: u64,
    /// Ways that we check; none when the party does.
    pairs: Vec<Pair>,
}

impl Agent {
    /// Begins between what both descriptions say.
    pub fn new(ours: Credentials, theirs: Remote, now_ns: u64) -> Agent {
        let names = [
            format!("{}:{}", ours.name, theirs.credentials.name),
            format!("{}:{}", theirs.credentials.name, ours.name),
        ];
        let mut agent = Agent {
            ours,
            theirs: Remote::default(),
            names,
            tie_breaker: rand::random(),
            pairs: Vec::new(),
        };
        agent.candidates(theirs, now_ns);
        agent
    }

    /// The description again, with further candidates. Without any for RTCP it is not checked any
    /// more: it has come to share the port of RTP.
    pub fn candidates(&mut self, theirs: Remote, now_ns: u64) {
        self.theirs = theirs;
        if !self.theirs.lite {
            return;
        }
        for (component, list) in self.theirs.candidates.iter().enumerate() {
            let rtcp = component == 1;
            if rtcp && list.is_empty() {
                self.pairs.retain(|pair| pair.rtcp != rtcp);
            }
            for to in list {
                let known = |pair: &Pair| pair.rtcp == rtcp && pair.to == *to;
                let same = self.pairs.iter().filter(|pair| pair.rtcp == rtcp);
                if same.count() < CANDIDATES_MAX && !self.pairs.iter().any(known) {
                    let due_ns = now_ns + self.pairs.len() as u64 * CHECK_EVERY_MS / 10 * MS;
                    self.pairs.push(Pair {
                        rtcp,
                        to: *to,
                        transaction: rand::random(),
                        tries: 0,
                        due_ns,
                        answered_ns: 0,
                    });
                }
            }
        }
    }

    /// A STUN message came on the port of RTP or RTCP.
    pub fn hear(&mut self, rtcp: bool, source: SocketAddr, bytes: &[u8], now_ns: u64) -> Heard {
        let Some(message) = Message::parse(bytes) else {
            return Heard::Strange;
        };
        match message.class {
            Class::Request => self.asked(&message, source),
            // Keeps the way open, and has no integrity.
            Class::Indication => Heard::Noise,
            Class::Success | Class::Error => self.answered(&message, rtcp, source, now_ns),
        }
    }

    fn asked(&self, message: &Message<'_>, source: SocketAddr) -> Heard {
        let named = message.username == Some(&self.names[0][..]);
        if !named || !message.is_genuine(&self.ours.password) {
            return Heard::Strange;
        }
        let transaction = message.transaction;
        // Who checks a lite party decides (RFC 8445 section 6.1.1); two lite ones need us to.
        if message.controlling == self.theirs.lite {
            let reply = stun::role_conflict(transaction, &self.ours.password);
            return Heard::Reply(reply);
        }
        let reply = stun::success(transaction, source, &self.ours.password);
        Heard::Valid {
            nominated: message.nominates,
            reply: Some(reply),
        }
    }

    fn answered(
        &mut self,
        message: &Message<'_>,
        rtcp: bool,
        source: SocketAddr,
        now_ns: u64,
    ) -> Heard {
        // The answer has to come from where the check went (RFC 8445 section 7.2.5.2.1).
        let expected = |pair: &&mut Pair| {
            pair.transaction == message.transaction && pair.rtcp == rtcp && pair.to == source
        };
        let Some(pair) = self.pairs.iter_mut().find(expected) else {
            return Heard::Strange;
        };
        if !message.is_genuine(&self.theirs.credentials.password) {
            return Heard::Strange;
        }
        if message.class == Class::Error {
            return Heard::Noise;
        }
        pair.answered_ns = now_ns.max(1);
        pair.tries = 0;
        pair.due_ns = now_ns + CONSENT_EVERY_MS * MS;
        pair.transaction = rand::random();
        // The first one that answers is used; others are not asked any more.
        self.pairs
            .retain(|pair| pair.rtcp != rtcp || pair.answered_ns != 0);
        Heard::Valid {
            nominated: true,
            reply: None,
        }
    }

    /// When a check of ours is due.
    pub fn due_ns(&self) -> Option<u64> {
        self.pairs.iter().map(|pair| pair.due_ns).min()
    }

    /// The next check that is due.
    pub fn next_check(&mut self, now_ns: u64) -> Option<DueCheck> {
        let at = self.pairs.iter().position(|pair| pair.due_ns <= now_ns)?;
        let pair = &mut self.pairs[at];
        let check = DueCheck {
            rtcp: pair.rtcp,
            to: pair.to,
            bytes: stun::request(
                pair.transaction,
                &Check {
                    username: &self.names[1],
                    password: &self.theirs.credentials.password,
                    priority: REFLEXIVE_PRIORITY - u32::from(pair.rtcp),
                    controlling: true,
                    tie_breaker: self.tie_breaker,
                    nominates: true,
                },
            ),
        };
        pair.tries += 1;
        let wait_ms = if pair.answered_ns == 0 {
            CHECK_EVERY_MS << (pair.tries - 1).min(3)
        } else {
            CONSENT_EVERY_MS
        };
        pair.due_ns = now_ns + wait_ms * MS;
        if pair.answered_ns == 0 && pair.tries == CHECK_TRIES {
            self.pairs.remove(at);
        }
        Some(check)
    }

    /// The party does not want packets any more on the port of RTP or RTCP (RFC 7675 section 5.1):
    /// it has not answered for long. Told once.
    pub fn lost_consent(&mut self, now_ns: u64) -> Option<bool> {
        let late = |pair: &Pair| {
            pair.answered_ns != 0 && now_ns > pair.answered_ns + CONSENT_LASTS_MS * MS
        };
        let at = self.pairs.iter().position(late)?;
        Some(self.pairs.remove(at).rtcp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn browser(ours: &Credentials) -> (Agent, Credentials) {
        let theirs = Credentials::random();
        let remote = Remote {
            credentials: theirs.clone(),
            ..Remote::default()
        };
        (Agent::new(ours.clone(), remote, 0), theirs)
    }

    fn check(from: &Credentials, to: &Credentials, nominates: bool, controlling: bool) -> Vec<u8> {
        let username = format!("{}:{}", to.name, from.name);
        let check = Check {
            username: &username,
            password: &to.password,
            priority: 1,
            controlling,
            tie_breaker: 1,
            nominates,
        };
        stun::request([3; 12], &check)
    }

    #[test]
    fn a_genuine_check_is_answered_and_may_nominate() {
        let ours = Credentials::random();
        let (mut agent, theirs) = browser(&ours);
        for nominates in [false, true] {
            let bytes = check(&theirs, &ours, nominates, true);
            let heard = agent.hear(false, address("10.0.0.9:4000"), &bytes, 0);
            let Heard::Valid { nominated, reply } = heard else {
                panic!("{heard:?}")
            };
            let reply = reply.expect("an answer");
            let answer = Message::parse(&reply).expect("a message");
            assert!(answer.is_genuine(&ours.password));
            assert_eq!((answer.class, nominated), (Class::Success, nominates));
        }
        assert_eq!(agent.due_ns(), None);
    }

    #[test]
    fn strangers_get_no_answer_at_all() {
        let ours = Credentials::random();
        let (mut agent, theirs) = browser(&ours);
        let source = address("10.0.0.9:4000");
        let mut guessed = ours.clone();
        guessed.password = Credentials::random().password;
        // Another name of theirs: a browser that rang for the same call.
        for bytes in [
            check(&theirs, &guessed, true, true),
            check(&Credentials::random(), &ours, true, true),
            b"nonsense".to_vec(),
        ] {
            assert_eq!(agent.hear(false, source, &bytes, 0), Heard::Strange);
        }
        let answer = stun::success([3; 12], source, &theirs.password);
        assert_eq!(agent.hear(false, source, &answer, 0), Heard::Strange);
        let conflict = check(&theirs, &ours, true, false);
        assert!(matches!(
            agent.hear(false, source, &conflict, 0),
            Heard::Reply(_)
        ));
    }

    fn lite(candidates: &[&str]) -> (Agent, Credentials, Credentials) {
        let (ours, theirs) = (Credentials::random(), Credentials::random());
        let list = candidates.iter().map(|text| address(text)).collect();
        let remote = Remote {
            credentials: theirs.clone(),
            lite: true,
            candidates: [list, Vec::new()],
        };
        (Agent::new(ours.clone(), remote, 0), ours, theirs)
    }

    #[test]
    fn a_lite_party_is_checked_until_one_way_answers_and_then_for_consent() {
        let (mut agent, ours, theirs) = lite(&["10.0.0.1:4000", "10.0.0.2:4000"]);
        let (mut now_ns, mut checks) = (0, Vec::new());
        while checks.len() < 2 {
            now_ns = agent.due_ns().expect("a time").max(now_ns);
            checks.extend(agent.next_check(now_ns));
        }
        assert_ne!(checks[0].to, checks[1].to);
        let asked = Message::parse(&checks[1].bytes).expect("a message");
        assert!(asked.is_genuine(&theirs.password) && asked.controlling && asked.nominates);
        let names = format!("{}:{}", theirs.name, ours.name);
        assert_eq!(asked.username, Some(&names[..]));
        let answer = stun::success(asked.transaction, checks[1].to, &theirs.password);
        let elsewhere = agent.hear(false, address("10.9.9.9:1"), &answer, now_ns);
        assert_eq!(elsewhere, Heard::Strange);
        let heard = agent.hear(false, checks[1].to, &answer, now_ns);
        assert!(matches!(
            heard,
            Heard::Valid {
                nominated: true,
                reply: None
            }
        ));
        let mut asked = 0;
        let lost = loop {
            now_ns = agent.due_ns().expect("a time");
            if let Some(rtcp) = agent.lost_consent(now_ns) {
                break rtcp;
            }
            asked += usize::from(agent.next_check(now_ns).is_some());
        };
        assert!(!lost && (4..=8).contains(&asked), "{asked}");
        assert_eq!(agent.due_ns(), None);
    }

    #[test]
    fn a_lite_party_that_never_answers_is_given_up_and_candidates_are_bounded() {
        let many: Vec<String> = (1..200).map(|n| format!("10.0.0.{n}:4000")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (mut agent, ..) = lite(&many);
        let mut checks = 0;
        while let Some(now_ns) = agent.due_ns() {
            checks += usize::from(agent.next_check(now_ns).is_some());
        }
        assert_eq!(checks, CANDIDATES_MAX * CHECK_TRIES as usize);
    }

    #[test]
    fn each_component_is_checked_for_itself_and_loses_consent_for_itself() {
        let many: Vec<_> = (1..40)
            .map(|n| address(&format!("10.0.0.{n}:4000")))
            .collect();
        let remote = Remote {
            credentials: Credentials::random(),
            lite: true,
            candidates: [many, vec![address("10.0.0.1:4001")]],
        };
        let password = remote.credentials.password.clone();
        let mut agent = Agent::new(Credentials::random(), remote, 0);
        let mut now_ns = 0;
        let mut asked = [0; 2];
        // RTP answers for a minute, RTCP once.
        let lost = loop {
            now_ns = agent.due_ns().expect("a time").max(now_ns);
            assert!(now_ns < 60_000 * MS, "consent is lost before");
            if let Some(rtcp) = agent.lost_consent(now_ns) {
                break rtcp;
            }
            let check = agent.next_check(now_ns).expect("a check");
            let n = usize::from(check.rtcp);
            asked[n] += 1;
            if !check.rtcp || asked[n] == 1 {
                let message = Message::parse(&check.bytes).expect("a message");
                let answer = stun::success(message.transaction, check.to, &password);
                let other = agent.hear(!check.rtcp, check.to, &answer, now_ns);
                assert_eq!(other, Heard::Strange, "an answer belongs to its port");
                let heard = agent.hear(check.rtcp, check.to, &answer, now_ns);
                assert!(matches!(heard, Heard::Valid { .. }));
            }
        };
        assert!(lost, "of RTCP");
        assert!(agent.pairs.iter().all(|pair| !pair.rtcp) && !agent.pairs.is_empty());
    }

    #[test]
    fn credentials_are_of_the_allowed_characters() {
        let ours = Credentials::random();
        assert_eq!(Credentials::checked(&ours.name, &ours.password), Some(ours));
        let password = "x".repeat(22);
        for (name, password) in [
            ("abc", &password[..]),
            ("abcd", "short"),
            ("ab d", &password),
        ] {
            assert_eq!(Credentials::checked(name, password), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(rtcp: bool, bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let (mut agent, ..) = lite(&["10.0.0.1:4000"]);
            agent.hear(rtcp, address("10.0.0.1:4000"), &bytes, 1);
        }
    }
}
