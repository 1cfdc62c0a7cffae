//! Rows of the commands on hashes.

use super::spec::{Group, Kind, Read, Spec, Write, flags};
use crate::keyspace::hashes::*;

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::Hash, name, arity, Kind::Read(run)).since("2.0.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::Hash, name, arity, Kind::Write(run))
        .bits(flags::FAST)
        .since("2.0.0")
}

/// See the module head.
#[rustfmt::skip]
pub const ROWS: &[Spec] = &[
    write("hdel", -3, hdel).says(
        "key field [field ...]",
        "Deletes fields; an empty hash goes.",
    ),
    read("hexists", 3, hexists)
        .bits(flags::FAST)
        .says("key field", "Whether a field is there."),
    read("hget", 3, hget)
        .bits(flags::FAST)
        .says("key field", "Answers the value of a field."),
    read("hgetall", 2, hgetall)
        .says("key", "Answers all fields and values.")
        .differs("The order of fields is that of HSCAN, not that of insertion."),
    write("hincrby", 4, hincrby)
        .bits(flags::DENYOOM)
        .says("key field increment", "Adds to an integer field."),
    read("hkeys", 2, hkeys).says("key", "Answers all fields."),
    read("hlen", 2, hlen)
        .bits(flags::FAST)
        .says("key", "Answers the number of fields."),
    read("hmget", -3, hmget).bits(flags::FAST).says(
        "key field [field ...]",
        "Answers the values of several fields.",
    ),
    write("hmset", -4, hmset).bits(flags::DENYOOM).says(
        "key field value [field value ...]",
        "Sets several fields; HSET is preferred.",
    ),
    write("hset", -4, hset).bits(flags::DENYOOM).says(
        "key field value [field value ...]",
        "Sets fields; answers how many are new.",
    ),
    write("hsetnx", 4, hsetnx)
        .bits(flags::DENYOOM)
        .says("key field value", "Sets a field unless it is there."),
    read("hvals", 2, hvals).says("key", "Answers all values."),
];
