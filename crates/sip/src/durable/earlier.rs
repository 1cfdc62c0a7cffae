//! Layouts of records that earlier versions stored: read, never written.
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::record::{DialogRecord, End, Side, TransactionRecord};
use crate::dialog::Dialog;
use crate::engine::flow::Flow;
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Transport;

    #[test]
    fn records_of_the_first_version_are_still_read() {
        let flow = Flow {
            transport: Transport::Udp,
            local: "192.0.2.9:5060".parse().expect("an address"),
            remote: "192.0.2.1:5062".parse().expect("an address"),
        };
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
}
