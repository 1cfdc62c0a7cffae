//! A leader whose disk is full or slow gives leadership away; a node without room does not lead.
//!
//! [`DiskWatch::look`] is pure: measurements in, verdict out. The task around it asks the others
//! who could take over, so that leadership goes nowhere when all disks are alike.
//!
//! Two thresholds of free space: below the first one this node does not lead and proposes
//! nothing, so that the log grows no more on anybody's behalf; below the second one it takes no
//! entries from others either. What is left serves votes, elections and the entries on their way.
//! When nobody leads for some seconds, because all disks are full, such a node leads after all,
//! for reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Consensus;
use super::candidacy::Bar;
use super::question::Question;
use crate::limits::{
    DISK_LOOK_INTERVAL, SLOW_DISK_MEMORY, SLOW_FLUSH, SLOW_LOOKS, SPACE_HYSTERESIS_PERCENT,
};

/// What was measured since the last look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub now: Instant,
    /// Bytes that can still be written; `None` when the disk does not say.
    pub free: Option<u64>,
    /// Whether there was no room for the next log segment.
    pub full: bool,
    /// The longest flush that ended; zero when none did.
    pub flush: Duration,
    /// For how long the flush goes on that has not ended.
    pub flushing: Duration,
    /// Whether the others have on disk what this node has; always true on followers.
    pub others_are_fine: bool,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Do not lead, propose nothing.
    pub low: bool,
    /// Take no entries from others either.
    pub critical: bool,
    /// Slower than the others for some time.
    pub slow: bool,
}

/// Remembers what it needs for hysteresis.
#[derive(Debug)]
pub struct DiskWatch {
    reserve: u64,
    low: bool,
    critical: bool,
    slow_looks: u32,
    slow_at: Option<Instant>,
}

impl DiskWatch {
    /// A watch that wants so many bytes free.
    pub fn new(reserve: u64) -> DiskWatch {
        DiskWatch {
            reserve,
            low: false,
            critical: false,
            slow_looks: 0,
            slow_at: None,
        }
    }

    /// Judges one look.
    pub fn look(&mut self, look: Look) -> Verdict {
        if let Some(free) = look.free {
            // What was below stays below until there is clearly more.
            let above = |bytes: u64, was: bool| {
                let percent = if was { SPACE_HYSTERESIS_PERCENT } else { 100 };
                free >= bytes / 100 * percent
            };
            self.low = !above(self.reserve, self.low);
            self.critical = !above(self.reserve / 2, self.critical);
        }
        let slow = look.flush.max(look.flushing) >= SLOW_FLUSH;
        if slow && look.others_are_fine {
            self.slow_looks = (self.slow_looks + 1).min(SLOW_LOOKS);
        } else if !look.flush.is_zero() {
            self.slow_looks = self.slow_looks.saturating_sub(1);
        }
        if self.slow_looks >= SLOW_LOOKS {
            self.slow_at = Some(look.now);
        }
        let slow = |at: Instant| look.now.duration_since(at) < SLOW_DISK_MEMORY;
        Verdict {
            low: self.low || look.full,
            critical: self.critical || look.full,
            slow: self.slow_at.is_some_and(slow),
        }
    }
}

