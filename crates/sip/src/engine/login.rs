//! Who sends a request: the challenge, the check of its answer, and who is not listened to.
use std::net::IpAddr;

use super::Core;
use super::flow::Flow;
use super::metrics::Metrics;
use super::timers::Alarm;
use crate::defence::{Attempt, Wrong};
use crate::digest::{Offer, Verdict, hash_of};
use crate::journal::JournalOp;
use crate::limits::BANS_COLLECTED_MS;
use crate::message::{Essentials, Message, Name};

/// Who asks for a password, and with which words (RFC 3261 section 22).
pub(super) struct Door {
    /// Header of the peer's answer.
    answer: Name,
    /// Header of our challenge.
    challenge: &'static str,
    /// Status of our challenge.
    status: u16,
}

/// The registrar: 401.
pub(super) const AS_REGISTRAR: Door = Door {
    answer: Name::Authorization,
    challenge: "WWW-Authenticate",
    status: 401,
};

/// The way to other users: 407.
const AS_PROXY: Door = Door {
    answer: Name::ProxyAuthorization,
    challenge: "Proxy-Authenticate",
    status: 407,
};

impl Core {
    /// Whether a request outside any dialog comes from somebody nobody listens to. Dropped
    /// without a word: an answer would tell a scanner that somebody is here.
    pub(super) fn is_banned(&self, flow: &Flow) -> bool {
        let source = flow.remote.ip();
        self.defence.is_banned(source, self.now.wall_ms())
            && !self.is_trusted(source)
            && !self.replica.is_peer(source)
            && !self.replica.has_devices_at(source)
    }

    fn is_trusted(&self, source: IpAddr) -> bool {
        let config = self.setup.registrar.as_ref();
        config.is_some_and(|config| config.policy.trusted.iter().any(|one| one.contains(source)))
    }

    /// Challenges a request from outside any dialog when that is asked for: not INVITE only,
    /// or the others would tell which users there are. `Err` when it has been answered. A call
    /// of a trunk has no user: a provider knows none of our passwords, so where it comes from
    /// has to do. A phone that shows a password is heard as a user there, too.
    pub(super) fn authenticate_call(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> Result<Option<String>, ()> {
        if self.authenticator.is_none() || !self.setup.authenticate_calls {
            return Ok(None);
        }
        let answers = message.get(AS_PROXY.answer).is_some();
        if essentials.method == "INVITE" && !answers && self.replica.is_peer(flow.remote.ip()) {
            return Ok(None);
        }
        let user = self.login(&AS_PROXY, flow, message, essentials);
        user.map(Some).ok_or(())
    }

    /// The user whose password the request shows; `None` when it has been answered.
    pub(super) fn login(
        &mut self,
        door: &Door,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> Option<String> {
        let authenticator = self.authenticator.as_ref()?;
        let (now_s, now_ms) = (self.now.wall_s(), self.now.wall_ms());
        let values = message.all(door.answer);
        let verdict = authenticator.verify(values, essentials.method, now_s, &mut self.setup.users);
        let name = match &verdict {
            Verdict::Accepted(right) => right.user.as_str(),
            Verdict::Wrong(user) => user,
            Verdict::Missing | Verdict::Stale => {
                let stale = verdict == Verdict::Stale;
                self.challenge(door, flow, message, essentials, stale);
                return None;
            }
        };
        self.reluctant
            .answered(device_of(flow, message, essentials));
        let source = flow.remote.ip();
        let attempt = Attempt {
            source,
            user: name,
            is_home: self.replica.has_devices_at(source),
            is_own: self.defence.is_guessed_at(name) && self.replica.is_device_of(name, source),
        };
        let trusted = self.is_trusted(source);
        let refused = !trusted && self.defence.refuses(&attempt, now_ms);
        if let Verdict::Accepted(right) = &verdict {
            if refused {
                // With the same words as a wrong password.
                Metrics::count(&self.setup.metrics.guard.dropped);
                self.respond(flow, message, essentials, 403, &[]);
                return None;
            }
            self.defence.right(&attempt);
            let branch = essentials.via.branch().unwrap_or_default();
            let request = (
                essentials.method,
                essentials.call_id,
                essentials.cseq,
                branch,
            );
            if right.count_in(&mut self.nonce_counts, request, now_s) {
                return Some(right.user.clone());
            }
            Metrics::count(&self.setup.metrics.guard.replays);
            self.challenge(door, flow, message, essentials, true);
            return None;
        }
        Metrics::count(&self.setup.metrics.rejected_credentials);
        let wrong = (!trusted).then(|| self.defence.wrong(&attempt, now_ms));
        if let Some(wrong) = wrong {
            self.judge(wrong);
        }
        self.respond(flow, message, essentials, 403, &[]);
        None
    }

    fn judge(&mut self, wrong: Wrong) {
        match wrong {
            Wrong::Counted => {}
            Wrong::Full => Metrics::count(&self.setup.metrics.guard.bans_refused),
            Wrong::Banned(ban) => {
                Metrics::count(&self.setup.metrics.guard.banned);
                tracing::warn!(key = ban.key(), until = ban.until, "banned");
                self.new_bans.push(ban);
                if self.new_bans.len() == 1 {
                    let at_ms = self.now.mono_ms + BANS_COLLECTED_MS;
                    self.timers.arm(at_ms, Alarm::Bans);
                }
            }
        }
    }

    fn challenge(
        &mut self,
        door: &Door,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        stale: bool,
    ) {
        let own = self.ids.unguessable();
        let offer = self.offer(flow, message, essentials, stale);
        let Some(authenticator) = self.authenticator.as_ref() else {
            return;
        };
        let challenges = authenticator.challenges(offer, self.now.wall_s(), own, stale);
        let headers: Vec<(&str, &str)> = challenges
            .iter()
            .map(|value| (door.challenge, value.as_str()))
            .collect();
        self.respond(flow, message, essentials, door.status, &headers);
    }

    /// What this device is offered.
    fn offer(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        stale: bool,
    ) -> Offer {
        let offer = self.authenticator.as_ref().map(|one| one.offer);
        if offer != Some(Offer::Sha256AndMd5) {
            return Offer::Md5;
        }
        let user_agent = message.get(Name::UserAgent);
        let device = device_of(flow, message, essentials);
        // Whoever is told that its nonce is stale has answered the challenge before.
        let request = (essentials.call_id, essentials.cseq, stale);
        let (request, now_s) = (hash_of(request), self.now.wall_s());
        let alone = self.reluctant.wants_md5(user_agent, device, request, now_s);
        if alone {
            Offer::Md5
        } else {
            Offer::Sha256AndMd5
        }
    }

    /// Stores the bans of the last moment, so that the next leader goes on with them.
    pub(super) fn store_bans(&mut self) {
        let bans = std::mem::take(&mut self.new_bans);
        if bans.is_empty() {
            return;
        }
        let ops = bans
            .iter()
            .map(|ban| JournalOp::Set {
                key: ban.key(),
                value: ban.to_json(),
                expires_at_ms: Some(ban.until),
            })
            .collect();
        self.commit(ops, super::commits::Then::Nothing);
    }
}

/// What tells a device from others, as far as it can be told before it has shown who it is.
fn device_of(flow: &Flow, message: &Message<'_>, essentials: &Essentials<'_>) -> u64 {
    let user_agent = message.get(Name::UserAgent);
    hash_of((flow.remote.ip(), essentials.from.uri, user_agent))
}
