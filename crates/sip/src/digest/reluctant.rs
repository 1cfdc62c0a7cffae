//! Which devices are offered SHA-256 beside MD5 where both are (RFC 8760).
//!
//! There are devices that give up when a challenge names an algorithm they do not know, in
//! whatever order (section 2.4 wants them to pass over it). So MD5 stands alone for those that
//! are known for it by their User-Agent, for those that do not say what they are, and for those
//! that heard both and then asked again without an answer. MD5 is offered to all of them anyway:
//! nobody gains anything by pretending to be one.
//!
//! Kept by each node for itself: the next leader learns again, at the price of one attempt.
use crate::generations::Generations;
use crate::limits::{GIVE_UP_S, OFFER_MEMORY_S, OFFERS_MAX};

/// Beginnings of User-Agents that give up, in lower case. Measured: baresip 1.0 registers with
/// MD5 alone only ("Function not implemented"), sipp 3.6 ends itself when SHA-256 comes first.
const KNOWN: [&str; 3] = ["baresip v0.", "baresip v1.", "sipp"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Both, with this request and then, Unix seconds; no answer yet.
    Both(u64, u64),
    /// It has asked again.
    GaveUp,
}

/// What devices made of challenges with both algorithms.
#[derive(Debug)]
pub struct Reluctant(Generations<u64, Told>);

impl Default for Reluctant {
    fn default() -> Self {
        Self(Generations::new(OFFERS_MAX, OFFER_MEMORY_S))
    }
}

impl Reluctant {
    /// Whether a device is to be challenged with MD5 alone. `device` and `request` are hashes:
    /// of what tells it from others, and of what tells a request from others but not from its
    /// repetitions.
    pub fn wants_md5(
        &mut self,
        user_agent: Option<&str>,
        device: u64,
        request: u64,
        now_s: u64,
    ) -> bool {
        let Some(user_agent) = user_agent else {
            return true;
        };
        let begins = |known: &&str| {
            let start = user_agent.get(..known.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(known))
        };
        if KNOWN.iter().any(begins) {
            return true;
        }
        let next = match self.0.get(&device) {
            None => Told::Both(request, now_s),
            Some(Told::Both(before, at_s)) => {
                // Its other requests may be under way while it answers.
                if *before == request || now_s.saturating_sub(*at_s) < GIVE_UP_S {
                    return false;
                }
                Told::GaveUp
            }
            Some(Told::GaveUp) => return true,
        };
        self.0.insert(device, next, now_s);
        next == Told::GaveUp
    }

    /// The device has answered a challenge, rightly or not.
    pub fn answered(&mut self, device: u64) {
        // One that has learned to give up needs it the next time, too.
        if matches!(self.0.get(&device), Some(Told::Both(..))) {
            self.0.remove(&device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Option<&str> = Some("Desk 9000");

    #[test]
    fn devices_known_to_give_up_and_those_that_say_nothing_hear_md5_alone() {
        let mut reluctant = Reluctant::default();
        for (user_agent, alone) in [
            (None, true),
            (Some("baresip v1.0.0 (x86_64/linux)"), true),
            (Some("SIPp"), true),
            (Some("baresip v3.16.0 (x86_64/Linux)"), false),
            (Some("b"), false),
            (NEW, false),
        ] {
            let told = reluctant.wants_md5(user_agent, 1, 1, 0);
            assert_eq!(told, alone, "{user_agent:?}");
        }
    }

    #[test]
    fn a_device_that_asks_again_without_an_answer_hears_md5_alone_from_then_on() {
        let mut reluctant = Reluctant::default();
        assert!(!reluctant.wants_md5(NEW, 7, 1, 0));
        assert!(
            !reluctant.wants_md5(NEW, 7, 1, 20),
            "a repetition says nothing"
        );
        assert!(
            !reluctant.wants_md5(NEW, 7, 5, 2),
            "nor does another request so soon"
        );
        assert!(reluctant.wants_md5(NEW, 7, 2, 30));
        reluctant.answered(7);
        assert!(reluctant.wants_md5(NEW, 7, 3, 600));
        assert!(
            !reluctant.wants_md5(NEW, 8, 1, 600),
            "its neighbour is another"
        );
    }

    #[test]
    fn a_device_that_answers_goes_on_hearing_both() {
        let mut reluctant = Reluctant::default();
        for request in 0..5 {
            assert!(!reluctant.wants_md5(NEW, 7, request, request * 60));
            reluctant.answered(7);
        }
    }

    #[test]
    fn what_is_remembered_is_limited() {
        let mut reluctant = Reluctant::default();
        let devices = u64::try_from(OFFERS_MAX).expect("it fits") * 3;
        for device in 0..devices {
            reluctant.wants_md5(NEW, device, 1, 0);
        }
        assert!(reluctant.0.len() <= 2 * OFFERS_MAX);
    }
}
