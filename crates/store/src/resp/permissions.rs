//! What an account may do. Pure.
//!
//! - `node`: everything.
//! - `operator`: reads, and writes of keys that are not the cluster's own. No SQL: the database
//!   holds what phones authenticate with. Nothing that empties the store.
//! - `metrics`: commands about the connection and measurements; no key.

use bytes::Bytes;

use crate::account::{Account, Role};
use crate::keyspace::find;
use crate::reply::{Command, Reply};

/// Keys that belong to the cluster (`docs/reference/keyspace.md`); only its servers write them.
pub const INTERNAL_PREFIXES: [&str; 5] = ["registration:", "sip:", "call:", "server:", "servers"];

/// What an operator may not run at all.
const DESTRUCTIVE: [&str; 2] = ["FLUSHALL", "FLUSHDB"];

/// What an account for metrics may run, with its first argument where that matters.
const MEASURING: [&str; 15] = [
    "PING",
    "ECHO",
    "INFO",
    "ROLE",
    "SELECT",
    "COMMAND",
    "DBSIZE",
    "TIME",
    "LATENCY",
    "CLIENT ID",
    "CLIENT SETINFO",
    "CLIENT SETNAME",
    "CLIENT GETNAME",
    "SLOWLOG LEN",
    "ACL WHOAMI",
];

fn no_command(account: &Account, name: &str) -> Reply {
    let lower = name.to_ascii_lowercase();
    Reply::Error(format!(
        "NOPERM User {} has no permissions to run the '{lower}' command",
        account.name
    ))
}

/// Whether a key belongs to the cluster.
fn is_internal(key: &Bytes) -> bool {
    INTERNAL_PREFIXES
        .iter()
        .any(|prefix| key.starts_with(prefix.as_bytes()))
}

/// Whether the account may run the command; the error is the reply.
pub fn check(account: &Account, name: &str, command: &Command) -> Result<(), Reply> {
    match account.role {
        Role::Node => Ok(()),
        Role::Operator => operate(account, name, command),
        Role::Metrics => {
            let verb = command.get(1).map(|verb| String::from_utf8_lossy(verb));
            let verb = verb.unwrap_or_default().to_ascii_uppercase();
            let whole = format!("{name} {verb}");
            if MEASURING
                .iter()
                .any(|known| *known == name || *known == whole)
            {
                Ok(())
            } else {
                Err(no_command(account, name))
            }
        }
    }
}

fn operate(account: &Account, name: &str, command: &Command) -> Result<(), Reply> {
    if name.starts_with("SQL.") || DESTRUCTIVE.contains(&name) {
        return Err(no_command(account, name));
    }
    // What is not in the table has no key to write.
    let Ok(spec) = find(command) else {
        return Ok(());
    };
    let mut keys = spec.keys_of(command).into_iter();
    if !spec.is_read() && keys.any(is_internal) {
        return Err(Reply::error("NOPERM No permissions to access a key"));
    }
    Ok(())
}

/// The rules of a role in the words of `ACL LIST`; they cannot say everything.
pub fn rules(role: Role) -> String {
    match role {
        Role::Node => "~* &* +@all".into(),
        Role::Operator => {
            let internal = INTERNAL_PREFIXES.map(|prefix| format!("%R~{prefix}*"));
            format!(
                "~* {} &* +@all -@sql -flushall -flushdb",
                internal.join(" ")
            )
        }
        Role::Metrics => {
            let words = MEASURING.map(|name| {
                let name = name.to_ascii_lowercase().replace(' ', "|");
                format!("+{name}")
            });
            format!("resetkeys resetchannels -@all {}", words.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(role: Role, line: &str) -> bool {
        let command: Command = line
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        let account = Account {
            name: "me".into(),
            role,
            hashes: Vec::new(),
        };
        let name = super::super::session::name_of(&command);
        check(&account, &name, &command).is_ok()
    }

    #[test]
    fn an_operator_reads_everything_and_writes_what_is_not_the_clusters() {
        for line in [
            "GET call:1",
            "SET mine 1",
            "DEL mine",
            "KEYS *",
            "INFO",
            "HGETALL servers",
        ] {
            assert!(allowed(Role::Operator, line), "{line}");
        }
        for line in [
            "FLUSHALL",
            "flushdb",
            "SET call:1 x",
            "DEL mine sip:dialog:1",
            "HSET servers a b",
            "SQL.QUERY select",
        ] {
            assert!(!allowed(Role::Operator, line), "{line}");
        }
    }

    #[test]
    fn metrics_sees_no_key() {
        for line in [
            "PING",
            "info replication",
            "client setinfo LIB-NAME x",
            "ACL WHOAMI",
        ] {
            assert!(allowed(Role::Metrics, line), "{line}");
        }
        for line in [
            "GET a",
            "KEYS *",
            "CLIENT LIST",
            "ACL LIST",
            "SUBSCRIBE a",
            "MULTI",
        ] {
            assert!(!allowed(Role::Metrics, line), "{line}");
        }
        assert!(allowed(Role::Node, "FLUSHALL"));
    }
}
