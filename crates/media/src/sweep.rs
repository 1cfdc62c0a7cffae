//! Calls without packets: reported when silent, removed when abandoned.

use crate::MediaEvent;
use crate::call::Call;
use crate::control::Control;
use crate::limits::{ABANDONED_AFTER_S, EVENTS_MAX};

const NS_PER_S: u64 = 1_000_000_000;

/// What one sweep found.
#[derive(Default)]
pub struct Swept {
    /// Events to report.
    pub events: Vec<MediaEvent>,
    /// Calls newly found silent.
    pub silent: u64,
    /// Calls removed because nobody has cared for a long time.
    pub abandoned: u64,
}

/// Looks at all calls. `timeout_s` 0 reports no silence.
pub fn sweep(control: &mut Control, timeout_s: u64, now_ns: u64) -> Swept {
    let mut swept = Swept::default();
    let mut abandoned = Vec::new();
    let Control { calls, workers, .. } = control;
    // Each worker is stopped once and shortly, not once for every call.
    let last_packets: Vec<Vec<u64>> = workers
        .iter()
        .map(|worker| worker.table().last_packets_ns())
        .collect();
    for call in calls.values_mut() {
        let last_packet_ns = call
            .lines()
            .filter_map(|line| last_packets[line.worker].get(line.key.slot()).copied())
            .max()
            .unwrap_or(0);
        let last_ns = last_packet_ns.max(call.signalled_ns);
        let silent_s = now_ns.saturating_sub(last_ns) / NS_PER_S;
        if silent_s >= ABANDONED_AFTER_S {
            abandoned.push(call.id.clone());
        }
        let known = call.silent_since_ns == last_ns;
        if timeout_s > 0 && silent_s >= timeout_s && !known && expects_packets(call) {
            // What does not fit now is found silent again by the next sweep.
            if swept.events.len() < EVENTS_MAX {
                call.silent_since_ns = last_ns;
                swept.silent += 1;
                let call_id = call.id.to_string();
                swept.events.push(MediaEvent::Timeout { call_id, silent_s });
            }
        }
    }
    control.sweep_rooms(now_ns);
    for id in abandoned {
        tracing::warn!(call_id = &*id, "removed a call that nobody has cared for");
        control.remove(&id);
        swept.abandoned += 1;
    }
    swept
}

/// A ringing or held call may be silent for as long as it likes.
fn expects_packets(call: &Call) -> bool {
    call.dialogues.iter().any(|dialogue| dialogue.both_ways())
}
