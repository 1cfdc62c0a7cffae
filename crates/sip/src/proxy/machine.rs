//! The response context of one proxied request (RFC 3261 section 16.7).
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::TIMER_C_MS;
use super::choice::best;
use crate::limits::DESTINATIONS_MAX;

/// How the application wants the request forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The request is an INVITE: it may ring, it can be cancelled.
    pub invite: bool,
    /// Try the Contacts of a 3xx.
    pub follow_redirects: bool,
    /// All destinations at once.
    pub simultaneous: bool,
    /// How long to wait for any response, ms.
    pub provisional_ms: Option<u64>,
    /// How long to wait for a final response, ms.
    pub final_ms: Option<u64>,
}

/// How far a branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Nothing was heard.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A final response came, or this status stands for none in time.
    Final(u16),
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// The Request-URI.
    pub target: String,
    /// How far it is.
    pub progress: Progress,
    /// It is being taken back.
    pub cancelled: bool,
}

/// What runs out for a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// No response at all.
    Provisional,
    /// No final response.
    Final,
    /// It rings without news.
    C,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A response 1xx.
    Provisional(usize, u16),
    /// A final response; for 3xx with its Contacts, best first.
    Final(usize, u16, Vec<String>),
    /// A timer that was armed.
    Fired(usize, Timer),
    /// The caller gives up.
    Cancel,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the request to this branch's target.
    Launch(usize),
    /// Start a timer of a branch, ms from now.
    Arm(usize, Timer, u64),
    /// Take the request to this branch back.
    Cancel(usize),
    /// Pass on the response that just came from this branch.
    Relay(usize),
    /// Pass on the final response of this branch as the one of the whole request.
    Conclude(usize),
    /// Answer with this status: no branch has a response to pass on.
    Answer(u16),
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As the application said.
    pub options: Options,
    /// Destinations not tried yet.
    queue: VecDeque<String>,
    /// All that were tried.
    pub branches: Vec<Branch>,
    /// A 2xx was passed on.
    pub answered: bool,
    /// The caller gave up, or a 6xx came: nothing new is tried.
    stopped: bool,
    /// The final response was passed on.
    pub concluded: bool,
}

impl Machine {
    /// Begins with some destinations; more than the limit are left out.
    pub fn start(options: Options, targets: Vec<String>) -> (Machine, Vec<Effect>) {
        let mut machine = Machine {
            options,
            queue: VecDeque::new(),
            branches: Vec::new(),
            answered: false,
            stopped: false,
            concluded: false,
        };
        machine.add(targets);
        let mut effects = Vec::new();
        machine.advance(&mut effects);
        (machine, effects)
    }

    /// Whether every branch has come to its end and nothing is left to try.
    pub fn is_over(&self) -> bool {
        (self.answered || self.concluded) && self.pending().next().is_none()
    }

    /// Branches without a final response.
    pub fn pending(&self) -> impl Iterator<Item = usize> {
        let all = self.branches.iter().enumerate();
        all.filter(|(_, branch)| !matches!(branch.progress, Progress::Final(_)))
            .map(|(index, _)| index)
    }

