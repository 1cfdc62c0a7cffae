//! The answer to `statistics`, under rtpengine's names.
//!
//! Rates, delays and minima since the last question are left out: who wants them takes them from
//! the metrics, where several may ask.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::bencode::{Dict, Value, dict};
use super::request::Command;
use crate::Core;

/// How often each command came, by rtpengine's short name.
#[derive(Default)]
pub struct CommandCounts(Mutex<BTreeMap<&'static str, u64>>);

impl CommandCounts {
    /// Counts a command, if rtpengine has a name for it.
    pub fn add(&self, command: Command) {
        if let Some(name) = command.short_name() {
            *self.0.lock().entry(name).or_default() += 1;
        }
    }

    fn get(&self, name: &str) -> u64 {
        self.0.lock().get(name).copied().unwrap_or(0)
    }
}

/// The short names of commands, in rtpengine's order.
const COMMANDS: [&str; 25] = [
    "ping",
    "offer",
    "answer",
    "delete",
    "query",
    "list",
    "startrec",
    "stoprec",
    "pauserec",
    "startfwd",
    "stopfwd",
    "blkdtmf",
    "unblkdtmf",
    "blkmedia",
    "unblkmedia",
    "playmedia",
    "stopmedia",
    "playdtmf",
    "stats",
    "slnmedia",
    "unslnmedia",
    "pub",
    "subreq",
    "subans",
    "unsub",
];

/// Calls that have ended, and how long they lasted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ended {
    /// By a command.
    pub regular: u64,
    /// Because nobody cared for them any more, or their worker failed.
    pub forced: u64,
    lasted_s: f64,
    squares: f64,
}

impl Ended {
    /// A call has ended that lasted so long.
    pub fn add(&mut self, forced: bool, lasted_us: u64) {
        let seconds = lasted_us as f64 / 1e6;
        self.lasted_s += seconds;
        self.squares += seconds * seconds;
        if forced {
            self.forced += 1;
        } else {
            self.regular += 1;
        }
    }

    fn average_s(&self) -> f64 {
        self.lasted_s / ((self.regular + self.forced) as f64).max(1.0)
    }

    fn deviation_s(&self) -> f64 {
        let count = ((self.regular + self.forced) as f64).max(1.0);
        let variance = self.squares / count - self.average_s().powi(2);
        variance.max(0.0).sqrt()
    }
}

/// Flows by who relays them: threads, the kernel, or each a direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Relays {
    threads: u64,
    kernel: u64,
    both: u64,
}

impl Relays {
    /// A flow of which the kernel relays so many directions.
    pub fn add(&mut self, offloaded: usize) {
        match offloaded {
            0 => self.threads += 1,
            1 => self.both += 1,
            _ => self.kernel += 1,
        }
    }
}

/// All figures.
pub(crate) fn statistics(core: &Core) -> Dict {
    let (ended, interfaces) = {
        let control = core.control.lock();
        (control.ended, control.interfaces())
    };
    let mut relays = Relays::default();
    for worker in core.workers.iter() {
        worker.table().count_relays(&mut relays);
    }
    dict([
        ("currentstatistics", current(core, relays).into()),
        ("totalstatistics", total(core, ended).into()),
        ("controlstatistics", commands(core).into()),
        ("interfaces", interfaces.into()),
    ])
}

fn current(core: &Core, relays: Relays) -> Dict {
    let stats = core.stats();
    dict([
        ("sessionsown", stats.sessions.into()),
        ("sessionsforeign", 0_u64.into()),
        ("sessionstotal", stats.sessions.into()),
        ("transcodedmedia", stats.bridged.into()),
        ("media_userspace", relays.threads.into()),
        ("media_kernel", relays.kernel.into()),
        ("media_mixed", relays.both.into()),
    ])
}

fn total(core: &Core, ended: Ended) -> Dict {
    let stats = core.stats();
    let errors = stats.wrong_source + stats.not_rtp + stats.unsent;
    let seconds = |value: f64| Value::from(format!("{value:.6}"));
    let uptime_s = core.started.elapsed().as_secs();
    let threads = stats.packets.saturating_sub(stats.kernel_packets);
    dict([
        ("uptime", uptime_s.to_string().into()),
        ("managedsessions", stats.sessions_total.into()),
        ("rejectedsessions", stats.refused.into()),
        ("silenttimeoutsessions", stats.timeouts.into()),
        ("regularterminatedsessions", ended.regular.into()),
        ("forcedterminatedsessions", ended.forced.into()),
        ("relayedpackets_user", threads.into()),
        ("relayedpackets_kernel", stats.kernel_packets.into()),
        ("relayedpackets", stats.packets.into()),
        ("relayedbytes", stats.bytes.into()),
        ("relayedpacketerrors", errors.into()),
        ("avgcallduration", seconds(ended.average_s())),
        ("totalcallsduration", seconds(ended.lasted_s)),
        ("totalcallsduration2", seconds(ended.squares)),
        ("totalcallsduration_stddev", seconds(ended.deviation_s())),
    ])
}

fn commands(core: &Core) -> Dict {
    let counts = &core.commands;
    let count = |name: &&str| {
        let key = format!("total{name}count").into_bytes();
        (key, Value::from(counts.get(name)))
    };
    COMMANDS.iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_ended_have_an_average_and_a_deviation() {
        let mut ended = Ended::default();
        assert_eq!((ended.average_s(), ended.deviation_s()), (0.0, 0.0));
        ended.add(false, 1_000_000);
        ended.add(true, 3_000_000);
        assert_eq!((ended.average_s(), ended.deviation_s()), (2.0, 1.0));
        assert_eq!((ended.regular, ended.forced), (1, 1));
    }
}
