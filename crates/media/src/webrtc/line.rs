//! ICE and DTLS of one media line in offers and answers (RFC 8839, RFC 8842). Pure.
//!
//! What we say of ourselves to a party stays the same for as long as the party does: an offer in
//! the middle of a call changes nothing by itself. A party that restarts ICE gets new credentials
//! of ours, as it must (RFC 8839 section 4.4.1).

use super::describe::{Peer, Setup, is_browser};
use super::fingerprint::Fingerprint;
use super::ice::Credentials;
use super::leg::Spec;
use crate::ng::Refusal;
use crate::ng::request::{IceFlag, Request};
use crate::sdp::Way;

/// What stands between us and one party.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Facing {
    /// What it said last.
    peer: Peer,
    /// Ours towards it.
    ours: Option<Credentials>,
    /// What we offered it.
    offered_ice: bool,
    offered_dtls: bool,
    /// What was agreed on last.
    spec: Spec,
    /// The certificate it knows: of the engine that shook hands with it, if that was another one.
    known: Option<Fingerprint>,
}

/// ICE and DTLS of a line.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct LineLegs {
    facing: [Facing; 2],
    /// The offerer is not to begin handshakes with us as its server: we wait for it.
    passive: bool,
    /// The offerer gets no DTLS.
    off: bool,
}

impl LineLegs {
    /// An offer of `side` goes on with `protocol`; answers what it says about us.
    pub fn offer(
        &mut self,
        side: usize,
        peer: Peer,
        protocol: &str,
        fingerprint: &Fingerprint,
        request: &Request,
    ) -> Way {
        let flags = request.dtls;
        (self.passive, self.off) = (flags.passive, flags.off);
        let browser = is_browser(protocol);
        let ice = match request.ice {
            Some(IceFlag::Remove) => false,
            Some(IceFlag::Force | IceFlag::Optional) => true,
            None | Some(IceFlag::Default) => peer.ice.is_some(),
        };
        // A transport without encryption may be offered it all the same (RFC 8643).
        let opportunistic = request.osrtp.offer && flags.given;
        let dtls = !flags.off && (browser || (opportunistic && protocol.starts_with("RTP/AVP")));
        let strips = peer.browser != browser || peer.browser;
        self.facing[side].note(peer);
        let to = &mut self.facing[1 - side];
        (to.offered_ice, to.offered_dtls) = (ice, dtls);
        let ours = ice.then(|| to.ours.get_or_insert_with(Credentials::random).clone());
        let setup = dtls.then_some("actpass");
        let fingerprint = to.known.as_ref().unwrap_or(fingerprint);
        Way {
            // The name of a line is between its two ends.
            mid: to.peer.mid.clone(),
            bundle: to.peer.bundled,
            strips,
            ..way(
                ours.as_ref(),
                setup.map(|setup| (setup, fingerprint)),
                false,
            )
        }
    }

    /// Whether an answer of `side` takes what it has to take.
    ///
    /// # Errors
    /// A browser's transport was offered, and the answer has no certificate.
    pub fn check_answer(&self, side: usize, peer: &Peer, protocol: &str) -> Result<(), Refusal> {
        let must = is_browser(protocol) && self.facing[side].offered_dtls;
        if must && peer.fingerprints.is_empty() {
            return Err(Refusal::error("No fingerprint in SDP answer"));
        }
        Ok(())
    }

    /// An answer of `side`: what both parties have agreed on with us, and what the answer says
    /// about us to the offerer.
    pub fn settle(
        &mut self,
        side: usize,
        peer: Peer,
        fingerprint: &Fingerprint,
        request: &Request,
    ) -> ([Spec; 2], Way) {
        let strips = peer.browser || self.facing[1 - side].peer.browser;
        let (removed, passive) = (
            request.ice == Some(IceFlag::Remove),
            self.passive || request.dtls.passive,
        );
        let off = self.off || request.dtls.off;
        let answerer = &mut self.facing[side];
        answerer.hear(peer);
        answerer.spec = answerer.agreed(answerer.offered_ice, answerer.offered_dtls, |setup| {
            setup == Some(Setup::Passive)
        });
        let answered = answerer.spec.clone();
        let offerer = &mut self.facing[1 - side];
        offerer.ours.get_or_insert_with(Credentials::random);
        offerer.spec = offerer.agreed(!removed, !off, |setup| match setup {
            Some(Setup::Active) => false,
            Some(Setup::Passive) => true,
            _ => !passive,
        });
        let spec = offerer.spec.clone();
        let fingerprint = offerer.known.as_ref().unwrap_or(fingerprint);
        let setup = spec.dtls.as_ref().map(|(active, _)| match active {
            true => ("active", fingerprint),
            false => ("passive", fingerprint),
        });
        let ice = spec.ice.as_ref();
        let lite = ice.is_some_and(|(_, theirs)| theirs.lite);
        let way = Way {
            mid: offerer.peer.mid.clone(),
            bundle: offerer.peer.bundled,
            strips,
            ..way(ice.map(|(ours, _)| ours), setup, lite)
        };
        let mut specs = [answered, spec];
        if side == 1 {
            specs.swap(0, 1);
        }
        (specs, way)
    }
}

