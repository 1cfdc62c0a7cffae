//! Who leads, for how long, and when the process is told.
//!
//! The leader's lease ends `lease_ms` after the moment at which the last heartbeat was *sent* that
//! a majority acknowledged. Voters refuse other candidates for longer than that after they
//! *received* it (`vote_refusal_ms`), so no other leader can exist before the lease is over.
//!
//! `Leading` is told only after this node has applied an entry of its own term: then its state
//! holds everything that was ever acknowledged. `Following` is told when leadership is lost, or
//! when no majority has answered for as long as an election may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::acks::Acks;
use super::alarms::Alarms;
use super::types::{Metrics, Raft};
use crate::clock::{BootClock, Clock};
use crate::config::Timing;
use crate::event::StoreEvent;
use crate::events::Events;
use crate::mutations;

/// How often leases are looked at when nothing happens.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What the proposer needs to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader as far as this node knows.
    pub leader: Option<u64>,
    /// The Raft term.
    pub term: u64,
    /// Whether this node leads and may serve.
    pub leading: bool,
}

/// Shared view of the leadership of this node.
pub struct LeadershipView {
    /// End of the lease, `CLOCK_BOOTTIME` ns, 0 = none.
    pub lease: Arc<AtomicU64>,
    /// Whether this node leads and has applied an entry of its own term.
    pub leading: AtomicBool,
    /// The term in which this node gave leadership away, plus one; its lease never comes back.
    pub renounced: AtomicU64,
    /// Whether this node leads without having heard a majority for an election time.
    pub quorum_lost: AtomicBool,
    /// Elections won.
    pub elections: AtomicU64,
    /// When the present leader became known, Unix milliseconds; 0 without one.
    pub since_ms: AtomicU64,
    /// Wakes the observer when something changed that the Raft library does not know.
    pub nudge: Notify,
    /// The clocks of this node.
    pub clock: Clock,
}

impl LeadershipView {
    /// A node that does not lead.
    pub fn new(clock: Clock) -> Self {
        Self {
            lease: Arc::default(),
            leading: AtomicBool::new(false),
            renounced: AtomicU64::new(0),
            quorum_lost: AtomicBool::new(false),
            elections: AtomicU64::new(0),
            since_ms: AtomicU64::new(0),
            nudge: Notify::new(),
            clock,
        }
    }

    /// Whether this node leads now, with a valid lease. A reader checks this *after* reading: then
    /// what it read was current at some moment of the request.
    pub fn holds_lease(&self) -> bool {
        self.leading.load(Ordering::Acquire)
            && (self.lease.load(Ordering::Acquire) > self.clock.boot_ns()
                || mutations::trusts_old_lease())
    }

    /// Ends the lease of `term` for ever, before another node is asked to take over.
    pub fn renounce(&self, term: u64) {
        self.renounced.store(term + 1, Ordering::Release);
        self.lease.store(0, Ordering::Release);
        self.nudge.notify_one();
    }
}

/// Follows the Raft library and keeps the view, the proposer and the watchers up to date.
pub struct Observer {
    pub id: u64,
    pub timing: Timing,
    pub raft: Raft,
    pub view: Arc<LeadershipView>,
    pub acks: Arc<Acks>,
    pub alarms: Arc<Alarms>,
    pub told: watch::Sender<Leadership>,
    pub events: Events,
    pub stop: watch::Receiver<bool>,
}

