//! Rows of the commands on sorted sets.

use super::spec::{Group, Kind, Read, Spec, Write, flags};
use crate::keyspace::sorted_sets::*;

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::SortedSet, name, arity, Kind::Read(run)).since("1.2.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::SortedSet, name, arity, Kind::Write(run)).since("1.2.0")
}

/// See the module head.
#[rustfmt::skip]
pub const ROWS: &[Spec] = &[
    write("zadd", -4, zadd)
        .bits(flags::FAST | flags::DENYOOM)
        .says(
            "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
            "Adds members or changes their scores.",
        ),
    read("zcard", 2, zcard)
        .bits(flags::FAST)
        .says("key", "Answers the number of members."),
    read("zcount", 4, zcount)
        .since("2.0.0")
        .bits(flags::FAST)
        .says("key min max", "Counts the members within scores."),
    write("zincrby", 4, zincrby)
        .bits(flags::FAST | flags::DENYOOM)
        .says("key increment member", "Adds to a member's score."),
    write("zpopmin", -2, zpopmin)
        .since("5.0.0")
        .bits(flags::FAST)
        .says(
            "key [count]",
            "Removes and answers the members with the lowest scores.",
        ),
    read("zrange", -4, zrange).says(
        "key start stop [BYSCORE] [REV] [LIMIT offset count] [WITHSCORES]",
        "Answers a range of members.",
    ),
    read("zrangebyscore", -4, zrangebyscore)
        .since("1.0.5")
        .says(
            "key min max [WITHSCORES] [LIMIT offset count]",
            "Answers the members within scores.",
        ),
    read("zrank", 3, zrank)
        .since("2.0.0")
        .bits(flags::FAST)
        .says(
            "key member",
            "Answers a member's place, the lowest score first.",
        ),
    write("zrem", -3, zrem).bits(flags::FAST).says(
        "key member [member ...]",
        "Removes members; an empty sorted set goes.",
    ),
    write("zremrangebyscore", 4, zremrangebyscore)
        .says("key min max", "Removes the members within scores."),
    read("zrevrange", -4, zrevrange).says(
        "key start stop [WITHSCORES]",
        "Answers a range of members, the highest score first.",
    ),
    read("zscore", 3, zscore)
        .bits(flags::FAST)
        .says("key member", "Answers a member's score."),
];
