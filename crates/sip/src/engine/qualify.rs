//! Asking registered devices with OPTIONS whether they are there. On the leader only.
//!
//! All users are asked once a period, evenly spread over it. A device that misses two in a
//! row is unreachable until it answers or registers again: call control leaves it out, its
//! binding stays. What is known of devices is not replicated: a new leader thinks well of
//! all of them, and learns better within two periods.
use std::collections::{HashMap, HashSet};

use super::flow::Flow;
use super::metrics::Metrics;
use super::routing::Route;
use super::timers::Alarm;
use super::{Core, Id, Output};
use crate::limits::{QUALIFY_FAILURES, QUALIFY_STEP_MS};
use crate::message::{Name, Writer};
use crate::registrar::{Binding, Registration};
use crate::view::EngineEvent;

/// Whom an OPTIONS asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    user: Box<str>,
    contact: Box<str>,
}

/// The round that is under way, and who did not answer.
#[derive(Debug, Default)]
pub(super) struct Qualify {
    waiting: Vec<Box<str>>,
    per_step: usize,
    next_round_ms: u64,
    open: HashMap<Id, Asked>,
    /// Asked and not yet answered: nobody is asked twice at once.
    busy: HashSet<Asked>,
    failures: HashMap<Asked, u32>,
    /// Those of `failures` that count as unreachable.
    unreachable: usize,
}

impl Core {
    /// This node leads: begin.
    pub(super) fn start_qualifying(&mut self) {
        self.qualify = Qualify::default();
        if self.qualify_period_ms() > 0 {
            self.timers
                .arm(self.now.mono_ms + QUALIFY_STEP_MS, Alarm::Qualify);
        }
    }

    fn qualify_period_ms(&self) -> u64 {
        let config = self.setup.registrar.as_ref();
        config.map_or(0, |config| u64::from(config.policy.qualify_s) * 1_000)
    }

    /// The next few users of this round.
    pub(super) fn qualify_step(&mut self) {
        let (now_ms, period_ms) = (self.now.mono_ms, self.qualify_period_ms());
        self.timers.arm(now_ms + QUALIFY_STEP_MS, Alarm::Qualify);
        if self.is_overloaded() {
            return;
        }
        if self.qualify.waiting.is_empty() && now_ms >= self.qualify.next_round_ms {
            self.begin_round(now_ms, period_ms);
        }
        for _ in 0..self.qualify.per_step {
            let Some(user) = self.qualify.waiting.pop() else {
                break;
            };
            self.ask_devices(&user);
        }
    }

    fn begin_round(&mut self, now_ms: u64, period_ms: u64) {
        let waiting = self.replica.users();
        let steps = usize::try_from(period_ms / QUALIFY_STEP_MS).unwrap_or(usize::MAX);
        self.qualify.per_step = waiting.len().div_ceil(steps.max(1));
        self.qualify.waiting = waiting;
        self.qualify.next_round_ms = now_ms + period_ms;
        // Bindings that are gone are forgotten; so the table is never larger than the bindings.
        let (replica, wall_ms) = (&self.replica, self.now.wall_ms());
        let lives = |asked: &Asked| replica.reach(&asked.contact, wall_ms).is_some();
        self.qualify.failures.retain(|asked, _| lives(asked));
        let failures = self.qualify.failures.values();
        self.qualify.unreachable = failures.filter(|count| **count >= QUALIFY_FAILURES).count();
    }

    fn ask_devices(&mut self, user: &str) {
        let now_ms = self.now.wall_ms();
        let Some(registration) = self.replica.registration(user) else {
            return;
        };
        for binding in registration.bindings {
            // A device that sleeps is woken when there is a call, not for this.
            if binding.expires_at > now_ms && binding.push.is_none() {
                self.ask(user, &binding);
            }
        }
    }

    fn ask(&mut self, user: &str, binding: &Binding) {
        let asked = Asked {
            user: user.into(),
            contact: binding.contact.as_str().into(),
        };
        if self.qualify.busy.contains(&asked) {
            return;
        }
        let Ok(Route::To(way)) = self.route(&binding.contact, None) else {
            return;
        };
        let flow = way.flows[0];
        // A closed connection is the device's to open.
        if flow.transport.is_reliable() && self.lost_flows.has(&flow) {
            self.judged(asked, false);
            return;
        }
        let branch = self.ids.branch();
        let request = self.build_options(binding, &flow, &branch);
        let id = self.add_own_client("OPTIONS", branch, flow, request.into(), None);
        self.qualify.busy.insert(asked.clone());
        self.qualify.open.insert(id.clone(), asked);
        Metrics::count(&self.setup.metrics.guard.qualified);
        self.launch(&id);
    }

    fn build_options(&mut self, binding: &Binding, flow: &Flow, branch: &str) -> Vec<u8> {
        let mut writer = Writer::request("OPTIONS", &binding.contact);
        writer.header(Name::Via, &self.via(flow, branch));
        writer.header(Name::MaxForwards, "70");
        for path in &binding.path {
            writer.header(Name::Route, path);
        }
        let contact = self.contact(flow, None);
        writer.header(Name::From, &format!("{contact};tag={}", self.ids.tag()));
        writer.header(Name::To, &format!("<{}>", binding.contact));
        writer.header(Name::CallId, &self.ids.uuid());
        writer.header(Name::CSeq, "1 OPTIONS");
        writer.header(Name::Contact, &contact);
        writer.finish(b"")
    }

    /// An OPTIONS of ours was answered, with whatever status, or not at all.
    pub(super) fn qualified(&mut self, client: &Id, answered: bool) {
        let Some(asked) = self.qualify.open.remove(client) else {
            return;
        };
        self.qualify.busy.remove(&asked);
        self.judged(asked, answered);
    }

    fn judged(&mut self, asked: Asked, answered: bool) {
        let before = self.qualify.failures.get(&asked).copied().unwrap_or(0);
        if answered {
            self.qualify.failures.remove(&asked);
            if before >= QUALIFY_FAILURES {
                self.tell_reachable(asked, true);
            }
            return;
        }
        let failures = (before + 1).min(QUALIFY_FAILURES);
        self.qualify.failures.insert(asked.clone(), failures);
        if failures == QUALIFY_FAILURES && before < QUALIFY_FAILURES {
            self.tell_reachable(asked, false);
        }
    }

    /// A device that registers is there.
    pub(super) fn registered_again(&mut self, registration: &Registration) {
        let now_ms = self.now.wall_ms();
        if self.qualify.failures.is_empty() {
            return;
        }
        let bindings = registration.bindings.iter();
        for binding in bindings.filter(|binding| binding.refreshed_at == now_ms) {
            let asked = Asked {
                user: registration.user.as_str().into(),
                contact: binding.contact.as_str().into(),
            };
            if self.qualify.failures.remove(&asked) == Some(QUALIFY_FAILURES) {
                self.tell_reachable(asked, true);
            }
        }
    }

    fn tell_reachable(&mut self, asked: Asked, reachable: bool) {
        if reachable {
            self.qualify.unreachable = self.qualify.unreachable.saturating_sub(1);
        } else {
            self.qualify.unreachable += 1;
        }
        tracing::info!(user = %asked.user, contact = %asked.contact, reachable, "qualified");
        self.out.push(Output::Event(EngineEvent::ContactReachable {
            user: asked.user.into(),
            contact: asked.contact.into(),
            reachable,
        }));
    }

    /// How many contacts do not answer.
    pub(super) fn unreachable_count(&self) -> usize {
        self.qualify.unreachable
    }
}
