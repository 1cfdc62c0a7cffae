//! What applying commands did besides changing the state: for watchers, subscribers and whoever
//! waits for a key.

use bytes::Bytes;

use super::text::{Share, Text};
use crate::event::Change;

/// What applying commands did besides changing the state.
#[derive(Debug, Default)]
pub struct Effects {
    /// String keys that were set, deleted or expired, in order.
    pub changes: Vec<Altered>,
    /// Messages to subscribers, in order.
    pub messages: Vec<Message>,
    /// Keys of lists, sorted sets and streams that gained elements, in order: whoever waits for
    /// one may try again.
    pub ready: Vec<Bytes>,
    /// Whether everything was deleted at once; the changes behind it are still listed.
    pub flushed: bool,
}

/// A string key that was set, deleted or expired, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// The key.
    pub(super) key: Text,
    /// Its value, or `None` when it is gone.
    pub(super) value: Option<Text>,
}

impl Altered {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The change as watchers are told it.
    pub fn change(&self) -> Change {
        Change {
            key: self.key.share(),
            value: self.value.as_ref().map(Text::share),
        }
    }
}

/// A published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The channel.
    pub channel: Bytes,
    /// What was published.
    pub payload: Bytes,
}
