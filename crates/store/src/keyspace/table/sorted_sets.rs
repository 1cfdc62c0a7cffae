//! Rows of the commands on sorted sets.

use super::spec::flags::{BLOCKING, DENYOOM, FAST};
use super::spec::{Group, Keys, Kind, Read, Spec, Write};
use crate::keyspace::{scans, score_ranges, sorted_algebra, sorted_sets};

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec::new(Group::SortedSet, name, arity, Kind::Read(run)).since("1.2.0")
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec::new(Group::SortedSet, name, arity, Kind::Write(run)).since("1.2.0")
}

/// See the module head.
pub const ROWS: &[Spec] = &[
    write("bzmpop", -5, sorted_sets::bzmpop).bits(BLOCKING).since("7.0.0")
        .keys(Keys::Counted(2))
        .says(
            "timeout number key [key ...] MIN | MAX [COUNT count]",
            "Waits for members of one of the keys, then removes and answers them.",
        ),
    write("bzpopmax", -3, sorted_sets::bzpopmax).bits(FAST | BLOCKING).since("5.0.0")
        .keys(Keys::Range(1, -2, 1))
        .says("key [key ...] timeout", "Waits for a member, then removes and answers the highest."),
    write("bzpopmin", -3, sorted_sets::bzpopmin).bits(FAST | BLOCKING).since("5.0.0")
        .keys(Keys::Range(1, -2, 1))
        .says("key [key ...] timeout", "Waits for a member, then removes and answers the lowest."),
    write("zadd", -4, sorted_sets::zadd).bits(FAST | DENYOOM)
        .says(
            "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
            "Adds members or changes their scores.",
        )
        .differs(
            "Scores are shown with the fewest digits that read back the same, as since Redis 7.2; zero may keep a minus sign.",
        ),
    read("zcard", 2, sorted_sets::zcard).bits(FAST)
        .says("key", "Answers the number of members."),
    read("zcount", 4, score_ranges::zcount).bits(FAST).since("2.0.0")
        .says("key min max", "Counts the members within scores."),
    read("zdiff", -3, sorted_algebra::zdiff).since("6.2.0").keys(Keys::Counted(1))
        .says(
            "number key [key ...] [WITHSCORES]",
            "Answers the members of the first key that are in no other.",
        ),
    write("zdiffstore", -4, sorted_algebra::zdiffstore).bits(DENYOOM).since("6.2.0")
        .keys(Keys::Stored)
        .says("destination number key [key ...]", "Keeps what ZDIFF answers."),
    write("zincrby", 4, sorted_sets::zincrby).bits(FAST | DENYOOM)
        .says("key increment member", "Adds to a member's score."),
    read("zinter", -3, sorted_algebra::zinter).since("6.2.0").keys(Keys::Counted(1))
        .says(
            "number key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
            "Answers the members that are in all keys.",
        ),
    read("zintercard", -3, sorted_algebra::zintercard).since("7.0.0")
        .keys(Keys::Counted(1))
        .says("number key [key ...] [LIMIT limit]", "Counts the members that are in all keys."),
    write("zinterstore", -4, sorted_algebra::zinterstore).bits(DENYOOM).since("2.0.0")
        .keys(Keys::Stored)
        .says(
            "destination number key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX]",
            "Keeps what ZINTER answers.",
        ),
    read("zlexcount", 4, score_ranges::zlexcount).bits(FAST).since("2.8.9")
        .says("key min max", "Counts the members within names."),
    write("zmpop", -4, sorted_sets::zmpop).since("7.0.0").keys(Keys::Counted(1))
        .says(
            "number key [key ...] MIN | MAX [COUNT count]",
            "Removes and answers members of the first key that has some.",
        ),
    read("zmscore", -3, sorted_sets::zmscore).bits(FAST).since("6.2.0")
        .says("key member [member ...]", "Answers the scores of several members."),
    write("zpopmax", -2, sorted_sets::zpopmax).bits(FAST).since("5.0.0")
        .says("key [count]", "Removes and answers the members with the highest scores."),
    write("zpopmin", -2, sorted_sets::zpopmin).bits(FAST).since("5.0.0")
        .says("key [count]", "Removes and answers the members with the lowest scores."),
    read("zrandmember", -2, sorted_sets::zrandmember).since("6.2.0")
        .says(
            "key [count [WITHSCORES]]",
            "Answers random members; a negative count allows repeats.",
        )
        .differs("The choice follows from the log, so that every server makes the same one."),
    read("zrange", -4, score_ranges::zrange)
        .says(
            "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
            "Answers a range of members.",
        ),
    read("zrangebylex", -4, score_ranges::zrangebylex).since("2.8.9")
        .says("key min max [LIMIT offset count]", "Answers the members within names."),
    read("zrangebyscore", -4, score_ranges::zrangebyscore).since("1.0.5")
        .says("key min max [WITHSCORES] [LIMIT offset count]", "Answers the members within scores."),
    write("zrangestore", -5, score_ranges::zrangestore).bits(DENYOOM).since("6.2.0")
        .keys(Keys::Range(1, 2, 1))
        .says(
            "destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
            "Keeps a range of members.",
        ),
    read("zrank", -3, sorted_sets::zrank).bits(FAST).since("2.0.0")
        .says("key member [WITHSCORE]", "Answers a member's place, the lowest score first.")
        .differs("WITHSCORE is that of Redis 7.2."),
    write("zrem", -3, sorted_sets::zrem).bits(FAST)
        .says("key member [member ...]", "Removes members; an empty sorted set goes."),
    write("zremrangebylex", 4, score_ranges::zremrangebylex).since("2.8.9")
        .says("key min max", "Removes the members within names."),
    write("zremrangebyrank", 4, score_ranges::zremrangebyrank).since("2.0.0")
        .says("key start stop", "Removes a range of members."),
    write("zremrangebyscore", 4, score_ranges::zremrangebyscore)
        .says("key min max", "Removes the members within scores."),
    read("zrevrange", -4, score_ranges::zrevrange)
        .says("key start stop [WITHSCORES]", "Answers a range of members, the highest score first."),
    read("zrevrangebylex", -4, score_ranges::zrevrangebylex).since("2.8.9")
        .says(
            "key max min [LIMIT offset count]",
            "Answers the members within names, the last first.",
        ),
    read("zrevrangebyscore", -4, score_ranges::zrevrangebyscore).since("2.2.0")
        .says(
            "key max min [WITHSCORES] [LIMIT offset count]",
            "Answers the members within scores, the highest first.",
        ),
    read("zrevrank", -3, sorted_sets::zrevrank).bits(FAST).since("2.0.0")
        .says("key member [WITHSCORE]", "Answers a member's place, the highest score first.")
        .differs("WITHSCORE is that of Redis 7.2."),
    read("zscan", -3, scans::zscan).since("2.8.0")
        .says("key cursor [MATCH pattern] [COUNT count]", "Answers the members page by page.")
        .differs("COUNT also counts for small sorted sets."),
    read("zscore", 3, sorted_sets::zscore).bits(FAST)
        .says("key member", "Answers a member's score."),
    read("zunion", -3, sorted_algebra::zunion).since("6.2.0").keys(Keys::Counted(1))
        .says(
            "number key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]",
            "Answers the members of all keys.",
        ),
    write("zunionstore", -4, sorted_algebra::zunionstore).bits(DENYOOM).since("2.0.0")
        .keys(Keys::Stored)
        .says(
            "destination number key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX]",
            "Keeps what ZUNION answers.",
        ),
];
