//! The result dictionaries of `query`, `delete`, `list` and `statistics`.
//!
//! The keys are rtpengine's; `lost` and `jitter` of a stream are additions.

use std::net::SocketAddr;

use crate::address::RawAddress;
use crate::call::{Call, Dialogue, Line};
use crate::control::{Control, unix_us};
use crate::epoll::monotonic_ns;
use crate::flow::{Flow, Side};
use crate::limits::LIST_MAX;
use crate::ng::bencode::{Dict, Value, dict};
use crate::ng::request::Request;
use crate::reports::Heard;
use crate::stream::{Counters, Stream};

/// Sums of one kind of stream.
#[derive(Default)]
struct Sum {
    packets: u64,
    bytes: u64,
    errors: u64,
}

impl Sum {
    fn add(&mut self, counters: &Counters) {
        self.packets += counters.packets;
        self.bytes += counters.bytes;
        self.errors += counters.errors;
    }

    fn to_dict(&self) -> Dict {
        dict([
            ("packets", self.packets.into()),
            ("bytes", self.bytes.into()),
            ("errors", self.errors.into()),
        ])
    }
}

/// Everything known about a call; `tag` limits the tags to one.
pub fn call(control: &Control, call: &Call, tag: Option<&str>) -> Dict {
    let mut tags = Dict::new();
    let mut ssrcs = Dict::new();
    let (mut rtp, mut rtcp) = (Sum::default(), Sum::default());
    for dialogue in &call.dialogues {
        for side in 0..2 {
            let medias = medias(control, dialogue, side, &mut |flow, side| {
                rtp.add(&side.rtp.counters);
                rtcp.add(&side.rtcp.counters);
                note_source(&mut ssrcs, flow, side);
            });
            let Some(own) = &dialogue.parties[side].tag else {
                continue;
            };
            if tag.is_some_and(|tag| tag != &**own) {
                continue;
            }
            match tags.get_mut(own.as_bytes()) {
                Some(Value::Dict(known)) => append(known, "medias", medias),
                _ => {
                    let entry = party(dialogue, side, medias);
                    tags.insert(own.as_bytes().to_vec(), entry.into());
                }
            }
        }
    }
    let mut answer = dict([
        ("created", (call.created_us / 1_000_000).into()),
        ("created_us", (call.created_us % 1_000_000).into()),
        ("last signal", (call.signalled_us / 1_000_000).into()),
        ("SSRC", ssrcs.into()),
        ("tags", tags.into()),
        (
            "totals",
            dict([
                ("RTP", rtp.to_dict().into()),
                ("RTCP", rtcp.to_dict().into()),
            ])
            .into(),
        ),
    ]);
    if let Some(recording) = &call.recording {
        let base = recording.base.to_string_lossy().into_owned();
        let paused = u64::from(recording.state().is_paused());
        let recording = dict([("recording", base.into()), ("paused", paused.into())]);
        answer.insert(b"recording".to_vec(), recording.into());
    }
    answer
}

/// Names of calls: all, or those of an owner, or those that are silent.
pub fn list(control: &Control, request: &Request) -> Dict {
    // 32 is rtpengine's default.
    let limit = request.limit.unwrap_or(32).min(LIST_MAX);
    let now_ns = monotonic_ns();
    let is_wanted = |call: &&Call| {
        let owned = request.owner.is_none() || request.owner == call.owner;
        let silent_ns = request
            .silent_s
            .map(|seconds| seconds.saturating_mul(1_000_000_000));
        owned && silent_ns.is_none_or(|ns| now_ns - last_ns(control, call).min(now_ns) >= ns)
    };
    let calls = control.calls.values().filter(is_wanted).take(limit);
    let calls: Vec<&Call> = calls.collect();
    let name = |call: &&Call| Value::from(&*call.id);
    let names: Vec<Value> = calls.iter().map(name).collect();
    let recorded = calls.iter().filter(|call| call.recording.is_some());
    let recorded: Vec<Value> = recorded.map(name).collect();
    let mut answer = dict([("calls", names.into()), ("recorded", recorded.into())]);
    if let Some(owner) = &request.owner {
        // So that who asks knows that it was understood.
        answer.insert(b"owner".to_vec(), owner.as_str().into());
    }
    answer
}

/// When the last packet or command of a call came, `CLOCK_MONOTONIC` ns.
fn last_ns(control: &Control, call: &Call) -> u64 {
    let packets = call.lines().map(|line| {
        let mut table = control.workers[line.worker].table();
        table.refreshed(line.key).map_or(0, Flow::last_packet_ns)
    });
    packets.max().unwrap_or(0).max(call.signalled_ns)
}

fn append(entry: &mut Dict, key: &str, more: Vec<Value>) {
    if let Some(Value::List(list)) = entry.get_mut(key.as_bytes()) {
        list.extend(more);
    }
}

