//! Offers, answers and deletions: what signalling changes.
//!
//! Owner of the calls and the free ports. Invariant: a command that fails has changed
//! nothing; every port taken belongs to exactly one line of one call.

mod broken;
mod choirs;
mod codecs;
mod forward;
mod line;
mod publish;
mod recording;
mod rooms;
mod sites;
mod sound;
mod subscribe;
mod tap;
mod webrtc;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::MediaConfig;
use crate::call::{Call, Dialogue, Line, MuxGrant};
use crate::epoll::monotonic_ns;
use crate::flow::Flow;
use crate::forward::Forwarder;
use crate::limits::{FLOWS_BEFORE_NEXT_WORKER, LEGS_MAX, SESSIONS_MAX};
use crate::ng::Refusal;
use crate::ng::request::Request;
use crate::ng::statistics::Ended;
use crate::ports::PortError;
use crate::record::Recorder;
use crate::sdp::{Media, MediaOut, Sdp, Takes};
use crate::security::{self, LineKeys};
use crate::stream::Named;
use crate::webrtc::{Identity, LineLegs, Peer};
use crate::worker::Worker;
use choirs::Choirs;
use line::{has_rtcp, note_offer, note_owner, required, set_party};
use rooms::RoomBook;
use sites::Sites;
pub use subscribe::SubscriptionState;

/// Calls, ports and workers.
pub struct Control {
    /// All calls by `call-id`.
    pub calls: HashMap<Arc<str>, Call>,
    /// The threads that relay.
    pub workers: Arc<[Worker]>,
    sites: Sites,
    /// Calls ever made.
    pub created: u64,
    /// Recordings of calls.
    pub recorder: Recorder,
    /// What of calls goes to a consumer outside.
    pub forwarder: Forwarder,
    /// Rooms by name.
    pub rooms: RoomBook,
    /// Music that several parties hear.
    pub choirs: Choirs,
    /// Calls that have ended.
    pub ended: Ended,
    /// Our certificate.
    pub identity: Arc<Identity>,
}

/// Microseconds since 1970.
pub fn unix_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_micros() as u64
}

impl Control {
    /// No calls yet.
    pub fn new(
        config: &MediaConfig,
        workers: Arc<[Worker]>,
        (recorder, forwarder): (Recorder, Forwarder),
        identity: Arc<Identity>,
    ) -> Control {
        let steering = workers.first().and_then(Worker::steering);
        let sites = Sites::new(config, steering);
        if sites.contested() > 0 {
            tracing::warn!(
                ports = ?config.ports,
                "other programs may get media ports: add them to net.ipv4.ip_local_reserved_ports"
            );
        }
        Control {
            calls: HashMap::new(),
            workers,
            sites,
            created: 0,
            recorder,
            forwarder,
            rooms: RoomBook::default(),
            choirs: Choirs::default(),
            ended: Ended::default(),
            identity,
        }
    }

