//! How a node finds its place: the first start of a cluster, a new member, a wiped member.
//!
//! A cluster is initialised once, by the configured node with the lowest id, and only after it has
//! met *every* configured node and none of them belonged to a cluster. A node that lost its
//! directory therefore never founds a second cluster beside the first, even when the others are
//! down; and the first membership already holds the incarnation of each member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Consensus;
use super::candidacy::Bar;
use super::identity::random_number;
use super::standing::{Refusal, Welcome};
use super::types::Node;
use crate::limits::{FORMING_PATIENCE, JOINT_LOOK_INTERVAL};

/// What a node without a log does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Found the cluster.
    Found,
    /// Wait for these configured nodes to be met.
    Meet(BTreeSet<u64>),
    /// Wait for the founder, or for the leader's log.
    Wait,
    /// Wait to be added to a cluster that exists.
    Added,
}

/// Decides it: pure.
pub fn next_step(
    id: u64,
    configured: &BTreeSet<u64>,
    join: bool,
    met: &BTreeMap<u64, Welcome>,
) -> Step {
    let existing = met.values().any(|welcome| welcome.cluster != 0);
    let known = met.values().any(|welcome| welcome.knows != 0);
    if known {
        return Step::Wait;
    }
    if existing || join {
        return Step::Added;
    }
    let others = configured.iter().copied().filter(|other| *other != id);
    let missing: BTreeSet<u64> = others.filter(|other| !met.contains_key(other)).collect();
    if !missing.is_empty() {
        return Step::Meet(missing);
    }
    if configured.first() == Some(&id) {
        Step::Found
    } else {
        Step::Wait
    }
}

fn welcomes(met: &BTreeMap<u64, Result<Welcome, Refusal>>) -> BTreeMap<u64, Welcome> {
    met.iter()
        .filter_map(|(id, answer)| Some((*id, answer.clone().ok()?)))
        .collect()
}

impl Consensus {
    /// Lets this node stand for election as soon as it may, and founds a new cluster.
    pub(super) async fn begin(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        tokio::select! {
                biased;
            _ = stop.changed() => {}
            () = self.find_place() => {}
        }
    }

    async fn find_place(&self) {
        tokio::time::sleep_until(self.votes_from).await;
        if self.standing.is_barred() {
            return;
        }
        // Only members stand for election; a wiped node never becomes one again under its id.
        self.candidacy.set(&self.raft, Bar::Starting, false);
        if self.candidacy.has(Bar::Recovering) {
            return;
        }
        let configured: BTreeSet<u64> = self.peers.keys().copied().collect();
        let mut met = self.standing.met();
        let mut metrics = self.raft.metrics();
        let started = Instant::now();
        loop {
            let initialised = {
                let metrics = metrics.borrow_watched();
                metrics
                    .membership_config
                    .membership()
                    .nodes()
                    .next()
                    .is_some()
            };
            if initialised || self.standing.is_barred() {
                break;
            }
            let now = welcomes(&met.borrow_and_update());
            let step = next_step(self.id, &configured, self.join, &now);
            self.tell_formation(&step, started);
            if step == Step::Found {
                self.found(&now).await;
            }
            tokio::select! {
                biased;
                _ = met.changed() => {}
                changed = metrics.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(FORMING_PATIENCE) => {}
            }
        }
        self.alarms.clear("PBX_STORE_FORMING");
        self.alarms.clear("PBX_STORE_NOT_MEMBER");
    }

    fn tell_formation(&self, step: &Step, started: Instant) {
        match step {
            Step::Meet(missing) if started.elapsed() >= FORMING_PATIENCE => self.alarms.raise(
                "PBX_STORE_FORMING",
                format!("the cluster is not founded yet: nodes {missing:?} do not answer"),
                "start them; a first start needs every configured node once, so that a lost \
                 directory is never taken for a new cluster",
            ),
            Step::Added => self.alarms.raise(
                "PBX_STORE_NOT_MEMBER",
                format!("node {} is not a member of the cluster", self.id),
                format!("run 'raftpbx member add {}' or 'member replace'", self.id),
            ),
            _ => {}
        }
    }

    async fn found(&self, met: &BTreeMap<u64, Welcome>) {
        let cluster = random_number();
        let own = self.standing.identity.incarnation;
        let members = self.peers.iter().map(|(id, peer)| {
            let node = Node {
                name: peer.name.clone(),
                raft: peer.raft,
                resp: peer.resp,
                incarnation: met.get(id).map_or(own, |welcome| welcome.incarnation),
                cluster,
            };
            (*id, node)
        });
        let members: BTreeMap<u64, Node> = members.collect();
        match self.raft.initialize(members).await {
            Ok(()) => tracing::info!(cluster, "a cluster was founded"),
            Err(error) => tracing::warn!(%error, "the cluster was not founded"),
        }
    }

    /// Keeps links, incarnations and the identity file in step with the membership.
    pub(super) async fn follow_members(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut metrics = self.raft.metrics();
        let mut last = None;
        loop {
            let now = metrics.borrow_watched().membership_config.clone();
            if last.as_ref() != Some(&now) && now.membership().nodes().next().is_some() {
                self.standing.learn(now.membership());
                self.roster.follow(now.membership());
                self.remember_cluster().await;
                last = Some(now);
            }
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                changed = metrics.changed() => if changed.is_err() { return },
            }
        }
    }

    /// A leader finishes a change of the members that its predecessor died in.
    pub(super) async fn finish_changes(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(JOINT_LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                _ = interval.tick() => {}
            }
            if !self.is_leading() {
                continue;
            }
            let Ok(_one) = self.changing.try_lock() else {
                continue;
            };
            let finished = match self.finish_joint().await {
                Ok(()) => self.complete_nodes().await,
                refused => refused,
            };
            if let Err(refusal) = finished {
                tracing::warn!(%refusal, "a change of the members is not finished");
            }
        }
    }

    async fn remember_cluster(&self) {
        let standing = self.standing.clone();
        let written = self.environment.workers.blocking(move || {
            let cluster = standing.cluster();
            standing.identity.join_cluster(cluster)
        });
        if let Ok(Err(error)) = written.await {
            tracing::error!(%error, "the cluster was not written to the identity file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(cluster: u64, knows: u64) -> Welcome {
        Welcome {
            cluster,
            incarnation: 5,
            knows,
        }
    }

    fn step(id: u64, join: bool, met: &[(u64, Welcome)]) -> Step {
        let met = met.iter().cloned().collect();
        next_step(id, &BTreeSet::from([1, 2, 3]), join, &met)
    }

    #[test]
    fn the_lowest_founds_when_it_has_met_everybody() {
        let met = [(2, welcome(0, 0)), (3, welcome(0, 0))];
        assert_eq!(step(1, false, &met), Step::Found);
        assert_eq!(step(1, false, &met[..1]), Step::Meet(BTreeSet::from([3])));
        let met = [(1, welcome(0, 0)), (3, welcome(0, 0))];
        assert_eq!(step(2, false, &met), Step::Wait);
    }

    #[test]
    fn nobody_founds_a_second_cluster() {
        let met = [(2, welcome(9, 0)), (3, welcome(0, 0))];
        assert_eq!(step(1, false, &met), Step::Added);
        assert_eq!(step(1, true, &[]), Step::Added);
        let met = [(2, welcome(9, 7))];
        assert_eq!(step(1, false, &met), Step::Wait);
    }

    #[test]
    fn a_single_node_founds_at_once() {
        let own = BTreeSet::from([1]);
        assert_eq!(next_step(1, &own, false, &BTreeMap::new()), Step::Found);
    }
}
