//! Session timers (RFC 4028): a call whose peer vanished ends by itself.
//!
//! The deadline is an absolute time in the dialog's record, so every leader knows it.
use serde::{Deserialize, Serialize};

use super::has_token;
use crate::message::lexical::number;
use crate::message::{Message, Name, Params};

/// Shortest interval anybody may ask for, in seconds (RFC 4028 section 5).
pub const MIN_SE_S: u32 = 90;
/// The side that is not refreshed ends the call this long before the expiry at most, ms
/// (RFC 4028 section 10).
const MARGIN_MS_MAX: u64 = 32_000;

/// Who keeps a session alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refresher {
    /// This engine.
    Us,
    /// The peer.
    Them,
}

/// The session timer of a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The agreed interval, seconds.
    pub interval_s: u32,
    /// Who refreshes.
    pub refresher: Refresher,
    /// When it ends without a refresh, Unix milliseconds.
    pub expires_at_ms: u64,
}

/// What the host wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// The interval we offer, seconds; 0 offers none and accepts what peers ask for.
    pub expires_s: u32,
    /// Shorter wishes are refused with 422, seconds.
    pub min_se_s: u32,
}

impl Default for SessionTimer {
    fn default() -> Self {
        SessionTimer {
            expires_s: 0,
            min_se_s: MIN_SE_S,
        }
    }
}

/// A Session-Expires header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval, seconds.
    pub interval_s: u32,
    /// Whether the sender of the request refreshes; None when it is left open.
    pub by_client: Option<bool>,
}

/// The Session-Expires of a message.
pub fn session_expires(message: &Message<'_>) -> Option<SessionExpires> {
    let value = message.get(Name::SessionExpires)?;
    let (interval, params) = value.split_once(';').unwrap_or((value, ""));
    let by_client = match Params(params).get("refresher") {
        Some(side) if side.eq_ignore_ascii_case("uac") => Some(true),
        Some(side) if side.eq_ignore_ascii_case("uas") => Some(false),
        _ => None,
    };
    Some(SessionExpires {
        interval_s: number(interval.trim())?,
        by_client,
    })
}

/// The Min-SE of a message, seconds.
pub fn min_se(message: &Message<'_>) -> Option<u32> {
    let value = message.get(Name::MinSe)?;
    number(value.split(';').next()?.trim())
}

/// What we agree to in our 2xx to `request` (RFC 4028 section 9, table 2).
pub fn agree(request: &Message<'_>, wanted: SessionTimer) -> Option<SessionExpires> {
    let asked = session_expires(request);
    let supported = has_token(request, Name::Supported, "timer");
    let least_s = min_se(request).unwrap_or(0).max(wanted.min_se_s);
    let interval_s = match (asked, wanted.expires_s) {
        (None, 0) => return None,
        (None, _) if !supported => return None,
        (None, ours_s) => ours_s,
        (Some(theirs), 0) => theirs.interval_s,
        (Some(theirs), ours_s) => theirs.interval_s.min(ours_s),
    };
    let theirs = asked.and_then(|asked| asked.by_client);
    Some(SessionExpires {
        interval_s: interval_s.max(least_s),
        by_client: Some(supported && theirs.unwrap_or(true)),
    })
}

impl SessionExpires {
    /// As it stands in the header.
    pub fn value(&self) -> String {
        let refresher = match self.by_client {
            Some(true) => ";refresher=uac",
            Some(false) => ";refresher=uas",
            None => "",
        };
        format!("{}{refresher}", self.interval_s)
    }
}

impl Session {
    /// What the 2xx to a request agreed on; `we_asked` when the request was ours.
    pub fn agreed(answer: &Message<'_>, we_asked: bool, now_ms: u64) -> Option<Session> {
        let agreed = session_expires(answer)?;
        let by_client = agreed.by_client.unwrap_or(true);
        let refresher = if by_client == we_asked {
            Refresher::Us
        } else {
            Refresher::Them
        };
        let interval_s = agreed.interval_s.max(MIN_SE_S);
        Some(Session {
            interval_s,
            refresher,
            expires_at_ms: now_ms + u64::from(interval_s) * 1_000,
        })
    }

    fn interval_ms(&self) -> u64 {
        u64::from(self.interval_s) * 1_000
    }

    /// When we refresh: after half the interval. None when it is the peer's task.
    pub fn refresh_at_ms(&self) -> Option<u64> {
        let at_ms = self.expires_at_ms.saturating_sub(self.interval_ms() / 2);
        (self.refresher == Refresher::Us).then_some(at_ms)
    }

    /// When we end the call because nobody refreshed.
    pub fn give_up_at_ms(&self) -> u64 {
        self.expires_at_ms - MARGIN_MS_MAX.min(self.interval_ms() / 3)
    }

    /// The Session-Expires of a request of ours that keeps the roles.
    pub fn request_value(&self) -> String {
        SessionExpires {
            interval_s: self.interval_s,
            by_client: Some(self.refresher == Refresher::Us),
        }
        .value()
    }
}
