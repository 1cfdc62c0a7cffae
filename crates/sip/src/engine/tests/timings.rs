//! What the engine counts and measures of a call.
use super::*;

impl Bench {
    /// The value of a metric with its labels.
    fn metric(&self, name: &str) -> f64 {
        let text = self.core.setup.metrics.render();
        let line = text.lines().find_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            (key == format!("raftpbx_sip_{name}")).then(|| value.parse().expect("a number"))
        });
        line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// How many, and how long all of them took together.
    fn taken(&self, name: &str, labels: &str) -> (f64, f64) {
        (
            self.metric(&format!("{name}_count{labels}")),
            self.metric(&format!("{name}_sum{labels}")),
        )
    }
}

const INVITE: &str = "{method=\"INVITE\"}";
const OTHER: &str = "{method=\"OTHER\"}";

#[test]
fn transactions_and_commits_are_measured_from_their_beginning_to_their_end() {
    let mut bench = Bench::new();
    bench.holding = true;
    bench.phone(&request("INVITE", 1, "", "", SDP));
    bench.pass(40);
    bench.release();
    assert_eq!(bench.taken("commit_seconds", ""), (1.0, 0.04));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.pass(1_960);
    bench.phone(&request("INVITE", 1, "", "", SDP));
    assert_eq!(
        bench.taken("server_transaction_seconds", INVITE),
        (0.0, 0.0)
    );
    bench.answer(&invite, "200 OK", "", SDP);
    bench.pass(1_000);
    assert_eq!(
        bench.taken("server_transaction_seconds", INVITE),
        (1.0, 2.0)
    );

    bench.invite("");
    bench.pass(250);
    let sent = bench.sent("INVITE");
    bench.phone(&response(&sent, "180 Ringing", "", ""));
    bench.pass(2_750);
    bench.phone(&response(&sent, "486 Busy Here", "", ""));
    bench.phone(&response(&sent, "486 Busy Here", "", ""));
    assert_eq!(
        bench.taken("client_transaction_seconds", INVITE),
        (1.0, 3.0)
    );
    assert_eq!(bench.taken("client_transaction_seconds", OTHER), (0.0, 0.0));
}

#[test]
fn a_clock_that_is_set_back_or_forth_does_not_show() {
    let at = |mono_ms, wall_us| Now { mono_ms, wall_us };
    let earlier = at(1_000, 5_000_000);
    for (now, us) in [
        (at(1_001, 5_000_700), 700),
        (at(1_000, 5_000_000), 0),
        (at(1_007, 9_000_000_000), 7_000),
        (at(1_007, 1), 7_000),
    ] {
        assert_eq!(now.us_since(earlier), us);
    }
}

#[test]
fn requests_and_responses_are_counted_in_both_directions() {
    let mut bench = Bench::new();
    bench.call("");
    bench.invite("");
    let sent = bench.sent("INVITE");
    bench.phone(&response(&sent, "486 Busy Here", "", ""));
    for (name, count) in [
        (
            "requests_total{direction=\"received\",method=\"INVITE\"}",
            1.0,
        ),
        ("requests_total{direction=\"received\",method=\"ACK\"}", 1.0),
        ("requests_total{direction=\"sent\",method=\"INVITE\"}", 1.0),
        ("requests_total{direction=\"sent\",method=\"ACK\"}", 1.0),
        ("responses_total{direction=\"sent\",code=\"100\"}", 1.0),
        ("responses_total{direction=\"sent\",code=\"200\"}", 1.0),
        ("responses_total{direction=\"received\",code=\"486\"}", 1.0),
    ] {
        assert_eq!(bench.metric(name), count, "{name}");
    }
}

#[test]
fn the_ack_to_a_second_phone_behind_a_fork_is_counted() {
    let mut bench = Bench::new();
    bench.invite("");
    let sent = bench.sent("INVITE");
    let first = response(&sent, "200 OK", "", SDP);
    bench.phone(&first);
    let dialog = bench.told("SIP/2.0 200").dialog().to_owned();
    bench.ask(&dialog, "ACK", "", "");
    let tag = tag_of(&first, "To");
    bench.phone(&first.replace(&format!("tag={tag}"), "tag=another"));
    assert_eq!((bench.count("ACK"), bench.count("BYE")), (2, 1));
    let acks = "requests_total{direction=\"sent\",method=\"ACK\"}";
    assert_eq!(bench.metric(acks), 2.0);
}