    /// One step.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Provisional(index, status) => self.provisional(index, status, &mut effects),
            Input::Final(index, status, contacts) => {
                self.final_response(index, status, contacts, &mut effects);
            }
            Input::Fired(index, timer) => self.fired(index, timer, &mut effects),
            Input::Cancel => {
                self.stop(&mut effects);
                self.advance(&mut effects);
            }
        }
        effects
    }

    /// Adds destinations that were not tried yet.
    fn add(&mut self, targets: Vec<String>) {
        for target in targets {
            let known = self.branches.iter().any(|branch| branch.target == target)
                || self.queue.contains(&target);
            let room = self.branches.len() + self.queue.len() < DESTINATIONS_MAX;
            if !known && room {
                self.queue.push_back(target);
            }
        }
    }

    fn provisional(&mut self, index: usize, status: u16, effects: &mut Vec<Effect>) {
        let Some(branch) = self.branches.get_mut(index) else {
            return;
        };
        if matches!(branch.progress, Progress::Final(_)) {
            return;
        }
        branch.progress = Progress::Proceeding;
        if status > 100 && self.options.invite {
            effects.push(Effect::Arm(index, Timer::C, TIMER_C_MS));
        }
        if status > 100 && !self.answered && !self.concluded {
            effects.push(Effect::Relay(index));
        }
    }

    fn final_response(
        &mut self,
        index: usize,
        status: u16,
        contacts: Vec<String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(branch) = self.branches.get_mut(index) else {
            return;
        };
        let known = matches!(branch.progress, Progress::Final(_));
        if (200..300).contains(&status) {
            // Every 2xx is passed on, also a late one, also a second one (step 5).
            branch.progress = Progress::Final(status);
            if self.options.invite || !(self.answered || self.concluded) {
                effects.push(Effect::Relay(index));
            }
            self.answered = true;
            self.stop(effects);
            return;
        }
        if known {
            return;
        }
        branch.progress = Progress::Final(status);
        match status {
            600.. => self.stop(effects),
            // The caller has to say who it is: other destinations would ask as well.
            401 | 407 => self.queue.clear(),
            300..=399 if self.options.follow_redirects && !self.stopped => self.add(contacts),
            _ => {}
        }
        self.advance(effects);
    }

    fn fired(&mut self, index: usize, timer: Timer, effects: &mut Vec<Effect>) {
        let Some(branch) = self.branches.get_mut(index) else {
            return;
        };
        let silent = match (timer, branch.progress) {
            (_, Progress::Final(_)) => return,
            (Timer::Provisional, progress) => progress == Progress::Calling,
            (Timer::Final | Timer::C, _) => true,
        };
        if !silent {
            return;
        }
        branch.progress = Progress::Final(408);
        if self.options.invite && !branch.cancelled {
            branch.cancelled = true;
            effects.push(Effect::Cancel(index));
        }
        self.advance(effects);
    }

    /// Tries nothing new and takes back what is not final.
    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.stopped = true;
        self.queue.clear();
        if !self.options.invite {
            return;
        }
        for (index, branch) in self.branches.iter_mut().enumerate() {
            if !branch.cancelled && !matches!(branch.progress, Progress::Final(_)) {
                branch.cancelled = true;
                effects.push(Effect::Cancel(index));
            }
        }
    }

    /// Tries what is to be tried now; concludes when nothing is left.
    fn advance(&mut self, effects: &mut Vec<Effect>) {
        if self.answered || self.concluded {
            return;
        }
        while self.options.simultaneous || self.pending().next().is_none() {
            let Some(target) = self.queue.pop_front() else {
                break;
            };
            self.launch(target, effects);
        }
        if self.pending().next().is_none() {
            self.conclude(effects);
        }
    }

    fn launch(&mut self, target: String, effects: &mut Vec<Effect>) {
        let index = self.branches.len();
        self.branches.push(Branch {
            target,
            progress: Progress::Calling,
            cancelled: false,
        });
        effects.push(Effect::Launch(index));
        if let Some(after_ms) = self.options.provisional_ms {
            effects.push(Effect::Arm(index, Timer::Provisional, after_ms));
        }
        if let Some(after_ms) = self.options.final_ms {
            effects.push(Effect::Arm(index, Timer::Final, after_ms));
        }
        if self.options.invite {
            effects.push(Effect::Arm(index, Timer::C, TIMER_C_MS));
        }
    }

    fn conclude(&mut self, effects: &mut Vec<Effect>) {
        self.concluded = true;
        let finals = self.branches.iter().enumerate();
        let finals = finals.filter_map(|(index, branch)| match branch.progress {
            Progress::Final(status) => Some((index, status)),
            Progress::Calling | Progress::Proceeding => None,
        });
        effects.push(match best(finals) {
            Some((index, _)) => Effect::Conclude(index),
            None => Effect::Answer(if self.stopped { 487 } else { 480 }),
        });
    }
}
