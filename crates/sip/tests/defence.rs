//! Who is challenged, who is refused, who is not heard at all, and who is put off.
mod support;

use std::sync::atomic::Ordering::Relaxed;

use raftpbx_sip::RegistrarPolicy;
use raftpbx_sip::engine::Input;
use raftpbx_sip::limits::{BAN_MS_FIRST, COMMITS_BUSY, LATE_MS_MAX, URI_BYTES_MAX, WRONGS_MAX};
use support::bench::{Bench, REALM, Request, register, udp, values};

const PHONE: &str = "203.0.113.7:40000";
const THIEF: &str = "203.0.113.66:5060";
const CONTACT: &str = "Contact: <sip:a@10.0.0.5>\r\n";

fn bench() -> Bench {
    let mut bench = Bench::new(RegistrarPolicy::default(), |config| {
        config.authenticate_calls = true;
    });
    bench.feed(Input::Tick);
    bench.with_app(&["invite", "subscribe", "message", "options"])
}

fn wrong(user: &str) -> Request<'_> {
    Request {
        user,
        password: "guess",
        ..register(CONTACT)
    }
}

/// The answer without what differs from one request to the next.
fn shape(answer: &str) -> String {
    let kept = answer.split("\r\n").filter(|line| {
        let own = ["Via", "From", "To", "Call-ID", "CSeq"];
        !own.iter().any(|name| line.starts_with(name))
    });
    let text = kept.collect::<Vec<_>>().join("\r\n");
    match text.split_once("nonce=\"") {
        Some((head, tail)) => format!("{head}{}", &tail[tail.find('"').unwrap_or(0)..]),
        None => text,
    }
}

#[test]
fn nobody_learns_which_users_there_are() {
    for method in ["REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE", "OPTIONS"] {
        let mut bench = bench();
        let ask = |bench: &mut Bench, user: &str| {
            let uri = format!("sip:{user}@{REALM}");
            let request = Request {
                method,
                uri: if method == "REGISTER" {
                    "sip:pbx.test"
                } else {
                    &uri
                },
                ..wrong(user)
            };
            let challenge = bench.ask(udp(THIEF), &request.text(""));
            let refusal = bench.log_in(udp(THIEF), &request);
            [shape(&challenge), shape(&refusal)]
        };
        let (known, unknown) = (ask(&mut bench, "1001"), ask(&mut bench, "nobody"));
        assert_eq!(known, unknown, "{method}");
        let status = if method == "REGISTER" { "401" } else { "407" };
        assert!(
            known[0].starts_with(&format!("SIP/2.0 {status}")),
            "{}",
            known[0]
        );
        assert!(known[1].starts_with("SIP/2.0 403"), "{}", known[1]);
        assert!(bench.told.is_empty(), "{method}");
    }
}

#[test]
fn a_captured_answer_is_challenged_again_as_stale() {
    let mut bench = bench();
    let request = register(CONTACT);
    let challenge = bench.ask(udp(PHONE), &request.text(""));
    let answer = request.answer(&challenge, 1);
    let text = request.text(&answer);
    assert!(bench.ask(udp(PHONE), &text).starts_with("SIP/2.0 200"));
    // The network repeats a datagram: answered again.
    assert!(bench.ask(udp(PHONE), &text).starts_with("SIP/2.0 200"));
    let replayed = Request { cseq: 2, ..request };
    let answer_to_replay = bench.ask(udp(THIEF), &replayed.text(&answer));
    assert!(
        answer_to_replay.starts_with("SIP/2.0 401"),
        "{answer_to_replay}"
    );
    assert!(answer_to_replay.contains("stale=true"));
    let next = replayed.text(&replayed.answer(&challenge, 2));
    assert!(bench.ask(udp(PHONE), &next).starts_with("SIP/2.0 200"));
    assert_eq!(bench.metrics.guard.replays.load(Relaxed), 1);
}

fn guess(bench: &mut Bench, from: &str, user: &str) {
    for _ in 0..WRONGS_MAX {
        bench.log_in(udp(from), &wrong(user));
    }
    bench.pass_ms(1_000);
}

#[test]
fn a_source_that_guesses_is_not_heard_for_a_while() {
    let mut bench = bench();
    guess(&mut bench, THIEF, "nobody");
    assert!(bench.keys.contains_key("sip:ban:203.0.113.66"));
    let right = Request {
        user: "1002",
        ..register(CONTACT)
    };
    assert_eq!(bench.log_in(udp(THIEF), &right), "");
    assert!(bench.log_in(udp(PHONE), &right).starts_with("SIP/2.0 200"));
    bench.pass_ms(BAN_MS_FIRST);
    assert!(bench.log_in(udp(THIEF), &right).starts_with("SIP/2.0 200"));
}

