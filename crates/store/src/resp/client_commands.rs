//! `CLIENT`: what a client tells about itself, and what it may do to others.

use std::sync::Arc;

use bytes::Bytes;

use super::clients::{ClientEntry, Unblock};
use super::encode::Version;
use super::local::{integer, unknown_verb};
use super::login::check_name;
use super::session::{Mute, Session, Step, refuse};
use crate::reply::Reply;

/// Longest library name or version that is remembered.
const LIBRARY_BYTES_MAX: usize = 64;

fn is(argument: &Bytes, word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

fn number(value: u64) -> Reply {
    Reply::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `CLIENT verb ...`
pub fn client(session: &mut Session, verb: &str, rest: &[Bytes]) -> Step {
    let reply = match (verb, rest) {
        ("SETNAME", [name]) => match check_name(name) {
            Ok(()) => {
                session.name = Bytes::copy_from_slice(name);
                Reply::Ok
            }
            Err(refusal) => refusal,
        },
        ("GETNAME", []) if session.name.is_empty() => Reply::Nil,
        ("GETNAME", []) => Reply::Bulk(session.name.clone()),
        ("ID", []) => number(session.id),
        ("SETINFO", [what, text]) => set_library(session, what, text),
        ("INFO", []) => {
            session.note();
            Reply::Verbatim(format!("{}\n", session.entry.line()))
        }
        ("LIST", _) => {
            session.note();
            list(session, rest)
        }
        ("KILL", _) => return kill(session, rest),
        ("UNBLOCK", [id, how @ ..]) => unblock(session, id, how),
        ("REPLY", [how]) => {
            return match how {
                _ if is(how, "ON") => Step::Mute(Mute::Off),
                _ if is(how, "OFF") => Step::Mute(Mute::All),
                _ if is(how, "SKIP") => Step::Mute(Mute::Next),
                _ => refuse("ERR syntax error"),
            };
        }
        ("NO-EVICT" | "NO-TOUCH", [how]) if is(how, "ON") || is(how, "OFF") => Reply::Ok,
        ("GETREDIR", []) => Reply::Int(-1),
        ("TRACKINGINFO", []) => tracking(),
        ("TRACKING", [how, ..]) if is(how, "OFF") => Reply::Ok,
        ("TRACKING" | "CACHING", _) => Reply::error(
            "ERR client-side caching is not supported; watch keys with SUBSCRIBE and PUBLISH",
        ),
        ("PAUSE", _) => Reply::error(
            "ERR clients cannot be paused: a pause of one node would hold up the cluster",
        ),
        ("UNPAUSE", []) => Reply::Ok,
        _ => unknown_verb("CLIENT", verb),
    };
    Step::Answer(reply)
}

fn set_library(session: &Session, what: &Bytes, text: &Bytes) -> Reply {
    let fits = text.len() <= LIBRARY_BYTES_MAX && check_name(text).is_ok();
    let text = Bytes::copy_from_slice(&text[..text.len().min(LIBRARY_BYTES_MAX)]);
    match what {
        _ if is(what, "LIB-NAME") && fits => session.entry.note(|seen| seen.library = text),
        _ if is(what, "LIB-VER") && fits => session.entry.note(|seen| seen.library_version = text),
        _ if is(what, "LIB-NAME") || is(what, "LIB-VER") => {
            let what = String::from_utf8_lossy(what).to_ascii_lowercase();
            return Reply::Error(format!(
                "ERR {what} cannot contain spaces, newlines or special characters."
            ));
        }
        _ => {
            let what = String::from_utf8_lossy(what);
            return Reply::Error(format!("ERR Unrecognized option '{what}'"));
        }
    }
    Reply::Ok
}

fn tracking() -> Reply {
    let pair = |name: &str, value: Reply| (Reply::text(name), value);
    Reply::Map(vec![
        pair("flags", Reply::Array(vec![Reply::text("off")])),
        pair("redirect", Reply::Int(-1)),
        pair("prefixes", Reply::Array(Vec::new())),
    ])
}

/// `CLIENT LIST [TYPE normal|pubsub|...] [ID id ...]`
fn list(session: &Session, rest: &[Bytes]) -> Reply {
    let all = session.shared.list.all();
    let lines = |wanted: &dyn Fn(&ClientEntry) -> bool| {
        let wanted = all.iter().filter(|entry| wanted(entry));
        Reply::Verbatim(wanted.map(|entry| format!("{}\n", entry.line())).collect())
    };
    match rest {
        [] => lines(&|_| true),
        [word, kind] if is(word, "TYPE") => {
            let kind = String::from_utf8_lossy(kind).to_ascii_lowercase();
            match kind.as_str() {
                "normal" | "pubsub" | "master" | "replica" | "slave" => {
                    lines(&|entry| entry.kind() == kind)
                }
                _ => Reply::Error(format!("ERR Unknown client type '{kind}'")),
            }
        }
        [word, ids @ ..] if is(word, "ID") && !ids.is_empty() => {
            let Some(ids) = ids.iter().map(integer).collect::<Option<Vec<i64>>>() else {
                return Reply::error("ERR Invalid client ID");
            };
            lines(&|entry| ids.contains(&i64::try_from(entry.id).unwrap_or(i64::MAX)))
        }
        _ => Reply::error("ERR syntax error"),
    }
}

/// Whom `CLIENT KILL` means; every filter must fit.
#[derive(Default)]
struct Aim {
    id: Option<i64>,
    address: Option<String>,
    local: Option<String>,
    user: Option<String>,
    kind: Option<String>,
    age_s: Option<u64>,
    spare_myself: bool,
}

impl Aim {
    fn read(rest: &[Bytes]) -> Result<Aim, Reply> {
        let mut aim = Aim {
            spare_myself: true,
            ..Aim::default()
        };
        for pair in rest.chunks(2) {
            let [word, value] = pair else {
                return Err(Reply::error("ERR syntax error"));
            };
            let text = || Some(String::from_utf8_lossy(value).into_owned());
            let whole = || integer(value).filter(|number| *number > 0);
            match word {
                _ if is(word, "ID") => {
                    let wrong = || Reply::error("ERR client-id should be greater than 0");
                    aim.id = Some(whole().ok_or_else(wrong)?);
                }
                _ if is(word, "ADDR") => aim.address = text(),
                _ if is(word, "LADDR") => aim.local = text(),
                _ if is(word, "USER") => aim.user = text(),
                _ if is(word, "TYPE") => aim.kind = text().map(|kind| kind.to_ascii_lowercase()),
                _ if is(word, "SKIPME") && is(value, "YES") => aim.spare_myself = true,
                _ if is(word, "SKIPME") && is(value, "NO") => aim.spare_myself = false,
                _ if is(word, "MAXAGE") => {
                    let wrong = || Reply::error("ERR maxage should be greater than 0");
                    aim.age_s = Some(whole().ok_or_else(wrong)?.unsigned_abs());
                }
                _ => return Err(Reply::error("ERR syntax error")),
            }
        }
        Ok(aim)
    }

    fn hits(&self, entry: &ClientEntry) -> bool {
        let account = entry.seen().account;
        let user = account.as_ref().map_or("", |account| &account.name);
        let id = i64::try_from(entry.id).unwrap_or(i64::MAX);
        self.id.is_none_or(|wanted| wanted == id)
            && self
                .address
                .as_ref()
                .is_none_or(|at| *at == entry.address.to_string())
            && self
                .local
                .as_ref()
                .is_none_or(|at| *at == entry.local.to_string())
            && self.user.as_ref().is_none_or(|wanted| wanted == user)
            && self.kind.as_ref().is_none_or(|kind| kind == entry.kind())
            && self.age_s.is_none_or(|age| entry.age_s() >= age)
    }
}

fn kill(session: &Session, rest: &[Bytes]) -> Step {
    // The old form names one address, which may be one's own.
    let old = rest.len() == 1;
    let aim = match rest {
        [] => return Step::Answer(crate::keyspace::arity_refusal("client|kill").into()),
        [address] => Ok(Aim {
            address: Some(String::from_utf8_lossy(address).into_owned()),
            ..Aim::default()
        }),
        filters => Aim::read(filters),
    };
    let aim = match aim {
        Ok(aim) => aim,
        Err(refusal) => return Step::Answer(refusal),
    };
    session.note();
    let hit: Vec<Arc<ClientEntry>> = session
        .shared
        .list
        .all()
        .into_iter()
        .filter(|entry| aim.hits(entry) && !(aim.spare_myself && entry.id == session.id))
        .collect();
    let mine = hit.iter().any(|entry| entry.id == session.id);
    hit.iter()
        .filter(|entry| entry.id != session.id)
        .for_each(|entry| entry.end.notify_one());
    let reply = match hit.len() {
        0 if old => Reply::error("ERR No such client"),
        _ if old => Reply::Ok,
        killed => number(killed as u64),
    };
    if mine {
        Step::Quit(reply)
    } else {
        Step::Answer(reply)
    }
}

fn unblock(session: &Session, id: &Bytes, how: &[Bytes]) -> Reply {
    let how = match how {
        [] => Unblock::Timeout,
        [word] if is(word, "TIMEOUT") => Unblock::Timeout,
        [word] if is(word, "ERROR") => Unblock::Error,
        _ => return Reply::error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    let Some(id) = integer(id) else {
        return Reply::error("ERR value is not an integer or out of range");
    };
    let entry = u64::try_from(id)
        .ok()
        .and_then(|id| session.shared.list.get(id));
    Reply::Int(i64::from(entry.is_some_and(|entry| entry.unblock(how))))
}

impl Session {
    /// Tells the list of clients what is true now.
    pub fn note(&self) {
        self.entry.note(|seen| {
            seen.name = self.name.clone();
            seen.account = self.account.clone();
            seen.subscriptions = (
                self.channels.len() + self.shard_channels.len(),
                self.patterns.len(),
            );
            seen.queued = self.transaction.queued();
            seen.watched = self.transaction.watched();
            seen.protocol = if self.version == Version::Three { 3 } else { 2 };
            seen.read_only = self.read_only;
        });
    }
}
