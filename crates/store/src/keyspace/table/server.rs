//! Rows of the commands on the server as a whole and on messages.

use super::spec::flags::{DANGEROUS, FAST};
use super::spec::{Group, Keys, Kind, Read, Spec, Write};
use crate::keyspace::{keys, scans};

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::Server, name, arity, Kind::Read(run)).since("1.0.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::Server, name, arity, Kind::Write(run)).since("1.0.0")
}

/// See the module head.
pub const ROWS: &[Spec] = &[
    read("dbsize", 1, keys::dbsize)
        .bits(FAST)
        .keys(Keys::None)
        .says("", "Answers the number of keys."),
    write("flushall", -1, scans::flushall)
        .bits(DANGEROUS)
        .keys(Keys::None)
        .says("[ASYNC | SYNC]", "Deletes every key."),
    write("flushdb", -1, scans::flushall)
        .bits(DANGEROUS)
        .keys(Keys::None)
        .says(
            "[ASYNC | SYNC]",
            "Deletes every key; there is one database.",
        ),
    write("publish", 3, keys::publish)
        .group(Group::Pubsub)
        .bits(FAST)
        .since("2.0.0")
        .keys(Keys::None)
        .says(
            "channel message",
            "Sends a message to all who listen to it, on every server.",
        )
        .differs("Answers the number of those who listen on this server."),
    read("time", 1, keys::time)
        .bits(FAST)
        .since("2.6.0")
        .keys(Keys::None)
        .says("", "Answers the time.")
        .differs("It is the logical clock of the log, in whole milliseconds."),
];
