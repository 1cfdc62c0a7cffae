//! Rows of the commands on strings.

use super::spec::{Group, Keys, Kind, Read, Spec, Write, flags};
use crate::keyspace::strings::*;

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::String, name, arity, Kind::Read(run)).bits(flags::FAST)
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::String, name, arity, Kind::Write(run)).bits(flags::FAST | flags::DENYOOM)
}

/// See the module head.
#[rustfmt::skip]
pub const ROWS: &[Spec] = &[
    write("append", 3, append).since("2.0.0").says(
        "key value",
        "Appends to a string; creates it when there is none.",
    ),
    write("decr", 2, decr).says("key", "Subtracts one from an integer."),
    write("decrby", 3, decrby).says("key decrement", "Subtracts from an integer."),
    read("get", 2, get).says("key", "Answers a string."),
    write("getdel", 2, getdel)
        .since("6.2.0")
        .says("key", "Answers a string and deletes it."),
    write("getex", -2, getex).since("6.2.0").says(
        "key [EX seconds | PX milliseconds | EXAT time | PXAT time | PERSIST]",
        "Answers a string and sets or removes its deadline.",
    ),
    write("getset", 3, getset).says("key value", "Sets a string and answers the old one."),
    write("incr", 2, incr).says("key", "Adds one to an integer."),
    write("incrby", 3, incrby).says("key increment", "Adds to an integer."),
    read("mget", -2, mget).keys(Keys::Range(1, -1, 1)).says(
        "key [key ...]",
        "Answers several strings; nil for what is no string.",
    ),
    write("mset", -3, mset)
        .since("1.0.1")
        .keys(Keys::Range(1, -1, 2))
        .says("key value [key value ...]", "Sets several strings at once."),
    write("psetex", 4, psetex).since("2.6.0").says(
        "key milliseconds value",
        "Sets a string with a time to live.",
    ),
    write("set", -3, set).says(
        "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT time | PXAT time | \
            KEEPTTL]",
        "Sets a string, under a condition and with a deadline if wanted.",
    ),
    write("setex", 4, setex)
        .since("2.0.0")
        .says("key seconds value", "Sets a string with a time to live."),
    write("setnx", 3, setnx).says("key value", "Sets a string unless the key is there."),
    read("strlen", 2, strlen)
        .since("2.2.0")
        .says("key", "Answers the length of a string."),
];
