//! Rows of the commands on any key and on all keys.

use super::spec::flags::{DANGEROUS, DENYOOM, FAST, INTERNAL};
use super::spec::{Group, Keys, Kind, Read, Spec, Write};
use crate::keyspace::{deadlines, keys, scans};

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::Generic, name, arity, Kind::Read(run)).since("1.0.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::Generic, name, arity, Kind::Write(run)).since("1.0.0")
}

/// See the module head.
pub const ROWS: &[Spec] = &[
    write("copy", -3, keys::copy).bits(DENYOOM).since("6.2.0").keys(Keys::Range(1, 2, 1))
        .says("source destination [DB 0] [REPLACE]", "Copies a key with its deadline.")
        .differs("There is one database."),
    write("del", -2, keys::del).keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Deletes keys."),
    read("exists", -2, keys::exists).bits(FAST).keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Counts the keys that are there."),
    write("expire", -3, deadlines::expire).bits(FAST)
        .says("key seconds [NX | XX | GT | LT]", "Gives a key a time to live."),
    write("expireat", -3, deadlines::expireat).bits(FAST).since("1.2.0")
        .says("key time [NX | XX | GT | LT]", "Gives a key a deadline in Unix seconds."),
    read("expiretime", 2, deadlines::expiretime).bits(FAST).since("7.0.0")
        .says("key", "Answers a key's deadline in Unix seconds."),
    read("keys", 2, scans::keys).bits(DANGEROUS).keys(Keys::None)
        .says("pattern", "Answers all keys that match a pattern, in order.")
        .differs("At most 1,000,000 keys are answered."),
    read("object", -2, keys::object).since("2.2.3").keys(Keys::Range(2, 2, 1))
        .says("ENCODING | REFCOUNT | IDLETIME key", "Describes how a key is kept.")
        .differs(
            "The names of encodings are those of Redis by the size of the value; the other answers are always 1 and 0.",
        ),
    write("persist", 2, deadlines::persist).bits(FAST).since("2.2.0")
        .says("key", "Removes a key's deadline."),
    write("pexpire", -3, deadlines::pexpire).bits(FAST).since("2.6.0")
        .says("key milliseconds [NX | XX | GT | LT]", "Gives a key a time to live."),
    write("pexpireat", -3, deadlines::pexpireat).bits(FAST).since("2.6.0")
        .says("key time [NX | XX | GT | LT]", "Gives a key a deadline in Unix milliseconds."),
    read("pexpiretime", 2, deadlines::pexpiretime).bits(FAST).since("7.0.0")
        .says("key", "Answers a key's deadline in Unix milliseconds."),
    read("pttl", 2, deadlines::pttl).bits(FAST).since("2.6.0")
        .says("key", "Answers the milliseconds a key has left."),
    read("randomkey", 1, scans::randomkey).keys(Keys::None)
        .says("", "Answers a random key.")
        .differs("The choice follows from the log, so that every server makes the same one."),
    write("rename", 3, keys::rename).keys(Keys::Range(1, 2, 1))
        .says("key newkey", "Gives a key another name."),
    write("renamenx", 3, keys::renamenx).bits(FAST).keys(Keys::Range(1, 2, 1))
        .says("key newkey", "Gives a key another name unless that is taken."),
    read("scan", -2, scans::scan).since("2.8.0").keys(Keys::None)
        .says(
            "cursor [MATCH pattern] [COUNT count] [TYPE type]",
            "Answers the keys page by page; a cursor is good on every server.",
        ),
    read("touch", -2, keys::exists).bits(FAST).since("3.2.1").keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Counts the keys that are there."),
    read("ttl", 2, deadlines::ttl).bits(FAST).says("key", "Answers the seconds a key has left."),
    read("type", 2, keys::type_of).bits(FAST).says("key", "Answers the type of a key's value."),
    write("unlink", -2, keys::del).bits(FAST).since("4.0.0").keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Deletes keys."),
    read("versions", -2, keys::versions).bits(FAST | INTERNAL).since("")
        .keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Answers the versions of keys, for WATCH."),
    write("watched", -3, keys::watched).bits(FAST | INTERNAL).since("")
        .keys(Keys::Range(1, -1, 2))
        .says("key version [key version ...]", "Opens a request that depends on these versions."),
];