#[test]
fn the_next_leader_knows_the_ban_and_a_deleted_key_lifts_it() {
    let mut old = bench();
    guess(&mut old, THIEF, "nobody");
    let ban = old.keys["sip:ban:203.0.113.66"].clone();
    let mut new = bench();
    let key = "sip:ban:203.0.113.66".to_owned();
    new.feed(Input::Changed(vec![(key.clone(), Some(ban))]));
    let request = register(CONTACT);
    assert_eq!(new.ask(udp(THIEF), &request.text("")), "");
    new.feed(Input::Changed(vec![(key, None)]));
    assert!(new.log_in(udp(THIEF), &request).starts_with("SIP/2.0 200"));
}

#[test]
fn our_own_servers_are_never_banned() {
    let policy = RegistrarPolicy {
        trusted: vec!["203.0.113.64/29".parse().expect("a network")],
        ..RegistrarPolicy::default()
    };
    let mut bench = Bench::new(policy, |_| ());
    guess(&mut bench, THIEF, "1001");
    guess(&mut bench, THIEF, "1001");
    assert!(bench.keys.is_empty());
    let right = bench.log_in(udp(THIEF), &register(CONTACT));
    assert!(right.starts_with("SIP/2.0 200"));
}

/// A call that call control has answered; gives the To tag.
fn answered_call(bench: &mut Bench, from: &str) -> String {
    let request = Request {
        method: "INVITE",
        uri: "sip:1002@pbx.test",
        call_id: "talk",
        ..register(CONTACT)
    };
    bench.told.clear();
    bench.log_in(udp(from), &request);
    let told = bench.told.join("");
    // length, transport, address, port, time, transaction
    let place = told
        .split("|network|")
        .nth(1)
        .expect("the call was delivered");
    let id = place.split('|').nth(5).unwrap_or_default();
    bench.sent.clear();
    bench.command(&format!(
        "m|sip|{id}||\r\nSIP/2.0 200 OK\r\nContact: <sip:x@localhost>\r\n\r\n"
    ));
    let ok = bench
        .sent
        .iter()
        .find(|(_, text)| text.starts_with("SIP/2.0 200"));
    let (_, ok) = ok.unwrap_or_else(|| panic!("not answered: {told}"));
    let to = values(ok, "To")[0];
    to.split("tag=").nth(1).unwrap_or_default().to_owned()
}

fn in_dialog(method: &str, cseq: u32, tag: &str) -> String {
    Request {
        method,
        uri: "sip:x@192.0.2.9",
        call_id: "talk",
        cseq,
        ..register(CONTACT)
    }
    .text("")
    .replace(
        "To: <sip:1001@pbx.test>",
        &format!("To: <sip:1001@pbx.test>;tag={tag}"),
    )
}

#[test]
fn a_ban_ends_no_call_and_silences_no_neighbour() {
    let mut bench = bench();
    assert!(
        bench
            .log_in(udp(PHONE), &register(CONTACT))
            .starts_with("SIP/2.0 200")
    );
    let tag = answered_call(&mut bench, PHONE);
    guess(&mut bench, PHONE, "1002");
    assert!(
        bench.keys.contains_key("sip:ban:203.0.113.7/1002"),
        "{:?}",
        bench.keys.keys()
    );
    let again = Request {
        cseq: 20,
        ..register(CONTACT)
    };
    assert!(bench.log_in(udp(PHONE), &again).starts_with("SIP/2.0 200"));
    bench.told.clear();
    bench.receive(udp(PHONE), &in_dialog("ACK", 1, &tag));
    bench.pass_ms(100);
    bench.receive(udp(PHONE), &in_dialog("BYE", 30, &tag));
    bench.pass_ms(100);
    assert!(bench.told.join("").contains("BYE sip:"), "{:?}", bench.told);
}

#[test]
fn new_work_waits_while_commits_pile_up_and_calls_go_on() {
    let mut bench = bench();
    let tag = answered_call(&mut bench, PHONE);
    bench.receive(udp(PHONE), &in_dialog("ACK", 1, &tag));
    bench.pass_ms(100);
    let request = register(CONTACT);
    let challenge = bench.ask(udp(PHONE), &request.text(""));
    bench.held = Some(Vec::new());
    for count in 0..COMMITS_BUSY {
        let (call_id, cseq) = (format!("c{count}"), 1);
        let request = Request {
            call_id: &call_id,
            cseq,
            ..request
        };
        let count = u32::try_from(count).expect("small") + 1;
        bench.ask(
            udp(PHONE),
            &request.text(&request.answer(&challenge, count)),
        );
    }
    assert_eq!(bench.held.as_ref().map(Vec::len), Some(COMMITS_BUSY));
    let put_off = bench.ask(udp(PHONE), &request.text(""));
    assert!(put_off.starts_with("SIP/2.0 503"), "{put_off}");
    let after: u32 = values(&put_off, "Retry-After")[0].parse().expect("seconds");
    assert!((2..12).contains(&after));
    assert!(bench.metrics.guard.shed.load(Relaxed) >= 1);
    bench.sent.clear();
    bench.receive(udp(PHONE), &in_dialog("BYE", 30, &tag));
    let waiting = bench.held.take().unwrap_or_default();
    assert_eq!(
        waiting.len(),
        COMMITS_BUSY + 1,
        "the BYE is being committed"
    );
    assert!(bench.sent.is_empty());
}

