//! `cdr:attempt`, `cdr:start` and `cdr:stop` for applications that asked for them.
use super::Core;
use crate::drachtio::format;

/// Who a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A message that came.
    Network,
    /// A message that was sent.
    Application,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Network => "network",
            Source::Application => "application",
        }
    }
}

/// Why a call that was up ended, by the reason the engine gives on its own.
pub(super) fn stop_reason(why: Option<&str>) -> &'static str {
    match why {
        None => "normal-release",
        Some(why) if why.starts_with("ACK-BYE") => "ackbye",
        Some("ACK timeout") => "no-ack",
        Some("session expired") => "session-expired",
        Some(_) => "system-initiated",
    }
}

impl Core {
    /// A call is tried.
    pub(super) fn record_attempt(&mut self, source: Source, message: &[u8]) {
        self.record_call("attempt", source, "", message);
    }

    /// A call is up; `role` is ours.
    pub(super) fn record_start(&mut self, source: Source, role: &str, message: &[u8]) {
        self.record_call("start", source, role, message);
    }

    /// A call, or the attempt, is over.
    pub(super) fn record_stop(&mut self, source: Source, reason: &str, message: &[u8]) {
        self.record_call("stop", source, reason, message);
    }

    fn record_call(&mut self, kind: &str, source: Source, detail: &str, message: &[u8]) {
        let verb = match kind {
            "attempt" => "cdr:attempt",
            "start" => "cdr:start",
            _ => "cdr:stop",
        };
        let Some(app) = self.apps.for_request(verb, None) else {
            return;
        };
        let (id, wall_us) = (self.ids.uuid(), self.now.wall_us);
        let frame = format::call_record(&id, kind, source.name(), wall_us, detail, message);
        self.tell(app, frame);
    }
}
