//! Rows of the commands on hashes.

use super::spec::flags::{DENYOOM, FAST};
use super::spec::{Group, Kind, Read, Spec, Write};
use crate::keyspace::{hash_deadlines, hashes, scans};

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::Hash, name, arity, Kind::Read(run)).since("2.0.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::Hash, name, arity, Kind::Write(run)).since("2.0.0")
}

/// See the module head.
pub const ROWS: &[Spec] = &[
    write("hdel", -3, hashes::hdel).bits(FAST)
        .says("key field [field ...]", "Deletes fields; an empty hash goes."),
    read("hexists", 3, hashes::hexists).bits(FAST)
        .says("key field", "Whether a field is there."),
    write("hexpire", -6, hash_deadlines::hexpire).bits(FAST).since("7.4.0")
        .says(
            "key seconds [NX | XX | GT | LT] FIELDS number field [field ...]",
            "Gives fields a time to live.",
        ),
    write("hexpireat", -6, hash_deadlines::hexpireat).bits(FAST).since("7.4.0")
        .says(
            "key time [NX | XX | GT | LT] FIELDS number field [field ...]",
            "Gives fields a deadline in Unix seconds.",
        ),
    read("hexpiretime", -5, hash_deadlines::hexpiretime).bits(FAST).since("7.4.0")
        .says(
            "key FIELDS number field [field ...]",
            "Answers the deadlines of fields in Unix seconds, rounded up.",
        ),
    read("hget", 3, hashes::hget).bits(FAST).says("key field", "Answers the value of a field."),
    read("hgetall", 2, hashes::hgetall)
        .says("key", "Answers all fields and values.")
        .differs("Fields come in the order of HSCAN, not in that of insertion."),
    write("hincrby", 4, hashes::hincrby).bits(FAST | DENYOOM)
        .says("key field increment", "Adds to an integer field."),
    write("hincrbyfloat", 4, hashes::hincrbyfloat).bits(FAST | DENYOOM).since("2.6.0")
        .says("key field increment", "Adds to a decimal field.")
        .differs(
            "Sums are exact decimals: 300 + 0.1 is 300.1, where Redis 7.0 on x86 answers 300.10000000000000001; very large numbers are added as 64-bit floats.",
        ),
    read("hkeys", 2, hashes::hkeys)
        .says("key", "Answers all fields.")
        .differs("Fields come in the order of HSCAN, not in that of insertion."),
    read("hlen", 2, hashes::hlen).bits(FAST).says("key", "Answers the number of fields."),
    read("hmget", -3, hashes::hmget).bits(FAST)
        .says("key field [field ...]", "Answers the values of several fields."),
    write("hmset", -4, hashes::hmset).bits(FAST | DENYOOM)
        .says("key field value [field value ...]", "Sets several fields; HSET is preferred."),
    write("hpersist", -5, hash_deadlines::hpersist).bits(FAST).since("7.4.0")
        .says("key FIELDS number field [field ...]", "Removes the deadlines of fields."),
    write("hpexpire", -6, hash_deadlines::hpexpire).bits(FAST).since("7.4.0")
        .says(
            "key milliseconds [NX | XX | GT | LT] FIELDS number field [field ...]",
            "Gives fields a time to live.",
        ),
    write("hpexpireat", -6, hash_deadlines::hpexpireat).bits(FAST).since("7.4.0")
        .says(
            "key time [NX | XX | GT | LT] FIELDS number field [field ...]",
            "Gives fields a deadline in Unix milliseconds.",
        ),
    read("hpexpiretime", -5, hash_deadlines::hpexpiretime).bits(FAST).since("7.4.0")
        .says(
            "key FIELDS number field [field ...]",
            "Answers the deadlines of fields in Unix milliseconds.",
        ),
    read("hpttl", -5, hash_deadlines::hpttl).bits(FAST).since("7.4.0")
        .says("key FIELDS number field [field ...]", "Answers the milliseconds fields have left."),
    read("hrandfield", -2, hashes::hrandfield).since("6.2.0")
        .says("key [count [WITHVALUES]]", "Answers random fields; a negative count allows repeats.")
        .differs("The choice follows from the log, so that every server makes the same one."),
    read("hscan", -3, scans::hscan).since("2.8.0")
        .says(
            "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
            "Answers the fields page by page.",
        )
        .differs("NOVALUES is that of Redis 7.4; COUNT also counts for small hashes."),
    write("hset", -4, hashes::hset).bits(FAST | DENYOOM)
        .says("key field value [field value ...]", "Sets fields; answers how many are new."),
    write("hsetnx", 4, hashes::hsetnx).bits(FAST | DENYOOM)
        .says("key field value", "Sets a field unless it is there."),
    read("hstrlen", 3, hashes::hstrlen).bits(FAST).since("3.2.0")
        .says("key field", "Answers the length of a value."),
    read("httl", -5, hash_deadlines::httl).bits(FAST).since("7.4.0")
        .says(
            "key FIELDS number field [field ...]",
            "Answers the seconds fields have left, rounded up.",
        ),
    read("hvals", 2, hashes::hvals)
        .says("key", "Answers all values.")
        .differs("Fields come in the order of HSCAN, not in that of insertion."),
];
