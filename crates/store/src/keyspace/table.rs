//! The table of commands: one row each.

use bytes::Bytes;

use super::parse::{Outcome, Refusal};
use super::{Effects, Keyspace, hashes, keys, sets, sorted_sets, strings};

/// A command that only reads.
pub type Read = fn(&Keyspace, &[Bytes]) -> Outcome;
/// A command that may change something.
pub type Write = fn(&mut Keyspace, &[Bytes], &mut Effects) -> Outcome;

/// The SQL commands, which the SQL applier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sql {
    /// `SQL.EXEC statement arguments`
    Exec,
    /// `SQL.QUERY statement arguments`
    Query,
    /// `SQL.MIGRATE version statements`
    Migrate,
}

/// Who runs a command.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The keyspace, without changing it.
    Read(Read),
    /// The keyspace, from the log.
    Write(Write),
    /// The SQL applier.
    Sql(Sql),
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Spec {
    /// Lower-case name.
    pub name: &'static str,
    /// Number of words; negative: at least that many.
    pub arity: i32,
    /// Who runs it.
    pub kind: Kind,
}

impl Spec {
    /// Whether it can be answered without the log.
    pub fn is_read(&self) -> bool {
        matches!(self.kind, Kind::Read(_) | Kind::Sql(Sql::Query))
    }
}

const fn read(name: &'static str, arity: i32, run: Read) -> Spec {
    Spec {
        name,
        arity,
        kind: Kind::Read(run),
    }
}

const fn write(name: &'static str, arity: i32, run: Write) -> Spec {
    Spec {
        name,
        arity,
        kind: Kind::Write(run),
    }
}

const fn sql(name: &'static str, arity: i32, command: Sql) -> Spec {
    Spec {
        name,
        arity,
        kind: Kind::Sql(command),
    }
}

/// All commands, sorted by name for the binary search below.
const TABLE: &[Spec] = &[
    write("append", 3, strings::append),
    read("dbsize", 1, keys::dbsize),
    write("decr", 2, strings::decr),
    write("decrby", 3, strings::decrby),
    write("del", -2, keys::del),
    read("exists", -2, keys::exists),
    write("expire", -3, keys::expire),
    write("expireat", -3, keys::expireat),
    write("flushall", -1, keys::flushall),
    write("flushdb", -1, keys::flushall),
    read("get", 2, strings::get),
    write("getdel", 2, strings::getdel),
    write("getex", -2, strings::getex),
    write("getset", 3, strings::getset),
    write("hdel", -3, hashes::hdel),
    read("hexists", 3, hashes::hexists),
    read("hget", 3, hashes::hget),
    read("hgetall", 2, hashes::hgetall),
    write("hincrby", 4, hashes::hincrby),
    read("hkeys", 2, hashes::hkeys),
    read("hlen", 2, hashes::hlen),
    read("hmget", -3, hashes::hmget),
    write("hmset", -4, hashes::hmset),
    write("hset", -4, hashes::hset),
    write("hsetnx", 4, hashes::hsetnx),
    read("hvals", 2, hashes::hvals),
    write("incr", 2, strings::incr),
    write("incrby", 3, strings::incrby),
    read("keys", 2, keys::keys),
    read("mget", -2, strings::mget),
    write("mset", -3, strings::mset),
    write("persist", 2, keys::persist),
    write("pexpire", -3, keys::pexpire),
    write("pexpireat", -3, keys::pexpireat),
    write("psetex", 4, strings::psetex),
    read("pttl", 2, keys::pttl),
    write("publish", 3, keys::publish),
    write("sadd", -3, sets::sadd),
    read("scan", -2, keys::scan),
    read("scard", 2, sets::scard),
    write("set", -3, strings::set),
    write("setex", 4, strings::setex),
    write("setnx", 3, strings::setnx),
    read("sismember", 3, sets::sismember),
    read("smembers", 2, sets::smembers),
    sql("sql.exec", -2, Sql::Exec),
    sql("sql.migrate", 3, Sql::Migrate),
    sql("sql.query", -2, Sql::Query),
    write("srem", -3, sets::srem),
    read("strlen", 2, strings::strlen),
    read("time", 1, keys::time),
    read("ttl", 2, keys::ttl),
    read("type", 2, keys::type_of),
    write("unlink", -2, keys::del),
    write("zadd", -4, sorted_sets::zadd),
    read("zcard", 2, sorted_sets::zcard),
    read("zcount", 4, sorted_sets::zcount),
    write("zincrby", 4, sorted_sets::zincrby),
    write("zpopmin", -2, sorted_sets::zpopmin),
    read("zrange", -4, sorted_sets::zrange),
    read("zrangebyscore", -4, sorted_sets::zrangebyscore),
    read("zrank", 3, sorted_sets::zrank),
    write("zrem", -3, sorted_sets::zrem),
    write("zremrangebyscore", 4, sorted_sets::zremrangebyscore),
    read("zrevrange", -4, sorted_sets::zrevrange),
    read("zscore", 3, sorted_sets::zscore),
];

/// Longest name of the table.
const NAME_MAX: usize = 16;

/// Finds the row of a command and checks the number of its arguments.
pub fn find(command: &[Bytes]) -> Result<&'static Spec, Refusal> {
    let name = command.first().map(Bytes::as_ref).unwrap_or_default();
    let mut lower = [0; NAME_MAX];
    let Some(lower) = lower.get_mut(..name.len()) else {
        return Err(unknown_command(command));
    };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let found = TABLE.binary_search_by(|spec| spec.name.as_bytes().cmp(lower));
    let spec = found
        .map(|at| &TABLE[at])
        .map_err(|_| unknown_command(command))?;
    let words = i32::try_from(command.len()).unwrap_or(i32::MAX);
    let fits = if spec.arity < 0 {
        words >= -spec.arity
    } else {
        words == spec.arity
    };
    if fits {
        Ok(spec)
    } else {
        Err(arity_refusal(spec.name))
    }
}

/// Number of commands.
pub fn size() -> usize {
    TABLE.len()
}

/// The refusal of a command with the wrong number of arguments.
pub fn arity_refusal(name: &str) -> Refusal {
    Refusal(format!("ERR wrong number of arguments for '{name}' command").into())
}

/// The refusal of a command that is not in the table.
pub fn unknown_command(command: &[Bytes]) -> Refusal {
    const SHOWN: usize = 128;
    let shown = |bytes: &Bytes| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
        text.replace(['\r', '\n'], " ")
    };
    let name = command.first().map(shown).unwrap_or_default();
    let mut arguments = String::new();
    for argument in command.iter().skip(1) {
        if arguments.len() >= SHOWN {
            break;
        }
        arguments.push_str(&format!("'{}' ", shown(argument)));
    }
    let text = format!("ERR unknown command '{name}', with args beginning with: {arguments}");
    Refusal(text.trim_end_matches(['\r', '\n']).to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_short_enough() {
        assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(TABLE.iter().all(|spec| spec.name.len() <= NAME_MAX));
    }
}