impl Observer {
    /// Runs until `stop` changes or the Raft library ends.
    pub async fn run(mut self) {
        let mut metrics = self.raft.metrics();
        let mut server = self.raft.server_metrics();
        let mut clock = BootClock::start(self.view.clock.clone());
        let mut last: Option<Leadership> = None;
        loop {
            let (now, waits) = {
                let metrics = metrics.borrow_watched();
                let server = server.borrow_watched();
                let now = self.observe(&metrics, &mut clock);
                // The full metrics change with every entry, and shortly after the server's. They
                // are awaited only by a leader that has not applied its first entry yet, and
                // while they lag.
                let lag = (server.state, &server.vote, server.current_leader)
                    != (metrics.state, &metrics.vote, metrics.current_leader);
                let elected = metrics.state == ServerState::Leader;
                (now, lag || (elected && !now.leading))
            };
            if last != Some(now) {
                self.tell(last, now);
                last = Some(now);
            }
            tokio::select! {
                biased;
                _ = self.stop.changed() => break,
                changed = server.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                changed = metrics.changed(), if waits => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = self.view.nudge.notified() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
        self.view.lease.store(0, Ordering::Release);
        let term = last.map_or(0, |last| last.term);
        self.tell(
            last,
            Leadership {
                leader: None,
                term,
                leading: false,
            },
        );
    }

    fn observe(&self, metrics: &Metrics, clock: &mut BootClock) -> Leadership {
        let term = metrics.current_term;
        let stopped = metrics.running_state.is_err();
        if metrics.state != ServerState::Leader || stopped {
            self.view.lease.store(0, Ordering::Release);
            self.tell_quorum(false);
            let leader = metrics
                .current_leader
                .filter(|leader| *leader != self.id && !stopped);
            return Leadership {
                leader,
                term,
                leading: false,
            };
        }
        let acked = self.acknowledged(metrics);
        let renounced = self.view.renounced.load(Ordering::Acquire) == term + 1;
        let end = match acked {
            Some(acked) if !renounced => {
                clock.translate_ns(acked) + self.timing.lease_ms() * 1_000_000
            }
            _ => 0,
        };
        self.view.lease.store(end, Ordering::Release);
        if renounced {
            // The transfer may have begun between the check and the store.
            self.view.lease.store(0, Ordering::Release);
        }
        let own_applied = metrics
            .last_applied
            .is_some_and(|applied| applied.leader_id == metrics.vote.leader_id);
        let patience = Duration::from_millis(self.timing.election_max_ms);
        let majority = acked.is_some_and(|acked| acked.elapsed() < patience);
        self.tell_quorum(!majority && own_applied);
        let leading = own_applied && majority && !renounced;
        Leadership {
            leader: leading.then_some(self.id),
            term,
            leading,
        }
    }

    fn tell_quorum(&self, lost: bool) {
        if self.view.quorum_lost.swap(lost, Ordering::AcqRel) != lost {
            let text = "this node leads and hears no majority, so it serves nothing";
            let fix = "bring back nodes, or the network between them";
            let alarm = lost.then(|| (text.to_owned(), fix.to_owned()));
            self.alarms.put("PBX_STORE_NO_QUORUM", alarm);
        }
    }

    /// When the last heartbeat was sent that a majority acknowledged. A single voter is its own
    /// majority at any time.
    fn acknowledged(&self, metrics: &Metrics) -> Option<Instant> {
        // Now first: a pause between the two lines makes the answer too early, never too late.
        let now = Instant::now();
        let voters = metrics.membership_config.membership().get_joint_config();
        self.acks.quorum(voters, self.id, metrics.current_term, now)
    }

    fn tell(&self, last: Option<Leadership>, now: Leadership) {
        self.view.leading.store(now.leading, Ordering::Release);
        if last.is_none_or(|last| (last.leader, last.term) != (now.leader, now.term)) {
            let since = now.leader.map_or(0, |_| self.view.clock.wall_ms());
            self.view.since_ms.store(since, Ordering::Relaxed);
        }
        let was_leading = last.is_some_and(|last| last.leading);
        if now.leading {
            let same = was_leading && last.is_some_and(|last| last.term == now.term);
            if !same {
                self.view.elections.fetch_add(1, Ordering::Relaxed);
                tracing::info!(term = now.term, "this node leads");
                self.events
                    .leadership(StoreEvent::Leading { term: now.term });
            }
        } else {
            tracing::info!(term = now.term, leader = ?now.leader, "this node follows");
            let (term, leader) = (now.term, now.leader);
            self.events
                .leadership(StoreEvent::Following { term, leader });
        }
        self.told.send_replace(now);
    }
}