impl LineLegs {
    /// Is written down for another engine, whose certificate is not the one that parties know.
    pub fn keep(&mut self, fingerprint: &Fingerprint) {
        for facing in &mut self.facing {
            if facing.spec.dtls.is_some() {
                facing.known.get_or_insert_with(|| fingerprint.clone());
            }
        }
    }
}

impl Facing {
    /// Its offer. New credentials of its are a restart of ICE.
    fn note(&mut self, peer: Peer) {
        let agreed = self
            .spec
            .ice
            .as_ref()
            .map(|(_, theirs)| &theirs.credentials);
        let said = peer.ice.as_ref().map(|remote| &remote.credentials);
        if agreed.is_some() && said.is_some() && agreed != said {
            self.ours = None;
        }
        self.hear(peer);
    }

    /// It says something about itself. One with another certificate shakes hands anew, with us.
    fn hear(&mut self, peer: Peer) {
        if self.peer.fingerprints != peer.fingerprints {
            self.known = None;
        }
        self.peer = peer;
    }

    fn agreed(&self, ice: bool, dtls: bool, begins: impl FnOnce(Option<Setup>) -> bool) -> Spec {
        let remote = self.peer.ice.clone().filter(|_| ice);
        let theirs = &self.peer.fingerprints;
        let role = || match &self.spec.dtls {
            // The connection that there is goes on, and its roles with it (RFC 8842 section 5.2).
            Some((active, known))
                if known == theirs
                    && !matches!(
                        (self.peer.setup, active),
                        (Some(Setup::Active), true) | (Some(Setup::Passive), false)
                    ) =>
            {
                *active
            }
            _ => begins(self.peer.setup),
        };
        Spec {
            ice: self.ours.clone().zip(remote),
            dtls: (dtls && !theirs.is_empty()).then(|| (role(), theirs.clone())),
            apart: false,
        }
    }
}

/// What a description says about us.
fn way(ours: Option<&Credentials>, dtls: Option<(&str, &Fingerprint)>, lite: bool) -> Way {
    let mut way = Way::default();
    if let Some((setup, fingerprint)) = dtls {
        way.secrecy.push(format!("setup:{setup}"));
        way.secrecy.push(format!("fingerprint:{fingerprint}"));
    }
    if let Some(ours) = ours {
        way.ice.push(format!("ice-ufrag:{}", ours.name));
        way.ice.push(format!("ice-pwd:{}", ours.password));
        // Who is lite itself needs us to check.
        way.lite = !lite;
    }
    way
}

#[cfg(test)]
mod tests {
    use super::super::ice::Remote;
    use super::*;
    use crate::ng::request::{DtlsFlags, OsrtpFlags};

    const BROWSER: &str = "UDP/TLS/RTP/SAVPF";

    fn browser(setup: Setup) -> Peer {
        Peer {
            ice: Some(Remote {
                credentials: Credentials::random(),
                ..Remote::default()
            }),
            fingerprints: vec![Fingerprint::of(b"browser")],
            setup: Some(setup),
            mid: Some("0".into()),
            bundled: true,
            browser: true,
        }
    }

    fn ours() -> Fingerprint {
        Fingerprint::of(b"ours")
    }

    fn passive() -> Request {
        Request {
            dtls: DtlsFlags {
                given: true,
                passive: true,
                off: false,
            },
            ..Request::default()
        }
    }

    fn forced() -> Request {
        Request {
            ice: Some(IceFlag::Force),
            ..passive()
        }
    }

