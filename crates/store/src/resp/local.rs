//! Commands about the connection and the server, answered without the keyspace.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::encode::Version;
use super::session::{Session, Step};
use crate::keyspace::{arity_refusal, describe};
use crate::reply::{Command, Reply};
use crate::store::Store;

/// The version of Redis whose behaviour and error texts are followed.
const REDIS_VERSION: &str = "7.2.0";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

fn is(argument: &Bytes, word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

fn role(store: &Store) -> &'static str {
    if store.status().leading {
        "master"
    } else {
        "replica"
    }
}

/// `HELLO [2|3 [AUTH name password] [SETNAME name]]`
pub fn hello(session: &mut Session, command: &Command, store: &Store) -> Step {
    let wrong = |text: &str| Step::Answer(Reply::error(text));
    let version = match command.get(1).map(Bytes::as_ref) {
        None => session.version,
        Some(b"2") => Version::Two,
        Some(b"3") => Version::Three,
        Some(_) => return wrong("NOPROTO unsupported protocol version"),
    };
    let mut name = None;
    let mut authenticated = session.authenticated;
    let mut at = 2;
    while at < command.len() {
        match (&command[at], command.get(at + 1), command.get(at + 2)) {
            (word, Some(user), Some(password)) if is(word, "AUTH") => {
                if !session
                    .shared
                    .admits(&String::from_utf8_lossy(user), password)
                {
                    return wrong(WRONG_PASSWORD);
                }
                authenticated = true;
                at += 3;
            }
            (word, Some(text), _) if is(word, "SETNAME") => {
                name = Some(Bytes::copy_from_slice(text));
                at += 2;
            }
            _ => return wrong("ERR Syntax error in HELLO"),
        }
    }
    if !authenticated {
        return wrong(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        );
    }
    session.authenticated = true;
    session.version = version;
    session.name = name.unwrap_or_else(|| session.name.clone());
    let number = if version == Version::Three { 3 } else { 2 };
    let pair = |name: &str, value: Reply| (Reply::text(name), value);
    Step::Answer(Reply::Map(vec![
        pair("server", Reply::text("redis")),
        pair("version", Reply::text(REDIS_VERSION)),
        pair("proto", Reply::Int(number)),
        pair("id", client_id(session)),
        pair("mode", Reply::text("standalone")),
        pair("role", Reply::text(role(store))),
        pair("modules", Reply::Array(Vec::new())),
    ]))
}

fn client_id(session: &Session) -> Reply {
    Reply::Int(i64::try_from(session.id).unwrap_or(i64::MAX))
}

/// `AUTH password` and `AUTH name password`
pub fn auth(session: &mut Session, command: &Command) -> Reply {
    let (name, password) = match command.as_slice() {
        [_, password] => ("default".into(), password),
        [_, name, password] => (String::from_utf8_lossy(name).into_owned(), password),
        _ => return arity_refusal("auth").into(),
    };
    if session.shared.accounts.is_empty() {
        return Reply::error(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        );
    }
    if !session.shared.admits(&name, password) {
        return Reply::error(WRONG_PASSWORD);
    }
    session.authenticated = true;
    Reply::Ok
}

/// Answers a command of this module; `None` when it belongs to the keyspace.
pub fn answer(session: &mut Session, name: &str, words: &Command, store: &Store) -> Option<Reply> {
    let arguments = &words[1..];
    Some(match (name, arguments) {
        ("PING", []) if session.version == Version::Two && session.subscriptions() > 0 => {
            Reply::Array(vec![Reply::text("pong"), Reply::text("")])
        }
        ("PING", []) => Reply::Simple("PONG".into()),
        ("PING", [text]) if session.version == Version::Two && session.subscriptions() > 0 => {
            Reply::Array(vec![Reply::text("pong"), Reply::Bulk(text.clone())])
        }
        ("PING" | "ECHO", [text]) => Reply::Bulk(text.clone()),
        ("SELECT", [number]) if number.as_ref() == b"0" => Reply::Ok,
        ("SELECT", [_]) => Reply::error("ERR DB index is out of range"),
        ("READONLY", []) => {
            session.read_only = true;
            Reply::Ok
        }
        ("READWRITE", []) => {
            session.read_only = false;
            Reply::Ok
        }
        ("CLIENT", [verb, rest @ ..]) => client(session, verb, rest),
        ("COMMAND", _) => describe(words),
        ("CONFIG", [verb, ..]) if is(verb, "GET") => Reply::Map(Vec::new()),
        ("CONFIG", _) => Reply::error("ERR the configuration is not changed by commands"),
        ("INFO", _) => Reply::Verbatim(info(session, store)),
        ("ROLE", []) => replication_role(session, store),
        ("PING" | "ECHO" | "SELECT" | "CLIENT" | "ROLE" | "READONLY" | "READWRITE", _) => {
            arity_refusal(&name.to_ascii_lowercase()).into()
        }
        ("EVAL" | "EVALSHA" | "FCALL" | "SCRIPT" | "FUNCTION", _) => {
            Reply::error("ERR scripts are not supported; use MULTI")
        }
        _ => return None,
    })
}

