//! What signalling agrees about encryption on a media line: offers and answers of RFC 4568.
//!
//! Pure. Encryption ends here on both sides: each party has keys with us and never sees the
//! other's, so that a plain party can talk to an encrypted one. The keys that are written to a
//! party stay the same while they are in use, whoever makes the next offer. With
//! a seed they follow from it, so that another media server goes on with the keys of one that died:
//! there are phones that never take new ones.

use std::fmt;

use crate::call::Line;
use crate::ng::Refusal;
use crate::ng::request::Request;
use crate::sdp::{Media, Sdp};
use crate::srtp::sdes::Crypto;
use crate::srtp::{MasterKey, Suite};

/// The keys of a media line.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct LineKeys {
    seed: Option<KeySeed>,
    /// One a side.
    facing: [Facing; 2],
}

/// What our keys for a line are made from.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct KeySeed {
    /// The secret of the call.
    pub secret: [u8; 32],
    /// The line's place in the call.
    pub name: String,
}

impl fmt::Debug for KeySeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secret: this ends up in logs.
        write!(f, "KeySeed({})", self.name)
    }
}

/// What stands between us and one party.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Facing {
    /// What the party offered, in its order.
    theirs: Vec<Crypto>,
    /// Suites we offered it; the first has tag 1.
    offered: Vec<Suite>,
    /// Our keys for it, one a suite.
    ours: Vec<MasterKey>,
    /// The suite of the key that is in use.
    used: Option<Suite>,
}

/// The keys of one side after an answer: none is plain RTP.
pub type SideKeys = Option<(Crypto, MasterKey)>;

/// The lines to be written into the descriptions for both parties, and the keys of both.
pub struct Agreed {
    /// Keys by side.
    pub keys: [SideKeys; 2],
    /// `a=crypto` for the offerer.
    pub lines: Vec<String>,
}

/// Where a new context begins to count RTCP: further than any engine before it can have come, as
/// long as nobody sends 64 packets a second. Comes round after half a year.
pub fn rtcp_index(unix_us: u64) -> u32 {
    ((unix_us / 1_000_000 * 64) & 0x3fff_ffff) as u32
}

/// Whether a transport is secure RTP with keys in the description.
pub fn is_secure(protocol: &str) -> bool {
    protocol.starts_with("RTP/SAVP")
}

/// Our lines of `a=crypto` in a description.
fn cryptos<'a>(media: &'a Media<'_>) -> impl Iterator<Item = Crypto> + 'a {
    let values = media.lines.iter();
    let values = values.filter_map(|line| line.strip_prefix("a=crypto:"));
    values.filter_map(Crypto::parse)
}

/// What an offer wants on a line; refused when it wants something that is not ours.
///
/// # Errors
/// Secure RTP without a line of a known suite.
fn offered(media: &Media<'_>, request: &Request) -> Result<Vec<Crypto>, Refusal> {
    let secure = is_secure(media.protocol);
    if media.port == 0 || !(secure || request.osrtp.accept) {
        return Ok(Vec::new());
    }
    let theirs: Vec<_> = cryptos(media).collect();
    // With a certificate keys may be agreed on by DTLS.
    let dtls = media
        .lines
        .iter()
        .any(|line| line.starts_with("a=fingerprint:"));
    if secure && theirs.is_empty() && !dtls {
        return Err(Refusal::error("No supported crypto suite in SDP"));
    }
    Ok(theirs)
}

/// Transports that a line may be changed into.
const PROFILES: [&str; 6] = [
    "RTP/AVP",
    "RTP/AVPF",
    "RTP/SAVP",
    "RTP/SAVPF",
    "UDP/TLS/RTP/SAVP",
    "UDP/TLS/RTP/SAVPF",
];

/// What the answer takes of the keys that were offered, line by line.
///
/// # Errors
/// See [`LineKeys::answered`].
pub fn answered(
    lines: &[Line],
    sdp: &Sdp<'_>,
    side: usize,
) -> Result<Vec<Option<Crypto>>, Refusal> {
    let lines = lines.iter().zip(&sdp.media);
    let answered = lines.map(|(line, media)| line.keys.answered(side, media, &line.protocol_out));
    answered.collect()
}

