//! Whoever runs the cluster: adds servers, lets them vote, takes others away, and replaces one
//! whose disk is gone, at bad times.
//!
//! ```text
//!  grow and shrink: Add (learner) -> Promote -> Remove another -> its server is switched off
//!  replace:         a server and its disk are gone -> a new one -> Replace
//! ```
//!
//! A change that was refused, or whose answer was lost, is asked for again at any node until it is
//! done. Ids are never used twice.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use raftpbx_store::disk::SimulatedDisk;
use raftpbx_store::{MemberChange, PeerAddress, StoreConfig, StoreError, Timing, Tuning};

use crate::damage::Unwell;
use crate::dice::Dice;
use crate::net::{Net, address};
use crate::node::{Crash, Node};
use crate::trace::SharedTrace;

/// Longest time between two undertakings, milliseconds.
const PAUSE_MS: u64 = 4_000;

/// Time after which an answer counts as lost, milliseconds.
const PATIENCE_MS: u64 = 5_000;

/// Pause before a change is asked for again, milliseconds.
const RETRY_MS: u64 = 200;

/// What every server of a run has in common.
#[derive(Clone)]
pub struct Site {
    /// Where the directories of the servers are.
    pub root: PathBuf,
    /// The servers of the beginning.
    pub peers: BTreeMap<u64, PeerAddress>,
    /// How their stores are tuned.
    pub tuning: Tuning,
    /// Their network.
    pub net: Net,
}

/// How a server is reached.
pub fn peer(id: u64) -> PeerAddress {
    PeerAddress {
        name: format!("cm-{id}"),
        raft: address(id),
        resp: None,
    }
}

impl Site {
    /// A server with an empty disk; one that was not there at the beginning waits to be added.
    pub fn server(&self, id: u64, disk: SimulatedDisk) -> Node {
        let mut peers = self.peers.clone();
        let join = peers.insert(id, peer(id)).is_none();
        let config = StoreConfig {
            id,
            directory: self.root.join(id.to_string()),
            raft_listen: address(id),
            peers,
            join,
            resp: None,
            tls: None,
            timing: Timing::default(),
        };
        Node::new(config, self.tuning, self.net.clone(), disk)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Change(MemberChange),
    /// The server is switched off for ever.
    Retire(u64),
}

type Answer = Arc<Mutex<Option<Result<(), StoreError>>>>;

/// See the module head.
pub struct Operator {
    dice: Dice,
    site: Site,
    trace: SharedTrace,
    /// Does nothing in many runs.
    idle: bool,
    next_id: u64,
    next_ms: u64,
    steps: VecDeque<Step>,
    asked: Option<(u64, Answer)>,
    /// A defect: a server whose disk is gone gets an old copy of it back and keeps its id.
    old_copies: Option<BTreeMap<u64, SimulatedDisk>>,
}

impl Operator {
    /// One that has done nothing yet.
    pub fn new(mut dice: Dice, site: Site, trace: SharedTrace, restores_copies: bool) -> Self {
        let idle = !dice.chance(40) && !restores_copies;
        Self {
            next_id: site.peers.len() as u64 + 1,
            dice,
            site,
            trace,
            idle,
            next_ms: 0,
            steps: VecDeque::new(),
            asked: None,
            old_copies: restores_copies.then(BTreeMap::new),
        }
    }

    fn tell(&self, what: &str) {
        self.trace.lock().tell("operator", what);
    }

    /// The cluster is there. The first undertaking comes some time from now.
    pub fn begin(&mut self, now_ms: u64, nodes: &[Node]) {
        self.next_ms = now_ms + self.dice.range(0, PAUSE_MS);
        if let Some(copies) = &mut self.old_copies {
            let copy = |node: &Node| (node.id, node.disk.copy());
            copies.extend(nodes.iter().map(copy));
        }
    }

    /// Goes on with what was begun, and begins something new when `begin` says so. Answers the
    /// nodes that ended.
    pub fn act(
        &mut self,
        now_ms: u64,
        nodes: &mut Vec<Node>,
        unwell: &mut Unwell,
        begin: bool,
    ) -> Vec<u64> {
        let mut ended = Vec::new();
        if now_ms < self.next_ms {
            return ended;
        }
        let Some(step) = self.steps.front().cloned() else {
            if begin && !self.idle {
                self.undertake(now_ms, nodes, unwell, &mut ended);
            }
            return ended;
        };
        match step {
            Step::Retire(id) => {
                self.retire(id, nodes, &mut ended);
                self.finish_step(now_ms, unwell);
            }
            Step::Change(change) => self.go_on(&change, now_ms, nodes, unwell),
        }
        ended
    }

