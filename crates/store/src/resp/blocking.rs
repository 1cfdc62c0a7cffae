//! Commands that wait for something to be there: tried at once, and again whenever an applied
//! entry has given one of their keys something to take.
//!
//! In the log a blocking command answers at once, so each try is an ordinary entry and a change
//! of leader costs nothing but time. A client that has nothing to take has no entry in the log.

use std::time::Duration;

use bytes::Bytes;

use crate::keyspace::Spec;
use crate::limits::WAITER_KEYS_MAX;
use crate::reply::{Command, Reply};

/// What a blocked client waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// What is tried.
    pub command: Command,
    /// Whether trying changes nothing (`XREAD`).
    pub reads: bool,
    /// Keys that may have something.
    pub keys: Vec<Bytes>,
    /// How long, `None` for ever.
    pub timeout: Option<Duration>,
    /// The reply when there was nothing in time.
    pub nothing: Reply,
}

/// The wish of a command; `None` when it does not wait.
pub fn wish(spec: &Spec, command: &Command) -> Result<Option<Wish>, Reply> {
    let Some(waits_ms) = spec.waits_ms(command)? else {
        return Ok(None);
    };
    let keys = spec.keys_of(command);
    if keys.len() > WAITER_KEYS_MAX {
        return Err(Reply::Error(format!(
            "ERR at most {WAITER_KEYS_MAX} keys in a blocking command"
        )));
    }
    // A key to move to is not waited for.
    let (waited, nothing) = if matches!(spec.name, "blmove" | "brpoplpush") {
        (1, Reply::Nil)
    } else {
        (keys.len(), Reply::NilArray)
    };
    let keys = keys.into_iter().take(waited);
    Ok(Some(Wish {
        reads: spec.is_read(),
        keys: keys.map(|key| Bytes::copy_from_slice(key)).collect(),
        timeout: (waits_ms > 0).then(|| Duration::from_millis(waits_ms)),
        command: command.clone(),
        nothing,
    }))
}

impl Wish {
    /// Places of the ids that mean "from now on" (`$` and `+`), with their keys.
    pub fn open_ids(&self) -> Vec<(Bytes, usize)> {
        let Some(first) = self.command.len().checked_sub(self.keys.len()) else {
            return Vec::new();
        };
        let is_open = |at: &usize| self.command[*at].as_ref() == b"$";
        (first..)
            .zip(&self.keys)
            .filter(|(at, _)| self.reads && is_open(at))
            .map(|(at, key)| (key.clone(), at))
            .collect()
    }
}

/// Whether a try has found nothing.
pub fn is_nothing(reply: &Reply) -> bool {
    matches!(reply, Reply::Nil | Reply::NilArray)
}
