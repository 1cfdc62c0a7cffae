//! What holds for the keyspace whatever the commands are: against a model, and against itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::tests::Session;
use super::*;

fn bytes_of(space: &Keyspace) -> Vec<u8> {
    let dump = space.dump();
    let records: Vec<_> = dump.records().collect();
    postcard::to_stdvec(&(dump.clock_ms, records)).expect("records can be encoded")
}

fn any_command() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "c", "d"]);
    let verb = prop::sample::select(vec![
        "SET {} 1",
        "SET {} 2 PX 30",
        "SET {} 3 NX",
        "GET {}",
        "DEL {}",
        "INCR {}",
        "APPEND {} x",
        "HSET {} f 1",
        "HDEL {} f",
        "SADD {} m",
        "SREM {} m",
        "ZADD {} 1 m",
        "ZADD {} 2 n",
        "ZPOPMIN {}",
        "PEXPIRE {} 20",
        "PERSIST {}",
        "GETDEL {}",
        "MSET {} 1 z 2",
        "TTL {}",
        "HSET {} f 1 g 2",
        "HPEXPIRE {} 25 FIELDS 1 f",
        "HPEXPIRE {} 40 FIELDS 2 f g",
        "HPERSIST {} FIELDS 1 g",
        "HINCRBY {} f 1",
        "RENAME {} b",
        "COPY {} c REPLACE",
        "RPUSH {} x y",
        "LMOVE {} d LEFT RIGHT",
        "LTRIM {} 1 2",
        "XADD {} * a 1",
        "XADD {} MAXLEN 2 * a 2",
        "XDEL {} 1-0",
        "SPOP {}",
        "SUNIONSTORE d {} a",
        "ZUNIONSTORE d 2 {} a",
        "SRANDMEMBER {}",
        "FLUSHALL",
    ]);
    (verb, key).prop_map(|(verb, key)| verb.replace("{}", key))
}

proptest! {
    #[test]
    fn the_same_log_gives_the_same_bytes_replies_and_changes(
        log in prop::collection::vec((0u64..50, any_command()), 1..200)
    ) {
        let (mut one, mut two) = (Session::default(), Session::default());
        let mut now = 1;
        for (step, line) in &log {
            now += step;
            one.at(now);
            two.at(now);
            prop_assert_eq!(one.run(line), two.run(line));
        }
        prop_assert_eq!(bytes_of(&one.space), bytes_of(&two.space));
        prop_assert_eq!(&one.effects.changes, &two.effects.changes);
    }

    #[test]
    fn changes_alone_rebuild_the_string_keys(
        log in prop::collection::vec((0u64..50, any_command()), 1..200)
    ) {
        let mut session = Session::default();
        let mut now = 1;
        for (step, line) in &log {
            now += step;
            session.at(now);
            session.run(line);
        }
        let mut replica = BTreeMap::new();
        for change in &session.effects.changes {
            let change = change.change();
            match change.value {
                Some(value) => replica.insert(change.key, value),
                None => replica.remove(&change.key),
            };
        }
        let actual: BTreeMap<_, _> =
            session.space.scan_prefix(b"", None, usize::MAX).into_iter().collect();
        prop_assert_eq!(replica, actual);
    }

    #[test]
    fn a_dump_restores_to_the_same_state(
        log in prop::collection::vec((0u64..50, any_command()), 1..200)
    ) {
        let mut session = Session::default();
        let mut now = 1;
        for (step, line) in &log {
            now += step;
            session.at(now);
            session.run(line);
        }
        let dump = session.space.dump();
        let mut restore = Restore::default();
        for record in dump.records() {
            restore.add(record);
        }
        let restored = restore.finish(dump.clock_ms, dump.expired);
        prop_assert_eq!(bytes_of(&restored), bytes_of(&session.space));
        prop_assert_eq!(restored.next_deadline_ms(), session.space.next_deadline_ms());
    }

    #[test]
    fn no_input_makes_a_command_panic(
        name in prop::sample::select(vec![
            "SET", "GETEX", "ZADD", "ZRANGE", "ZRANGEBYSCORE", "SCAN", "EXPIRE", "MSET", "HSET",
            "ZPOPMIN", "INCRBY", "DECRBY", "SETEX", "ZREMRANGEBYSCORE", "HINCRBY",
        ]),
        arguments in prop::collection::vec(prop::sample::select(vec![
            "a", "1", "-1", "0", "9223372036854775807", "-9223372036854775808", "inf", "(", "NX",
            "XX", "EX", "PX", "GET", "LIMIT", "BYSCORE", "REV", "COUNT", "MATCH", "", "INCR", "nan",
        ]), 0..7)
    ) {
        let mut command = vec![Bytes::from(name)];
        command.extend(arguments.into_iter().map(Bytes::from));
        let mut space = Keyspace::default();
        space.advance(1_700_000_000_000, &mut Effects::default());
        space.apply(&command, &mut Effects::default());
        space.apply(&command, &mut Effects::default());
    }
}
