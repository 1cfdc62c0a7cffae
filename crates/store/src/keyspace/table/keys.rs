//! Rows of the commands on any key, on all keys, and on messages.

use super::spec::{Group, Keys, Kind, Read, Spec, Write, flags};
use crate::keyspace::keys::*;

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::Generic, name, arity, Kind::Read(run)).bits(flags::FAST)
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::Generic, name, arity, Kind::Write(run)).bits(flags::FAST)
}

const fn server(name: &'static str, arity: i32, kind: Kind) -> Spec {
    Spec::new(Group::Server, name, arity, kind).keys(Keys::None)
}

/// See the module head.
#[rustfmt::skip]
pub const ROWS: &[Spec] = &[
    server("dbsize", 1, Kind::Read(dbsize))
        .bits(flags::FAST)
        .says("", "Answers the number of keys."),
    write("del", -2, del)
        .keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Deletes keys."),
    read("exists", -2, exists)
        .keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Counts the keys that are there."),
    write("expire", -3, expire).says(
        "key seconds [NX | XX | GT | LT]",
        "Gives a key a time to live.",
    ),
    write("expireat", -3, expireat).since("1.2.0").says(
        "key time [NX | XX | GT | LT]",
        "Gives a key a deadline in Unix seconds.",
    ),
    server("flushall", -1, Kind::Write(flushall))
        .bits(flags::DANGEROUS)
        .says("[ASYNC | SYNC]", "Deletes every key."),
    server("flushdb", -1, Kind::Write(flushall))
        .bits(flags::DANGEROUS)
        .says(
            "[ASYNC | SYNC]",
            "Deletes every key; there is one database.",
        ),
    Spec::new(Group::Generic, "keys", 2, Kind::Read(keys))
        .keys(Keys::None)
        .bits(flags::DANGEROUS)
        .says(
            "pattern",
            "Answers all keys that match a pattern, in order.",
        )
        .differs("At most 1,000,000 keys are answered."),
    write("persist", 2, persist)
        .since("2.2.0")
        .says("key", "Removes a key's deadline."),
    write("pexpire", -3, pexpire).since("2.6.0").says(
        "key milliseconds [NX | XX | GT | LT]",
        "Gives a key a time to live.",
    ),
    write("pexpireat", -3, pexpireat).since("2.6.0").says(
        "key time [NX | XX | GT | LT]",
        "Gives a key a deadline in Unix milliseconds.",
    ),
    read("pttl", 2, pttl)
        .since("2.6.0")
        .says("key", "Answers the milliseconds a key has left."),
    Spec::new(Group::Pubsub, "publish", 3, Kind::Write(publish))
        .keys(Keys::None)
        .since("2.0.0")
        .bits(flags::FAST)
        .says(
            "channel message",
            "Sends a message to the subscribers on every server.",
        )
        .differs("Always answers 0: receivers are not counted, they are on different servers."),
    Spec::new(Group::Generic, "scan", -2, Kind::Read(scan))
        .keys(Keys::None)
        .since("2.8.0")
        .says(
            "cursor [MATCH pattern] [COUNT count] [TYPE type]",
            "Answers the keys page by page.",
        ),
    server("time", 1, Kind::Read(time))
        .since("2.6.0")
        .bits(flags::FAST)
        .says("", "Answers the time.")
        .differs("It is the logical clock of the log, in whole milliseconds."),
    read("ttl", 2, ttl).says("key", "Answers the seconds a key has left."),
    read("type", 2, type_of).says("key", "Answers the type of a key's value."),
    write("unlink", -2, del)
        .since("4.0.0")
        .keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Deletes keys."),
    write(WATCHED, -3, watched)
        .bits(flags::INTERNAL)
        .keys(Keys::Range(1, -1, 2))
        .since("")
        .says(
            "key version [key version ...]",
            "Opens a request that depends on these versions.",
        ),
];
