//! One run: servers, network, clients and nemesis, moved forward one millisecond after another.

use raftpbx_store::disk::SimulatedDisk;
use raftpbx_store::environment::randomness;
use raftpbx_store::{StoreError, Tuning};

use crate::clients::Clients;
use crate::damage::Damage;
use crate::dice::Dice;
use crate::nemesis::Nemesis;
use crate::net::Net;
use crate::node::{Crash, Node};
use crate::operator::{Operator, Site, peer};
use crate::oracle::{Oracle, Violation, check_clients};
use crate::trace::{SharedTrace, Trace, set_running};

/// Time to form a cluster at the beginning, milliseconds.
const FORMATION_MS: u64 = 10_000;

/// Somebody starts a node again that could not open its files, milliseconds.
const RETRY_MS: u64 = 300;

/// Time to serve again after the last fault, and to agree, milliseconds.
const RECOVERY_MS: u64 = 20_000;

/// A promise broken on purpose, to prove that the oracle notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Disks say that they have flushed and have not.
    LyingDisk,
    /// A server that leads has clocks of half the speed: its lease is too long.
    SlowClock,
    /// A tenth of the requests reach the store twice.
    RepeatedRequests,
    /// A log that was damaged looks as if it ended there.
    SilentDamage,
    /// A server whose disk is gone gets an old copy of it back, and no new id.
    OldCopy,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Everything random follows from it.
    pub seed: u64,
    /// Servers, 3 or 5.
    pub nodes: u64,
    /// Simulated time with faults, milliseconds.
    pub faults_ms: u64,
    /// Whether the story is written to standard output.
    pub told: bool,
    /// A promise to break.
    pub defect: Option<Defect>,
}

impl Scenario {
    /// The scenario of a seed: every third one has five nodes.
    pub fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            nodes: if seed.is_multiple_of(3) { 5 } else { 3 },
            faults_ms: 12_000,
            told: false,
            defect: None,
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Checksum of everything that happened.
    pub checksum: u64,
    /// Events in it.
    pub events: u64,
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    /// Operations of clients.
    pub operations: usize,
    /// Those with a known outcome.
    pub known: usize,
}

struct World {
    now_ms: u64,
    nodes: Vec<Node>,
    net: Net,
    clients: Clients,
    nemesis: Nemesis,
    operator: Operator,
    oracle: Oracle,
    trace: SharedTrace,
    defect: Option<Defect>,
}

/// Runs a scenario on this thread.
pub fn run(scenario: &Scenario) -> Report {
    let trace = Trace::start(scenario.told);
    let root = tempfile::Builder::new()
        .prefix("raftpbx-simulator-")
        .tempdir_in(fast_directory())
        .expect("a temporary directory can be created");
    randomness::seed_this_thread(scenario.seed);
    let mut world = World::new(scenario, root.path(), &trace);
    let violation = world.live(scenario).err();
    if let Some(violation) = &violation {
        let text = format!("BROKEN: {}: {}", violation.promise, violation.seen);
        trace.lock().tell("oracle", &text);
    }
    let (checksum, events) = trace.lock().sum();
    let operations = &world.clients.operations;
    let report = Report {
        violation,
        checksum,
        events,
        simulated_ms: world.now_ms,
        operations: operations.len(),
        known: operations.iter().filter(|one| one.ended.is_some()).count(),
    };
    for node in &mut world.nodes {
        node.crash(Crash::Kill);
    }
    report
}

