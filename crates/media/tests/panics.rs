//! A worker that panics loses its calls, and nothing else.

mod phones;

use phones::callers::Caller;
use phones::{DEADLINE, Lab, Talk, until};
use raftpbx_media::codec::Codec;
use raftpbx_media::{MediaEvent, RoomEvent};
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
    lab.engine.make_worker_panic(0);
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
    lab.engine.make_worker_panic(1);
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
