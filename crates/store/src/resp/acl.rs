//! `ACL`: shows the accounts; they are changed in the configuration.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::permissions::rules;
use super::session::Session;
use crate::account::{Account, Role};
use crate::keyspace::all;
use crate::reply::Reply;

/// Where accounts come from; the answer to everything that would change them.
const ELSEWHERE: &str = "ERR users are configured under store.accounts in the configuration \
                         file of each Call Manager, not by commands";

fn line(account: &Account) -> String {
    let state = if account.hashes.is_empty() {
        "on nopass"
    } else {
        "on"
    };
    format!("user {} {state} {}", account.name, rules(account.role))
}

fn texts(items: impl IntoIterator<Item = String>) -> Reply {
    Reply::Array(items.into_iter().map(Reply::text).collect())
}

/// `ACL verb ...`
pub fn acl(session: &Session, verb: &str, rest: &[Bytes]) -> Reply {
    let accounts = &session.shared.accounts;
    match (verb, rest) {
        ("WHOAMI", []) => {
            let name = session.account.as_ref().map(|account| account.name.clone());
            Reply::text(name.unwrap_or_default())
        }
        ("USERS", []) => texts(accounts.all().iter().map(|account| account.name.clone())),
        ("LIST", []) => texts(accounts.all().iter().map(|account| line(account))),
        ("GETUSER", [name]) => {
            let name = String::from_utf8_lossy(name);
            accounts
                .get(&name)
                .map_or(Reply::Nil, |account| describe(&account))
        }
        ("CAT", []) => texts(categories()),
        ("CAT", [category]) => {
            let category = String::from_utf8_lossy(category).to_ascii_lowercase();
            match members(&category) {
                Some(members) => texts(members),
                None => Reply::Error(format!("ERR Unknown category '{category}'")),
            }
        }
        ("SETUSER" | "DELUSER" | "LOAD" | "SAVE", _) => Reply::error(ELSEWHERE),
        ("LOG", []) => Reply::Array(Vec::new()),
        _ => super::local::unknown_verb("ACL", verb),
    }
}

fn describe(account: &Account) -> Reply {
    let pair = |name: &str, value: Reply| (Reply::text(name), value);
    let (keys, channels) = match account.role {
        Role::Metrics => ("", ""),
        Role::Node | Role::Operator => ("~*", "&*"),
    };
    let flags = if account.hashes.is_empty() {
        vec!["on", "nopass"]
    } else {
        vec!["on"]
    };
    Reply::Map(vec![
        pair("flags", texts(flags.into_iter().map(str::to_owned))),
        // The hashes stay in the configuration.
        pair("passwords", Reply::Array(Vec::new())),
        pair("commands", Reply::text(rules(account.role))),
        pair("keys", Reply::text(keys)),
        pair("channels", Reply::text(channels)),
        pair("selectors", Reply::Array(Vec::new())),
    ])
}

fn members(category: &str) -> Option<Vec<String>> {
    let category = format!("@{category}");
    let found = all().into_iter().filter(|spec| spec.is_in(&category));
    let found: Vec<String> = found.map(|spec| spec.name.to_owned()).collect();
    (!found.is_empty()).then_some(found)
}

fn categories() -> Vec<String> {
    let rows = all();
    let named = rows.iter().flat_map(|spec| spec.categories());
    let distinct: BTreeSet<&str> = named.collect();
    distinct
        .iter()
        .map(|name| name.trim_start_matches('@').to_owned())
        .collect()
}