    #[test]
    fn a_browser_calls_a_phone_and_calls_again_in_the_same_call() {
        let mut legs = LineLegs::default();
        let caller = browser(Setup::ActPass);
        let removed = Request {
            ice: Some(IceFlag::Remove),
            ..passive()
        };
        let way = legs.offer(0, caller.clone(), "RTP/AVP", &ours(), &removed);
        assert!(way.ice.is_empty() && way.secrecy.is_empty() && way.strips && !way.lite);
        let ([first, second], way) = legs.settle(1, Peer::default(), &ours(), &passive());
        assert!(second.is_empty());
        assert_eq!(first.dtls, Some((false, caller.fingerprints.clone())));
        assert_eq!(way.secrecy[0], "setup:passive");
        assert_eq!(
            (way.mid.as_deref(), way.bundle, way.lite),
            (Some("0"), true, true)
        );
        legs.offer(0, caller, "RTP/AVP", &ours(), &removed);
        let (again, way_again) = legs.settle(1, Peer::default(), &ours(), &Request::default());
        assert_eq!((&again[0], way_again), (&first, way));
    }

    #[test]
    fn a_phone_calls_a_browser_which_restarts_later() {
        let mut legs = LineLegs::default();
        let way = legs.offer(0, Peer::default(), BROWSER, &ours(), &forced());
        assert_eq!(way.secrecy[0], "setup:actpass");
        assert_eq!((way.ice.len(), way.lite), (2, true));
        assert!(legs.check_answer(1, &Peer::default(), BROWSER).is_err());
        let callee = browser(Setup::Active);
        assert!(legs.check_answer(1, &callee, BROWSER).is_ok());
        let ([first, second], _) = legs.settle(1, callee.clone(), &ours(), &passive());
        assert!(first.is_empty());
        assert_eq!(second.dtls.as_ref().map(|(active, _)| *active), Some(false));
        let again = legs.offer(0, Peer::default(), BROWSER, &ours(), &forced());
        assert_eq!(again.ice, way.ice, "nothing new for who is there");
        let ([_, same], _) = legs.settle(1, callee.clone(), &ours(), &passive());
        assert_eq!(same, second);
        let restarted = browser(Setup::ActPass);
        legs.offer(1, restarted, "RTP/AVP", &ours(), &passive());
        let ([_, new], way) = legs.settle(0, Peer::default(), &ours(), &Request::default());
        assert_ne!(
            new.ice.as_ref().map(|(ours, _)| ours),
            second.ice.as_ref().map(|(o, _)| o)
        );
        assert_eq!(
            new.dtls, second.dtls,
            "the connection goes on with its roles"
        );
        assert_eq!(way.secrecy[0], "setup:passive");
    }

    #[test]
    fn roles_follow_the_flags_and_the_party() {
        let role = |setup, request: &Request| {
            let mut legs = LineLegs::default();
            legs.offer(0, browser(setup), "RTP/AVP", &ours(), request);
            let ([spec, _], _) = legs.settle(1, Peer::default(), &ours(), &Request::default());
            spec.dtls.map(|(active, _)| active)
        };
        assert_eq!(role(Setup::ActPass, &Request::default()), Some(true));
        assert_eq!(role(Setup::ActPass, &passive()), Some(false));
        assert_eq!(role(Setup::Active, &Request::default()), Some(false));
        assert_eq!(role(Setup::Passive, &passive()), Some(true));
        let off = DtlsFlags {
            given: true,
            passive: false,
            off: true,
        };
        let off = Request {
            dtls: off,
            ..Request::default()
        };
        assert_eq!(role(Setup::ActPass, &off), None);
    }

    #[test]
    fn an_offer_without_encryption_may_name_a_certificate_all_the_same() {
        let request = Request {
            osrtp: OsrtpFlags {
                offer: true,
                accept: true,
            },
            ..forced()
        };
        let mut legs = LineLegs::default();
        let way = legs.offer(0, Peer::default(), "RTP/AVP", &ours(), &request);
        assert_eq!((way.secrecy.len(), way.ice.len()), (2, 2));
        assert!(legs.check_answer(1, &Peer::default(), "RTP/AVP").is_ok());
        let (specs, _) = legs.settle(1, Peer::default(), &ours(), &request);
        assert!(specs.iter().all(Spec::is_empty));
    }

    #[test]
    fn ice_is_written_as_the_flag_says() {
        let written = |ice, peer: Peer| {
            let request = Request {
                ice,
                ..Request::default()
            };
            let mut legs = LineLegs::default();
            let way = legs.offer(0, peer, "RTP/AVP", &ours(), &request);
            !way.ice.is_empty()
        };
        let (plain, with) = (Peer::default, || browser(Setup::ActPass));
        assert!(!written(None, plain()) && written(None, with()));
        assert!(!written(Some(IceFlag::Default), plain()));
        assert!(written(Some(IceFlag::Optional), plain()));
        assert!(written(Some(IceFlag::Force), plain()));
        assert!(!written(Some(IceFlag::Remove), with()));
    }
}