/// Profiles of RTP may be exchanged, with and without encryption and feedback.
///
/// # Errors
/// Other transports.
pub fn check_transport(sdp: &Sdp<'_>, request: &Request) -> Result<(), Refusal> {
    if sdp
        .media
        .iter()
        .any(|media| media.port != 0 && media.is_stream())
    {
        return Err(Refusal::error("Unsupported transport in SDP"));
    }
    let Some(wanted) = &request.protocol else {
        return Ok(());
    };
    if PROFILES.contains(&&wanted[..]) || !sdp.media.iter().any(Media::is_rtp) {
        return Ok(());
    }
    Err(Refusal::error("Unsupported transport-protocol"))
}

/// What an offer wants, line by line.
///
/// # Errors
/// See [`offered`].
pub fn offered_lines(sdp: &Sdp<'_>, request: &Request) -> Result<Vec<Vec<Crypto>>, Refusal> {
    let lines = sdp.media.iter();
    lines.map(|media| offered(media, request)).collect()
}

impl LineKeys {
    /// No keys yet; with a seed they will follow from it.
    pub fn new(seed: Option<KeySeed>) -> LineKeys {
        LineKeys {
            seed,
            ..LineKeys::default()
        }
    }

    /// Our key of a suite for a side: the one it has, or another.
    fn our_key(&mut self, side: usize, suite: Suite) -> MasterKey {
        let LineKeys { seed, facing } = self;
        let ours = &mut facing[side].ours;
        if let Some(key) = ours.iter().find(|key| key.suite() == suite) {
            return key.clone();
        }
        let key = match seed {
            Some(KeySeed { secret, name }) => {
                MasterKey::derived(suite, secret, &format!("{name}/{side}"))
            }
            None => MasterKey::random(suite),
        };
        ours.push(key.clone());
        key
    }

    /// An offer of `side` goes on to the other one with `protocol`; answers the `a=crypto` lines
    /// for it.
    pub fn offer(
        &mut self,
        side: usize,
        theirs: Vec<Crypto>,
        protocol: &str,
        request: &Request,
    ) -> Vec<String> {
        let suites = suites(&theirs, request);
        self.facing[side].theirs = theirs;
        let facing = &mut self.facing[1 - side];
        facing.offered.clear();
        // What is not in use was offered in vain.
        let used = facing.used;
        facing.ours.retain(|key| Some(key.suite()) == used);
        let opportunistic = request.osrtp.offer && protocol.starts_with("RTP/AVP");
        if request.sdes.off || !(is_secure(protocol) || opportunistic) {
            return Vec::new();
        }
        facing.offered.clone_from(&suites);
        let numbered = (1..).zip(suites);
        let line = |(tag, suite)| written(tag, &self.our_key(1 - side, suite), request);
        numbered.map(line).collect()
    }

    /// The keys that an answer of `side` settles on; nothing is changed.
    ///
    /// # Errors
    /// Secure RTP was offered, and the answer takes none of the offered lines.
    pub fn answered(
        &self,
        side: usize,
        media: &Media<'_>,
        protocol: &str,
    ) -> Result<Option<Crypto>, Refusal> {
        let facing = &self.facing[side];
        let taken = |crypto: &Crypto| {
            let at = (crypto.tag as usize).checked_sub(1);
            at.and_then(|at| facing.offered.get(at)) == Some(&crypto.key.suite())
        };
        let found = cryptos(media).find(taken);
        let mut lines = media.lines.iter();
        let dtls = lines.any(|line| line.starts_with("a=fingerprint:"));
        let must = is_secure(protocol) && media.port != 0 && !facing.offered.is_empty() && !dtls;
        if found.is_none() && must {
            return Err(Refusal::error("No offered crypto suite in SDP answer"));
        }
        Ok(found)
    }