    /// Takes an offer; returns the SDP for the other party.
    pub fn offer(&mut self, request: &Request) -> Result<String, Refusal> {
        let (text, from_tag) = required(request)?;
        let sdp = Sdp::parse(text)?;
        security::check_transport(&sdp, request)?;
        let keys = security::offered_lines(&sdp, request)?;
        let to_tag = request.to_tag.as_deref();
        let known = self.calls.get(&request.call_id[..]);
        let place =
            known.and_then(|call| call.find(from_tag, to_tag, request.via_branch.as_deref()));
        if place.is_none() && known.is_some_and(|call| call.legs() + 2 > LEGS_MAX) {
            return Err(Refusal::full("Too many legs in call"));
        }
        if known.is_none() && self.calls.len() >= SESSIONS_MAX {
            return Err(Refusal::overload("Parallel session limit reached"));
        }
        let side = place.map_or(0, |(_, side)| side);
        let fresh = self.fresh_lines(&sdp, request, place, side)?;
        let mut call = self.take_call(&request.call_id);
        note_owner(&mut call, request);
        let n = place.map_or_else(
            || {
                let via_branch = request.via_branch.clone();
                call.dialogues.push(Dialogue {
                    via_branch,
                    ..Dialogue::default()
                });
                call.dialogues.len() - 1
            },
            |(n, _)| n,
        );
        self.put_lines(&mut call, n, fresh);
        let dialogue = &mut call.dialogues[n];
        set_party(dialogue, side, from_tag, request);
        let mut changes = Vec::with_capacity(keys.len());
        for ((line, media), keys) in dialogue.lines.iter_mut().zip(&sdp.media).zip(keys) {
            let formats = note_offer(line, media, request, side);
            let crypto = line.keys.offer(side, keys, &line.protocol_out, request);
            let peer = Peer::of(&sdp, media);
            let fingerprint = self.identity.fingerprint();
            let protocol = &line.protocol_out;
            let way = line.legs.offer(side, peer, protocol, fingerprint, request);
            changes.push((crypto, way, formats));
            self.name(line, media, side, from_tag, request);
        }
        let out: Vec<_> = sdp
            .media
            .iter()
            .zip(&dialogue.lines)
            .zip(changes)
            .map(|((media, line), (crypto, way, formats))| MediaOut {
                protocol: (line.protocol_out != media.protocol).then_some(&line.protocol_out[..]),
                port: if media.port == 0 {
                    0
                } else {
                    line.local[1 - side].port()
                },
                rtcp: has_rtcp(media).then(|| line.offered_rtcp(1 - side)),
                mux: line.mux_out,
                mux_only: line.mux_only,
                crypto,
                way,
                formats,
                ptime_ms: line.ptimes_ms[1 - side],
            })
            .collect();
        let text = self.write(&sdp, request, &out, dialogue, 1 - side);
        self.note_takers(&mut call, request);
        self.calls.insert(Arc::clone(&call.id), call);
        Ok(text)
    }

    /// Takes an answer; returns the SDP for the offerer.
    pub fn answer(&mut self, request: &Request) -> Result<String, Refusal> {
        let (text, from_tag) = required(request)?;
        let Some(to_tag) = &request.to_tag else {
            return Err(Refusal::error("No to-tag in message"));
        };
        let sdp = Sdp::parse(text)?;
        let Some(call) = self.calls.get(&request.call_id[..]) else {
            return Err(Refusal::error("Unknown call-id"));
        };
        let Some((n, offerer)) = call.find(from_tag, Some(to_tag), request.via_branch.as_deref())
        else {
            return Err(Refusal::error("Invalid dialogue association"));
        };
        let side = 1 - offerer;
        let keys = security::answered(&call.dialogues[n].lines, &sdp, side)?;
        webrtc::check_answer(&call.dialogues[n].lines, &sdp, side)?;
        let mut call = self.take_call(&request.call_id);
        let dialogue = &mut call.dialogues[n];
        dialogue.answered = true;
        set_party(dialogue, side, to_tag, request);
        let lines = dialogue.lines.iter_mut().zip(&sdp.media);
        let formats: Vec<_> = lines
            .map(|(line, media)| line.note_answer(media, side))
            .collect();
        let mut formats = formats.into_iter();
        let mut out = Vec::with_capacity(sdp.media.len());
        let settled = self.settle_keys(dialogue, &sdp, side, keys, request);
        let mut settled = settled.into_iter();
        for (index, media) in sdp.media.iter().enumerate() {
            // More lines than were offered are a mistake of the answerer: rejected.
            let Some(line) = dialogue.lines.get(index) else {
                out.push(MediaOut::default());
                continue;
            };
            self.name(line, media, side, to_tag, request);
            let mux = line.settled_mux(media, side)[offerer];
            // What there is to be said is said once the party's address is known.
            self.workers[line.worker].serve_legs(line.key);
            let (crypto, way) = settled.next().unwrap_or_default();
            let port = line.local[offerer].port();
            out.push(MediaOut {
                protocol: (line.protocol != media.protocol).then_some(&line.protocol[..]),
                port: if media.port == 0 { 0 } else { port },
                rtcp: has_rtcp(media).then_some(if mux { port } else { port + 1 }),
                mux,
                mux_only: false,
                crypto,
                way,
                formats: formats.next().flatten(),
                ptime_ms: line.ptimes_ms[offerer],
            });
        }
        let text = self.write(&sdp, request, &out, dialogue, offerer);
        self.note_takers(&mut call, request);
        self.calls.insert(Arc::clone(&call.id), call);
        Ok(text)
    }

