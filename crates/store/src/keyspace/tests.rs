//! The keyspace against Redis' documented behaviour.

use bytes::Bytes;

use super::*;
use crate::event::Change;

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

/// A keyspace driven by lines of text; replies are shown as text.
#[derive(Default)]
pub struct Session {
    pub space: Keyspace,
    pub effects: Effects,
}

impl Session {
    pub fn run(&mut self, line: &str) -> String {
        show(&self.space.apply(&words(line), &mut self.effects))
    }

    pub fn at(&mut self, now_ms: u64) {
        self.space.advance(now_ms, &mut self.effects);
    }

    fn expect(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            assert_eq!(self.run(line), *expected, "{line}");
        }
    }
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Nil | Reply::NilArray => "nil".into(),
        Reply::Boolean(yes) => yes.to_string(),
        Reply::Verbatim(text) => text.clone(),
        Reply::Ok => "OK".into(),
        Reply::Int(number) => number.to_string(),
        Reply::Double(number) => number.to_string(),
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Simple(text) | Reply::Error(text) => text.clone(),
        Reply::Array(items) | Reply::Set(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Reply::Pairs(pairs) => {
            let pairs = pairs
                .iter()
                .flat_map(|(one, other)| [show(one), show(other)]);
            format!("[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
        Reply::Map(pairs) | Reply::Entries(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(key, value)| format!("{}={}", show(key), show(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn strings_behave_as_in_redis() {
    let mut session = Session::default();
    session.at(1_000);
    session.expect(&[
        ("SET a 1", "OK"),
        ("SET a 2 NX", "nil"),
        ("SET a 2 XX GET", "1"),
        ("SET b 1 XX", "nil"),
        ("SET a 3 NX XX", "ERR syntax error"),
        ("SET a 3 EX 0", "ERR invalid expire time in 'set' command"),
        (
            "SET a 3 EX x",
            "ERR value is not an integer or out of range",
        ),
        ("SET a 3 EX 1 PX 1", "ERR syntax error"),
        ("SET a 3 PX 500", "OK"),
        ("PTTL a", "500"),
        ("SET a 4 KEEPTTL", "OK"),
        ("PTTL a", "500"),
        ("GETEX a PERSIST", "4"),
        ("TTL a", "-1"),
        ("INCR a", "5"),
        ("DECRBY a 10", "-5"),
        ("APPEND a 0", "3"),
        ("GET a", "-50"),
        ("STRLEN a", "3"),
        ("MSET x 1 y 2", "OK"),
        ("MGET x nope y", "[1 nil 2]"),
        ("GETDEL x", "1"),
        ("EXISTS x y y", "2"),
        ("SET n 9223372036854775807", "OK"),
        ("INCR n", "ERR increment or decrement would overflow"),
        ("SET t text", "OK"),
        ("INCR t", "ERR value is not an integer or out of range"),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        (
            "NOPE 1 2",
            "ERR unknown command 'NOPE', with args beginning with: '1' '2' ",
        ),
        ("TIME", "[1 0]"),
    ]);
}

#[test]
fn hashes_and_sets_behave_as_in_redis() {
    let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
    Session::default().expect(&[
        ("HSET h a 1 b 2", "2"),
        ("HSET h a 3", "0"),
        ("HGETALL h", "{b=2 a=3}"),
        ("HMGET h a c", "[3 nil]"),
        ("HINCRBY h a 4", "7"),
        ("HSETNX h a 9", "0"),
        ("HKEYS h", "[b a]"),
        ("HVALS h", "[2 7]"),
        ("HLEN h", "2"),
        ("HEXISTS h b", "1"),
        ("HDEL h a b c", "2"),
        ("EXISTS h", "0"),
        ("SADD s b a b", "2"),
        ("SMEMBERS s", "[b a]"),
        ("SISMEMBER s a", "1"),
        ("SCARD s", "2"),
        ("GET s", wrong),
        ("HGET s a", wrong),
        ("TYPE s", "set"),
        ("SREM s a b", "2"),
        ("TYPE s", "none"),
        (
            "HSET h a",
            "ERR wrong number of arguments for 'hset' command",
        ),
    ]);
}

#[test]
fn sorted_sets_behave_as_in_redis() {
    Session::default().expect(&[
        ("ZADD z 2 b 1 a 3 c", "3"),
        ("ZADD z XX CH 5 a 9 nope", "1"),
        ("ZADD z GT 4 a", "0"),
        ("ZSCORE z a", "5"),
        ("ZRANGE z 0 -1", "[b c a]"),
        ("ZRANGE z 0 0 REV WITHSCORES", "[a 5]"),
        ("ZRANGEBYSCORE z (2 +inf", "[c a]"),
        ("ZRANGEBYSCORE z -inf +inf LIMIT 1 1", "[c]"),
        ("ZRANGE z 2 3 BYSCORE WITHSCORES", "[b 2 c 3]"),
        ("ZCOUNT z 2 3", "2"),
        ("ZRANK z a", "2"),
        ("ZPOPMIN z", "[b 2]"),
        ("ZADD z INCR -10.5 c", "-7.5"),
        ("ZINCRBY z 0.5 c", "-7"),
        ("ZRANGE z 0 -1", "[c a]"),
        ("ZREMRANGEBYSCORE z -inf 0", "1"),
        ("ZCARD z", "1"),
        ("ZREM z a", "1"),
        ("EXISTS z", "0"),
        ("ZADD z x a", "ERR value is not a valid float"),
        ("EXISTS z", "0"),
    ]);
}

#[test]
fn keys_end_when_the_logical_clock_reaches_their_deadline() {
    let mut session = Session::default();
    session.at(10_000);
    session.expect(&[
        ("SET a 1 PX 100", "OK"),
        ("SET b 1", "OK"),
        ("EXPIRE b 1", "1"),
    ]);
    session.expect(&[
        ("EXPIRE b 2 LT", "0"),
        ("TTL b", "1"),
        ("PEXPIREAT b 10900", "1"),
    ]);
    session.at(10_099);
    session.expect(&[("EXISTS a b", "2")]);
    session.effects.changes.clear();
    session.at(10_100);
    session.expect(&[("EXISTS a b", "1")]);
    let ended = Change {
        key: Bytes::from_static(b"a"),
        value: None,
    };
    let told: Vec<_> = session
        .effects
        .changes
        .iter()
        .map(Altered::change)
        .collect();
    assert_eq!(told, vec![ended]);
    session.at(5_000);
    assert_eq!(
        session.space.clock_ms(),
        10_100,
        "the clock never goes back"
    );
    session.expect(&[("EXPIRE b -1", "1"), ("EXISTS b", "0"), ("EXPIRE b 1", "0")]);
    assert_eq!(session.space.next_deadline_ms(), None);
}

#[test]
fn scan_returns_every_key_once() {
    let mut session = Session::default();
    for number in 0..500 {
        session.run(&format!("SET key:{number} 1"));
    }
    let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let command = words(&format!("SCAN {cursor} COUNT 37"));
        let Reply::Array(parts) = session.space.read(&command) else {
            panic!("not an array")
        };
        cursor = show(&parts[0]);
        let Reply::Array(keys) = &parts[1] else {
            panic!("not an array")
        };
        seen.extend(keys.iter().map(show));
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 500);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 500);
    session.expect(&[
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN 18446744073709551615", "[0 []]"),
    ]);
    assert_eq!(
        session
            .space
            .scan_prefix(b"key:1", Some(b"key:19"), 2)
            .len(),
        2
    );
    assert_eq!(session.space.count_prefix(b"key:1"), 111);
}

#[test]
fn fields_end_when_the_logical_clock_reaches_their_deadline() {
    let mut session = Session::default();
    session.at(10_000);
    session.expect(&[
        ("HSET h a 1 b 2 c 3", "3"),
        ("HPEXPIRE h 100 FIELDS 2 a nope", "[1 -2]"),
        ("HPEXPIRE h 50 GT FIELDS 1 a", "[0]"),
        ("HPEXPIRE h 50 LT FIELDS 2 a b", "[1 1]"),
        ("HPEXPIRE h 50 NX FIELDS 1 a", "[0]"),
        ("HPTTL h FIELDS 3 a b c", "[50 50 -1]"),
        ("HTTL h FIELDS 1 a", "[1]"),
        ("HPEXPIRETIME h FIELDS 1 a", "[10050]"),
        ("HEXPIRETIME h FIELDS 1 a", "[11]"),
        ("HPERSIST h FIELDS 2 b c", "[1 -1]"),
        ("HEXPIRE h 0 FIELDS 1 c", "[2]"),
        ("HEXPIRE nope 1 FIELDS 1 c", "[-2]"),
        (
            "HEXPIRE h -1 FIELDS 1 c",
            "ERR invalid expire time, must be >= 0",
        ),
        (
            "HEXPIRE h 1 FIELDS 0 c",
            "ERR Parameter `numFields` should be greater than 0",
        ),
        (
            "HEXPIRE h 1 FIELDS 2 c",
            "ERR The `numfields` parameter must match the number of arguments",
        ),
        (
            "HEXPIRE h 1 NOPE 1 c",
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ),
    ]);
    session.at(10_049);
    session.expect(&[
        ("HLEN h", "2"),
        ("HSET h a 9", "0"),
        ("HPTTL h FIELDS 1 a", "[-1]"),
    ]);
    session.expect(&[
        ("HPEXPIREAT h 10060 FIELDS 2 a b", "[1 1]"),
        ("RENAME h g", "OK"),
    ]);
    session.expect(&[("COPY g k", "1"), ("HINCRBY g a 1", "10"), ("DEL k", "1")]);
    assert_eq!(session.space.next_deadline_ms(), Some(10_060));
    session.at(10_060);
    session.expect(&[("EXISTS g", "0")]);
    assert_eq!(session.space.next_deadline_ms(), None);
}

#[test]
fn a_string_is_replaced_only_when_it_is_as_expected() {
    Session::default().expect(&[
        ("SET a 1 IFEQ 0", "nil"),
        ("EXISTS a", "0"),
        ("SET a 1", "OK"),
        ("SET a 2 IFEQ 0", "nil"),
        ("SET a 2 IFEQ 0 GET", "1"),
        ("SET a 2 IFEQ 1", "OK"),
        ("SET a 3 IFEQ 2 GET", "2"),
        ("SET a 3 IFEQ", "ERR syntax error"),
        ("SET a 3 IFEQ 3 NX", "ERR syntax error"),
        ("RPUSH l x", "1"),
        (
            "SET l 3 IFEQ x",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("ZADD z 1 a 2 b", "2"),
        ("ZRANK z b WITHSCORE", "[1 2]"),
        ("ZREVRANK z b WITHSCORE", "[0 2]"),
        ("ZRANK z c WITHSCORE", "nil"),
    ]);
}

#[test]
fn whoever_waits_is_told_which_keys_gained_elements() {
    let mut session = Session::default();
    for line in [
        "RPUSH l a",
        "ZADD z 1 a",
        "ZADD z 2 a",
        "XADD x 1-1 a b",
        "RENAME l m",
        "SET s 1",
    ] {
        session.run(line);
    }
    assert_eq!(session.effects.ready, ["l", "z", "x", "m"].map(Bytes::from));
}

#[test]
fn a_version_changes_with_its_key_and_only_then() {
    let mut session = Session::default();
    session.run("SADD s a b");
    session.run("SET t 1");
    let (set, text) = (session.space.version(b"s"), session.space.version(b"t"));
    session.run("SREM s a");
    assert!(session.space.version(b"s") > set);
    assert_eq!(session.space.version(b"t"), text);
    session.run("DEL s");
    let removed = session.space.version(b"s");
    session.run("SADD s a b");
    let again = session.space.version(b"s");
    assert!(set < removed && removed < again);
}

#[test]
fn a_key_that_came_and_went_has_another_version_than_before() {
    let ways = [
        "DEL k",
        "GETDEL k",
        "FLUSHALL",
        "RENAME k other",
        "PEXPIREAT k 1",
    ];
    let mut session = Session::default();
    session.at(10);
    for way in ways {
        let absent = session.space.version(b"k");
        session.run("SET k 1");
        session.run(way);
        assert_eq!(session.run("EXISTS k"), "0", "{way}");
        assert!(session.space.version(b"k") > absent, "{way}");
    }
    let absent = session.space.version(b"k");
    session.run("SET k 1 PX 5");
    session.at(20);
    assert!(session.space.version(b"k") > absent);
    let (before, other) = (session.space.version(b"k"), session.space.version(b"stays"));
    session.run("DEL k");
    assert_eq!(session.space.version(b"k"), before, "nothing was removed");
    assert_eq!(session.space.version(b"stays"), other);
}

#[test]
fn changes_name_string_keys_only() {
    let mut session = Session::default();
    session.expect(&[
        ("HSET h a 1", "1"),
        ("SET s 1", "OK"),
        ("SET h 1", "OK"),
        ("DEL h", "1"),
    ]);
    let shown: Vec<_> = session
        .effects
        .changes
        .iter()
        .map(Altered::change)
        .map(|change| (change.key, change.value.is_some()))
        .collect();
    let key = Bytes::from_static;
    assert_eq!(
        shown,
        vec![(key(b"s"), true), (key(b"h"), true), (key(b"h"), false)]
    );
}