    /// Settles what [`Self::answered`] found.
    pub fn settle(&mut self, side: usize, theirs: Option<Crypto>, request: &Request) -> Agreed {
        let mut keys = [None, None];
        self.facing[side].used = theirs.as_ref().map(|crypto| crypto.key.suite());
        if let Some(crypto) = theirs {
            let ours = self.our_key(side, crypto.key.suite());
            keys[side] = Some((crypto, ours));
        }
        let chosen = self.facing[1 - side].theirs.first().cloned();
        self.facing[1 - side].used = chosen.as_ref().map(|crypto| crypto.key.suite());
        let mut lines = Vec::new();
        if let Some(crypto) = chosen {
            let ours = self.our_key(1 - side, crypto.key.suite());
            lines.push(written(crypto.tag, &ours, request));
            keys[1 - side] = Some((crypto, ours));
        }
        Agreed { keys, lines }
    }
}

/// The suites to be offered: those that were offered to us, then all others, as the flags say.
fn suites(theirs: &[Crypto], request: &Request) -> Vec<Suite> {
    let flags = &request.sdes;
    let mut suites: Vec<Suite> = Vec::new();
    let given = theirs.iter().map(|crypto| crypto.key.suite());
    let others = Suite::ALL
        .into_iter()
        .filter(|_| !flags.nonew || theirs.is_empty());
    for suite in given.chain(others) {
        let wanted = if flags.only.is_empty() {
            !flags.no.contains(&suite)
        } else {
            flags.only.contains(&suite)
        };
        if wanted && !suites.contains(&suite) {
            suites.push(suite);
        }
    }
    suites
}

