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
    /// Calls that ended because their worker panicked or failed.
    pub lost: Count,
}

/// Name, kind, help and value of one figure.
type Figure = (&'static str, &'static str, &'static str, u64);

/// Prometheus text of `stats`.
pub fn render(stats: &MediaStats) -> String {
    let mut out = String::with_capacity(2_048);
    let figures = [
        calls(stats),
        packets(stats),
        browsers(stats),
        sound(stats),
        takers(stats),
        rooms(stats),
        commands(stats),
    ];
    for (name, kind, help, value) in figures.into_iter().flatten() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP raftpbx_media_{name} {help}.");
        let _ = writeln!(out, "# TYPE raftpbx_media_{name} {kind}");
        let _ = writeln!(out, "raftpbx_media_{name} {value}");
    }
    workers(stats, &mut out);
    out
}

/// Which way workers receive and send.
fn workers(s: &MediaStats, out: &mut String) {
    let _ = writeln!(
        out,
        "# HELP raftpbx_media_workers Worker threads by how they receive and send."
    );
    let _ = writeln!(out, "# TYPE raftpbx_media_workers gauge");
    for (way, count) in [
        ("epoll", s.workers_epoll),
        ("io_uring", s.workers_io_uring),
        ("sk_lookup", s.workers_sk_lookup),
    ] {
        let _ = writeln!(out, "raftpbx_media_workers{{packet_io=\"{way}\"}} {count}");
    }
}

fn calls(s: &MediaStats) -> Vec<Figure> {
    vec![
        ("sessions", "gauge", "Calls held now", s.sessions),
        ("legs", "gauge", "Legs held now", s.legs),
        (
            "encrypted",
            "gauge",
            "Sides of media lines that are encrypted",
            s.encrypted,
        ),
        ("ports_used", "gauge", "Port pairs in use", s.ports_used),
        ("ports_free", "gauge", "Port pairs free", s.ports_free),
        (
            "sessions_total",
            "counter",
            "Calls set up",
            s.sessions_total,
        ),
        (
            "timeouts_total",
            "counter",
            "Calls reported silent",
            s.timeouts,
        ),
        (
            "abandoned_total",
            "counter",
            "Calls removed as abandoned",
            s.abandoned,
        ),
        (
            "worker_panics_total",
            "counter",
            "Times a worker panicked and began anew",
            s.panics,
        ),
        (
            "worker_failures_total",
            "counter",
            "Times a worker could not wait for packets or send them any more",
            s.worker_failures,
        ),
        (
            "lost_total",
            "counter",
            "Calls that ended because their worker panicked or failed",
            s.lost,
        ),
    ]
}

fn packets(s: &MediaStats) -> Vec<Figure> {
    vec![
        ("packets_total", "counter", "Packets relayed", s.packets),
        (
            "kernel_packets_total",
            "counter",
            "Packets relayed by the kernel, of all",
            s.kernel_packets,
        ),
        (
            "kernel_flows",
            "gauge",
            "Directions that the kernel relays",
            s.kernel_flows,
        ),
        (
            "fast_path",
            "gauge",
            "Whether the kernel can relay",
            s.fast_path,
        ),
        ("bytes_total", "counter", "Bytes relayed", s.bytes),
        (
            "wrong_source_total",
            "counter",
            "Packets from strangers",
            s.wrong_source,
        ),
        (
            "not_rtp_total",
            "counter",
            "Datagrams that are not RTP or RTCP",
            s.not_rtp,
        ),
        (
            "forged_total",
            "counter",
            "Packets with wrong authentication",
            s.forged,
        ),
        (
            "replayed_total",
            "counter",
            "Encrypted packets seen before",
            s.replayed,
        ),
        (
            "unsent_total",
            "counter",
            "Packets without a destination",
            s.unsent,
        ),
    ]
}