    /// Removes a call, or the dialogues of it that the tags and branch name; true when
    /// something was removed.
    pub fn delete(&mut self, request: &Request) -> bool {
        let Some(mut call) = self.calls.remove(&request.call_id[..]) else {
            return false;
        };
        let named = |dialogue: &Dialogue| {
            let has = |tag: &Option<String>| {
                tag.as_ref()
                    .is_none_or(|tag| dialogue.side_of(tag).is_some())
            };
            let branch = request.via_branch.is_none()
                || dialogue.via_branch.is_none()
                || dialogue.via_branch == request.via_branch;
            // The other party may never have answered, or under another tag.
            let pair = has(&request.to_tag) || call.dialogues.len() == 1;
            has(&request.from_tag) && pair && branch
        };
        let doomed: Vec<bool> = call.dialogues.iter().map(named).collect();
        let mut doomed = doomed.into_iter();
        let (gone, kept) = std::mem::take(&mut call.dialogues)
            .into_iter()
            .partition::<Vec<_>, _>(|_| doomed.next().unwrap_or(false));
        gone.iter()
            .flat_map(|dialogue| &dialogue.lines)
            .for_each(|line| self.free(line));
        if kept.is_empty() {
            self.note_end(&call, false);
            let ended = std::mem::take(&mut call.subscriptions);
            ended
                .into_iter()
                .for_each(|one| self.free_subscription(one));
        } else {
            call.dialogues = kept;
            self.calls.insert(Arc::clone(&call.id), call);
        }
        !gone.is_empty()
    }

    /// Removes a whole call.
    pub fn remove(&mut self, call_id: &str) {
        if let Some(mut call) = self.calls.remove(call_id) {
            self.note_end(&call, true);
            call.lines().for_each(|line| self.free(line));
            let ended = std::mem::take(&mut call.subscriptions);
            ended
                .into_iter()
                .for_each(|one| self.free_subscription(one));
        }
    }

    /// Takes the call out of the table, or makes it.
    fn take_call(&mut self, id: &str) -> Call {
        let (now_us, now_ns) = (unix_us(), monotonic_ns());
        let known = self.calls.remove(id);
        let mut call = known.unwrap_or_else(|| self.fresh_call(id));
        (call.signalled_us, call.signalled_ns) = (now_us, now_ns);
        call
    }

    /// A call that nothing was said about yet.
    pub(crate) fn fresh_call(&mut self, id: &str) -> Call {
        self.created += 1;
        Call::new(id.into(), unix_us(), monotonic_ns())
    }

    /// Makes the lines that the offer needs and the dialogue lacks.
    fn fresh_lines(
        &mut self,
        sdp: &Sdp<'_>,
        request: &Request,
        place: Option<(usize, usize)>,
        side: usize,
    ) -> Result<Vec<(usize, Line)>, Refusal> {
        let id: Arc<str> = request.call_id[..].into();
        let mut fresh = Vec::new();
        for (index, media) in sdp.media.iter().enumerate() {
            let present =
                place.and_then(|(n, _)| self.calls.get(&id)?.dialogues.get(n)?.lines.get(index));
            // A party that moved to the other address family needs another socket.
            let family = media.rtp_address().map(|address| address.is_ipv6());
            let fits = present.is_some_and(|line| {
                let same_kind = media.is_rtp() == line.is_rtp();
                same_kind && family.is_none_or(|v6| v6 == line.local[side].is_ipv6())
            });
            if fits {
                continue;
            }
            let own = family.unwrap_or(false);
            let mut families = [own; 2];
            families[1 - side] = request.ipv6.unwrap_or(own);
            match self.new_line(&id, media, families) {
                Ok(line) => fresh.push((index, line)),
                Err(refusal) => {
                    fresh.iter().for_each(|(_, line)| self.free(line));
                    return Err(refusal);
                }
            }
        }
        Ok(fresh)
    }

