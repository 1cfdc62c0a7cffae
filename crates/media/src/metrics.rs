//! Counters of the engine and their Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::MediaStats;

/// A counter that only grows.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted outside the workers.
#[derive(Default)]
pub struct Counts {
    /// NG requests answered.
    pub ng_requests: Count,
    /// NG requests refused.
    pub ng_errors: Count,
    /// NG answers repeated.
    pub ng_repeats: Count,
    /// Datagrams on the NG socket without a cookie.
    pub ng_nonsense: Count,
    /// Refusals because of a limit.
    pub refused: Count,
    /// Calls reported silent.
    pub timeouts: Count,
    /// Calls removed because nobody cared for them.
    pub abandoned: Count,
}

/// Prometheus text of `stats`.
pub fn render(stats: &MediaStats) -> String {
    let list = [
        ("sessions", "gauge", "Calls held now", stats.sessions),
        ("legs", "gauge", "Legs held now", stats.legs),
        ("ports_used", "gauge", "Port pairs in use", stats.ports_used),
        ("ports_free", "gauge", "Port pairs free", stats.ports_free),
        (
            "sessions_total",
            "counter",
            "Calls set up",
            stats.sessions_total,
        ),
        ("packets_total", "counter", "Packets relayed", stats.packets),
        ("bytes_total", "counter", "Bytes relayed", stats.bytes),
        (
            "wrong_source_total",
            "counter",
            "Packets from strangers",
            stats.wrong_source,
        ),
        (
            "not_rtp_total",
            "counter",
            "Datagrams that are not RTP or RTCP",
            stats.not_rtp,
        ),
        (
            "unsent_total",
            "counter",
            "Packets without a destination",
            stats.unsent,
        ),
        (
            "ng_requests_total",
            "counter",
            "NG requests answered",
            stats.ng_requests,
        ),
        (
            "ng_errors_total",
            "counter",
            "NG requests refused",
            stats.ng_errors,
        ),
        (
            "ng_repeats_total",
            "counter",
            "NG answers repeated",
            stats.ng_repeats,
        ),
        (
            "ng_nonsense_total",
            "counter",
            "NG datagrams without a cookie",
            stats.ng_nonsense,
        ),
        (
            "refused_total",
            "counter",
            "Refusals because of a limit",
            stats.refused,
        ),
        (
            "timeouts_total",
            "counter",
            "Calls reported silent",
            stats.timeouts,
        ),
        (
            "abandoned_total",
            "counter",
            "Calls removed as abandoned",
            stats.abandoned,
        ),
    ];
    let mut out = String::with_capacity(2_048);
    for (name, kind, help, value) in list {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP raftpbx_media_{name} {help}.");
        let _ = writeln!(out, "# TYPE raftpbx_media_{name} {kind}");
        let _ = writeln!(out, "raftpbx_media_{name} {value}");
    }
    out
}
