//! Changes of the membership: refused when they would lose the quorum, safe to repeat.
//!
//! The leader works on one change at a time. Nodes that do not lead forward to it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant as _};
use tokio::time::Instant;

use super::identity::random_number;
use super::refusals::{NOT_LEADER, lost, no_leader, not_leader, unknown};
use super::transport::Lane;
use super::transport::frame::{self, Kind};
use super::types::{Members, Node, Types};
use super::{Consensus, Outcome};
use crate::batch::{Batch, NO_ORIGIN, encode};
use crate::config::PeerAddress;
use crate::limits::{
    CATCH_UP_TIMEOUT, HOLD_MS, MEET_TIMEOUT, MEMBER_CHANGE_TIMEOUT, MEMBER_COMMIT_TIMEOUT,
    MEMBER_NAME_MAX, MEMBERS_MAX, PEERS_MAX,
};
use crate::member::{Member, MemberChange, MemberRefusal};
use crate::reply::Reply;

/// The set of ids that were removed and are never used again.
const RETIRED_KEY: &[u8] = b"store:retired";

/// Pause before a leader is looked for again.
const LEADER_RETRY: Duration = Duration::from_millis(50);

type Changed = Result<(), MemberRefusal>;

/// Whether these voters can commit when only `live` of them answer: pure.
pub fn has_quorum(voters: &BTreeSet<u64>, live: &BTreeSet<u64>) -> bool {
    voters.intersection(live).count() * 2 > voters.len()
}

impl Consensus {
    fn membership(&self) -> Members {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().clone()
    }

    /// The members as this node knows them.
    pub fn members(&self) -> Vec<Member> {
        let leader = self.leadership.borrow().leader;
        let met = self.standing.met();
        let met = met.borrow();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = members.voter_ids().collect();
        let matched = |id: &u64| {
            let peers = metrics.replication.as_ref()?;
            peers.get(id).copied().flatten().map(|log_id| log_id.index)
        };
        let member = |(id, node): (&u64, &Node)| Member {
            id: *id,
            name: node.name.clone(),
            raft: node.raft,
            resp: node.resp,
            voter: voters.contains(id),
            leader: leader == Some(*id),
            reachable: *id == self.id || self.roster.reaches(*id),
            problem: met
                .get(id)
                .and_then(|it| it.clone().err())
                .map(|it| it.to_string()),
            matched: matched(id),
        };
        members.nodes().map(member).collect()
    }

    /// Changes the members, here or on the leader.
    pub async fn change_members(&self, change: MemberChange) -> Changed {
        let deadline = Instant::now() + MEMBER_CHANGE_TIMEOUT;
        let mut asked = None;
        let mut asked_since = Instant::now();
        loop {
            let leader = self.leadership.borrow().leader;
            if leader != asked {
                asked = leader;
                asked_since = Instant::now();
            }
            let outcome = match leader {
                Some(leader) if leader == self.id => self.change_here(change.clone()).await,
                Some(leader) => self.change_there(leader, &change).await,
                None => Err(not_leader()),
            };
            match outcome {
                Err(refusal) if refusal.code == NOT_LEADER => {}
                outcome => return outcome,
            }
            if asked_since.elapsed() > Duration::from_millis(HOLD_MS) {
                return Err(no_leader(leader));
            }
            if Instant::now() > deadline {
                return Err(lost("no leader finished the change"));
            }
            tokio::time::sleep(LEADER_RETRY).await;
        }
    }

    async fn change_there(&self, leader: u64, change: &MemberChange) -> Changed {
        let link = self.roster.link(leader, Lane::Client);
        let (Some(link), Ok(body)) = (link, serde_json::to_vec(change)) else {
            return Err(not_leader());
        };
        if !link.is_up() {
            return Err(not_leader());
        }
        let answer = link
            .request(Kind::Member, body.into(), MEMBER_CHANGE_TIMEOUT)
            .await;
        let answer = answer.map_err(|_| lost("the leader did not answer"))?;
        let answer: Result<Changed, String> =
            frame::decode(&answer).map_err(|_| lost("the leader's answer was not understood"))?;
        answer.unwrap_or_else(|text| Err(lost(&text)))
    }

