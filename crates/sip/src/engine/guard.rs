//! Figures about what the engine keeps away from itself.
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! figures {
    ($($name:ident: $kind:literal, $doc:literal;)*) => {
        /// Counters and gauges of defence and overload.
        #[derive(Debug, Default)]
        pub struct GuardMetrics {
            $(#[doc = $doc] pub $name: AtomicU64,)*
        }

        impl GuardMetrics {
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
    banned: "counter", "Bans begun.";
    bans_refused: "counter", "Bans not begun because there are too many.";
    bans: "gauge", "Bans in this node's copy.";
    dropped: "counter", "Requests of banned sources, dropped.";
    replays: "counter", "Answers to a challenge that were used before.";
    shed: "counter", "New work refused because the engine is overloaded.";
    crowded: "counter", "New requests refused because their source has too many.";
    crowded_dialogs: "counter", "New calls and subscriptions refused: their address or user has too many.";
    lateness_ms: "gauge", "How late the last timer fired, in ms.";
    qualified: "counter", "Devices asked with OPTIONS.";
    unreachable: "gauge", "Contacts that do not answer OPTIONS.";
}