/// Memory when the system has a file system of it.
fn fast_directory() -> std::path::PathBuf {
    let memory = std::path::PathBuf::from("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    }
}

fn tuning(dice: &mut Dice) -> Tuning {
    Tuning {
        snapshot_entries: dice.range(20, 200),
        entries_kept: dice.range(0, 20),
        segment_bytes: dice.range(8, 64) << 10,
        ..Tuning::default()
    }
}

impl World {
    fn new(scenario: &Scenario, root: &std::path::Path, trace: &SharedTrace) -> Self {
        let mut dice = Dice::new(scenario.seed);
        let net = Net::new(dice.fork(), trace.clone());
        let mut clients = Clients::new(6, dice.fork(), trace.clone());
        clients.repeats = scenario.defect == Some(Defect::RepeatedRequests);
        let of_nemesis = dice.fork();
        let site = Site {
            root: root.to_owned(),
            peers: (1..=scenario.nodes).map(|id| (id, peer(id))).collect(),
            tuning: tuning(&mut dice),
            net: net.clone(),
        };
        let mut nodes = Vec::new();
        for id in 1..=scenario.nodes {
            let mut node = site.server(id, SimulatedDisk::new(dice.bits()));
            node.disk_lies = scenario.defect == Some(Defect::LyingDisk);
            nodes.push(node);
        }
        let mut damage = Damage::new(dice.fork());
        damage.silent = scenario.defect == Some(Defect::SilentDamage);
        let mut nemesis = Nemesis::new(of_nemesis, net.clone(), trace.clone(), damage);
        nemesis.unwell.most = (nodes.len() - 1) / 2;
        let restores_copies = scenario.defect == Some(Defect::OldCopy);
        let operator = Operator::new(dice.fork(), site, trace.clone(), restores_copies);
        Self {
            now_ms: 0,
            nodes,
            net,
            clients,
            nemesis,
            operator,
            oracle: Oracle::default(),
            trace: trace.clone(),
            defect: scenario.defect,
        }
    }

    fn live(&mut self, scenario: &Scenario) -> Result<(), Violation> {
        self.nemesis.set_drifts(&mut self.nodes);
        self.nodes.iter_mut().for_each(Node::start);
        self.wait("a new cluster elects a leader", FORMATION_MS, |world| {
            world.nodes.iter().any(Node::holds_lease)
        })?;
        self.nemesis.begin(self.now_ms);
        self.operator.begin(self.now_ms, &self.nodes);
        let end_ms = self.now_ms + scenario.faults_ms;
        while self.now_ms < end_ms {
            let ended = self.nemesis.act(self.now_ms, &mut self.nodes);
            self.bury(&ended);
            self.operate(true);
            self.step(true)?;
        }
        let ended = self.nemesis.heal(&mut self.nodes);
        self.bury(&ended);
        let before = self.clients.operations.len();
        self.wait("the cluster serves again", RECOVERY_MS, |world| {
            let new = &world.clients.operations[before..];
            let serves = |id| new.iter().any(|one| one.node == id && one.ended.is_some());
            world.nodes.iter().all(|node| serves(node.id))
        })?;
        self.settle()?;
        check_clients(&self.clients)
    }

    /// Goes on with changes of the members; new ones only while there are faults.
    fn operate(&mut self, begin: bool) {
        let unwell = &mut self.nemesis.unwell;
        let ended = self
            .operator
            .act(self.now_ms, &mut self.nodes, unwell, begin);
        self.bury(&ended);
    }

    fn bury(&mut self, ended: &[u64]) {
        for id in ended {
            self.clients.forget(*id);
        }
    }

    /// No more requests: everything is answered and every node has the same state.
    fn settle(&mut self) -> Result<(), Violation> {
        let deadline_ms = self.now_ms + RECOVERY_MS;
        while !self.clients.are_idle() || !self.oracle.converged(&self.nodes) {
            if self.now_ms >= deadline_ms {
                let state = |node: &Node| node.enter(|store| store.state_digest());
                let states: Vec<_> = self.nodes.iter().map(state).collect();
                return Err(Violation {
                    promise: "all nodes agree in the end",
                    seen: format!("entry and state of each: {states:?}"),
                });
            }
            // Looking at everything costs more than a step.
            for _ in 0..50 {
                self.nemesis.repair_due(self.now_ms, &mut self.nodes);
                self.operate(false);
                self.step(false)?;
            }
        }
        Ok(())
    }

    fn wait(
        &mut self,
        promise: &'static str,
        patience_ms: u64,
        done: impl Fn(&World) -> bool,
    ) -> Result<(), Violation> {
        let deadline_ms = self.now_ms + patience_ms;
        while !done(self) {
            if self.now_ms >= deadline_ms {
                let status = |node: &Node| node.enter(|store| store.status());
                let all: Vec<_> = self.nodes.iter().map(status).collect();
                return Err(Violation {
                    promise,
                    seen: format!("not within {patience_ms} ms: {all:#?}"),
                });
            }
            self.nemesis.repair_due(self.now_ms, &mut self.nodes);
            self.operate(false);
            self.step(true)?;
        }
        Ok(())
    }

    /// One millisecond.
    fn step(&mut self, asking: bool) -> Result<(), Violation> {
        self.now_ms += 1;
        self.trace.lock().set_now(self.now_ms);
        self.net.advance_to(self.now_ms);
        self.clients.act(self.now_ms, &self.nodes, asking);
        for node in &mut self.nodes {
            set_running(self.now_ms, node.id);
            if let Some(error) = node.step() {
                self.trace
                    .lock()
                    .tell("world", &format!("node {} stays down", node.id));
                tolerable(node.id, &error)?;
                node.crash(Crash::Kill);
                self.nemesis.start_later(node.id, self.now_ms + RETRY_MS);
            }
            if self.defect == Some(Defect::SlowClock) {
                node.drift = if node.holds_lease() { -2 } else { 0 };
            }
        }
        self.oracle.look(self.now_ms, &self.nodes)
    }
}

/// A node may refuse to start only for reasons that the nemesis gave it.
fn tolerable(id: u64, error: &StoreError) -> Result<(), Violation> {
    let text = error.to_string();
    let reasons = [
        "Input/output error",
        "No space left",
        "Read-only file system",
    ];
    if reasons.iter().any(|reason| text.contains(reason)) {
        return Ok(());
    }
    Err(Violation {
        promise: "a node starts after a crash",
        seen: format!("node {id}: {text}"),
    })
}
