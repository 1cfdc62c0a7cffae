//! Draws faults from the seed and repairs them.

use std::time::Duration;

use crate::damage::{Damage, Unwell};
use crate::dice::Dice;
use crate::net::Net;
use crate::node::{Crash, Node};
use crate::trace::SharedTrace;

/// Longest time between two faults, milliseconds.
const PAUSE_MS: u64 = 2_500;

/// What ends a fault.
#[derive(Debug, Clone, Copy)]
enum Repair {
    Start(u64),
    Path(u64, u64),
    Disk(u64),
    Crash(u64, Crash),
}

/// The source of all faults.
pub struct Nemesis {
    dice: Dice,
    net: Net,
    trace: SharedTrace,
    next_ms: u64,
    repairs: Vec<(u64, Repair)>,
    /// Servers whose disk has an error; at most a minority has.
    sick: Vec<u64>,
    /// Flips bits of those that crash.
    pub damage: Damage,
    /// Servers whose word does not count now.
    pub unwell: Unwell,
}

impl Nemesis {
    /// One that has done nothing yet.
    pub fn new(dice: Dice, net: Net, trace: SharedTrace, damage: Damage) -> Self {
        Self {
            dice,
            net,
            trace,
            next_ms: 0,
            repairs: Vec::new(),
            sick: Vec::new(),
            damage,
            unwell: Unwell::default(),
        }
    }

    fn tell(&self, what: &str) {
        self.trace.lock().tell("nemesis", what);
    }

    /// The first fault comes some time from now.
    pub fn begin(&mut self, now_ms: u64) {
        self.next_ms = now_ms + self.dice.range(0, PAUSE_MS);
    }

    /// Lets clocks run at different speeds from the beginning.
    pub fn set_drifts(&mut self, nodes: &mut [Node]) {
        for node in nodes {
            // A gain or loss of at most one in fifty; the lease leaves a margin of one in ten.
            let every = i64::try_from(self.dice.range(50, 400)).unwrap_or(50);
            node.drift = match self.dice.range(0, 3) {
                0 => every,
                1 => -every,
                _ => 0,
            };
        }
    }

