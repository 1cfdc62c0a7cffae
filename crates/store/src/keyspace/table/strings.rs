//! Rows of the commands on strings.

use super::spec::flags::{DENYOOM, FAST};
use super::spec::{Group, Keys, Kind, Read, Spec, Write};
use crate::keyspace::strings;

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::String, name, arity, Kind::Read(run)).since("1.0.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::String, name, arity, Kind::Write(run)).since("1.0.0")
}

/// See the module head.
pub const ROWS: &[Spec] = &[
    write("append", 3, strings::append).bits(FAST | DENYOOM).since("2.0.0")
        .says("key value", "Appends to a string; creates it when there is none.")
        .differs("A string is at most 1 MiB."),
    write("decr", 2, strings::decr).bits(FAST | DENYOOM)
        .says("key", "Subtracts one from an integer."),
    write("decrby", 3, strings::decrby).bits(FAST | DENYOOM)
        .says("key decrement", "Subtracts from an integer."),
    read("get", 2, strings::get).bits(FAST).says("key", "Answers a string."),
    write("getdel", 2, strings::getdel).bits(FAST).since("6.2.0")
        .says("key", "Answers a string and deletes it."),
    write("getex", -2, strings::getex).bits(FAST).since("6.2.0")
        .says(
            "key [EX seconds | PX milliseconds | EXAT time | PXAT time | PERSIST]",
            "Answers a string and sets or removes its deadline.",
        ),
    read("getrange", 4, strings::getrange).since("2.4.0")
        .says("key start end", "Answers a part of a string."),
    write("getset", 3, strings::getset).bits(FAST | DENYOOM)
        .says("key value", "Sets a string and answers the old one."),
    write("incr", 2, strings::incr).bits(FAST | DENYOOM).says("key", "Adds one to an integer."),
    write("incrby", 3, strings::incrby).bits(FAST | DENYOOM)
        .says("key increment", "Adds to an integer."),
    write("incrbyfloat", 3, strings::incrbyfloat).bits(FAST | DENYOOM).since("2.6.0")
        .says("key increment", "Adds to a decimal number.")
        .differs(
            "Sums are exact decimals: 300 + 0.1 is 300.1, where Redis 7.0 on x86 answers 300.10000000000000001; very large numbers are added as 64-bit floats.",
        ),
    read("mget", -2, strings::mget).bits(FAST).keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Answers several strings; nil for what is no string."),
    write("mset", -3, strings::mset).bits(DENYOOM).since("1.0.1")
        .keys(Keys::Range(1, -1, 2))
        .says("key value [key value ...]", "Sets several strings at once."),
    write("msetnx", -3, strings::msetnx).bits(DENYOOM).since("1.0.1")
        .keys(Keys::Range(1, -1, 2))
        .says(
            "key value [key value ...]",
            "Sets several strings at once unless one of the keys is there.",
        ),
    write("psetex", 4, strings::psetex).bits(DENYOOM).since("2.6.0")
        .says("key milliseconds value", "Sets a string with a time to live."),
    write("set", -3, strings::set).bits(DENYOOM)
        .says(
            "key value [NX | XX | IFEQ old] [GET] [EX seconds | PX milliseconds | EXAT time | PXAT time | KEEPTTL]",
            "Sets a string, under a condition and with a deadline if wanted.",
        )
        .differs("IFEQ (set when the string is as given) is that of Redis 8.4."),
    write("setex", 4, strings::setex).bits(DENYOOM).since("2.0.0")
        .says("key seconds value", "Sets a string with a time to live."),
    write("setnx", 3, strings::setnx).bits(FAST | DENYOOM)
        .says("key value", "Sets a string unless the key is there."),
    write("setrange", 4, strings::setrange).bits(DENYOOM).since("2.2.0")
        .says(
            "key offset value",
            "Overwrites a part of a string, behind zero bytes if it is too short.",
        )
        .differs("A string is at most 1 MiB."),
    read("strlen", 2, strings::strlen).bits(FAST).since("2.2.0")
        .says("key", "Answers the length of a string."),
    read("substr", 4, strings::getrange).since("1.0.0")
        .says("key start end", "The old name of GETRANGE."),
];