    fn new_line(
        &mut self,
        id: &Arc<str>,
        media: &Media<'_>,
        families: [bool; 2],
    ) -> Result<Line, Refusal> {
        let first = self.take_ports(families[0])?;
        let second = match self.take_ports(families[1]) {
            Ok(pair) => pair,
            Err(error) => {
                self.give_back(first);
                return Err(error.into());
            }
        };
        let local = [first.local, second.local];
        let call_id = Arc::clone(id);
        let flow = Flow::new(call_id, media.clock_hz, !media.is_rtp(), [first, second]);
        let worker = self.choose_worker();
        let key = match self.workers[worker].add(flow) {
            Ok(key) => key,
            Err((error, pairs)) => {
                pairs.into_iter().for_each(|pair| self.give_back(pair));
                return Err(PortError::from(error).into());
            }
        };
        Ok(Line {
            kind: media.kind.to_owned(),
            protocol: media.protocol.to_owned(),
            protocol_out: media.protocol.to_owned(),
            worker,
            key,
            local,
            direction: [media.direction; 2],
            ptimes_ms: [None; 2],
            mux_offered: false,
            mux_out: false,
            mux_grant: MuxGrant::LikePeer,
            mux_only: false,
            legs: LineLegs::default(),
            keys: LineKeys::default(),
            takes: <[Takes; 2]>::default(),
            named: [None; 2],
            wrote: [None, None],
            usable: None,
            accepted: Vec::new(),
            answered_by: None,
        })
    }

    /// The first worker that is not busy, so that a light load wakes one thread and not
    /// all; the least loaded one once all are.
    pub(crate) fn choose_worker(&self) -> usize {
        let flows = self.workers.iter().map(|worker| {
            let table = worker.table();
            (!table.has_ended).then(|| table.flows())
        });
        let flows: Vec<Option<usize>> = flows.collect();
        let is_idle = |flows: &Option<usize>| flows.is_some_and(|n| n < FLOWS_BEFORE_NEXT_WORKER);
        let alive = || (0..flows.len()).filter(|&worker| flows[worker].is_some());
        let least = || alive().min_by_key(|&worker| flows[worker]);
        flows.iter().position(is_idle).or_else(least).unwrap_or(0)
    }

    pub(crate) fn free(&mut self, line: &Line) {
        if let Some(pairs) = self.workers[line.worker].remove(line.key) {
            pairs.into_iter().for_each(|pair| self.give_back(pair));
        }
    }

    /// Tells the flow of a line where a party is.
    fn name(&self, line: &Line, media: &Media<'_>, side: usize, tag: &str, request: &Request) {
        let place = |address: Option<SocketAddr>| Named {
            address: address.map(|sdp| match request.received_from {
                Some(ip) if request.sip_source_address => SocketAddr::new(ip, sdp.port()),
                _ => sdp,
            }),
            signalling: request.received_from,
            asymmetric: request.asymmetric,
            checked: false,
        };
        let mut table = self.workers[line.worker].table();
        if let Some(flow) = table.get_mut(line.key) {
            let checked = flow.sides[side].has_ice();
            let place = |address| Named {
                checked,
                ..place(address)
            };
            flow.clock_hz = media.clock_hz;
            if let Some(tos) = request.tos {
                flow.mark(tos);
            }
            let (rtp, rtcp) = (place(media.rtp_address()), place(media.rtcp_address()));
            flow.sides[side].name(tag, rtp, rtcp);
            // An offer changes nothing before its answer.
            if line.answered_by.is_some() || !flow.has_agreed() {
                flow.agree_formats(line.agreed_takes(), line.agreed_sends());
            }
            flow.listen(side, request.detect_dtmf);
        }
    }
}