impl Consensus {
    /// Watches the disk until `stop` changes.
    pub async fn watch_disk(self: Arc<Self>, reserve: u64, mut stop: watch::Receiver<bool>) {
        let mut disk = DiskWatch::new(reserve);
        let mut interval = tokio::time::interval(DISK_LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut asked: Option<Instant> = None;
        let mut led = Instant::now();
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                _ = interval.tick() => {}
            }
            let look = self.look();
            let verdict = disk.look(look);
            self.conclude(verdict, look.free);
            let unfit = verdict.low || verdict.slow;
            led = if unfit {
                self.led_at(led).await
            } else {
                look.now
            };
            let nobody = look.now.duration_since(led) > LAST_RESORT_AFTER;
            self.candidacy.set_last_resort(&self.raft, nobody);
            let again = asked.is_none_or(|at| look.now.duration_since(at) > HAND_OVER_PAUSE);
            if unfit && again && self.is_leading() {
                asked = Some(look.now);
                self.hand_over().await;
            }
        }
    }

    /// When this node last led or heard of a leader; `known` when it has not since. Whom a
    /// follower takes for the leader does not tell: that stays until another one is elected.
    async fn led_at(&self, known: Instant) -> Instant {
        if self.is_leading() {
            return Instant::now();
        }
        let heard = self.raft.with_raft_state(|state| {
            let elected = state.vote_ref().is_committed();
            state.vote_last_modified().filter(|_| elected)
        });
        let ago = heard.await.ok().flatten().map(|at| at.elapsed());
        let heard = ago.and_then(|ago| Instant::now().checked_sub(ago));
        heard.map_or(known, |heard| heard.max(known))
    }

    fn look(&self) -> Look {
        let stats = self.log.wal().stats();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref();
        let own = matched.and_then(|peers| peers.get(&self.id).copied());
        let others = matched.into_iter().flatten();
        let others = others.filter(|(id, _)| **id != self.id);
        let (fine, all) = others.fold((0, 0), |(fine, all), (_, matched)| {
            (fine + usize::from(Some(*matched) >= own), all + 1)
        });
        Look {
            now: Instant::now(),
            free: self.log.wal().free_bytes().ok(),
            full: stats.full.load(Ordering::Acquire),
            flush: Duration::from_nanos(stats.take_longest_flush_ns()),
            flushing: Duration::from_nanos(stats.flushing_ns()),
            others_are_fine: fine * 2 >= all,
        }
    }

    fn conclude(&self, verdict: Verdict, free: Option<u64>) {
        self.candidacy.set(&self.raft, Bar::Full, verdict.low);
        self.candidacy.set(&self.raft, Bar::Slow, verdict.slow);
        self.takes_entries
            .store(!verdict.critical, Ordering::Release);
        self.alarms.put(
            "PBX_STORE_DISK_FULL",
            verdict.low.then(|| {
                let free = free.unwrap_or(0) >> 20;
                let text = format!(
                    "the disk of the store has {free} MiB left: this node does not lead{}",
                    if verdict.critical {
                        " and takes no writes"
                    } else {
                        ""
                    }
                );
                (
                    text,
                    "make room on the disk; this node goes on by itself".into(),
                )
            }),
        );
        self.alarms.put(
            "PBX_STORE_DISK_SLOW",
            verdict.slow.then(|| {
                let text = format!("flushes of the log took longer than {SLOW_FLUSH:?}");
                (
                    text,
                    "look for other load on this disk, or replace it".into(),
                )
            }),
        );
        let failed = self.log.wal().stats().failed.lock().clone();
        self.alarms.put(
            "PBX_STORE_DISK_FAILED",
            failed.map(|error| {
                let fix = "see the kernel log; start this node again when the disk can be written, \
                           or replace the disk and let the server rejoin under a new id";
                let text = format!("the log could not be written, so this node stopped: {error}");
                (text, fix.into())
            }),
        );
    }

    /// Gives leadership to a node that says that it can lead; stays leader when nobody does.
    async fn hand_over(&self) {
        for candidate in self.voters_by_log() {
            if self.ask(candidate, Question::Lead).await.is_ok() {
                tracing::warn!(to = candidate, "this node's disk is unfit to lead");
                if let Err(error) = self.transfer(Some(candidate)).await {
                    tracing::warn!(%error, to = candidate, "leadership was not taken over");
                }
                return;
            }
        }
    }
}

/// Pause between two attempts to give leadership away.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(3);

/// Time without a leader after which a node with a full or slow disk stands for election too.
const LAST_RESORT_AFTER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVE: u64 = 1_000;

    fn look(now: Instant) -> Look {
        Look {
            now,
            free: Some(10_000),
            full: false,
            flush: Duration::from_millis(1),
            flushing: Duration::ZERO,
            others_are_fine: true,
        }
    }

    fn with_free(watch: &mut DiskWatch, free: u64) -> (bool, bool) {
        let verdict = watch.look(Look {
            free: Some(free),
            ..look(Instant::now())
        });
        (verdict.low, verdict.critical)
    }

    #[test]
    fn space_is_low_then_critical_and_comes_back_with_hysteresis() {
        let mut watch = DiskWatch::new(RESERVE);
        assert_eq!(with_free(&mut watch, 1_000), (false, false));
        assert_eq!(with_free(&mut watch, 999), (true, false));
        assert_eq!(with_free(&mut watch, 499), (true, true));
        assert_eq!(with_free(&mut watch, 510), (true, true));
        assert_eq!(with_free(&mut watch, 1_010), (true, false));
        assert_eq!(with_free(&mut watch, 2_000), (false, false));
    }

    #[test]
    fn a_segment_without_room_is_critical_whatever_the_disk_says() {
        let mut watch = DiskWatch::new(RESERVE);
        let full = Look {
            full: true,
            ..look(Instant::now())
        };
        let verdict = watch.look(full);
        assert!(verdict.low && verdict.critical);
    }

    #[test]
    fn one_slow_flush_is_nothing_and_many_are_remembered() {
        let mut watch = DiskWatch::new(RESERVE);
        let start = Instant::now();
        let slow = |now| Look {
            flush: SLOW_FLUSH,
            ..look(now)
        };
        for _ in 0..10 {
            assert!(!watch.look(slow(start)).slow);
            assert!(!watch.look(look(start)).slow);
        }
        let verdicts: Vec<_> = (0..SLOW_LOOKS)
            .map(|_| watch.look(slow(start)).slow)
            .collect();
        assert!(verdicts.last().is_some_and(|slow| *slow));
        for _ in 0..10 {
            assert!(
                watch.look(look(start)).slow,
                "a fast moment is not a fast disk"
            );
        }
        assert!(!watch.look(look(start + SLOW_DISK_MEMORY)).slow);
    }

    #[test]
    fn a_disk_as_slow_as_the_others_is_not_slow() {
        let mut watch = DiskWatch::new(RESERVE);
        for _ in 0..10 {
            let verdict = watch.look(Look {
                flush: SLOW_FLUSH * 2,
                others_are_fine: false,
                ..look(Instant::now())
            });
            assert!(!verdict.slow);
        }
    }
}
