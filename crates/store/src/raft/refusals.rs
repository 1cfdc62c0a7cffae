//! Why the members were not changed, in words.

use crate::member::MemberRefusal;

/// Code of the answer of a node that does not lead; never reaches the caller.
pub const NOT_LEADER: &str = "NOT_LEADER";

pub fn unknown(id: u64) -> MemberRefusal {
    let fix = "see the members with 'raftpbx member list'";
    MemberRefusal::new("PBX_MEMBER_UNKNOWN", format!("node {id} is no member"), fix)
}

/// `known` is whom this node takes for the leader: one that was cut off may be wrong.
pub fn no_leader(known: Option<u64>) -> MemberRefusal {
    let text = known.map_or("the cluster has no leader".to_owned(), |known| {
        format!("node {known} should lead and does not answer this node as a leader")
    });
    let fix = "ask another node; without a leader anywhere, bring back nodes until more than half \
               of the voters are up";
    MemberRefusal::new("PBX_MEMBER_NO_LEADER", text, fix)
}

pub fn not_leader() -> MemberRefusal {
    MemberRefusal::new(NOT_LEADER, "this node does not lead", "ask the leader")
}

pub fn lost(text: &str) -> MemberRefusal {
    let fix = "repeat the command: what is done already is not done again";
    MemberRefusal::new("PBX_MEMBER_UNFINISHED", text, fix)
}
