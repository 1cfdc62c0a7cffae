//! Figures about what the engine keeps away from itself, and about copies of messages.
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! figures {
    (#[doc = $about:literal] $figures:ident; $($name:ident: $kind:literal, $doc:literal;)*) => {
        #[doc = $about]
        #[derive(Debug, Default)]
        pub struct $figures {
            $(#[doc = $doc] pub $name: AtomicU64,)*
        }

        impl $figures {
            /// In Prometheus text format.
            pub fn render(&self, text: &mut String) {
                $({
                    let suffix = if $kind == "counter" { "_total" } else { "" };
                    let name = concat!("raftpbx_sip_", stringify!($name));
                    let value = self.$name.load(Relaxed);
                    let _ = writeln!(text, "# HELP {name}{suffix} {}", $doc);
                    let _ = writeln!(text, "# TYPE {name}{suffix} {}", $kind);
                    let _ = writeln!(text, "{name}{suffix} {value}");
                })*
            }
        }
    };
}

figures! {
    /// Counters and gauges of defence and overload.
    GuardMetrics;
    banned: "counter", "Bans begun.";
    bans_refused: "counter", "Bans not begun because there are too many.";
    bans: "gauge", "Bans in this node's copy.";
    dropped: "counter", "Requests of banned sources, dropped.";
    replays: "counter", "Answers to a challenge that were used before.";
    shed: "counter", "New work refused because the engine is overloaded.";
    crowded: "counter", "New requests refused because their source has too many.";
    crowded_dialogs: "counter", "New calls and subscriptions refused: their address or user has too many.";
    users_remembered: "counter", "Passwords checked without reading the table of users.";
    users_read: "counter", "Reads of the table of users.";
    lateness_ms: "gauge", "How late the last timer fired, in ms.";
    qualified: "counter", "Devices asked with OPTIONS.";
    unreachable: "gauge", "Contacts that do not answer OPTIONS.";
}

figures! {
    /// Counters and gauges of the trace and of the copies for a collector.
    TraceMetrics;
    trace_messages: "gauge", "Messages in the trace.";
    trace_bytes: "gauge", "Bytes of memory the trace takes.";
    trace_skipped: "counter", "Messages not traced because their call has as many as it may.";
    hep_sent: "counter", "Messages sent to the collector.";
    hep_dropped: "counter", "Messages not sent to the collector: it is unknown, or too many waited.";
}
