//! Rows of the commands on streams.

use super::spec::flags::{BLOCKING, DENYOOM, FAST};
use super::spec::{Group, Keys, Kind, Read, Spec, Write};
use crate::keyspace::streams;

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::Stream, name, arity, Kind::Read(run)).since("5.0.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::Stream, name, arity, Kind::Write(run)).since("5.0.0")
}

/// See the module head.
pub const ROWS: &[Spec] = &[
    write("xadd", -5, streams::xadd).bits(FAST | DENYOOM)
        .says(
            "key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value [field value ...]",
            "Adds a message; * takes the time of the log entry.",
        )
        .differs("A threshold with ~ is kept exactly; LIMIT is accepted and not needed."),
    write("xdel", -3, streams::xdel).bits(FAST).says("key id [id ...]", "Deletes messages."),
    read("xinfo", -2, streams::xinfo).keys(Keys::Range(2, 2, 1))
        .says("STREAM key", "Describes a stream.")
        .differs("Without FULL and without the figures of a radix tree."),
    read("xlen", 2, streams::xlen).bits(FAST).says("key", "Answers the number of messages."),
    read("xrange", -4, streams::xrange)
        .says("key start end [COUNT count]", "Answers the messages between two ids."),
    read("xread", -4, streams::xread).bits(BLOCKING).keys(Keys::Streams)
        .says(
            "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
            "Answers the messages behind ids, of several streams.",
        ),
    read("xrevrange", -4, streams::xrevrange)
        .says(
            "key end start [COUNT count]",
            "Answers the messages between two ids, the newest first.",
        ),
    write("xsetid", -3, streams::xsetid).bits(FAST | DENYOOM)
        .says(
            "key id [ENTRIESADDED number] [MAXDELETEDID id]",
            "Sets what is remembered of a stream.",
        ),
    write("xtrim", -4, streams::xtrim)
        .says("key MAXLEN | MINID [= | ~] threshold [LIMIT count]", "Removes the oldest messages.")
        .differs("A threshold with ~ is kept exactly; LIMIT is accepted and not needed."),
];
