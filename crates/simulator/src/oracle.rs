//! What must be true at every moment, and what must be true in the end.

use std::collections::BTreeMap;

use crate::checker::{Verdict, check};
use crate::clients::Clients;
use crate::damage::{RECOVERING, is_recovering};
use crate::node::Node;

/// Steps between two looks at whole states, milliseconds.
const LOOK_INTERVAL_MS: u64 = 100;

/// Age at which a node has read its log and nothing of it can have come from others yet: to
/// connect and to greet take more.
const YOUNG_MS: u64 = 3;

/// What was promised and is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub promise: &'static str,
    /// What was seen.
    pub seen: String,
}

/// The promises checked while the world runs.
#[derive(Default)]
pub struct Oracle {
    /// The state after each entry, as the first node that had it says.
    states: BTreeMap<u64, (u64, u64)>,
    /// The highest term in which each server led.
    terms: BTreeMap<u64, u64>,
    /// The highest committed entry that each server has acknowledged, as leaders know.
    acknowledged: BTreeMap<u64, u64>,
}

fn broken(promise: &'static str, seen: String) -> Result<(), Violation> {
    Err(Violation { promise, seen })
}

impl Oracle {
    /// Looks at all nodes between two steps.
    pub fn look(&mut self, now_ms: u64, nodes: &[Node]) -> Result<(), Violation> {
        let holders: Vec<u64> = nodes
            .iter()
            .filter(|node| node.holds_lease())
            .map(|node| node.id)
            .collect();
        if holders.len() > 1 {
            return broken("one lease at a time", format!("nodes {holders:?} hold it"));
        }
        for node in nodes.iter().filter(|node| node.age_ms() == YOUNG_MS) {
            self.look_at_young(node)?;
        }
        if !now_ms.is_multiple_of(LOOK_INTERVAL_MS) {
            return Ok(());
        }
        for node in nodes {
            self.look_at(node)?;
        }
        Ok(())
    }

    /// Just after a start, before others can have sent anything: what a node acknowledged and what
    /// was committed is in its log, unless it says that something is missing.
    fn look_at_young(&self, node: &Node) -> Result<(), Violation> {
        let Some(status) = node.enter(|store| store.status()) else {
            return Ok(());
        };
        let owed = self.acknowledged.get(&node.id).copied().unwrap_or(0);
        if status.last_log < owed && !is_recovering(node) {
            let text = format!("node {}: {} of {owed}", node.id, status.last_log);
            return broken("acknowledged entries are not forgotten in silence", text);
        }
        Ok(())
    }

    fn look_at(&mut self, node: &Node) -> Result<(), Violation> {
        let Some((status, Ok((index, digest)))) =
            node.enter(|store| (store.status(), store.state_digest()))
        else {
            return Ok(());
        };
        for peer in status.peers.iter().filter(|_| status.leading) {
            let owed = self.acknowledged.entry(peer.id).or_default();
            *owed = (*owed).max(peer.matched.unwrap_or(0).min(status.committed));
        }
        let seen = self.terms.entry(node.id).or_default();
        if status.term < *seen {
            let text = format!("node {} went from {seen} to {}", node.id, status.term);
            return broken("terms never go back", text);
        }
        if status.role == "leader" && status.alarms.iter().any(|alarm| alarm.code == RECOVERING) {
            let text = format!("node {} leads in term {}", node.id, status.term);
            return broken("who may lack entries does not lead", text);
        }
        if status.role == "leader" {
            // A term is shown before it is on disk; one in which a node leads is on disk.
            *seen = status.term;
        }
        let (first, known) = *self.states.entry(index).or_insert((node.id, digest));
        if known != digest {
            let text = format!("after entry {index} nodes {first} and {} differ", node.id);
            return broken("the same log gives the same state", text);
        }
        Ok(())
    }

    /// Whether all nodes have applied the same entries, and the same state came of it.
    pub fn converged(&self, nodes: &[Node]) -> bool {
        let state = |node: &Node| {
            let rows = "SELECT number FROM rows ORDER BY number";
            // Before the first row there is no table.
            node.enter(|store| {
                let rows = store.query(rows, &[]).map(|rows| format!("{rows:?}"));
                (store.state_digest().ok(), rows.unwrap_or_default())
            })
        };
        let first = state(&nodes[0]);
        first.is_some() && nodes.iter().all(|node| state(node) == first)
    }
}

/// Checks what the clients saw.
pub fn check_clients(clients: &Clients) -> Result<(), Violation> {
    if let Some(absurd) = clients.absurd.first() {
        return broken("replies fit their commands", absurd.clone());
    }
    for (number, object) in clients.objects.iter().enumerate() {
        let operations: Vec<_> = clients
            .operations
            .iter()
            .filter(|operation| operation.object == number)
            .collect();
        match check(object.shape, &operations) {
            Verdict::Linearizable => {}
            Verdict::Violation => {
                let text = format!(
                    "{} is not linearizable:{}",
                    object.key,
                    clients.story_of(number)
                );
                return broken("linearizable operations", text);
            }
            Verdict::Undecided => {
                let text = format!("the search for an order of {} became too large", object.key);
                return broken("a history that can be checked", text);
            }
        }
    }
    Ok(())
}