fn party(dialogue: &Dialogue, side: usize, medias: Vec<Value>) -> Dict {
    let party = &dialogue.parties[side];
    let mut entry = dict([
        ("tag", Value::from(party.tag.as_deref().unwrap_or_default())),
        ("created", party.created_s.into()),
        ("medias", medias.into()),
    ]);
    if let Some(label) = &party.label {
        entry.insert(b"label".to_vec(), label.as_str().into());
    }
    if let Some(other) = &dialogue.parties[1 - side].tag {
        let peer = dict([("tag", (&**other).into()), ("type", "offer/answer".into())]);
        let peers = vec![Value::from(peer)];
        entry.insert(b"subscriptions".to_vec(), peers.clone().into());
        entry.insert(b"subscribers".to_vec(), peers.into());
    }
    entry
}

fn medias(
    control: &Control,
    dialogue: &Dialogue,
    side: usize,
    seen: &mut dyn FnMut(&Flow, &Side),
) -> Vec<Value> {
    let entry = |(index, line): (usize, &Line)| {
        let mut table = control.workers[line.worker].table();
        let flow = table.refreshed(line.key)?;
        let own = &flow.sides[side];
        seen(flow, own);
        let local = own.ports.local;
        let odd = SocketAddr::new(local.ip(), local.port() + 1);
        let mut flags = vec![Value::from("initialized")];
        if line.direction[side].sends() {
            flags.push("send".into());
        }
        if line.direction[side].receives() {
            flags.push("recv".into());
        }
        if own.mux {
            flags.push("rtcp-mux".into());
        }
        // As rtpengine has it, a port that never heard anything counts from its making.
        let since_s = dialogue.parties[side].created_s;
        let streams = vec![
            stream(&own.rtp, local, "RTP", since_s).into(),
            stream(&own.rtcp, odd, "RTCP", since_s).into(),
        ];
        Some(Value::from(dict([
            ("index", (index as u64 + 1).into()),
            ("type", line.kind.as_str().into()),
            ("protocol", line.protocol.as_str().into()),
            ("streams", Value::List(streams)),
            ("flags", flags.into()),
        ])))
    };
    dialogue
        .lines
        .iter()
        .enumerate()
        .filter_map(entry)
        .collect()
}

fn endpoint(address: SocketAddr) -> Value {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    dict([
        ("family", family.into()),
        ("address", address.ip().to_string().into()),
        ("port", u64::from(address.port()).into()),
    ])
    .into()
}

fn stream(stream: &Stream, local: SocketAddr, kind: &str, since_s: u64) -> Dict {
    let counters = &stream.counters;
    let mut sum = Sum::default();
    sum.add(counters);
    let mut stats = sum.to_dict();
    if kind == "RTP" {
        stats.insert(b"lost".to_vec(), stream.quality.lost().into());
        stats.insert(b"jitter".to_vec(), stream.quality.jitter().into());
    }
    let last_packet_s = match counters.last_packet_ns {
        0 => since_s,
        at => unix_s(at),
    };
    let mut entry = dict([
        ("local port", u64::from(local.port()).into()),
        ("local address", local.ip().to_string().into()),
        (
            "family",
            if local.is_ipv4() { "IPv4" } else { "IPv6" }.into(),
        ),
        ("last packet", last_packet_s.into()),
        ("flags", vec![Value::from(kind)].into()),
        ("stats", stats.into()),
    ]);
    if let Some(remote) = stream.remote().copied().and_then(RawAddress::to_std) {
        entry.insert(b"endpoint".to_vec(), endpoint(remote));
    }
    if let Some(named) = stream.named().address {
        entry.insert(b"advertised endpoint".to_vec(), endpoint(named));
    }
    entry
}

/// A time of `CLOCK_MONOTONIC` in seconds since 1970.
fn unix_s(at_ns: u64) -> u64 {
    let ago_ms = monotonic_ns().saturating_sub(at_ns) / 1_000_000;
    (unix_us() / 1_000).saturating_sub(ago_ms) / 1_000
}

fn note_source(ssrcs: &mut Dict, flow: &Flow, side: &Side) {
    let quality = &side.rtp.quality;
    let Some(ssrc) = quality.ssrc() else { return };
    let jitter_ms = quality.jitter() * 1_000 / u64::from(flow.clock_hz.max(1));
    let mut entry = dict([
        ("cumulative loss", quality.lost().into()),
        ("jitter", jitter_ms.into()),
        ("packets", side.rtp.counters.packets.into()),
    ]);
    let reported = &side.reported;
    if let Some((average, mos)) = reported.average() {
        let mut sum = heard(&average, mos);
        sum.insert(b"samples".to_vec(), reported.samples.into());
        entry.insert(b"average MOS".to_vec(), sum.into());
        for (name, (one, at_ns)) in [
            ("lowest MOS", reported.lowest),
            ("highest MOS", reported.highest),
        ] {
            let mut one = heard(&one, one.mos_tenths());
            one.insert(b"reported at".to_vec(), unix_s(at_ns).into());
            entry.insert(name.as_bytes().to_vec(), one.into());
        }
    }
    ssrcs.insert(ssrc.to_string().into_bytes(), entry.into());
}

/// What a report says, under rtpengine's names: a score in tenths, microseconds, ms, percent.
fn heard(heard: &Heard, mos_tenths: u64) -> Dict {
    dict([
        ("MOS", mos_tenths.into()),
        ("round-trip time", heard.round_trip_us.into()),
        ("jitter", heard.jitter_ms.into()),
        ("packet loss", heard.loss_percent.into()),
    ])
}
