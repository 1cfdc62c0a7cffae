//! Subscriptions: somebody gets a copy of what parties of a call send. Offered by us
//! (`subscribe request`), answered by `subscribe answer`, ended by `unsubscribe` or with the call.
//! The words are rtpengine's.

mod carried;

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use super::codecs::written;
use super::sound::select;
use super::{Control, unix_us};
use crate::address::RawAddress;
use crate::call::{Call, Subscribed, Subscription};
use crate::flow::CopyTo;
use crate::limits::{LEGS_MAX, MEDIA_LINES_MAX};
use crate::ng::Refusal;
use crate::ng::bencode::{Dict, Value, dict};
use crate::ng::request::Request;
use crate::ng::sound::SoundCommand;
use crate::sdp::{Coding, Format, Media, Sdp, Takes};

pub use carried::SubscriptionState;

impl Control {
    /// Offers copies of what the parties send whom the request names.
    ///
    /// # Errors
    /// Unknown calls and parties, and no ports.
    pub fn subscribe(&mut self, request: &Request) -> Result<Dict, Refusal> {
        let call = self.subscribable(request)?;
        let sources = sources(call, request)?;
        let tag: Arc<str> = match &request.to_tag {
            Some(tag) => tag[..].into(),
            None => format!("{:032x}", rand::random::<u128>()).into(),
        };
        if call.legs() + call.subscriptions.len() >= LEGS_MAX {
            return Err(Refusal::full("Too many legs in call"));
        }
        if sources.is_empty() || sources.len() > MEDIA_LINES_MAX {
            return Err(Refusal::error("Failed to request subscription"));
        }
        let mut lines = Vec::with_capacity(sources.len());
        for mut source in sources {
            let ipv6 = request.ipv6.unwrap_or(source.local.is_ipv6());
            match self.take_ports(ipv6) {
                Ok(pair) => {
                    source.local = pair.local;
                    source.ports = Some(Arc::new(pair));
                    lines.push(source);
                }
                Err(error) => {
                    self.give_back_lines(lines);
                    return Err(error.into());
                }
            }
        }
        self.end_subscription(&request.call_id, &tag);
        let from: Vec<Value> = lines.iter().map(|line| (&*line.from).into()).collect();
        let sdp = self.describe(&lines, request);
        let to_tag = Value::from(&*tag);
        if let Some(call) = self.calls.get_mut(&request.call_id[..]) {
            call.subscriptions.push(Subscription { tag, lines });
        }
        Ok(dict([
            ("sdp", sdp.into()),
            ("from-tags", from.into()),
            ("to-tag", to_tag),
        ]))
    }

