use super::*;
use crate::message::{Message, Refusal};

const RULES: Rules = Rules {
    min_expires_s: 60,
    max_expires_s: 7_200,
    default_expires_s: 3_600,
    max_bindings: 3,
};
const NOW_MS: u64 = 1_000_000;

fn wish<'a>(cseq: u32, headers: &str) -> Wish<'a> {
    let text = format!("REGISTER sip:pbx SIP/2.0\r\n{headers}\r\n");
    let message = Message::parse(text.as_bytes()).expect("valid");
    let expires = message.get(crate::message::Name::Expires);
    Wish {
        user: "1001",
        contacts: contacts_of(&message).expect("valid"),
        expires_s: expires.and_then(crate::message::lexical::number),
        call_id: "call",
        cseq,
        user_agent: None,
        received: "udp/192.0.2.1:5060",
        local: "udp/192.0.2.9:5060",
        now_ms: NOW_MS,
    }
}

fn changed(current: Option<Registration>, wish: &Wish<'_>) -> Registration {
    match register(current, wish, RULES) {
        Outcome::Changed(registration) => registration,
        other => panic!("not changed but {other:?}"),
    }
}

fn lifetimes_s(registration: &Registration) -> Vec<u64> {
    registration
        .bindings
        .iter()
        .map(|b| (b.expires_at - NOW_MS) / 1_000)
        .collect()
}

#[test]
fn each_contact_has_its_own_expiry() {
    let headers = "Contact: <sip:a>;expires=120, <sip:b>\r\nContact: <sip:c>;expires=99999\r\n\
                   Expires: 600\r\n";
    assert_eq!(
        lifetimes_s(&changed(None, &wish(1, headers))),
        [120, 600, 7_200]
    );
    assert_eq!(
        lifetimes_s(&changed(None, &wish(1, "Contact: <sip:a>\r\n"))),
        [3_600]
    );
}

#[test]
fn one_bad_contact_refuses_them_all() {
    let brief = wish(1, "Contact: <sip:a>, <sip:b>;expires=5\r\n");
    assert_eq!(register(None, &brief, RULES), Outcome::TooBrief);
    let many = wish(1, "Contact: <sip:a>, <sip:b>, <sip:c>, <sip:d>\r\n");
    let refusal = Refusal {
        status: 403,
        reason: "Too Many Bindings",
    };
    assert_eq!(register(None, &many, RULES), Outcome::Refused(refusal));
}

#[test]
fn bindings_are_removed_one_by_one_or_together() {
    let two = changed(None, &wish(1, "Contact: <sip:a>, <sip:b>\r\n"));
    let one = changed(
        Some(two.clone()),
        &wish(2, "Contact: <sip:a>;expires=0\r\n"),
    );
    assert_eq!(one.bindings[0].contact, "sip:b");
    let none = changed(Some(two), &wish(2, "Contact: *\r\nExpires: 0\r\n"));
    assert!(none.bindings.is_empty());
    let absent = register(None, &wish(1, "Contact: <sip:a>;expires=0\r\n"), RULES);
    assert!(matches!(absent, Outcome::Same(r) if r.bindings.is_empty()));
}

#[test]
fn a_star_needs_expires_zero_and_goes_alone() {
    for headers in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 5\r\n",
        "Contact: *, <sip:a>\r\nExpires: 0\r\n",
    ] {
        let text = format!("REGISTER sip:pbx SIP/2.0\r\n{headers}\r\n");
        let message = Message::parse(text.as_bytes()).expect("valid");
        assert_eq!(
            contacts_of(&message).map_err(|refusal| refusal.status),
            Err(400)
        );
    }
}

#[test]
fn requests_out_of_order_are_refused_and_repeated_ones_answered_again() {
    let second = changed(None, &wish(2, "Contact: <sip:a>\r\n"));
    let stale = register(
        Some(second.clone()),
        &wish(1, "Contact: <sip:a>;expires=0\r\n"),
        RULES,
    );
    assert!(matches!(
        stale,
        Outcome::Refused(Refusal { status: 500, .. })
    ));
    let again = register(
        Some(second.clone()),
        &wish(2, "Contact: <sip:a>\r\n"),
        RULES,
    );
    assert_eq!(again, Outcome::Same(second.clone()));
    let mut other_call = wish(1, "Contact: <sip:a>\r\n");
    other_call.call_id = "another";
    assert_eq!(
        changed(Some(second), &other_call).bindings[0].call_id,
        "another"
    );
}

#[test]
fn a_device_with_an_instance_keeps_one_binding_when_its_address_changes() {
    let instance = "+sip.instance=\"<urn:uuid:1>\";reg-id=1";
    let first = changed(None, &wish(1, &format!("Contact: <sip:a>;{instance}\r\n")));
    let moved = changed(
        Some(first),
        &wish(2, &format!("Contact: <sip:b>;{instance}\r\n")),
    );
    assert_eq!(moved.bindings.len(), 1);
    assert_eq!(moved.bindings[0].contact, "sip:b");
    assert_eq!(
        moved.bindings[0].instance.as_deref(),
        Some("<urn:uuid:1>;reg-id=1")
    );
}

#[test]
fn a_question_changes_nothing_and_expired_bindings_are_not_shown() {
    let mut both = changed(None, &wish(1, "Contact: <sip:a>, <sip:b>\r\n"));
    both.bindings[0].expires_at = NOW_MS;
    let Outcome::Same(shown) = register(Some(both), &wish(2, ""), RULES) else {
        panic!("a question must not change anything");
    };
    assert_eq!(shown.bindings.len(), 1);
}

#[test]
fn the_stored_form_is_the_documented_one() {
    let registration = changed(None, &wish(1, "Contact: <sip:a>;q=0.5\r\n"));
    let json: serde_json::Value =
        serde_json::from_slice(&registration.to_json()).expect("it is JSON");
    assert_eq!(json["user"], "1001");
    assert_eq!(json["bindings"][0]["callId"], "call");
    assert_eq!(json["bindings"][0]["expiresAt"], 4_600_000);
    assert_eq!(json["bindings"][0]["instance"], serde_json::Value::Null);
    assert_eq!(
        Registration::from_json(&registration.to_json()),
        Some(registration)
    );
}