    /// Changes the members as the leader.
    pub async fn change_here(&self, change: MemberChange) -> Changed {
        if !self.is_leading() {
            return Err(not_leader());
        }
        let Ok(_one) = self.changing.try_lock() else {
            return Err(MemberRefusal::new(
                "PBX_MEMBER_BUSY",
                "another change of the members is under way",
                "repeat the command when it is done",
            ));
        };
        self.finish_joint().await?;
        tracing::info!(?change, "the members are changed");
        match change {
            MemberChange::Add { id, address } => self.add(id, address).await,
            MemberChange::Promote { id } => self.promote(id).await,
            MemberChange::Remove { id } => self.remove(id).await,
            MemberChange::Replace { old, new, address } => self.replace(old, new, address).await,
        }
    }

    /// A leader that died in the middle of a change left both memberships in force.
    pub(super) async fn finish_joint(&self) -> Changed {
        if self.membership().get_joint_config().len() < 2 {
            return Ok(());
        }
        let flatten = ChangeMembers::AddVoterIds(BTreeSet::new());
        self.commit(self.raft.change_membership(flatten, false))
            .await
    }

    /// Nodes that began from a backup know neither their cluster nor each other's incarnations: the
    /// leader writes them into the log when it has met everybody.
    pub(super) async fn complete_nodes(&self) -> Changed {
        let members = self.membership();
        if members.nodes().all(|(_, node)| node.incarnation != 0) {
            return Ok(());
        }
        let cluster = match self.standing.cluster() {
            0 => random_number(),
            known => known,
        };
        let complete = {
            let met = self.standing.met();
            let met = met.borrow();
            let incarnation = |id: &u64| match met.get(id) {
                _ if *id == self.id => Some(self.standing.identity.incarnation),
                Some(Ok(welcome)) => Some(welcome.incarnation),
                _ => None,
            };
            let complete = members.nodes().map(|(id, node)| {
                let incarnation = match node.incarnation {
                    0 => incarnation(id)?,
                    known => known,
                };
                let node = Node {
                    incarnation,
                    cluster,
                    ..node.clone()
                };
                Some((*id, node))
            });
            complete.collect::<Option<BTreeMap<u64, Node>>>()
        };
        let Some(complete) = complete else {
            return Ok(());
        };
        let change = ChangeMembers::SetNodes(complete);
        self.commit(self.raft.change_membership(change, true)).await
    }

    async fn add(&self, id: u64, address: PeerAddress) -> Changed {
        let members = self.membership();
        if let Some(node) = members.get_node(&id) {
            if node.raft == address.raft {
                return Ok(());
            }
            return Err(MemberRefusal::new(
                "PBX_MEMBER_EXISTS",
                format!("node {id} is a member at {}", node.raft),
                "use another id for another node; ids are never used twice",
            ));
        }
        self.may_add(id, &address, &members)?;
        let welcome = self.meet(id, &address).await?;
        let cluster = self.standing.cluster();
        let node = Node {
            name: address.name,
            raft: address.raft,
            resp: address.resp,
            incarnation: welcome,
            cluster,
        };
        self.commit(self.raft.add_learner(id, node, false)).await
    }

    fn may_add(&self, id: u64, address: &PeerAddress, members: &Members) -> Changed {
        let retired = [
            Bytes::from_static(b"SISMEMBER"),
            Bytes::from_static(RETIRED_KEY),
            Bytes::from(id.to_string()),
        ];
        if id == 0 || self.machine.read(&retired) == Reply::Int(1) {
            return Err(MemberRefusal::new(
                "PBX_MEMBER_ID_USED",
                format!("the id {id} was used before and may not be used again"),
                "give the new node an id that no node ever had",
            ));
        }
        if address.name.len() > MEMBER_NAME_MAX || members.nodes().count() >= MEMBERS_MAX {
            return Err(MemberRefusal::new(
                "PBX_MEMBER_LIMIT",
                format!("a cluster has at most {MEMBERS_MAX} members with short names"),
                "remove a member first",
            ));
        }
        Ok(())
    }

