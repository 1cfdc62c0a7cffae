//! `HELLO` and `AUTH`: who a client is and which version of the protocol it speaks.

use bytes::Bytes;

use super::encode::Version;
use super::info::{REDIS_VERSION, role};
use super::session::{Session, Step, refuse};
use crate::keyspace::arity_refusal;
use crate::reply::{Command, Reply};
use crate::store::Store;

/// `HELLO [2|3 [AUTH name password] [SETNAME name]]`
pub fn hello(session: &mut Session, command: &Command, store: &Store) -> Step {
    let version = match command.get(1).map(Bytes::as_ref) {
        None => session.version,
        Some(b"2") => Version::Two,
        Some(b"3") => Version::Three,
        Some(text) if text.iter().all(u8::is_ascii_digit) => {
            return refuse("NOPROTO unsupported protocol version");
        }
        Some(_) => return refuse("ERR Protocol version is not an integer or out of range"),
    };
    let (mut name, mut login) = (None, None);
    let mut at = 2;
    while at < command.len() {
        match (&command[at], command.get(at + 1), command.get(at + 2)) {
            (word, Some(user), Some(password)) if word.eq_ignore_ascii_case(b"AUTH") => {
                login = Some((user, password));
                at += 3;
            }
            (word, Some(text), _) if word.eq_ignore_ascii_case(b"SETNAME") => {
                if let Err(refusal) = check_name(text) {
                    return Step::Answer(refusal);
                }
                name = Some(Bytes::copy_from_slice(text));
                at += 2;
            }
            (word, ..) => {
                let word = String::from_utf8_lossy(word);
                return refuse(format!("ERR Syntax error in HELLO option '{word}'"));
            }
        }
    }
    if let Some((user, password)) = login
        && let Err(refusal) = enter(session, &String::from_utf8_lossy(user), password)
    {
        return Step::Answer(refusal);
    }
    if session.account.is_none() {
        return refuse(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        );
    }
    session.version = version;
    session.name = name.unwrap_or_else(|| session.name.clone());
    Step::Answer(greeting(session, store))
}

fn greeting(session: &Session, store: &Store) -> Reply {
    let pair = |name: &str, value: Reply| (Reply::text(name), value);
    let number = if session.version == Version::Three {
        3
    } else {
        2
    };
    let mode = if session.in_cluster_mode {
        "cluster"
    } else {
        "standalone"
    };
    Reply::Map(vec![
        pair("server", Reply::text("redis")),
        pair("version", Reply::text(REDIS_VERSION)),
        pair("proto", Reply::Int(number)),
        pair(
            "id",
            Reply::Int(i64::try_from(session.id).unwrap_or(i64::MAX)),
        ),
        pair("mode", Reply::text(mode)),
        pair("role", Reply::text(role(store))),
        pair("modules", Reply::Array(Vec::new())),
    ])
}

/// A name of `CLIENT SETNAME` is one word of visible characters.
pub fn check_name(name: &[u8]) -> Result<(), Reply> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(Reply::error(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn enter(session: &mut Session, name: &str, password: &[u8]) -> Result<(), Reply> {
    let source = session.entry.address.ip();
    session.account = Some(session.shared.accounts.login(source, name, password)?);
    Ok(())
}

/// `AUTH password` and `AUTH name password`
pub fn auth(session: &mut Session, command: &Command) -> Reply {
    let (name, password) = match command.as_slice() {
        [_, password] => ("default".into(), password),
        [_, name, password] => (String::from_utf8_lossy(name).into_owned(), password),
        [_] => return arity_refusal("auth").into(),
        _ => return Reply::error("ERR syntax error"),
    };
    if session.shared.accounts.initial().is_some() {
        return Reply::error(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        );
    }
    match enter(session, &name, password) {
        Ok(()) => Reply::Ok,
        Err(refusal) => refusal,
    }
}