fn client(session: &mut Session, verb: &Bytes, rest: &[Bytes]) -> Reply {
    match rest {
        [name] if is(verb, "SETNAME") => {
            if name.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
                return Reply::error(
                    "ERR Client names cannot contain spaces, newlines or special characters.",
                );
            }
            session.name = Bytes::copy_from_slice(name);
            Reply::Ok
        }
        [] if is(verb, "GETNAME") => {
            if session.name.is_empty() {
                Reply::Nil
            } else {
                Reply::Bulk(session.name.clone())
            }
        }
        [] if is(verb, "ID") => client_id(session),
        [_, _] if is(verb, "SETINFO") => Reply::Ok,
        [] if is(verb, "INFO") => {
            let name = String::from_utf8_lossy(&session.name);
            let resp = if session.version == Version::Three {
                3
            } else {
                2
            };
            Reply::text(format!("id={} name={name} db=0 resp={resp}", session.id))
        }
        _ => {
            let verb = String::from_utf8_lossy(verb);
            Reply::Error(format!(
                "ERR unknown subcommand or wrong number of arguments for '{verb}'. Try CLIENT HELP."
            ))
        }
    }
}

fn replication_role(session: &Session, store: &Store) -> Reply {
    let status = store.status();
    let offset = Reply::Int(i64::try_from(status.applied).unwrap_or(i64::MAX));
    let place = |id: u64| {
        let peer = session.shared.peers.get(&id);
        let address = peer.map(|peer| peer.resp.unwrap_or(peer.raft));
        let ip = address.map_or_else(String::new, |address| address.ip().to_string());
        (ip, address.map_or(0, |address| address.port()))
    };
    if status.leading {
        let others = status.peers.iter().map(|peer| {
            let (ip, port) = place(peer.id);
            let matched = peer.matched.unwrap_or(0).to_string();
            Reply::Array(vec![
                Reply::text(ip),
                Reply::text(port.to_string()),
                Reply::text(matched),
            ])
        });
        return Reply::Array(vec![
            Reply::text("master"),
            offset,
            Reply::Array(others.collect()),
        ]);
    }
    let (ip, port) = status.leader.map_or((String::new(), 0), place);
    let state = if status.leader.is_some() {
        "connected"
    } else {
        "connect"
    };
    Reply::Array(vec![
        Reply::text("slave"),
        Reply::text(ip),
        Reply::Int(i64::from(port)),
        Reply::text(state),
        offset,
    ])
}

fn info(session: &Session, store: &Store) -> String {
    let status = store.status();
    let role = if status.leading { "master" } else { "slave" };
    let commands = session.shared.counters.commands.load(Ordering::Relaxed);
    let leader = status
        .leader
        .map_or_else(String::new, |leader| leader.to_string());
    let sections = [
        format!("# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:standalone"),
        format!("process_id:{}\r\n", std::process::id()),
        format!(
            "# Clients\r\nconnected_clients:{}\r\n",
            session.shared.connected()
        ),
        format!(
            "# Persistence\r\nloading:0\r\nlog_bytes:{}\r\n",
            status.log_bytes
        ),
        format!("# Stats\r\ntotal_commands_processed:{commands}\r\n"),
        format!(
            "# Replication\r\nrole:{role}\r\nconnected_slaves:{}",
            status.peers.len()
        ),
        format!("master_repl_offset:{}\r\n", status.applied),
        format!(
            "# Raft\r\nid:{}\r\nleader:{leader}\r\nterm:{}",
            status.id, status.term
        ),
        format!(
            "last_log:{}\r\ncommitted:{}",
            status.last_log, status.committed
        ),
        format!(
            "applied:{}\r\nsnapshot:{}\r\n",
            status.applied, status.snapshot
        ),
        format!(
            "# Keyspace\r\ndb0:keys={},expires=0,avg_ttl=0\r\n",
            status.keys
        ),
    ];
    sections.join("\r\n")
}