#[test]
fn new_work_waits_while_the_engine_is_late() {
    let mut bench = bench();
    let options = Request {
        method: "MESSAGE",
        uri: "sip:1002@pbx.test",
        ..register("")
    };
    bench.log_in(udp(PHONE), &options);
    let due_ms = bench
        .core
        .next_tick_ms()
        .expect("the application may be silent");
    bench.set_ms(due_ms + LATE_MS_MAX + 1);
    bench.feed(Input::Tick);
    let put_off = bench.ask(udp(PHONE), &register(CONTACT).text(""));
    assert!(put_off.starts_with("SIP/2.0 503"), "{put_off}");
    bench.pass_ms(2_000);
    let heard = bench.ask(udp(PHONE), &register(CONTACT).text(""));
    assert!(heard.starts_with("SIP/2.0 401"), "{heard}");
}

#[test]
fn a_uri_without_end_is_refused() {
    let mut bench = bench();
    let uri = format!("sip:{}@pbx.test", "a".repeat(URI_BYTES_MAX));
    let request = Request {
        method: "INVITE",
        uri: &uri,
        ..register(CONTACT)
    };
    let answer = bench.ask(udp(PHONE), &request.text(""));
    assert!(answer.starts_with("SIP/2.0 414"), "{answer}");
    assert_eq!(bench.metrics.refused.load(Relaxed), 1);
}

#[test]
fn a_user_with_too_many_calls_gets_no_more_of_them_from_anywhere() {
    let mut bench = Bench::new(RegistrarPolicy::default(), |config| {
        config.authenticate_calls = true;
        config.dialog_limits.per_user = 1;
    });
    bench = bench.with_app(&["invite"]);
    let call = |call_id: &'static str, user: &'static str| Request {
        method: "INVITE",
        uri: "sip:1002@pbx.test",
        call_id,
        user,
        ..register(CONTACT)
    };
    answered_call(&mut bench, PHONE);
    let elsewhere = udp("203.0.113.8:40000");
    let refused = bench.log_in(elsewhere, &call("two", "1001"));
    assert!(refused.starts_with("SIP/2.0 503"), "{refused}");
    assert!(!values(&refused, "Retry-After").is_empty());
    let other = bench.log_in(udp(PHONE), &call("three", "1002"));
    assert!(other.starts_with("SIP/2.0 100"), "{other}");
}

const TRUNK: &str = "198.51.100.7:5060";

fn peer(networks: &str) -> (String, Option<Vec<u8>>) {
    let value = format!(r#"{{"networks":["{networks}"]}}"#);
    ("sip:peer:carrier".to_owned(), Some(value.into_bytes()))
}

#[test]
fn a_call_of_a_trunk_needs_no_password_and_has_no_user() {
    let mut bench = bench();
    let call = |call_id: &'static str, method: &'static str| Request {
        method,
        uri: "sip:5550100@pbx.test",
        call_id,
        ..register(CONTACT)
    };
    let stranger = bench.ask(udp(TRUNK), &call("one", "INVITE").text(""));
    assert!(stranger.starts_with("SIP/2.0 407"), "{stranger}");

    bench.feed(Input::Changed(vec![peer("198.51.100.0/24")]));
    let forged = "X-Authenticated-User: 1001\r\nP-Asserted-Identity: <sip:5550199@carrier>\r\n";
    let request = Request {
        more: &format!("{CONTACT}{forged}"),
        ..call("two", "INVITE")
    };
    let taken = bench.ask(udp(TRUNK), &request.text(""));
    assert!(taken.starts_with("SIP/2.0 100"), "{taken}");
    let told = bench.told.last().expect("the application was told");
    assert!(told.contains("|198.51.100.7|5060|"), "{told}");
    assert!(values(told, "X-Authenticated-User").is_empty());
    assert_eq!(values(told, "P-Asserted-Identity").len(), 1);

    for method in ["MESSAGE", "SUBSCRIBE"] {
        let other = bench.ask(udp(TRUNK), &call("three", method).text(""));
        assert!(other.starts_with("SIP/2.0 407"), "{other}");
    }
    // A phone there shows its password and is heard as its user.
    let as_user = Request {
        cseq: 2,
        ..call("four", "INVITE")
    };
    let challenge = bench.ask(udp(PHONE), &as_user.text(""));
    let answer = as_user.answer(&challenge, 1);
    let phone = bench.ask(udp(TRUNK), &as_user.text(&answer));
    assert!(phone.starts_with("SIP/2.0 100"), "{phone}");
    let told = bench.told.last().expect("the application was told");
    assert_eq!(values(told, "X-Authenticated-User"), ["1001"]);

    bench.feed(Input::Changed(vec![("sip:peer:carrier".to_owned(), None)]));
    let later = Request {
        cseq: 3,
        ..call("five", "INVITE")
    };
    let gone = bench.ask(udp(TRUNK), &later.text(""));
    assert!(gone.starts_with("SIP/2.0 407"), "{gone}");
}
