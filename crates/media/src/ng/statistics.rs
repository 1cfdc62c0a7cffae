//! The answer to `statistics`, under rtpengine's names.
//!
//! Rates are those of the last second and of the last minute (`rates`), so that several may ask.
//! How long commands took is left out.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::bencode::{Dict, Value, dict};
use super::rates::{Rates, Sample, Spread};
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

/// The names of commands, short and whole, in rtpengine's order.
const COMMANDS: [(&str, &str); 25] = [
    ("ping", "ping"),
    ("offer", "offer"),
    ("answer", "answer"),
    ("delete", "delete"),
    ("query", "query"),
    ("list", "list"),
    ("startrec", "start recording"),
    ("stoprec", "stop recording"),
    ("pauserec", "pause recording"),
    ("startfwd", "start forwarding"),
    ("stopfwd", "stop forwarding"),
    ("blkdtmf", "block DTMF"),
    ("unblkdtmf", "unblock DTMF"),
    ("blkmedia", "block media"),
    ("unblkmedia", "unblock media"),
    ("playmedia", "play media"),
    ("stopmedia", "stop media"),
    ("playdtmf", "play DTMF"),
    ("stats", "statistics"),
    ("slnmedia", "silence media"),
    ("unslnmedia", "unsilence media"),
    ("pub", "publish"),
    ("subreq", "subscribe request"),
    ("subans", "subscribe answer"),
    ("unsub", "unsubscribe"),
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
        ("intervalstatistics", interval(&core.rates.lock()).into()),
        ("controlstatistics", commands(core).into()),
        ("interfaces", interfaces.into()),
    ])
}

/// Takes a sample for the rates.
pub(crate) fn sample(core: &Core, at_ns: u64) {
    let mut sample = Sample {
        at_ns,
        sessions: core.control.lock().calls.len() as u64,
        commands: COMMANDS
            .iter()
            .map(|(short, _)| core.commands.get(short))
            .collect(),
        ..Sample::default()
    };
    for worker in core.workers.iter() {
        let totals = worker.table().totals;
        sample.threads.packets += totals.packets.saturating_sub(totals.kernel_packets);
        sample.threads.bytes += totals.bytes.saturating_sub(totals.kernel_bytes);
        sample.threads.errors += totals.wrong_source + totals.not_rtp + totals.unsent;
        sample.kernel.packets += totals.kernel_packets;
        sample.kernel.bytes += totals.kernel_bytes;
    }
    core.rates.lock().add(sample);
}

fn current(core: &Core, relays: Relays) -> Dict {
    let stats = core.stats();
    let [threads, kernel] = core.rates.lock().traffic();
    dict([
        ("packetrate_user", threads.packets.into()),
        ("byterate_user", threads.bytes.into()),
        ("errorrate_user", threads.errors.into()),
        ("packetrate_kernel", kernel.packets.into()),
        ("byterate_kernel", kernel.bytes.into()),
        // What is wrong comes to the threads.
        ("errorrate_kernel", kernel.errors.into()),
        ("packetrate", (threads.packets + kernel.packets).into()),
        ("byterate", (threads.bytes + kernel.bytes).into()),
        ("errorrate", (threads.errors + kernel.errors).into()),
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

/// Of the last minute, where rtpengine has the time since it reported to Graphite last.
fn interval(rates: &Rates) -> Dict {
    let (fewest, most) = rates.sessions();
    let mut dict = dict([
        ("minmanagedsessions", fewest.into()),
        ("maxmanagedsessions", most.into()),
    ]);
    for (command, (_, name)) in COMMANDS.iter().enumerate() {
        let Spread { min, max, average } = rates.requests(command);
        for (what, value) in [("min", min), ("max", max), ("avg", average)] {
            let key = format!("{what}{name}requestrate").into_bytes();
            dict.insert(key, value.to_string().into());
        }
    }
    dict
}

fn commands(core: &Core) -> Dict {
    let counts = &core.commands;
    let count = |(name, _): &(&str, &str)| {
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
