//! When the addresses are taken, announced, checked and dropped.
//!
//! Pure: time, lease and results come in, actions go out; the holder thread carries them
//! out. Invariant: [`Action::Add`] is only returned while the lease is valid, and a held
//! address is answered with [`Action::Remove`] by the first step after the lease ended.

use crate::limits::{ANNOUNCE_AT_MS, ANNOUNCE_EVERY_MS, CHECK_EVERY_MS, LEASE_POLL_MS, RETRY_MS};

const NS_PER_MS: u64 = 1_000_000;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The owner wants the addresses.
    Claim,
    /// The owner gives them up.
    Release,
    /// Time went by.
    Tick,
    /// The kernel refused to add an address.
    AddFailed,
    /// The kernel refused to remove an address.
    RemoveFailed,
}

/// What to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Put the addresses on the interface.
    Add,
    /// Take them off.
    Remove,
    /// Send the announcement frames.
    Announce,
    /// Look whether the addresses are there, put missing ones back, renew the others.
    Check,
}

/// The decisions of one holder.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    claimed: bool,
    holding: bool,
    /// Addresses may still be there although they must not; asked again at this time.
    remove_at: Option<u64>,
    /// No new attempt to add before this time.
    add_not_before: u64,
    /// Start of the present announcement burst.
    burst_from: u64,
    /// Announcements of the burst already sent.
    announced: u64,
    check_at: u64,
}

impl Machine {
    /// True while the addresses are meant to be on the interface.
    pub fn holding(&self) -> bool {
        self.holding
    }

    /// True when addresses may be there that must not be.
    pub fn stuck(&self) -> bool {
        self.remove_at.is_some()
    }

    /// Takes one event. `lease` is the end of the lease, 0 for none.
    pub fn step(&mut self, now: u64, lease: u64, event: Event) -> Vec<Action> {
        match event {
            Event::Claim => {
                self.claimed = true;
                self.add_not_before = 0;
                if self.holding {
                    self.start_burst(now);
                }
            }
            Event::Release => self.claimed = false,
            Event::Tick => {}
            Event::AddFailed => {
                self.holding = false;
                self.add_not_before = now + RETRY_MS * NS_PER_MS;
                // Some of several addresses may have been added.
                return vec![Action::Remove];
            }
            Event::RemoveFailed => {
                self.remove_at = Some(now + RETRY_MS * NS_PER_MS);
                return Vec::new();
            }
        }
        let wanted = self.claimed && now < lease;
        match (self.holding, wanted) {
            (true, false) => {
                self.holding = false;
                vec![Action::Remove]
            }
            (false, true) if now >= self.add_not_before => {
                self.holding = true;
                self.remove_at = None;
                self.check_at = now + CHECK_EVERY_MS * NS_PER_MS;
                self.start_burst(now);
                self.announced = 1;
                vec![Action::Add, Action::Announce]
            }
            (true, true) => self.upkeep(now),
            (false, _) => match self.remove_at {
                Some(at) if now >= at => {
                    self.remove_at = None;
                    vec![Action::Remove]
                }
                _ => Vec::new(),
            },
        }
    }

