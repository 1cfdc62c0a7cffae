//! Layouts of records that earlier versions stored: read, never written.
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::proxied::{BranchRecord, ProxyRecord};
use super::record::{DialogRecord, End, Provisional, Side, TransactionRecord};
use crate::dialog::Dialog;
use crate::dialog::session::Session;
use crate::dialog::subscription::Subscription;
use crate::engine::flow::Flow;
use crate::proxy::{Machine, TIMER_C_MS};
use crate::view::Role;

/// A dialog before session timers and subscriptions.
#[derive(Serialize, Deserialize)]
pub struct DialogOne {
    id: String,
    role: Role,
    dialog: Dialog,
    flow: Flow,
    leg: Option<String>,
    transaction_id: String,
    invite_seq: u32,
    request: ByteBuf,
    response: ByteBuf,
    end: Option<End>,
}

impl From<DialogOne> for DialogRecord {
    fn from(old: DialogOne) -> DialogRecord {
        DialogRecord {
            id: old.id,
            role: old.role,
            dialog: old.dialog,
            flow: old.flow,
            leg: old.leg,
            transaction_id: old.transaction_id,
            invite_seq: old.invite_seq,
            request: old.request,
            response: old.response,
            end: old.end,
            is_call: true,
            session: None,
            subscriptions: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// A dialog before the tags of its application.
#[derive(Serialize, Deserialize)]
pub struct DialogTwo {
    id: String,
    role: Role,
    dialog: Dialog,
    flow: Flow,
    leg: Option<String>,
    transaction_id: String,
    invite_seq: u32,
    request: ByteBuf,
    response: ByteBuf,
    end: Option<End>,
    is_call: bool,
    session: Option<Session>,
    subscriptions: Vec<Subscription>,
}

impl From<DialogTwo> for DialogRecord {
    fn from(old: DialogTwo) -> DialogRecord {
        DialogRecord {
            id: old.id,
            role: old.role,
            dialog: old.dialog,
            flow: old.flow,
            leg: old.leg,
            transaction_id: old.transaction_id,
            invite_seq: old.invite_seq,
            request: old.request,
            response: old.response,
            end: old.end,
            is_call: old.is_call,
            session: old.session,
            subscriptions: old.subscriptions,
            tags: Vec::new(),
        }
    }
}

/// A transaction before reliable provisional responses.
#[derive(Serialize, Deserialize)]
pub struct TransactionOne {
    id: String,
    side: Side,
    request: ByteBuf,
    flow: Flow,
    user: Option<String>,
    leg: Option<String>,
    dialog: Option<String>,
    cancelled: bool,
    answer: Option<ByteBuf>,
}

impl From<TransactionOne> for TransactionRecord {
    fn from(old: TransactionOne) -> TransactionRecord {
        TransactionRecord {
            id: old.id,
            side: old.side,
            request: old.request,
            flow: old.flow,
            user: old.user,
            leg: old.leg,
            dialog: old.dialog,
            cancelled: old.cancelled,
            answer: old.answer,
            provisional: None,
            alternatives: Vec::new(),
            host: None,
        }
    }
}

/// A transaction before the other servers of its name.
#[derive(Serialize, Deserialize)]
pub struct TransactionTwo {
    id: String,
    side: Side,
    request: ByteBuf,
    flow: Flow,
    user: Option<String>,
    leg: Option<String>,
    dialog: Option<String>,
    cancelled: bool,
    answer: Option<ByteBuf>,
    provisional: Option<Provisional>,
}

impl From<TransactionTwo> for TransactionRecord {
    fn from(old: TransactionTwo) -> TransactionRecord {
        TransactionRecord {
            id: old.id,
            side: old.side,
            request: old.request,
            flow: old.flow,
            user: old.user,
            leg: old.leg,
            dialog: old.dialog,
            cancelled: old.cancelled,
            answer: old.answer,
            provisional: old.provisional,
            alternatives: Vec::new(),
            host: None,
        }
    }
}

/// A branch before its deadline and its other servers.
#[derive(Serialize, Deserialize)]
pub struct BranchOne {
    client: String,
    request: ByteBuf,
    flow: Option<Flow>,
    begun_ms: u64,
    response: Option<ByteBuf>,
}

/// A proxied INVITE of such branches.
#[derive(Serialize, Deserialize)]
pub struct ProxyOne {
    id: String,
    machine: Machine,
    branches: Vec<BranchOne>,
    stay: bool,
    more: String,
}

impl From<ProxyOne> for ProxyRecord {
    fn from(old: ProxyOne) -> ProxyRecord {
        let branches = old.branches.into_iter().map(|branch| BranchRecord {
            client: branch.client,
            request: branch.request,
            flow: branch.flow,
            begun_ms: branch.begun_ms,
            response: branch.response,
            rings_until_ms: branch.begun_ms + TIMER_C_MS,
            alternatives: Vec::new(),
            host: None,
        });
        ProxyRecord {
            branches: branches.collect(),
            id: old.id,
            machine: old.machine,
            stay: old.stay,
            more: old.more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Transport;

    fn flow() -> Flow {
        Flow {
            transport: Transport::Udp,
            local: "192.0.2.9:5060".parse().expect("an address"),
            remote: "192.0.2.1:5062".parse().expect("an address"),
        }
    }

    #[test]
    fn records_of_the_first_version_are_still_read() {
        let flow = flow();
        let old = TransactionOne {
            id: "t".into(),
            side: Side::Client,
            request: ByteBuf::from("INVITE"),
            flow,
            user: None,
            leg: Some("x/1".into()),
            dialog: None,
            cancelled: true,
            answer: None,
        };
        // The first variant of the enumeration around it.
        let mut stored = vec![0];
        stored.extend(postcard::to_stdvec(&old).expect("plain values"));
        let read = TransactionRecord::decode(&stored).expect("readable");
        assert_eq!((read.leg.as_deref(), read.cancelled), (Some("x/1"), true));
        assert_eq!(read.provisional, None);
    }

    #[test]
    fn records_of_the_second_version_are_still_read() {
        let flow = flow();
        let old = TransactionTwo {
            id: "t".into(),
            side: Side::Client,
            request: ByteBuf::from("INVITE"),
            flow,
            user: None,
            leg: None,
            dialog: None,
            cancelled: true,
            answer: None,
            provisional: None,
        };
        let mut stored = vec![1];
        stored.extend(postcard::to_stdvec(&old).expect("plain values"));
        let read = TransactionRecord::decode(&stored).expect("readable");
        assert!(read.cancelled && read.alternatives.is_empty());
        let proxy = ProxyOne {
            id: "p".into(),
            machine: Machine::start(crate::proxy::Options::default(), Vec::new()).0,
            branches: vec![BranchOne {
                client: "c".into(),
                request: ByteBuf::from("INVITE"),
                flow: Some(flow),
                begun_ms: 5,
                response: None,
            }],
            stay: true,
            more: String::new(),
        };
        let mut stored = vec![0];
        stored.extend(postcard::to_stdvec(&proxy).expect("plain values"));
        let read = ProxyRecord::decode(&stored).expect("readable");
        assert_eq!(read.branches[0].rings_until_ms, 5 + TIMER_C_MS);
    }
}