fn written(tag: u32, key: &MasterKey, request: &Request) -> String {
    let crypto = Crypto {
        tag,
        key: key.clone(),
        mki_bytes: 0,
    };
    let lifetime = if request.sdes.lifetime { "|2^31" } else { "" };
    format!("crypto:{}{lifetime}", crypto.value(request.sdes.pad))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ng::request::{OsrtpFlags, SdesFlags};

    fn description(protocol: &str, cryptos: &[String]) -> String {
        let lines: String = cryptos.iter().map(|line| format!("a={line}\r\n")).collect();
        format!("v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 {protocol} 0\r\n{lines}")
    }

    fn party(suites: &[Suite]) -> Vec<String> {
        let line = |(tag, suite): (u32, &Suite)| {
            written(tag, &MasterKey::random(*suite), &Request::default())
        };
        (1..).zip(suites).map(line).collect()
    }

    fn suites_of(lines: &[String]) -> Vec<Suite> {
        let values = lines
            .iter()
            .map(|line| line.strip_prefix("crypto:").expect("a line"));
        values
            .map(|value| Crypto::parse(value).expect("a crypto").key.suite())
            .collect()
    }

    fn offer(
        keys: &mut LineKeys,
        side: usize,
        text: &str,
        to: &str,
        request: &Request,
    ) -> Vec<String> {
        let sdp = Sdp::parse(text).expect("an SDP");
        let theirs = offered(&sdp.media[0], request).expect("an offer");
        keys.offer(side, theirs, to, request)
    }

    fn answer(keys: &mut LineKeys, side: usize, text: &str, to: &str) -> Result<Agreed, Refusal> {
        let sdp = Sdp::parse(text).expect("an SDP");
        let found = keys.answered(side, &sdp.media[0], to)?;
        Ok(keys.settle(side, found, &Request::default()))
    }

    const SAVP: &str = "RTP/SAVP";

    #[test]
    fn each_side_gets_keys_of_ours_and_the_same_again_in_a_re_offer_of_the_other() {
        let (mut keys, request) = (LineKeys::default(), Request::default());
        let a = description(
            SAVP,
            &party(&[Suite::Aes128CmSha1_32, Suite::AeadAes128Gcm]),
        );
        let to_b = offer(&mut keys, 0, &a, SAVP, &request);
        assert_eq!(
            suites_of(&to_b)[..2],
            [Suite::Aes128CmSha1_32, Suite::AeadAes128Gcm]
        );
        assert_eq!(to_b.len(), Suite::ALL.len());
        assert!(
            to_b.iter().all(|line| !a.contains(&line[12..])),
            "no key goes through"
        );
        let b = description(
            SAVP,
            &[party(&[Suite::AeadAes128Gcm])[0].replacen('1', "2", 1)],
        );
        let agreed = answer(&mut keys, 1, &b, SAVP).expect("agreed");
        assert_eq!(suites_of(&agreed.lines), [Suite::Aes128CmSha1_32]);
        let [Some((_, ours_for_a)), Some((theirs_of_b, ours_for_b))] = agreed.keys else {
            panic!("both are encrypted")
        };
        assert_eq!(theirs_of_b.tag, 2);
        let to_a = offer(&mut keys, 1, &b.replacen(":2", ":1", 1), SAVP, &request);
        let again = answer(
            &mut keys,
            0,
            &description(SAVP, &party(&suites_of(&to_a))),
            SAVP,
        );
        let again = again.expect("agreed").keys;
        // The first line to A is of the suite of B's offer; the second had a key already.
        assert_eq!(again[1].as_ref().map(|(_, ours)| ours), Some(&ours_for_b));
        assert!(
            to_a.iter()
                .any(|line| Crypto::parse(&line[7..]).expect("ours").key == ours_for_a)
        );
    }

    #[test]
    fn plain_and_encrypted_parties_meet() {
        let (mut keys, request) = (LineKeys::default(), Request::default());
        let a = description(SAVP, &party(&[Suite::Aes128CmSha1_80]));
        assert_eq!(offer(&mut keys, 0, &a, "RTP/AVP", &request), [""; 0]);
        let b = description("RTP/AVP", &[]);
        let agreed = answer(&mut keys, 1, &b, "RTP/AVP").expect("agreed");
        assert_eq!(agreed.lines.len(), 1);
        assert!(agreed.keys[0].is_some() && agreed.keys[1].is_none());
    }

    #[test]
    fn an_opportunistic_offer_may_be_taken_or_not() {
        let request = Request {
            osrtp: OsrtpFlags {
                offer: true,
                accept: true,
            },
            ..Request::default()
        };
        let plain = description("RTP/AVP", &[]);
        let mut keys = LineKeys::default();
        let to_b = offer(&mut keys, 0, &plain, "RTP/AVP", &request);
        assert_eq!(to_b.len(), Suite::ALL.len());
        let agreed = answer(&mut keys, 1, &plain, "RTP/AVP").expect("agreed");
        assert!(agreed.keys.iter().all(Option::is_none));
        let b = description("RTP/AVP", &party(&suites_of(&to_b)));
        let agreed = answer(&mut keys, 1, &b, "RTP/AVP").expect("agreed");
        assert!(agreed.keys[0].is_none() && agreed.keys[1].is_some());
    }

    #[test]
    fn what_cannot_be_encrypted_is_refused() {
        let request = Request::default();
        let strange = ["crypto:1 F8_128_HMAC_SHA1_80 inline:xx".to_owned()];
        let text = description(SAVP, &strange);
        let sdp = Sdp::parse(&text).expect("an SDP");
        assert!(offered(&sdp.media[0], &request).is_err());
        let mut keys = LineKeys::default();
        let a = description("RTP/AVP", &[]);
        offer(&mut keys, 0, &a, SAVP, &request);
        let wrong_tag = [party(&[Suite::AeadAes256Gcm])[0].replacen('1', "2", 1)];
        assert!(answer(&mut keys, 1, &description(SAVP, &wrong_tag), SAVP).is_err());
        assert!(answer(&mut keys, 1, &description(SAVP, &[]), SAVP).is_err());
    }

    #[test]
    fn flags_choose_the_suites() {
        let sdes = |sdes: SdesFlags| Request {
            sdes,
            ..Request::default()
        };
        let mut keys = LineKeys::default();
        let plain = description("RTP/AVP", &[]);
        let only = SdesFlags {
            only: vec![Suite::Aes128CmSha1_80],
            ..SdesFlags::default()
        };
        let lines = offer(&mut keys, 0, &plain, SAVP, &sdes(only));
        assert_eq!(suites_of(&lines), [Suite::Aes128CmSha1_80]);
        let no = SdesFlags {
            no: vec![Suite::AeadAes256Gcm],
            ..SdesFlags::default()
        };
        let lines = offer(&mut keys, 0, &plain, SAVP, &sdes(no));
        assert!(!suites_of(&lines).contains(&Suite::AeadAes256Gcm));
        let off = SdesFlags {
            off: true,
            ..SdesFlags::default()
        };
        assert_eq!(offer(&mut keys, 0, &plain, SAVP, &sdes(off)), [""; 0]);
    }
}