    /// Repairs what is due and, when its time has come, does harm. Answers the nodes that ended.
    pub fn act(&mut self, now_ms: u64, nodes: &mut [Node]) -> Vec<u64> {
        let mut ended = self.repair_due(now_ms, nodes);
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + self.dice.range(50, PAUSE_MS);
            self.harm(now_ms, nodes, &mut ended);
        }
        ended
    }

    /// Repairs what is due. Answers the nodes that ended.
    pub fn repair_due(&mut self, now_ms: u64, nodes: &mut [Node]) -> Vec<u64> {
        let mut ended = Vec::new();
        let due: Vec<_> = self
            .repairs
            .extract_if(.., |(at, _)| *at <= now_ms)
            .collect();
        for (_, repair) in due {
            self.repair(repair, nodes, &mut ended, now_ms);
        }
        ended
    }

    /// Starts a node again that could not start.
    pub fn start_later(&mut self, id: u64, at_ms: u64) {
        self.repairs.push((at_ms, Repair::Start(id)));
    }

    /// Ends all faults: every path good, every disk well, every server up.
    pub fn heal(&mut self, nodes: &mut [Node]) -> Vec<u64> {
        self.tell("heals everything");
        let mut ended = Vec::new();
        for (_, repair) in std::mem::take(&mut self.repairs) {
            if matches!(repair, Repair::Disk(_) | Repair::Crash(..)) {
                self.repair(repair, nodes, &mut ended, 0);
            }
        }
        self.repairs.clear();
        self.net.heal();
        for node in nodes {
            node.paused_ms = 0;
            if !node.is_up() {
                node.start();
            }
        }
        ended
    }

    fn repair(&mut self, repair: Repair, nodes: &mut [Node], ended: &mut Vec<u64>, now_ms: u64) {
        self.tell(&format!("repair {repair:?}"));
        match repair {
            Repair::Start(id) => {
                if let Some(node) = find(nodes, id).filter(|node| !node.is_up()) {
                    node.start();
                }
            }
            Repair::Path(from, to) => self.net.set_path(from, to, |path| *path = <_>::default()),
            Repair::Disk(id) => {
                let sick = self.sick.contains(&id);
                self.sick.retain(|other| *other != id);
                if let Some(node) = find(nodes, id) {
                    node.disk.fail_writes(false);
                    node.disk.fail_syncs(false);
                    node.disk.set_capacity(u64::MAX);
                    node.disk.set_sync_delay(Duration::ZERO);
                    // A node that met an error has stopped: somebody starts it again.
                    if sick {
                        self.crash(node, Crash::Kill, ended, now_ms, 0);
                    }
                }
            }
            Repair::Crash(id, how) => {
                if let Some(node) = find(nodes, id) {
                    self.crash(node, how, ended, now_ms, 0);
                }
            }
        }
    }

    fn crash(
        &mut self,
        node: &mut Node,
        how: Crash,
        ended: &mut Vec<u64>,
        now_ms: u64,
        away_ms: u64,
    ) {
        if node.is_up() {
            node.crash(how);
            ended.push(node.id);
        }
        self.repairs
            .push((now_ms + away_ms, Repair::Start(node.id)));
    }

    fn harm(&mut self, now_ms: u64, nodes: &mut [Node], ended: &mut Vec<u64>) {
        let ids: Vec<u64> = nodes.iter().map(|node| node.id).collect();
        // Half of the faults hit the leader: there they hurt.
        let leader = nodes.iter().find(|node| node.holds_lease());
        let victim = leader.map(|node| node.id).filter(|_| self.dice.chance(50));
        let victim = victim.or_else(|| self.dice.pick(&ids)).unwrap_or(1);
        let lasts_ms = self.dice.range(20, 4_000);
        let kind = self.dice.range(0, 99);
        self.tell(&format!("fault {kind} of node {victim} for {lasts_ms} ms"));
        match kind {
            0..22 => {
                let how = [Crash::Kill, Crash::Power][usize::from(kind.is_multiple_of(2))];
                if let Some(node) = find(nodes, victim) {
                    self.crash(node, how, ended, now_ms, lasts_ms);
                }
                self.harm_log((now_ms, now_ms + lasts_ms), nodes, victim);
            }
            22..27 => {
                // All servers at once.
                for node in nodes.iter_mut() {
                    let away_ms = self.dice.range(1, lasts_ms);
                    self.crash(node, Crash::Power, ended, now_ms, away_ms);
                }
            }
            27..32 => self.shut_down(now_ms, nodes, victim),
            32..62 => self.harm_paths(now_ms, &ids, victim, kind, lasts_ms),
            62..72 => {
                if let Some(node) = find(nodes, victim).filter(|node| node.is_up()) {
                    node.paused_ms = lasts_ms / 2;
                }
            }
            72..80 => {
                if let Some(node) = find(nodes, victim) {
                    let by_ms = i64::try_from(self.dice.range(0, 20_000)).unwrap_or(0) - 10_000;
                    node.clocks.jump(by_ms);
                }
            }
            80..90 => self.harm_disk(now_ms, nodes, victim, kind, lasts_ms),
            _ => self.command(nodes, victim, kind),
        }
    }

    /// Damages the log of a node that has just crashed.
    fn harm_log(&mut self, times: (u64, u64), nodes: &[Node], victim: u64) {
        let Some(node) = nodes.iter().find(|node| node.id == victim) else {
            return;
        };
        let struck = self.damage.strike(node, times, nodes, &mut self.unwell);
        if let Some(what) = struck {
            self.tell(&format!("{what} of node {victim}"));
        }
    }

    fn shut_down(&mut self, now_ms: u64, nodes: &mut [Node], victim: u64) {
        if let Some(node) = find(nodes, victim) {
            node.shut_down();
            let end_ms = now_ms + self.dice.range(1, 300);
            self.repairs
                .push((end_ms, Repair::Crash(victim, Crash::Kill)));
        }
    }

    fn harm_paths(&mut self, now_ms: u64, ids: &[u64], victim: u64, kind: u64, lasts_ms: u64) {
        let others: Vec<u64> = ids.iter().copied().filter(|id| *id != victim).collect();
        let Some(other) = self.dice.pick(&others) else {
            return;
        };
        let until_ms = now_ms + lasts_ms;
        let paths: Vec<(u64, u64)> = match kind {
            // The victim alone on one side.
            32..40 => others
                .iter()
                .flat_map(|id| [(victim, *id), (*id, victim)])
                .collect(),
            // It hears nobody, or nobody hears it.
            40..44 => others.iter().map(|id| (*id, victim)).collect(),
            44..48 => others.iter().map(|id| (victim, *id)).collect(),
            // One path, one pair.
            48..51 => vec![(victim, other)],
            51..54 => vec![(victim, other), (other, victim)],
            54..56 => return self.net.reset_connections(victim, other),
            _ => {
                let slow = self.dice.range(5, 150);
                let bytes_per_ms = self.dice.range(1, 2_000);
                for to in others {
                    for (from, to) in [(victim, to), (to, victim)] {
                        self.net.set_path(from, to, |path| {
                            path.delay_ms = (1, slow);
                            path.bytes_per_ms = bytes_per_ms;
                        });
                        self.repairs.push((until_ms, Repair::Path(from, to)));
                    }
                }
                return;
            }
        };
        for (from, to) in paths {
            self.net.set_path(from, to, |path| path.blocked = true);
            self.repairs.push((until_ms, Repair::Path(from, to)));
        }
    }

    fn harm_disk(
        &mut self,
        now_ms: u64,
        nodes: &mut [Node],
        victim: u64,
        kind: u64,
        lasts_ms: u64,
    ) {
        let minority = (nodes.len() - 1) / 2;
        self.sick
            .retain(|id| nodes.iter().any(|node| node.id == *id));
        let Some(node) = find(nodes, victim) else {
            return;
        };
        match kind {
            80..85 => {
                let delay = Duration::from_millis(self.dice.range(1, 400));
                node.disk.set_sync_delay(delay);
            }
            _ if self.sick.len() >= minority || self.sick.contains(&victim) => return,
            85..87 => node.disk.fail_writes(true),
            87..89 => node.disk.fail_syncs(true),
            _ => node.disk.set_capacity(0),
        }
        if kind >= 85 {
            self.sick.push(victim);
        }
        self.repairs.push((now_ms + lasts_ms, Repair::Disk(victim)));
    }

    /// Not a fault, but it comes at a bad time: a snapshot, or another leader.
    fn command(&mut self, nodes: &mut [Node], victim: u64, kind: u64) {
        let Some(node) = find(nodes, victim).filter(|node| node.is_serving()) else {
            return;
        };
        let Some(store) = node.store().cloned() else {
            return;
        };
        node.spawn(async move {
            // Refusals are part of the game.
            let _ = if kind < 95 {
                store.snapshot().await
            } else {
                store.transfer_leadership(None).await
            };
        });
    }
}

fn find(nodes: &mut [Node], id: u64) -> Option<&mut Node> {
    nodes.iter_mut().find(|node| node.id == id)
}
