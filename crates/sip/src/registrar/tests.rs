use super::request::{first_hop_keeps_flows, path_of, unknown_extensions};
use super::*;
use crate::config::Transport;
use crate::engine::flow::Flow;
use crate::message::{Message, Refusal, Via};
use crate::policy::WhenFull;

const RULES: Rules = Rules {
    min_expires_s: 60,
    max_expires_s: 7_200,
    default_expires_s: 3_600,
    max_bindings: 3,
    when_full: WhenFull::Refuse,
};
const NOW_MS: u64 = 1_000_000;

fn text_of(headers: &str) -> String {
    format!("REGISTER sip:pbx SIP/2.0\r\n{headers}\r\n")
}

fn wish<'a>(cseq: u32, headers: &str) -> Wish<'a> {
    let text = text_of(headers);
    let message = Message::parse(text.as_bytes()).expect("valid");
    let expires = message.get(crate::message::Name::Expires);
    Wish {
        user: "1001",
        contacts: contacts_of(&message).expect("valid"),
        expires_s: expires.and_then(crate::message::lexical::number),
        call_id: "call",
        cseq,
        user_agent: None,
        flow: Flow {
            transport: Transport::Udp,
            local: "192.0.2.9:5060".parse().expect("an address"),
            remote: "192.0.2.1:5060".parse().expect("an address"),
        },
        via: Via::parse("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport").expect("valid"),
        path: path_of(&message).expect("valid"),
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

const OUTBOUND: &str = "Supported: path, outbound\r\n";

fn flow_wish<'a>(cseq: u32, contact: &str, reg_id: u32, expires_s: u32) -> Wish<'a> {
    let instance = format!("+sip.instance=\"<urn:uuid:1>\";reg-id={reg_id}");
    wish(
        cseq,
        &format!("Contact: <{contact}>;{instance};expires={expires_s}\r\n{OUTBOUND}"),
    )
}

#[test]
fn a_device_with_an_instance_keeps_one_binding_when_its_address_changes() {
    let first = changed(None, &flow_wish(1, "sip:a", 1, 600));
    let moved = changed(Some(first), &flow_wish(2, "sip:b", 1, 600));
    assert_eq!(moved.bindings.len(), 1);
    assert_eq!(moved.bindings[0].contact, "sip:b");
    assert_eq!(moved.bindings[0].instance.as_deref(), Some("<urn:uuid:1>"));
    assert_eq!(moved.bindings[0].reg_id, Some(1));
}

#[test]
fn a_device_keeps_two_flows_and_ends_them_one_by_one() {
    let first = changed(None, &flow_wish(1, "sip:a", 1, 600));
    let mut second = flow_wish(1, "sip:b", 2, 600);
    second.call_id = "other";
    let both = changed(Some(first), &second);
    assert_eq!(both.bindings.len(), 2);
    assert!(both.bindings[0].is_same_device(&both.bindings[1]));
    let one = changed(Some(both), &flow_wish(2, "sip:a", 1, 0));
    assert_eq!(one.bindings[0].reg_id, Some(2));
}

#[test]
fn a_flow_number_counts_only_with_outbound_and_stands_alone() {
    let contact = "<sip:a>;+sip.instance=\"<urn:uuid:1>\";reg-id=1";
    let without = changed(None, &wish(1, &format!("Contact: {contact}\r\n")));
    assert_eq!(without.bindings[0].reg_id, None);
    for value in [
        format!("{contact}, <sip:b>"),
        contact.replace("reg-id=1", "reg-id=0"),
        contact.replace("reg-id=1", "reg-id=x"),
    ] {
        let text = text_of(&format!("Contact: {value}\r\n{OUTBOUND}"));
        let message = Message::parse(text.as_bytes()).expect("valid");
        let refused = contacts_of(&message).map_err(|refusal| refusal.status);
        assert_eq!(refused, Err(400), "{value}");
    }
}

#[test]
fn the_binding_refreshed_longest_ago_makes_room_when_that_is_wanted() {
    let rules = Rules {
        max_bindings: 2,
        when_full: WhenFull::ReplaceOldest,
        ..RULES
    };
    let mut current = None;
    for (at_ms, contact) in [(1, "sip:a"), (2, "sip:b"), (3, "sip:c")] {
        let mut wish = wish(1, &format!("Contact: <{contact}>\r\n"));
        (wish.call_id, wish.now_ms) = (contact, NOW_MS + at_ms);
        let Outcome::Changed(registration) = register(current, &wish, rules) else {
            panic!("refused");
        };
        current = Some(registration);
    }
    let left = current.expect("it was changed").bindings;
    let left: Vec<&str> = left.iter().map(|one| one.contact.as_str()).collect();
    assert_eq!(left, ["sip:b", "sip:c"]);
    let three = wish(2, "Contact: <sip:x>, <sip:y>, <sip:z>\r\n");
    let refused = register(None, &three, rules);
    assert!(matches!(
        refused,
        Outcome::Refused(Refusal { status: 403, .. })
    ));
}

#[test]
fn proxies_on_the_way_are_kept_with_the_binding() {
    let headers = "Contact: <sip:a>\r\nPath: <sip:p2;lr>, <sip:p1;lr;ob>\r\nPath: <sip:p0;lr>\r\n";
    let with_path = changed(None, &wish(1, headers));
    assert_eq!(
        with_path.bindings[0].path,
        ["<sip:p2;lr>", "<sip:p1;lr;ob>", "<sip:p0;lr>"]
    );
    let text = text_of("Path: nonsense\r\n");
    let message = Message::parse(text.as_bytes()).expect("valid");
    assert_eq!(path_of(&message).map_err(|r| r.status), Err(400));
    for (headers, keeps) in [
        ("Via: SIP/2.0/UDP a\r\n", true),
        ("Via: SIP/2.0/UDP a, SIP/2.0/UDP b\r\n", false),
        (
            "Via: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\nPath: <sip:p;lr;ob>\r\n",
            true,
        ),
    ] {
        let text = text_of(headers);
        let message = Message::parse(text.as_bytes()).expect("valid");
        let path = path_of(&message).expect("valid");
        assert_eq!(first_hop_keeps_flows(&message, &path), keeps, "{headers}");
    }
}

#[test]
fn what_wakes_a_device_is_kept_with_the_binding() {
    let contact = "<sip:a;pn-provider=fcm;pn-prid=token1;pn-param=project>";
    let asleep = changed(None, &wish(1, &format!("Contact: {contact}\r\n")));
    let push = asleep.bindings[0].push.as_ref().expect("it has all of it");
    assert_eq!(
        (push.provider.as_str(), push.prid.as_str()),
        ("fcm", "token1")
    );
    assert_eq!(push.param.as_deref(), Some("project"));
    let half = changed(None, &wish(1, "Contact: <sip:a;pn-provider=fcm>\r\n"));
    assert_eq!(half.bindings[0].push, None);
}

#[test]
fn extensions_nobody_knows_are_named() {
    let text = text_of("Require: path, foo\r\nRequire: bar, GRUU\r\n");
    let message = Message::parse(text.as_bytes()).expect("valid");
    assert_eq!(
        unknown_extensions(&message, &request::EXTENSIONS),
        ["foo", "bar"]
    );
}

#[test]
fn values_of_the_first_version_are_read() {
    let mut old = changed(None, &flow_wish(1, "sip:a", 1, 600));
    old.bindings[0].instance = Some("<urn:uuid:1>;reg-id=1".to_owned());
    old.bindings[0].reg_id = None;
    let read = Registration::from_json(&old.to_json()).expect("valid");
    assert_eq!(read.bindings[0].instance.as_deref(), Some("<urn:uuid:1>"));
    assert_eq!(read.bindings[0].reg_id, Some(1));
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
