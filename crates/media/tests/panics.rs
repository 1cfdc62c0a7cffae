//! A worker that panics or fails loses its calls, and nothing else.

mod phones;

use phones::callers::Caller;
use phones::{DEADLINE, Lab, Talk, until};
use raftpbx_media::codec::Codec;
use raftpbx_media::{Fault, MediaEvent, RoomEvent};
use serde_json::json;

fn lost(call_id: &str) -> MediaEvent {
    let call_id = call_id.into();
    MediaEvent::Lost { call_id }
}

#[test]
fn a_worker_that_panics_ends_its_calls_with_an_event_and_begins_anew() {
    let lab = Lab::start(37_000..=37_019);
    let free = lab.engine.stats().ports_free;
    let talk = Talk::set_up(&lab, "doomed", ["127.0.0.2", "127.0.0.3"]);
    talk.assert_both_ways();
    lab.engine.make_worker_fail(0, Fault::Panic);
    assert_eq!(lab.next_event(), lost("doomed"));
    let answer = lab.ng(json!({"command": "query", "call-id": "doomed"}));
    assert_eq!(answer["error-reason"], "Unknown call-id", "{answer}");
    let stats = lab.engine.stats();
    assert_eq!((stats.panics, stats.lost, stats.sessions), (1, 1, 0));
    assert_eq!((stats.ports_free, stats.ports_used), (free, 0));
    assert_eq!(stats.packets, 2, "what was counted stays counted");
    Talk::set_up(&lab, "after", ["127.0.0.2", "127.0.0.3"]).assert_both_ways();
}

#[test]
fn calls_and_rooms_of_other_workers_go_on() {
    let lab = Lab::start(37_020..=37_059);
    // Rooms are shared out among the workers, and parties follow them.
    for (room, call) in [("first", "one"), ("second", "two")] {
        lab.ng(json!({"command": "room create", "room": room}));
        Caller::call(&lab, call, Codec::Pcmu);
        let joined = lab.ng(json!({
            "command": "room join", "room": room, "call-id": call, "from-tag": "phone",
        }));
        assert_eq!(joined["result"], "ok", "{joined}");
    }
    lab.engine.make_worker_fail(1, Fault::Panic);
    let mut told = Vec::new();
    until("the end is told", || {
        told.extend(lab.events.recv_timeout(DEADLINE).expect("events"));
        told.contains(&lost("two"))
    });
    let left = MediaEvent::Room {
        room: "second".into(),
        event: RoomEvent::Left {
            call_id: "two".into(),
            tag: "phone".into(),
            reason: "closed",
        },
    };
    assert!(told.contains(&left), "{told:?}");
    assert!(!told.contains(&lost("one")), "{told:?}");
    let rooms = lab.ng(json!({"command": "room list"}));
    assert_eq!(rooms["rooms"], json!([{"room": "first", "parties": 1}]));
    // A room of the same name can be made at once.
    let made = lab.ng(json!({"command": "room create", "room": "second"}));
    assert_eq!(made["created"], 1, "{made}");
}

/// All that is told until a call is lost.
fn told_until_lost(lab: &Lab, call_id: &str) -> Vec<MediaEvent> {
    let mut told = Vec::new();
    until("the end is told", || {
        told.extend(lab.events.recv_timeout(DEADLINE).expect("events"));
        told.contains(&lost(call_id))
    });
    told
}

fn has_left(room: &str, call_id: &str) -> MediaEvent {
    MediaEvent::Room {
        room: room.into(),
        event: RoomEvent::Left {
            call_id: call_id.into(),
            tag: "phone".into(),
            reason: "closed",
        },
    }
}