fn browsers(s: &MediaStats) -> Vec<Figure> {
    vec![
        (
            "dtls_handshakes_total",
            "counter",
            "DTLS handshakes that ended with keys",
            s.handshakes,
        ),
        (
            "dtls_failed_total",
            "counter",
            "DTLS handshakes that ended without keys",
            s.handshakes_failed,
        ),
        (
            "dtls_fingerprint_wrong_total",
            "counter",
            "Certificates that signalling had not named",
            s.fingerprints_wrong,
        ),
        (
            "dtls_refused_total",
            "counter",
            "DTLS handshakes refused because of a limit",
            s.handshakes_refused,
        ),
        (
            "ice_checks_total",
            "counter",
            "Checks of ICE answered",
            s.checks,
        ),
        (
            "ice_strange_total",
            "counter",
            "STUN messages without knowledge of the password",
            s.checks_strange,
        ),
    ]
}

fn sound(s: &MediaStats) -> Vec<Figure> {
    vec![
        (
            "bridged",
            "gauge",
            "Directions between parties without common formats",
            s.bridged,
        ),
        ("speaking", "gauge", "Flows we speak on", s.speaking),
        (
            "spoken_total",
            "counter",
            "Packets of clips, tones and digits",
            s.spoken,
        ),
        (
            "withheld_total",
            "counter",
            "Packets kept back by command",
            s.withheld,
        ),
        ("digits_total", "counter", "Digits heard", s.digits),
        (
            "music_saved_total",
            "counter",
            "Frames of music not encoded because others hear them too",
            s.music_saved,
        ),
    ]
}

/// Those who take what parties say.
fn takers(s: &MediaStats) -> Vec<Figure> {
    vec![
        (
            "taps",
            "gauge",
            "Parties listened to for recognition",
            s.taps,
        ),
        (
            "tap_lost_total",
            "counter",
            "Packets not listened to because too many waited",
            s.tap_lost,
        ),
        (
            "tap_refused_total",
            "counter",
            "Batches that the consumer of taps was too slow for",
            s.tap_refused,
        ),
        (
            "forwarded",
            "gauge",
            "Parties whose sound is forwarded",
            s.forwarded,
        ),
        (
            "forward_connected",
            "gauge",
            "Connections to the consumer of forwarded sound",
            s.forward_connected,
        ),
        (
            "forward_failed_total",
            "counter",
            "Connections to it that could not be made or broke",
            s.forward_failed,
        ),
        (
            "forward_lost_total",
            "counter",
            "Packets not forwarded because too many waited",
            s.forward_lost,
        ),
        (
            "forward_dropped_total",
            "counter",
            "Chunks of sound that the consumer was away or too slow for",
            s.forward_dropped,
        ),
        ("recordings", "gauge", "Recordings under way", s.recordings),
        (
            "recording_lost_total",
            "counter",
            "Packets not recorded because the disk was too slow",
            s.recording_lost,
        ),
        (
            "recording_failed_total",
            "counter",
            "Recordings that a file error ended",
            s.recording_failed,
        ),
    ]
}

fn rooms(s: &MediaStats) -> Vec<Figure> {
    vec![
        ("rooms", "gauge", "Rooms", s.rooms.rooms),
        ("room_parties", "gauge", "Parties of rooms", s.rooms.parties),
        (
            "room_shared",
            "gauge",
            "Encoders that several parties of a room share",
            s.rooms.shared,
        ),
        (
            "room_encoded_total",
            "counter",
            "Packets encoded for rooms",
            s.rooms.encoded,
        ),
        (
            "room_packets_total",
            "counter",
            "Packets sent to parties of rooms",
            s.rooms.packets,
        ),
        (
            "room_late_total",
            "counter",
            "Frames that rooms left out for want of processor time",
            s.rooms.late,
        ),
    ]
}

fn commands(s: &MediaStats) -> Vec<Figure> {
    vec![
        (
            "ng_requests_total",
            "counter",
            "NG requests answered",
            s.ng_requests,
        ),
        (
            "ng_errors_total",
            "counter",
            "NG requests refused",
            s.ng_errors,
        ),
        (
            "ng_repeats_total",
            "counter",
            "NG answers repeated",
            s.ng_repeats,
        ),
        (
            "ng_nonsense_total",
            "counter",
            "NG datagrams without a cookie",
            s.ng_nonsense,
        ),
        (
            "refused_total",
            "counter",
            "Refusals because of a limit",
            s.refused,
        ),
    ]
}
