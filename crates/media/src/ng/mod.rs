//! The NG protocol: `cookie SP dictionary` in, `cookie SP dictionary` out.
//!
//! Invariant: a command is carried out once however often its datagram arrives within the
//! time its answer is kept.

pub mod bencode;
pub mod codec_flags;
pub mod cookies;
pub mod rates;
pub mod request;
pub mod rooms;
pub mod server;
pub mod sound;
pub mod statistics;
pub mod stream;
pub mod takeover;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Core;
use crate::epoll::monotonic_ns;
use crate::limits::{COOKIE_BYTES_MAX, NG_BYTES_MAX};
use crate::ports::PortError;
use crate::query;
use crate::sdp::SdpError;
use bencode::{Dict, Value, dict};
use cookies::Known;
use request::Command;

/// A command that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Text for the client.
    pub reason: String,
    /// A limit was reached (counted apart from mistakes).
    pub limit: bool,
    /// The client is to try another engine (`result: load limit`).
    pub elsewhere: bool,
}

impl Refusal {
    /// A mistake of the client.
    pub fn error(reason: &str) -> Refusal {
        Refusal {
            reason: reason.into(),
            limit: false,
            elsewhere: false,
        }
    }

    /// A limit of this engine was reached.
    pub fn full(reason: &str) -> Refusal {
        Refusal {
            limit: true,
            ..Refusal::error(reason)
        }
    }

    /// This engine takes no more calls.
    pub fn overload(reason: &str) -> Refusal {
        Refusal {
            elsewhere: true,
            ..Refusal::full(reason)
        }
    }

    fn to_dict(&self) -> Dict {
        let reason = self.reason.as_str().into();
        if self.elsewhere {
            return dict([("result", "load limit".into()), ("message", reason)]);
        }
        dict([("result", "error".into()), ("error-reason", reason)])
    }
}

impl From<SdpError> for Refusal {
    fn from(error: SdpError) -> Refusal {
        let limit = error == SdpError::TooLarge;
        Refusal {
            limit,
            ..Refusal::error(&error.to_string())
        }
    }
}

impl From<PortError> for Refusal {
    fn from(error: PortError) -> Refusal {
        Refusal::full(&error.to_string())
    }
}

/// Answers one datagram; empty when it has no cookie and so deserves no answer.
pub(crate) fn handle(core: &Core, datagram: &[u8], from: SocketAddr) -> Vec<u8> {
    let cookie_ends = datagram
        .iter()
        .take(COOKIE_BYTES_MAX + 1)
        .position(|&byte| byte == b' ');
    let Some(at) = cookie_ends.filter(|&at| at > 0 && datagram.len() <= NG_BYTES_MAX) else {
        core.counts.ng_nonsense.add(1);
        return Vec::new();
    };
    let (cookie, body) = (&datagram[..at], &datagram[at + 1..]);
    let now_ms = monotonic_ns() / 1_000_000;
    // Not held while the command is carried out: it may read a file.
    match core.cookies.lock().begin(from, cookie, now_ms) {
        Known::New => {}
        Known::UnderWay => {
            core.counts.ng_repeats.add(1);
            return Vec::new();
        }
        Known::Answered(answer) => {
            core.counts.ng_repeats.add(1);
            return answer;
        }
    }
    let mut answer = cookie.to_vec();
    answer.push(b' ');
    answer_body(core, body, &mut answer);
    let kept = answer.clone();
    core.cookies.lock().keep(from, cookie, kept, now_ms);
    answer
}

fn answer_body(core: &Core, body: &[u8], out: &mut Vec<u8>) {
    core.counts.ng_requests.add(1);
    let json = body.first() == Some(&b'{');
    let result = read_body(body, json).and_then(|dict| guard(|| execute(core, &dict)));
    let dict = result.unwrap_or_else(|refusal| {
        core.counts.ng_errors.add(1);
        core.counts.refused.add(u64::from(refusal.limit));
        tracing::debug!(reason = refusal.reason, "refused an NG command");
        refusal.to_dict()
    });
    let value = Value::Dict(dict);
    if json {
        out.extend_from_slice(bencode::to_json(&value).to_string().as_bytes());
    } else {
        bencode::encode(&value, out);
    }
}