/// Two calls in a room; the other worker has another one.
fn meeting(lab: &Lab) -> Vec<Caller> {
    let calls = [
        ("other", "elsewhere"),
        ("meeting", "one"),
        ("meeting", "two"),
    ];
    let join = |(room, call): (&str, &str)| {
        lab.ng(json!({"command": "room create", "room": room}));
        let caller = Caller::call(lab, call, Codec::Pcmu);
        let joined = lab.ng(json!({
            "command": "room join", "room": room, "call-id": call, "from-tag": "phone",
        }));
        assert_eq!(joined["result"], "ok", "{joined}");
        caller
    };
    calls.map(join).into()
}

#[test]
fn each_party_of_a_room_that_panics_itself_is_told_of_its_end() {
    let lab = Lab::start(37_060..=37_099);
    let _callers = meeting(&lab);
    lab.engine.make_worker_fail(1, Fault::PanicInRoom);
    let mut told = told_until_lost(&lab, "one");
    if !told.contains(&lost("two")) {
        told.extend(told_until_lost(&lab, "two"));
    }
    for call in ["one", "two"] {
        let times = told
            .iter()
            .filter(|event| **event == has_left("meeting", call));
        assert_eq!(times.count(), 1, "{call}: {told:?}");
    }
    assert!(!told.contains(&has_left("other", "elsewhere")), "{told:?}");
    let rooms = lab.ng(json!({"command": "room list"}));
    assert_eq!(rooms["rooms"], json!([{"room": "other", "parties": 1}]));
    assert_eq!(lab.engine.stats().panics, 1);
}

#[test]
fn an_empty_room_of_a_worker_that_panics_can_be_made_again() {
    let lab = Lab::start(37_100..=37_119);
    lab.ng(json!({"command": "room create", "room": "empty"}));
    lab.engine.make_worker_fail(0, Fault::Panic);
    until("it is gone", || {
        let rooms = lab.ng(json!({"command": "room list"}));
        rooms["rooms"] == json!([])
    });
    let made = lab.ng(json!({"command": "room create", "room": "empty"}));
    assert_eq!(made["created"], 1, "{made}");
}

#[test]
fn a_worker_that_cannot_wait_ends_its_calls_with_events_and_begins_anew() {
    let lab = Lab::start(37_120..=37_159);
    let _callers = meeting(&lab);
    lab.engine.make_worker_fail(1, Fault::Wait);
    let mut told = told_until_lost(&lab, "one");
    if !told.contains(&lost("two")) {
        told.extend(told_until_lost(&lab, "two"));
    }
    assert!(told.contains(&has_left("meeting", "one")), "{told:?}");
    assert!(!told.contains(&lost("elsewhere")), "{told:?}");
    let stats = lab.engine.stats();
    assert_eq!((stats.worker_failures, stats.panics, stats.lost), (1, 0, 2));
    // The next room is there again, and works.
    let _callers = meeting_again(&lab);
    until("it sends", || lab.engine.stats().rooms.packets > 0);
}

fn meeting_again(lab: &Lab) -> Caller {
    lab.ng(json!({"command": "room create", "room": "again"}));
    let caller = Caller::call(lab, "again", Codec::Pcmu);
    let joined = lab.ng(json!({
        "command": "room join", "room": "again", "call-id": "again", "from-tag": "phone",
    }));
    assert_eq!(joined["result"], "ok", "{joined}");
    caller
}

#[test]
fn a_worker_that_fails_again_and_again_has_ended_and_the_others_take_its_calls() {
    let lab = Lab::start(37_160..=37_199);
    for n in 1..=3 {
        Talk::set_up(&lab, &format!("call-{n}"), ["127.0.0.2", "127.0.0.3"]).assert_both_ways();
        lab.engine.make_worker_fail(0, Fault::Wait);
        until("it has failed", || lab.engine.stats().worker_failures == n);
    }
    until("all is told", || lab.engine.stats().lost == 3);
    Talk::set_up(&lab, "after", ["127.0.0.2", "127.0.0.3"]).assert_both_ways();
    let stats = lab.engine.stats();
    let workers = stats.workers_epoll + stats.workers_io_uring + stats.workers_sk_lookup;
    assert_eq!((workers, stats.sessions), (1, 1));
}
