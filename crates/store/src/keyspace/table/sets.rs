//! Rows of the commands on sets.

use super::spec::flags::{DENYOOM, FAST};
use super::spec::{Group, Keys, Kind, Read, Spec, Write};
use crate::keyspace::{scans, set_algebra, sets};

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::Set, name, arity, Kind::Read(run)).since("1.0.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::Set, name, arity, Kind::Write(run)).since("1.0.0")
}

/// See the module head.
pub const ROWS: &[Spec] = &[
    write("sadd", -3, sets::sadd).bits(FAST | DENYOOM).says(
        "key member [member ...]",
        "Adds members; answers how many are new.",
    ),
    read("scard", 2, sets::scard)
        .bits(FAST)
        .says("key", "Answers the number of members."),
    read("sdiff", -2, set_algebra::sdiff)
        .keys(Keys::Range(1, -1, 1))
        .says(
            "key [key ...]",
            "Answers the members of the first set that are in no other.",
        ),
    write("sdiffstore", -3, set_algebra::sdiffstore)
        .bits(DENYOOM)
        .keys(Keys::Range(1, -1, 1))
        .says("destination key [key ...]", "Keeps what SDIFF answers."),
    read("sinter", -2, set_algebra::sinter)
        .keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Answers the members that are in all sets."),
    read("sintercard", -3, set_algebra::sintercard)
        .since("7.0.0")
        .keys(Keys::Counted(1))
        .says(
            "number key [key ...] [LIMIT limit]",
            "Counts the members that are in all sets.",
        ),
    write("sinterstore", -3, set_algebra::sinterstore)
        .bits(DENYOOM)
        .keys(Keys::Range(1, -1, 1))
        .says("destination key [key ...]", "Keeps what SINTER answers."),
    read("sismember", 3, sets::sismember)
        .bits(FAST)
        .says("key member", "Whether a member is there."),
    read("smembers", 2, sets::smembers).says("key", "Answers all members."),
    read("smismember", -3, sets::smismember)
        .bits(FAST)
        .since("6.2.0")
        .says("key member [member ...]", "Whether members are there."),
    write("smove", 4, sets::smove)
        .bits(FAST)
        .keys(Keys::Range(1, 2, 1))
        .says(
            "source destination member",
            "Moves a member to another set.",
        ),
    write("spop", -2, sets::spop)
        .bits(FAST)
        .says("key [count]", "Removes and answers random members.")
        .differs("The choice follows from the log, so that every server makes the same one."),
    read("srandmember", -2, sets::srandmember)
        .says(
            "key [count]",
            "Answers random members; a negative count allows repeats.",
        )
        .differs("The choice follows from the log, so that every server makes the same one."),
    write("srem", -3, sets::srem).bits(FAST).says(
        "key member [member ...]",
        "Removes members; an empty set goes.",
    ),
    read("sscan", -3, scans::sscan)
        .since("2.8.0")
        .says(
            "key cursor [MATCH pattern] [COUNT count]",
            "Answers the members page by page.",
        )
        .differs("COUNT also counts for small sets."),
    read("sunion", -2, set_algebra::sunion)
        .keys(Keys::Range(1, -1, 1))
        .says("key [key ...]", "Answers the members of all sets."),
    write("sunionstore", -3, set_algebra::sunionstore)
        .bits(DENYOOM)
        .keys(Keys::Range(1, -1, 1))
        .says("destination key [key ...]", "Keeps what SUNION answers."),
];
