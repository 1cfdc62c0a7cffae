//! Rows of the commands on sets.

use super::spec::{Group, Kind, Read, Spec, Write, flags};
use crate::keyspace::sets::*;

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::Set, name, arity, Kind::Read(run))
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::Set, name, arity, Kind::Write(run))
}

/// See the module head.
#[rustfmt::skip]
pub const ROWS: &[Spec] = &[
    write("sadd", -3, sadd)
        .bits(flags::FAST | flags::DENYOOM)
        .says(
            "key member [member ...]",
            "Adds members; answers how many are new.",
        ),
    read("scard", 2, scard)
        .bits(flags::FAST)
        .says("key", "Answers the number of members."),
    read("sismember", 3, sismember)
        .bits(flags::FAST)
        .says("key member", "Whether a member is there."),
    read("smembers", 2, smembers).says("key", "Answers all members."),
    write("srem", -3, srem).bits(flags::FAST).says(
        "key member [member ...]",
        "Removes members; an empty set goes.",
    ),
];
