//! `SUBSCRIBE` and its relatives: what a session listens to.
//!
//! Channels of `SSUBSCRIBE` are ordinary channels in another list: all slots are in one place.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::session::{Session, Step, refuse};
use crate::limits::SUBSCRIPTIONS_MAX;
use crate::reply::{Command, Reply};

impl Session {
    fn names(&mut self, name: &str) -> &mut BTreeSet<Bytes> {
        if name.starts_with('P') {
            &mut self.patterns
        } else if name.starts_with("SS") || name.starts_with("SUN") {
            &mut self.shard_channels
        } else {
            &mut self.channels
        }
    }

    pub(super) fn subscribe(&mut self, name: &str, command: &Command) -> Step {
        let kind = name.to_ascii_lowercase();
        if command.len() < 2 {
            return refuse(format!(
                "ERR wrong number of arguments for '{kind}' command"
            ));
        }
        if self.subscriptions() + command.len() - 1 > SUBSCRIPTIONS_MAX {
            self.shared.counters.limited();
            return refuse(format!("ERR at most {SUBSCRIPTIONS_MAX} subscriptions"));
        }
        let mut pushes = Vec::new();
        for channel in &command[1..] {
            let channel = Bytes::copy_from_slice(channel);
            self.names(name).insert(channel.clone());
            pushes.push(self.subscription_push(&kind, Some(channel)));
        }
        Step::Push(pushes)
    }

    pub(super) fn unsubscribe(&mut self, name: &str, command: &Command) -> Step {
        let kind = name.to_ascii_lowercase();
        let named: Vec<Bytes> = match &command[1..] {
            [] => self.names(name).iter().cloned().collect(),
            some => some.to_vec(),
        };
        if named.is_empty() {
            return Step::Push(vec![self.subscription_push(&kind, None)]);
        }
        let mut pushes = Vec::new();
        for channel in named {
            self.names(name).remove(&channel);
            pushes.push(self.subscription_push(&kind, Some(channel)));
        }
        Step::Push(pushes)
    }

    /// Shard channels are counted apart, as in Redis.
    fn subscription_push(&self, kind: &str, channel: Option<Bytes>) -> Vec<Reply> {
        let count = if kind.starts_with("ss") || kind.starts_with("sun") {
            self.shard_channels.len()
        } else {
            self.channels.len() + self.patterns.len()
        };
        vec![
            Reply::text(kind),
            channel.map_or(Reply::Nil, Reply::Bulk),
            Reply::Int(i64::try_from(count).unwrap_or(i64::MAX)),
        ]
    }
}