/// A panic is a mistake of ours that this command has brought to light: its sender is told, and
/// the next command is answered.
fn guard(command: impl FnOnce() -> Result<Dict, Refusal>) -> Result<Dict, Refusal> {
    // Locks are given up on the way out; a call that was changed in part goes with its deletion.
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        tracing::error!("an NG command panicked");
        Err(Refusal::error("Internal error"))
    })
}

fn read_body(body: &[u8], json: bool) -> Result<Dict, Refusal> {
    if body.is_empty() {
        return Err(Refusal::error("Invalid data (no payload)"));
    }
    let value = if json {
        let bad = || Refusal::error("Failed to parse JSON document");
        let document = serde_json::from_slice(body).map_err(|_| bad())?;
        bencode::from_json(&document, 0).ok_or_else(bad)?
    } else {
        bencode::decode(body).ok_or_else(|| Refusal::error("Invalid NG data format"))?
    };
    match value {
        Value::Dict(dict) => Ok(dict),
        _ => Err(Refusal::error("Invalid NG data format")),
    }
}

fn execute(core: &Core, dict: &Dict) -> Result<Dict, Refusal> {
    let command = request::command(dict).map_err(Refusal::error)?;
    core.commands.add(command);
    let request = request::read(dict).map_err(Refusal::error)?;
    if let Command::Room(command) = command {
        return rooms::execute(core, command, dict, &request);
    }
    if let Command::Takeover(command) = command {
        return takeover::execute(core, command, dict, &request);
    }
    if command == Command::Statistics {
        let statistics = statistics::statistics(core).into();
        return Ok(bencode::dict([
            ("result", "ok".into()),
            ("statistics", statistics),
        ]));
    }
    let order = match command {
        // Files are read before calls are locked.
        Command::Sound(command) => {
            core.control.lock().check_party(command, &request)?;
            sound::read(command, dict, &core.clips)?
        }
        _ => sound::SoundOrder::None,
    };
    let mut control = core.control.lock();
    let mut answer = match command {
        Command::Ping => return Ok(bencode::dict([("result", "pong".into())])),
        Command::Offer => bencode::dict([("sdp", control.offer(&request)?.into())]),
        Command::Answer => bencode::dict([("sdp", control.answer(&request)?.into())]),
        Command::Publish => bencode::dict([("sdp", control.publish(&request)?.into())]),
        Command::Delete => {
            if request.call_id.is_empty() {
                return Err(Refusal::error("No call-id in message"));
            }
            let call = control.calls.get(&request.call_id[..]);
            let figures = call.map(|call| query::call(&control, call, None));
            match figures {
                Some(figures) if control.delete(&request) => figures,
                _ => bencode::dict([("warning", "Call-ID not found or tags didn't match".into())]),
            }
        }
        Command::Query => {
            if request.call_id.is_empty() {
                return Err(Refusal::error("No call-id in message"));
            }
            let Some(call) = control.calls.get(&request.call_id[..]) else {
                return Err(Refusal::error("Unknown call-id"));
            };
            query::call(&control, call, request.from_tag.as_deref())
        }
        Command::Subscribe => control.subscribe(&request)?,
        Command::SubscribeAnswer => control.subscribe_answer(&request)?,
        Command::Unsubscribe => control.unsubscribe(&request)?,
        Command::List => query::list(&control, &request),
        Command::Sound(command) => control.sound(command, &request, order)?,
        // Carried out above.
        Command::Room(_) | Command::Takeover(_) | Command::Statistics => Dict::new(),
    };
    let changed = takeover::note(&mut control, command, &request, dict, &mut answer);
    drop(control);
    if let Some(event) = changed {
        (core.report)(vec![event]);
    }
    answer.insert(b"result".to_vec(), "ok".into());
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_panics_is_refused() {
        let refused = guard(|| panic!("as a test wants it"));
        assert_eq!(refused, Err(Refusal::error("Internal error")));
        assert_eq!(guard(|| Ok(Dict::new())), Ok(Dict::new()));
    }
}