    /// Greets a node that shall become a member; its incarnation.
    async fn meet(&self, id: u64, address: &PeerAddress) -> Result<u64, MemberRefusal> {
        self.roster.ensure(id, address.raft);
        let mut met = self.standing.met();
        let found = async {
            loop {
                if let Some(Ok(welcome)) = met.borrow_and_update().get(&id) {
                    return Some(welcome.incarnation);
                }
                met.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(MEET_TIMEOUT, found).await;
        if let Ok(Some(incarnation)) = found {
            return Ok(incarnation);
        }
        let refusal = met.borrow().get(&id).and_then(|it| it.clone().err());
        let members = self.membership();
        self.roster.forget(|id| members.get_node(&id).is_some());
        let why = refusal.map_or("it does not answer".to_owned(), |it| it.to_string());
        Err(MemberRefusal::new(
            "PBX_MEMBER_UNREACHABLE",
            format!("node {id} at {}: {why}", address.raft),
            "start it with that id and address, an empty directory and a certificate for that id",
        ))
    }

    async fn promote(&self, id: u64) -> Changed {
        let members = self.membership();
        if members.get_node(&id).is_none() {
            return Err(unknown(id));
        }
        if members.voter_ids().any(|voter| voter == id) {
            return Ok(());
        }
        if members.voter_ids().count() >= PEERS_MAX {
            return Err(MemberRefusal::new(
                "PBX_MEMBER_LIMIT",
                format!("at most {PEERS_MAX} members vote: more only slow commits down"),
                "remove or replace a voter",
            ));
        }
        self.caught_up(id).await?;
        let vote = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        self.commit(self.raft.change_membership(vote, true)).await
    }

    async fn remove(&self, id: u64) -> Changed {
        let members = self.membership();
        if members.get_node(&id).is_none() {
            return Ok(());
        }
        let mut voters: BTreeSet<u64> = members.voter_ids().collect();
        let votes = voters.remove(&id);
        if votes {
            self.keeps_quorum(&voters)?;
            self.step_aside(id).await?;
        }
        self.retire(id).await?;
        let change = if votes {
            ChangeMembers::RemoveVoters(BTreeSet::from([id]))
        } else {
            ChangeMembers::RemoveNodes(BTreeSet::from([id]))
        };
        self.commit(self.raft.change_membership(change, false))
            .await
    }

    async fn replace(&self, old: u64, new: u64, address: Option<PeerAddress>) -> Changed {
        let members = self.membership();
        let mut voters: BTreeSet<u64> = members.voter_ids().collect();
        let Some(leaving) = members.get_node(&old) else {
            return if voters.contains(&new) {
                Ok(())
            } else {
                Err(unknown(old))
            };
        };
        if old == new {
            return Err(MemberRefusal::new(
                "PBX_MEMBER_ID_USED",
                "a node comes back under a new id, never under its old one",
                "give the new node an id that no node ever had",
            ));
        }
        let address = address.unwrap_or_else(|| PeerAddress {
            name: leaving.name.clone(),
            raft: leaving.raft,
            resp: leaving.resp,
        });
        self.add(new, address).await?;
        self.caught_up(new).await?;
        voters.remove(&old);
        voters.insert(new);
        self.keeps_quorum(&voters)?;
        self.step_aside(old).await?;
        self.retire(old).await?;
        let swap = ChangeMembers::ReplaceAllVoters(voters);
        self.commit(self.raft.change_membership(swap, false)).await
    }

    /// A leader that is to leave hands leadership over first; its successor does the change.
    async fn step_aside(&self, leaving: u64) -> Changed {
        if leaving != self.id {
            return Ok(());
        }
        let handed = self.transfer(None).await;
        handed.map_err(|error| {
            MemberRefusal::new(
                "PBX_MEMBER_LEADS",
                format!("node {leaving} leads and could not hand over: {error}"),
                "see that another voter is up, and repeat the command",
            )
        })?;
        Err(not_leader())
    }

    /// Remembers that an id must not be used again.
    async fn retire(&self, id: u64) -> Changed {
        let request = vec![vec![
            Bytes::from_static(b"SADD"),
            Bytes::from_static(RETIRED_KEY),
            Bytes::from(id.to_string()),
        ]];
        let body = encode(&request).map_err(|error| lost(&error.to_string()))?;
        let batch = Batch {
            origin: NO_ORIGIN,
            count: 1,
            body,
            ..Batch::default()
        };
        let proposed = self.propose(batch).await.outcome();
        match tokio::time::timeout(MEMBER_COMMIT_TIMEOUT, proposed).await {
            Ok(Outcome::Applied(_)) => Ok(()),
            Ok(Outcome::NotLeader(_)) => Err(not_leader()),
            Ok(Outcome::Unknown) | Err(_) => Err(lost("the change was not committed in time")),
        }
    }

    /// Refuses a set of voters of which too few answer now.
    fn keeps_quorum(&self, voters: &BTreeSet<u64>) -> Changed {
        if voters.is_empty() {
            return Err(MemberRefusal::new(
                "PBX_MEMBER_LAST",
                "a cluster needs a voter",
                "stop the cluster instead",
            ));
        }
        let live = self.live();
        if has_quorum(voters, &live) {
            return Ok(());
        }
        let dead: Vec<u64> = voters.difference(&live).copied().collect();
        Err(MemberRefusal::new(
            "PBX_MEMBER_QUORUM",
            format!("the cluster would stand still: of the voters {voters:?}, {dead:?} are down"),
            "bring them back, or replace them first",
        ))
    }

    /// The nodes that answered lately, this one included.
    fn live(&self) -> BTreeSet<u64> {
        let patience = Duration::from_millis(self.timing.election_max_ms * 2);
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.iter().flatten();
        let live = heard.filter(|(_, at)| at.is_some_and(|at| at.elapsed() < patience));
        live.map(|(id, _)| *id).chain([self.id]).collect()
    }

    /// Waits until a member has the log up to now.
    async fn caught_up(&self, id: u64) -> Changed {
        let mut metrics = self.raft.metrics();
        let goal = metrics.borrow_watched().last_log_index;
        let reached = async {
            loop {
                {
                    let metrics = metrics.borrow_watched();
                    let Some(peers) = metrics.replication.as_ref() else {
                        return Err(not_leader());
                    };
                    let matched = peers.get(&id).copied().flatten();
                    if matched.map(|log_id| log_id.index) >= goal {
                        return Ok(());
                    }
                }
                if metrics.changed().await.is_err() {
                    return Err(not_leader());
                }
            }
        };
        let reached = tokio::time::timeout(CATCH_UP_TIMEOUT, reached).await;
        reached.unwrap_or_else(|_| {
            Err(MemberRefusal::new(
                "PBX_MEMBER_BEHIND",
                format!("node {id} did not catch up with the log in time"),
                "see that it is up and reachable, and repeat the command",
            ))
        })
    }

    /// Waits for a change to be committed.
    async fn commit<T>(
        &self,
        change: impl Future<Output = Result<T, RaftError<Types, ClientWriteError<Types>>>>,
    ) -> Changed {
        match tokio::time::timeout(MEMBER_COMMIT_TIMEOUT, change).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(not_leader()),
            Ok(Err(error)) => Err(lost(&error.to_string())),
            Err(_) => Err(lost("the change was not committed in time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    #[test]
    fn a_quorum_is_more_than_half_of_the_voters() {
        assert!(has_quorum(&set(&[1, 3]), &set(&[1, 3])));
        assert!(!has_quorum(&set(&[1, 3]), &set(&[1, 2])));
        assert!(has_quorum(&set(&[1, 2, 3]), &set(&[1, 2, 9])));
        assert!(!has_quorum(&set(&[1, 2, 3, 4]), &set(&[1, 2])));
        assert!(!has_quorum(&set(&[]), &set(&[1])));
    }
}
