//! Rows of the commands on lists.

use super::spec::flags::{BLOCKING, DENYOOM, FAST};
use super::spec::{Group, Keys, Kind, Read, Spec, Write};
use crate::keyspace::{list_moves, lists};

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::List, name, arity, Kind::Read(run)).since("1.0.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::List, name, arity, Kind::Write(run)).since("1.0.0")
}

/// See the module head.
pub const ROWS: &[Spec] = &[
    write("blmove", 6, list_moves::blmove)
        .bits(DENYOOM | BLOCKING)
        .since("6.2.0")
        .keys(Keys::Range(1, 2, 1))
        .says(
            "source destination LEFT | RIGHT LEFT | RIGHT timeout",
            "Waits for an element, then moves it to another list.",
        ),
    write("blmpop", -5, list_moves::blmpop)
        .bits(BLOCKING)
        .since("7.0.0")
        .keys(Keys::Counted(2))
        .says(
            "timeout number key [key ...] LEFT | RIGHT [COUNT count]",
            "Waits for elements of one of the keys, then removes and answers them.",
        ),
    write("blpop", -3, list_moves::blpop)
        .bits(BLOCKING)
        .since("2.0.0")
        .keys(Keys::Range(1, -2, 1))
        .says(
            "key [key ...] timeout",
            "Waits for an element, then removes and answers the first.",
        ),
    write("brpop", -3, list_moves::brpop)
        .bits(BLOCKING)
        .since("2.0.0")
        .keys(Keys::Range(1, -2, 1))
        .says(
            "key [key ...] timeout",
            "Waits for an element, then removes and answers the last.",
        ),
    write("brpoplpush", 4, list_moves::brpoplpush)
        .bits(DENYOOM | BLOCKING)
        .since("2.2.0")
        .keys(Keys::Range(1, 2, 1))
        .says(
            "source destination timeout",
            "Waits for an element, then moves it to another list.",
        ),
    read("lindex", 3, lists::lindex).says("key index", "Answers an element."),
    write("linsert", 5, lists::linsert)
        .bits(DENYOOM)
        .since("2.2.0")
        .says(
            "key BEFORE | AFTER pivot element",
            "Inserts an element beside another.",
        ),
    read("llen", 2, lists::llen)
        .bits(FAST)
        .says("key", "Answers the number of elements."),
    write("lmove", 5, list_moves::lmove)
        .bits(DENYOOM)
        .since("6.2.0")
        .keys(Keys::Range(1, 2, 1))
        .says(
            "source destination LEFT | RIGHT LEFT | RIGHT",
            "Moves an element to another list.",
        ),
    write("lmpop", -4, list_moves::lmpop)
        .since("7.0.0")
        .keys(Keys::Counted(1))
        .says(
            "number key [key ...] LEFT | RIGHT [COUNT count]",
            "Removes and answers elements of the first key that has some.",
        ),
    write("lpop", -2, lists::lpop)
        .bits(FAST)
        .says("key [count]", "Removes and answers the first elements."),
    read("lpos", -3, lists::lpos)
        .since("6.0.6")
        .says(
            "key element [RANK rank] [COUNT count] [MAXLEN length]",
            "Answers the places of equal elements.",
        )
        .differs("The lowest 64-bit rank is refused, as since Redis 7.2."),
    write("lpush", -3, lists::lpush).bits(FAST | DENYOOM).says(
        "key element [element ...]",
        "Adds elements before the first.",
    ),
    write("lpushx", -3, lists::lpushx)
        .bits(FAST | DENYOOM)
        .since("2.2.0")
        .says(
            "key element [element ...]",
            "Adds elements before the first if there is a list.",
        ),
    read("lrange", 4, lists::lrange).says("key start stop", "Answers a range of elements."),
    write("lrem", 4, lists::lrem).says(
        "key count element",
        "Removes equal elements, from the end when the count is negative.",
    ),
    write("lset", 4, lists::lset)
        .bits(DENYOOM)
        .says("key index element", "Replaces an element."),
    write("ltrim", 4, lists::ltrim).says("key start stop", "Keeps a range of elements only."),
    write("rpop", -2, lists::rpop)
        .bits(FAST)
        .says("key [count]", "Removes and answers the last elements."),
    write("rpoplpush", 3, list_moves::rpoplpush)
        .bits(DENYOOM)
        .since("1.2.0")
        .keys(Keys::Range(1, 2, 1))
        .says(
            "source destination",
            "Moves the last element to the front of another list.",
        ),
    write("rpush", -3, lists::rpush).bits(FAST | DENYOOM).says(
        "key element [element ...]",
        "Adds elements behind the last.",
    ),
    write("rpushx", -3, lists::rpushx)
        .bits(FAST | DENYOOM)
        .since("2.2.0")
        .says(
            "key element [element ...]",
            "Adds elements behind the last if there is a list.",
        ),
];
