use serde_bytes::ByteBuf;

use super::*;
use crate::config::Transport;
use crate::dialog::Dialog;
use crate::engine::flow::Flow;
use crate::registrar::{Binding, Registration};
use crate::view::{EngineEvent, Role};

fn flow() -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "192.0.2.9:5060".parse().expect("an address"),
        remote: "[2001:db8::1]:5062".parse().expect("an address"),
    }
}

fn record() -> DialogRecord {
    let dialog = Dialog {
        call_id: "c".into(),
        local_tag: "l".into(),
        remote_tag: "r".into(),
        local: "<sip:a>".into(),
        remote: "<sip:b>".into(),
        local_seq: 1,
        remote_seq: None,
        routes: vec!["<sip:p;lr>".into()],
        target: "sip:b@c".into(),
        contact: "<sip:a@d>".into(),
    };
    DialogRecord {
        id: "c;from-tag=l".into(),
        role: Role::Uac,
        dialog,
        flow: flow(),
        leg: Some("x/1".into()),
        transaction_id: "t".into(),
        invite_seq: 1,
        request: ByteBuf::from("INVITE"),
        response: ByteBuf::from("200"),
        end: None,
        is_call: true,
        session: None,
        subscriptions: Vec::new(),
        tags: vec!["red".into()],
    }
}

#[test]
fn records_survive_their_stored_form() {
    let mut dialog = record();
    let end = End::Remote {
        bye: ByteBuf::from("BYE"),
        flow: flow(),
        transaction_id: "b".into(),
        at_ms: 5,
    };
    dialog.end = Some(end);
    assert_eq!(DialogRecord::decode(&dialog.encode()), Some(dialog));
    let transaction = TransactionRecord {
        id: "t".into(),
        side: Side::Client,
        request: ByteBuf::from("INVITE"),
        flow: flow(),
        user: Some("1001".into()),
        leg: None,
        dialog: None,
        cancelled: true,
        answer: Some(ByteBuf::from("200")),
        provisional: Some(Provisional {
            rseq: 7,
            bytes: ByteBuf::from("183"),
            acknowledged: false,
        }),
        alternatives: vec![flow()],
        host: Some("b.example".into()),
    };
    assert_eq!(
        TransactionRecord::decode(&transaction.encode()),
        Some(transaction)
    );
    assert_eq!(DialogRecord::decode(b"\xff"), None);
}

#[test]
fn dialogs_are_told_when_they_come_and_go() {
    let mut replica = Replica::default();
    let key = dialog_key("c;from-tag=l");
    let event = replica.apply(&key, Some(record().encode()));
    assert!(
        matches!(event, Some(EngineEvent::DialogConfirmed(view)) if view.address == "2001:db8::1")
    );
    let gone = EngineEvent::DialogRemoved {
        id: "c;from-tag=l".into(),
    };
    assert_eq!(replica.apply(&key, None), Some(gone.clone()));
    assert_eq!(replica.apply(&key, None), None);
    replica.apply(&key, Some(record().encode()));
    assert_eq!(replica.reset(), [gone]);
}

#[test]
fn a_contact_is_found_until_its_registration_changes() {
    let binding = |contact: &str| Binding {
        contact: contact.into(),
        received: "udp/192.0.2.1:5060".into(),
        local: "udp/192.0.2.9:5060".into(),
        call_id: "c".into(),
        cseq: 1,
        expires_at: 1_000,
        q: 1.0,
        instance: None,
        user_agent: None,
        registered_at: 0,
        reg_id: None,
        refreshed_at: 1,
        path: Vec::new(),
        push: None,
        nat: false,
    };
    let mut replica = Replica::default();
    let registration = |bindings| {
        Registration {
            user: "1001".into(),
            bindings,
        }
        .to_json()
    };
    let both = registration(vec![binding("sip:a"), binding("sip:b")]);
    replica.apply("registration:1001", Some(both));
    assert_eq!(replica.binding_count(), 2);
    assert!(replica.reach("sip:a", 999).is_some());
    assert!(replica.reach("sip:a", 1_000).is_none());
    replica.apply(
        "registration:1001",
        Some(registration(vec![binding("sip:b")])),
    );
    assert!(replica.reach("sip:a", 0).is_none());
    assert!(replica.reach("sip:b", 0).is_some());
    replica.apply("registration:1001", None);
    assert_eq!(replica.binding_count(), 0);
    assert!(replica.reach("sip:b", 0).is_none());
}