    fn go_on(&mut self, change: &MemberChange, now_ms: u64, nodes: &[Node], unwell: &mut Unwell) {
        let Some((asked_ms, answer)) = self.asked.take() else {
            return self.ask(change, now_ms, nodes);
        };
        let answered = answer.lock().take();
        match answered {
            Some(Ok(())) => {
                self.tell(&format!("{change:?} is done"));
                self.finish_step(now_ms, unwell);
            }
            Some(Err(error)) => {
                self.tell(&format!("{change:?}: {error}"));
                self.next_ms = now_ms + RETRY_MS;
            }
            None if now_ms > asked_ms + PATIENCE_MS => self.tell("hears no answer"),
            None => self.asked = Some((asked_ms, answer)),
        }
    }

    fn ask(&mut self, change: &MemberChange, now_ms: u64, nodes: &[Node]) {
        let serving: Vec<usize> = (0..nodes.len())
            .filter(|at| nodes[*at].is_serving())
            .collect();
        let Some(node) = self.dice.pick(&serving).map(|at| &nodes[at]) else {
            return;
        };
        let Some(store) = node.store().cloned() else {
            return;
        };
        self.tell(&format!("asks node {} for {change:?}", node.id));
        let answer = Answer::default();
        self.asked = Some((now_ms, answer.clone()));
        let change = change.clone();
        node.spawn(async move {
            let outcome = store.change_members(change).await;
            *answer.lock() = Some(outcome);
        });
    }

    fn finish_step(&mut self, now_ms: u64, unwell: &mut Unwell) {
        self.steps.pop_front();
        if self.steps.is_empty() {
            unwell.wiped = false;
            self.next_ms = now_ms + self.dice.range(200, PAUSE_MS);
        }
    }

    fn undertake(
        &mut self,
        now_ms: u64,
        nodes: &mut Vec<Node>,
        unwell: &mut Unwell,
        ended: &mut Vec<u64>,
    ) {
        let ids: Vec<u64> = nodes.iter().map(|node| node.id).collect();
        let leader = nodes.iter().find(|node| node.holds_lease());
        let victim = leader.map(|node| node.id).filter(|_| self.dice.chance(40));
        let Some(victim) = victim.or_else(|| self.dice.pick(&ids)) else {
            return;
        };
        if self.old_copies.is_some() {
            self.put_back(victim, now_ms, nodes, ended);
        } else if self.dice.chance(50) {
            if !unwell.has_room(now_ms, nodes) {
                return;
            }
            self.tell(&format!("server {victim} is gone with its disk"));
            unwell.wiped = true;
            self.retire(victim, nodes, ended);
            let new = self.newcomer(nodes);
            let address = Some(peer(new));
            let old = victim;
            let replace = MemberChange::Replace { old, new, address };
            self.steps.push_back(Step::Change(replace));
        } else {
            let id = self.newcomer(nodes);
            let address = peer(id);
            let add = MemberChange::Add { id, address };
            let promote = MemberChange::Promote { id };
            let remove = MemberChange::Remove { id: victim };
            let changes = [add, promote, remove].map(Step::Change);
            self.steps.extend(changes);
            self.steps.push_back(Step::Retire(victim));
        }
    }

    fn newcomer(&mut self, nodes: &mut Vec<Node>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut node = self.site.server(id, SimulatedDisk::new(self.dice.bits()));
        node.start();
        nodes.push(node);
        id
    }

    fn retire(&self, id: u64, nodes: &mut Vec<Node>, ended: &mut Vec<u64>) {
        for mut node in nodes.extract_if(.., |node| node.id == id) {
            node.crash(Crash::Power);
            ended.push(id);
        }
    }

    /// The defect.
    fn put_back(&mut self, id: u64, now_ms: u64, nodes: &mut [Node], ended: &mut Vec<u64>) {
        self.next_ms = now_ms + self.dice.range(200, PAUSE_MS);
        let copy = self.old_copies.as_ref().and_then(|copies| copies.get(&id));
        let node = nodes.iter_mut().find(|node| node.id == id);
        let (Some(copy), Some(node)) = (copy.map(SimulatedDisk::copy), node) else {
            return;
        };
        self.trace.lock().tell(
            "operator",
            &format!("server {id} gets an old copy of its disk"),
        );
        node.crash(Crash::Kill);
        ended.push(id);
        node.disk = copy;
        node.start();
    }
}
