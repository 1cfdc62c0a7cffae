//! Commands that took long, newest first; `SLOWLOG`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::local::{integer, unknown_verb};
use crate::clock::wall_ms;
use crate::limits::{SLOW_ARGUMENT_BYTES_MAX, SLOW_ARGUMENTS_MAX, SLOW_COMMAND, SLOW_COMMANDS_MAX};
use crate::reply::Reply;

/// Entries answered when no number is given.
const SHOWN: usize = 10;

struct SlowCommand {
    id: u64,
    at_s: u64,
    took: Duration,
    words: Vec<Bytes>,
    address: String,
    name: Bytes,
}

/// The slow commands of a node.
#[derive(Default)]
pub struct SlowLog {
    commands: Mutex<VecDeque<SlowCommand>>,
    seen: AtomicU64,
}

/// A command kept short enough to be remembered. Secrets are left out.
pub fn shorten(command: &[Bytes]) -> Vec<Bytes> {
    let is = |at: usize, word: &str| {
        let argument = command.get(at);
        argument.is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    };
    if is(0, "AUTH") || is(0, "HELLO") {
        return vec![command[0].clone(), Bytes::from_static(b"(redacted)")];
    }
    let shown = if command.len() > SLOW_ARGUMENTS_MAX {
        SLOW_ARGUMENTS_MAX - 1
    } else {
        command.len()
    };
    let mut words: Vec<Bytes> = command[..shown]
        .iter()
        .map(
            |word| match word.len().checked_sub(SLOW_ARGUMENT_BYTES_MAX) {
                None | Some(0) => Bytes::copy_from_slice(word),
                Some(more) => {
                    let mut text = word[..SLOW_ARGUMENT_BYTES_MAX].to_vec();
                    text.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
                    Bytes::from(text)
                }
            },
        )
        .collect();
    if shown < command.len() {
        let more = command.len() - shown;
        words.push(Bytes::from(format!("... ({more} more arguments)")));
    }
    words
}

impl SlowLog {
    /// Whether a command that took so long is remembered.
    pub fn wants(took: Duration) -> bool {
        took >= SLOW_COMMAND
    }

    /// Remembers a command; the oldest makes room.
    pub fn add(&self, took: Duration, command: &[Bytes], address: String, name: Bytes) {
        let id = self.seen.fetch_add(1, Ordering::Relaxed);
        let slow = SlowCommand {
            id,
            at_s: wall_ms() / 1_000,
            took,
            words: shorten(command),
            address,
            name,
        };
        let mut commands = self.commands.lock();
        commands.truncate(SLOW_COMMANDS_MAX - 1);
        commands.push_front(slow);
    }

    /// Slow commands since the start.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// `SLOWLOG verb ...`
    pub fn answer(&self, verb: &str, rest: &[Bytes]) -> Reply {
        match (verb, rest) {
            ("GET", []) => self.page(SHOWN),
            ("GET", [number]) => match integer(number) {
                Some(-1) => self.page(usize::MAX),
                Some(number) if number >= 0 => self.page(usize::try_from(number).unwrap_or(0)),
                _ => Reply::error("ERR count should be greater than or equal to -1"),
            },
            ("LEN", []) => Reply::Int(i64::try_from(self.commands.lock().len()).unwrap_or(0)),
            ("RESET", []) => {
                self.commands.lock().clear();
                Reply::Ok
            }
            _ => unknown_verb("SLOWLOG", verb),
        }
    }

    fn page(&self, number: usize) -> Reply {
        let int = |value: u64| Reply::Int(i64::try_from(value).unwrap_or(i64::MAX));
        let commands = self.commands.lock();
        let shown = commands.iter().take(number).map(|slow| {
            let took_us = u64::try_from(slow.took.as_micros()).unwrap_or(u64::MAX);
            Reply::Array(vec![
                int(slow.id),
                int(slow.at_s),
                int(took_us),
                Reply::Array(slow.words.iter().cloned().map(Reply::Bulk).collect()),
                Reply::text(slow.address.clone()),
                Reply::Bulk(slow.name.clone()),
            ])
        });
        Reply::Array(shown.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_commands_are_short_bounded_and_without_secrets() {
        let log = SlowLog::default();
        let long = vec![Bytes::from_static(b"SET"), Bytes::from(vec![b'x'; 1_000])];
        for _ in 0..SLOW_COMMANDS_MAX + 5 {
            log.add(SLOW_COMMAND, &long, "a".into(), Bytes::new());
        }
        assert_eq!(log.commands.lock().len(), SLOW_COMMANDS_MAX);
        assert_eq!(log.commands.lock()[0].id as usize, SLOW_COMMANDS_MAX + 4);
        assert!(log.commands.lock()[0].words[1].ends_with(b"... (872 more bytes)"));
        let many = vec![Bytes::from_static(b"DEL"); 100];
        assert_eq!(shorten(&many).len(), SLOW_ARGUMENTS_MAX);
        let login = [b"AUTH".as_slice(), b"me", b"secret"].map(Bytes::from_static);
        assert!(!format!("{:?}", shorten(&login)).contains("secret"));
        assert_eq!(log.answer("RESET", &[]), Reply::Ok);
        assert_eq!(log.answer("LEN", &[]), Reply::Int(0));
    }
}
