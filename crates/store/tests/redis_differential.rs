//! The keyspace beside a real redis-server: random commands, every reply compared.
//!
//! Both run the same commands, ours with a logical clock that follows the real one, in both
//! versions of the protocol. What may differ is in `differential/compare.rs`. The pattern `END`
//! lets a key's time run out on both sides. More cases: `PROPTEST_CASES=10000`.

mod differential;

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use raftpbx_store::testing::{self, Space};

use differential::compare::same;
use differential::generate::{EXCEPTIONS, PATTERNS, bytes, command};
use differential::server::{Server, Wire, read};

/// A key whose time is over must be gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(2);

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.expect("a clock").as_millis()).expect("a time")
}

struct Pair {
    server: Server,
    space: Space,
    three: bool,
}

impl Pair {
    fn begin(&mut self, three: bool) {
        self.server.say(if three { "HELLO 3" } else { "HELLO 2" });
        self.server.say("FLUSHALL");
        self.space = Space::default();
        self.three = three;
    }

    fn ours(&mut self, words: &[String]) -> Wire {
        self.space.advance(now_ms());
        let reply = self.space.apply(&bytes(words));
        read(&mut testing::encoded(&reply, self.three).as_slice())
    }

    /// Gives a key a millisecond to live and waits until it is over on both sides.
    fn end(&mut self, key: &str) {
        let words = ["PEXPIRE", key, "1"].map(str::to_owned);
        self.ours(&words);
        self.server.ask(&bytes(&words));
        let deadline = Instant::now() + GONE_WITHIN;
        while self.server.say(&format!("EXISTS {key}")) != Wire::Int(0) {
            assert!(Instant::now() < deadline, "{key} does not end");
        }
    }

    fn step(&mut self, words: &[String]) -> Result<(), TestCaseError> {
        if words[0] == "END" {
            self.end(&words[1]);
            return Ok(());
        }
        if words[0] == "DBSIZE" {
            // Redis counts keys whose time is over until somebody meets them.
            self.server.say("SCAN 0 COUNT 1000");
        }
        let ours = self.ours(words);
        let waits = words[0].starts_with('B') || words.iter().any(|word| word == "BLOCK");
        let theirs = if waits {
            self.server.ask_at_once(&bytes(words))
        } else {
            self.server.ask(&bytes(words))
        };
        let same = same(&mut self.server, words, &theirs, &ours);
        prop_assert!(same, "{words:?}\n redis: {theirs:?}\n ours:  {ours:?}");
        Ok(())
    }
}

#[test]
fn every_reply_is_that_of_redis() {
    let pair = RefCell::new(Pair {
        server: Server::start(),
        space: Space::default(),
        three: false,
    });
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    let dice = prop::collection::vec(any::<u8>(), 1..8);
    let steps = prop::collection::vec((0usize..10_000, dice), 1..120);
    let outcome = runner.run(&(any::<bool>(), steps), |(three, steps)| {
        let mut pair = pair.borrow_mut();
        pair.begin(three);
        steps
            .iter()
            .try_for_each(|(pattern, dice)| pair.step(&command(*pattern, dice)))
    });
    drop(pair);
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn every_command_is_compared_or_excepted_with_a_reason() {
    let named = |name: &str| {
        let mut patterns = PATTERNS.lines();
        patterns.any(|line| {
            line.split(' ')
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case(name))
        })
    };
    let excepted = |name: &str| EXCEPTIONS.iter().any(|(exception, _)| *exception == name);
    let missing: Vec<_> = testing::commands()
        .into_iter()
        .filter(|(name, _)| named(name) == excepted(name))
        .collect();
    assert!(missing.is_empty(), "neither or both: {missing:?}");
}