    /// When the next [`Event::Tick`] is due; none while nothing can change by itself.
    pub fn wake_at(&self, now: u64, lease: u64) -> Option<u64> {
        if self.holding {
            return Some(lease.min(self.announce_at()).min(self.check_at));
        }
        let retake = self.claimed.then(|| {
            let poll = now + LEASE_POLL_MS * NS_PER_MS;
            poll.max(self.add_not_before)
        });
        match (retake, self.remove_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn start_burst(&mut self, now: u64) {
        self.burst_from = now;
        self.announced = 0;
    }

    fn announce_at(&self) -> u64 {
        let burst = ANNOUNCE_AT_MS.len() as u64;
        let after_ms = match ANNOUNCE_AT_MS.get(self.announced as usize) {
            Some(&at) => at,
            None => {
                ANNOUNCE_AT_MS[ANNOUNCE_AT_MS.len() - 1]
                    + (self.announced - burst + 1) * ANNOUNCE_EVERY_MS
            }
        };
        self.burst_from + after_ms * NS_PER_MS
    }

    fn upkeep(&mut self, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if now >= self.check_at {
            self.check_at = now + CHECK_EVERY_MS * NS_PER_MS;
            actions.push(Action::Check);
        }
        if now >= self.announce_at() {
            // After a long pause the missed announcements are sent as one.
            while now >= self.announce_at() {
                self.announced += 1;
            }
            actions.push(Action::Announce);
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = NS_PER_MS;

    #[test]
    fn nothing_is_taken_without_a_lease() {
        let mut machine = Machine::default();
        assert_eq!(machine.step(5 * MS, 0, Event::Claim), []);
        assert_eq!(machine.step(5 * MS, 5 * MS, Event::Tick), []);
        assert_eq!(machine.wake_at(5 * MS, 0), Some((5 + LEASE_POLL_MS) * MS));
    }

    #[test]
    fn a_lease_that_ends_drops_and_a_new_one_takes_again() {
        let mut machine = Machine::default();
        let taken = [Action::Add, Action::Announce];
        assert_eq!(machine.step(0, 200 * MS, Event::Claim), taken);
        assert_eq!(
            machine.step(200 * MS, 200 * MS, Event::Tick),
            [Action::Remove]
        );
        assert_eq!(machine.step(205 * MS, 200 * MS, Event::Tick), []);
        assert_eq!(machine.step(210 * MS, 400 * MS, Event::Tick), taken);
    }

    #[test]
    fn a_released_machine_sleeps_until_it_is_called() {
        let mut machine = Machine::default();
        machine.step(0, 200 * MS, Event::Claim);
        assert_eq!(machine.step(1, 200 * MS, Event::Release), [Action::Remove]);
        assert_eq!(machine.wake_at(1, 200 * MS), None);
    }

    #[test]
    fn announcements_follow_the_schedule_and_go_on() {
        let mut machine = Machine::default();
        let lease = u64::MAX;
        let mut now = 0;
        let mut sent = vec![];
        let mut actions = machine.step(now, lease, Event::Claim);
        while now < 75_000 * MS {
            if actions.contains(&Action::Announce) {
                sent.push(now / MS);
            }
            now = machine
                .wake_at(now, lease)
                .expect("a holder always has a next wake-up");
            actions = machine.step(now, lease, Event::Tick);
        }
        assert_eq!(
            sent,
            [0, 50, 200, 500, 1_000, 2_000, 5_000, 10_000, 40_000, 70_000]
        );
    }

    #[test]
    fn a_second_claim_announces_again() {
        let mut machine = Machine::default();
        machine.step(0, u64::MAX, Event::Claim);
        assert_eq!(
            machine.step(7 * MS, u64::MAX, Event::Claim),
            [Action::Announce]
        );
        assert_eq!(machine.wake_at(7 * MS, u64::MAX), Some(57 * MS));
    }

    #[test]
    fn refused_operations_are_tried_again_later() {
        let mut machine = Machine::default();
        machine.step(0, u64::MAX, Event::Claim);
        assert_eq!(
            machine.step(0, u64::MAX, Event::AddFailed),
            [Action::Remove]
        );
        assert_eq!(machine.step(MS, u64::MAX, Event::Tick), []);
        let retry = machine.wake_at(MS, u64::MAX).expect("claimed");
        assert_eq!(
            machine.step(retry, u64::MAX, Event::Tick),
            [Action::Add, Action::Announce]
        );
        machine.step(retry, u64::MAX, Event::Release);
        machine.step(retry, u64::MAX, Event::RemoveFailed);
        let again = machine.wake_at(retry, u64::MAX).expect("something is left");
        assert_eq!(machine.step(again, u64::MAX, Event::Tick), [Action::Remove]);
    }
}