    /// Takes the answer to an offer of copies: from now on they are sent.
    ///
    /// # Errors
    /// Unknown subscriptions, and answers without a codec that is needed.
    pub fn subscribe_answer(&mut self, request: &Request) -> Result<Dict, Refusal> {
        let tag = to_tag(request)?;
        let Some(text) = &request.sdp else {
            return Err(Refusal::error("No SDP body in message"));
        };
        let sdp = Sdp::parse(text)?;
        let call = self.subscribable(request)?;
        let subscription = call.subscriptions.iter().find(|known| &*known.tag == tag);
        let subscription = subscription.ok_or_else(|| Refusal::error("To-tag not found"))?;
        let pairs = || subscription.lines.iter().zip(&sdp.media);
        let refused = |(line, media): (&Subscribed, &Media<'_>)| {
            media.port != 0 && !request.allow_transcoding && !takes_all(media, &line.offered)
        };
        if sdp.media.len() != subscription.lines.len() || pairs().any(refused) {
            return Err(Refusal::error("Failed to process subscription answer"));
        }
        // First all of them: both parties have the same flow.
        for line in &subscription.lines {
            if let Some(flow) = self.workers[line.worker].table().get_mut(line.key) {
                flow.end_copies(tag);
            }
        }
        for (line, media) in pairs() {
            let mut table = self.workers[line.worker].table();
            let Some(flow) = table.get_mut(line.key) else {
                continue;
            };
            if let (Some(to), Some(ports)) = (media.rtp_address(), &line.ports) {
                let copy = CopyTo {
                    tag: Arc::clone(&subscription.tag),
                    ports: Arc::clone(ports),
                    to: RawAddress::from(to),
                    takes: types(media),
                };
                flow.copy(line.side, copy);
            }
        }
        Ok(Dict::new())
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// Unknown calls and subscriptions.
    pub fn unsubscribe(&mut self, request: &Request) -> Result<Dict, Refusal> {
        let tag = to_tag(request)?;
        self.subscribable(request)?;
        if self.end_subscription(&request.call_id, tag) {
            Ok(Dict::new())
        } else {
            Err(Refusal::error("To-tag not found"))
        }
    }

    fn subscribable(&self, request: &Request) -> Result<&Call, Refusal> {
        if request.call_id.is_empty() {
            return Err(Refusal::error("No call-id in message"));
        }
        let call = self.calls.get(&request.call_id[..]);
        call.ok_or_else(|| Refusal::error("Unknown call-ID"))
    }

    fn end_subscription(&mut self, call_id: &str, tag: &str) -> bool {
        let Some(call) = self.calls.get_mut(call_id) else {
            return false;
        };
        let subscriptions = &mut call.subscriptions;
        let Some(at) = subscriptions.iter().position(|known| &*known.tag == tag) else {
            return false;
        };
        let ended = subscriptions.remove(at);
        self.free_subscription(ended);
        true
    }

    /// Ends the copies and gives the ports back.
    pub(super) fn free_subscription(&mut self, ended: Subscription) {
        for line in &ended.lines {
            if let Some(flow) = self.workers[line.worker].table().get_mut(line.key) {
                flow.end_copies(&ended.tag);
            }
        }
        self.give_back_lines(ended.lines);
    }

    fn give_back_lines(&mut self, lines: Vec<Subscribed>) {
        for line in lines {
            // The copies had the others; they are gone.
            if let Some(pair) = line.ports.and_then(Arc::into_inner) {
                self.give_back(pair);
            }
        }
    }

    fn describe(&self, lines: &[Subscribed], request: &Request) -> String {
        let address = |local: SocketAddr| {
            let own = self.sites.advertised(local.ip());
            request.media_address.unwrap_or(own)
        };
        let name = |local: SocketAddr| {
            let ip = address(local);
            format!("IN {} {ip}", if ip.is_ipv4() { "IP4" } else { "IP6" })
        };
        let own = lines.first().map(|line| name(line.local));
        let number = unix_us();
        let mut out = format!(
            "v=0\r\no=- {number} 1 {}\r\ns=-\r\nt=0 0\r\n",
            own.unwrap_or_default()
        );
        for line in lines {
            let formats = written(&line.offered, &Takes::default());
            let port = line.local.port();
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                "m=audio {port} RTP/AVP {}\r\nc={}\r\n",
                formats.list(),
                name(line.local)
            );
            for map in &formats.maps {
                let _ = write!(out, "a={map}\r\n");
            }
            let ptime_ms = line.offered.ptime_ms;
            let _ = write!(
                out,
                "a=sendonly\r\na=rtcp:{}\r\na=ptime:{ptime_ms}\r\n",
                port + 1
            );
        }
        out
    }
}

fn to_tag(request: &Request) -> Result<&str, Refusal> {
    let tag = request.to_tag.as_deref();
    tag.ok_or_else(|| Refusal::error("No to-tag in message"))
}

/// The lines of sound of the parties that are meant, each once: branches share their offerer.
fn sources(call: &Call, request: &Request) -> Result<Vec<Subscribed>, Refusal> {
    let mut places = Vec::new();
    if request.from_tags.is_empty() {
        places = select(call, SoundCommand::Play, request)?;
    }
    for tag in &request.from_tags {
        let one = Request {
            from_tag: Some(tag.clone()),
            ..Request::default()
        };
        places.extend(select(call, SoundCommand::Play, &one)?);
    }
    let mut found: Vec<Subscribed> = Vec::new();
    for (line, side) in places {
        let sends = line.agreed_sends()[side].clone();
        let mut offered = if sends.first_audio().is_some() {
            sends
        } else {
            line.takes[side].clone()
        };
        // A recorder need not know what silence is like.
        let sound = |format: &&Format| !matches!(format.coding, Coding::Noise(_));
        offered.formats = offered.formats.iter().filter(sound).copied().collect();
        let tag = call.tag_of(line.key, side);
        let (Some(from), Some(_)) = (tag, offered.first_audio()) else {
            continue;
        };
        // Of several branches the last one, which talks.
        found.retain(|known| known.from != from);
        found.push(Subscribed {
            from,
            worker: line.worker,
            key: line.key,
            side,
            local: line.local[side],
            ports: None,
            offered,
        });
    }
    Ok(found)
}

/// The payload types of an answer, a bit each.
fn types(media: &Media<'_>) -> u128 {
    let types = media.formats.split_ascii_whitespace();
    let types = types.filter_map(|text| text.parse::<u8>().ok());
    let known = types.filter(|number| *number < 128);
    known.fold(0, |mask, number| mask | 1 << number)
}

fn takes_all(media: &Media<'_>, offered: &Takes) -> bool {
    let mut formats = offered.formats.iter();
    let taken = types(media);
    formats.all(|format| taken >> format.payload_type & 1 != 0)
}
