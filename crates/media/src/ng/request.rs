//! An NG dictionary as a typed request. Pure.
//!
//! Flags this engine does not know are ignored, as the protocol wants it.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::bencode::{Dict, Value};
use super::codec_flags::CodecFlags;
use super::rooms::RoomCommand;
use super::sound::SoundCommand;
use super::takeover::TakeoverCommand;
use crate::limits::{LEGS_MAX, NAME_BYTES_MAX};
use crate::sdp::packet_time;
use crate::srtp::Suite;

/// What the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Is anybody there?
    Ping,
    /// An SDP offer on its way.
    Offer,
    /// An SDP answer on its way.
    Answer,
    /// What somebody sends who gets no answer from anybody but us.
    Publish,
    /// End of a call or of one of its branches.
    Delete,
    /// Figures of a call.
    Query,
    /// Names of all calls.
    List,
    /// Figures of the engine.
    Statistics,
    /// Somebody wants copies of what parties send.
    Subscribe,
    /// It says where to.
    SubscribeAnswer,
    /// It wants no more.
    Unsubscribe,
    /// Something to be done with the sound of a party.
    Sound(SoundCommand),
    /// Something about a room.
    Room(RoomCommand),
    /// Something about what goes from one engine to another.
    Takeover(TakeoverCommand),
}

/// What to do about RTCP multiplexing (`rtcp-mux` list).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MuxFlags {
    /// Offer it although the offerer did not.
    pub offer: bool,
    /// Do not offer it on, but accept it from the offerer.
    pub demux: bool,
    /// Accept it from the offerer even when the answerer refuses.
    pub accept: bool,
    /// Refuse it to the offerer.
    pub reject: bool,
    /// The answerer is to have nothing else.
    pub require: bool,
}

/// What to do about ICE (`ICE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceFlag {
    /// None is written.
    Remove,
    /// Ours is written in any case.
    Force,
    /// As [`Self::Force`], for others than us alone: those who have some keep it elsewhere.
    Optional,
    /// Ours is written when there was some.
    Default,
}

/// What to do about DTLS (`DTLS`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DtlsFlags {
    /// Something was said about it.
    pub given: bool,
    /// We are not to begin handshakes when the party leaves it to us.
    pub passive: bool,
    /// None is offered, and none taken.
    pub off: bool,
}

/// What to do about keys in the description (`SDES` list).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SdesFlags {
    /// Offer no keys.
    pub off: bool,
    /// Offer these suites alone.
    pub only: Vec<Suite>,
    /// Do not offer these suites.
    pub no: Vec<Suite>,
    /// Offer no suite that was not offered to us.
    pub nonew: bool,
    /// Write the padding of keys.
    pub pad: bool,
    /// Write the lifetime of keys.
    pub lifetime: bool,
}

/// What to do about encryption that is offered without being asked for (RFC 8643, `OSRTP` list).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OsrtpFlags {
    /// Offer it when the transport is plain RTP.
    pub offer: bool,
    /// Take it when the offerer offers it.
    pub accept: bool,
}

/// A request as the engine understands it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `call-id`.
    pub call_id: String,
    /// `from-tag`, none when missing.
    pub from_tag: Option<String>,
    /// `to-tag`, none when missing.
    pub to_tag: Option<String>,
    /// `via-branch`, none when missing.
    pub via_branch: Option<String>,
    /// `label` of the sender of the SDP.
    pub label: Option<String>,
    /// `sdp`.
    pub sdp: Option<String>,
    /// Write the relay's address into `o=`.
    pub replace_origin: bool,
    /// `rtcp-mux`.
    pub mux: MuxFlags,
    /// `media-address`: write this one instead of the interface's.
    pub media_address: Option<IpAddr>,
    /// `address-family`: true for IPv6.
    pub ipv6: Option<bool>,
    /// `received-from`: where the signalling of the sender came from.
    pub received_from: Option<IpAddr>,
    /// `SIP-source-address`: trust `received-from` more than the SDP.
    pub sip_source_address: bool,
    /// `asymmetric`: never learn the sender's address from its packets.
    pub asymmetric: bool,
    /// `SDES`.
    pub sdes: SdesFlags,
    /// `key-seed`: what our keys are made from, so that another engine makes the same.
    pub key_seed: Option<[u8; 32]>,
    /// `OSRTP`.
    pub osrtp: OsrtpFlags,
    /// `ICE`.
    pub ice: Option<IceFlag>,
    /// `DTLS`.
    pub dtls: DtlsFlags,
    /// `transport-protocol`.
    pub protocol: Option<String>,
    /// `from-tags`: the parties a subscription is about.
    pub from_tags: Vec<String>,
    /// `allow transcoding`: the subscriber need not take all that was offered.
    pub allow_transcoding: bool,
    /// `TOS`: type of service of packets to both parties.
    pub tos: Option<u8>,
    /// `owner` of a call, or of those to be listed.
    pub owner: Option<String>,
    /// `silent-s`: only calls without packets and commands for so long are listed.
    pub silent_s: Option<u64>,
    /// `limit` of a list.
    pub limit: Option<usize>,
    /// `codec`.
    pub codecs: CodecFlags,
    /// `ptime`: length of packets to the answerer, ms.
    pub ptime_ms: Option<u32>,
    /// `ptime-reverse`: the same to the offerer.
    pub ptime_reverse_ms: Option<u32>,
    /// `detect-DTMF`: listen for digits in the sound of the sender.
    pub detect_dtmf: bool,
    /// `record-call`: begin or end a recording.
    pub record: Option<bool>,
    /// `recording-file`: what the names of its files begin with.
    pub recording_file: Option<String>,
    /// `metadata`: what forwarded streams begin with.
    pub metadata: Option<String>,
    /// `all`: every party of the call.
    pub all: bool,
    /// `address`: the party with this address in its SDP.
    pub address: Option<String>,
}

impl Command {
    /// What rtpengine's statistics call it; none for those it does not have.
    pub fn short_name(self) -> Option<&'static str> {
        Some(match self {
            Command::Ping => "ping",
            Command::Offer => "offer",
            Command::Answer => "answer",
            Command::Publish => "pub",
            Command::Delete => "delete",
            Command::Query => "query",
            Command::List => "list",
            Command::Statistics => "stats",
            Command::Subscribe => "subreq",
            Command::SubscribeAnswer => "subans",
            Command::Unsubscribe => "unsub",
            Command::Sound(command) => command.short_name(),
            Command::Room(_) | Command::Takeover(_) => return None,
        })
    }
}

/// The command of a dictionary, or the error text rtpengine has for it.
///
/// # Errors
/// A missing or unknown command.
pub fn command(dict: &Dict) -> Result<Command, &'static str> {
    let Some(name) = text(dict, "command") else {
        return Err("Dictionary contains no key \"command\"");
    };
    Ok(match name.as_str() {
        "ping" => Command::Ping,
        "offer" => Command::Offer,
        "answer" => Command::Answer,
        "delete" => Command::Delete,
        "publish" => Command::Publish,
        "query" => Command::Query,
        "list" => Command::List,
        "statistics" => Command::Statistics,
        "subscribe request" => Command::Subscribe,
        "subscribe answer" => Command::SubscribeAnswer,
        "unsubscribe" => Command::Unsubscribe,
        name => {
            let sound = SoundCommand::from_name(name).map(Command::Sound);
            let room = || RoomCommand::from_name(name).map(Command::Room);
            let takeover = || TakeoverCommand::from_name(name).map(Command::Takeover);
            let known = sound.or_else(room).or_else(takeover);
            known.ok_or("Unrecognized command")?
        }
    })
}

/// Reads the fields of a dictionary.
///
/// # Errors
/// A name that is too long.
pub fn read(dict: &Dict) -> Result<Request, &'static str> {
    let said = |key: &str| text(dict, key).filter(|value| !value.is_empty());
    let name = |key: &str| match said(key) {
        Some(value) if value.len() > NAME_BYTES_MAX => Err("Name too long"),
        value => Ok(value),
    };
    let mut request = Request {
        call_id: name("call-id")?.unwrap_or_default(),
        from_tag: name("from-tag")?,
        to_tag: name("to-tag")?,
        via_branch: name("via-branch")?,
        label: name("label")?,
        owner: name("owner")?,
        silent_s: text(dict, "silent-s").and_then(|seconds| seconds.parse().ok()),
        sdp: said("sdp"),
        media_address: text(dict, "media-address").and_then(|ip| ip.parse().ok()),
        protocol: text(dict, "transport-protocol"),
        key_seed: text(dict, "key-seed").and_then(|seed| seed_of(&seed)),
        ..Request::default()
    };
    request.all = text(dict, "all").is_some_and(|value| matches!(&value[..], "all" | "1"));
    request.address = text(dict, "address");
    request.recording_file = name("recording-file")?;
    request.metadata = said("metadata");
    request.record = match text(dict, "record-call").as_deref() {
        Some("yes" | "on" | "1") => Some(true),
        Some("no" | "off" | "0") => Some(false),
        _ => None,
    };
    request.ipv6 = match text(dict, "address-family").as_deref() {
        Some("IP4") => Some(false),
        Some("IP6") => Some(true),
        _ => None,
    };
    // ["IP4", "10.0.0.1"] or "IP4 10.0.0.1".
    request.received_from = words(dict, "received-from")
        .iter()
        .find_map(|word| word.parse().ok());
    if let Some(Value::Int(limit)) = dict.get(&b"limit"[..]) {
        request.limit = usize::try_from(*limit).ok();
    }
    request.from_tags = words(dict, "from-tags");
    request.from_tags.truncate(LEGS_MAX);
    request.tos = text(dict, "TOS").and_then(|tos| tos.trim().parse().ok());
    request.asymmetric |= text(dict, "endpoint-learning").is_some_and(|how| how == "off");
    for word in words(dict, "replace") {
        request.replace_origin |= word == "origin";
    }
    for word in words(dict, "rtcp-mux") {
        mux(&mut request.mux, &word);
    }
    request.ice = text(dict, "ICE").and_then(|word| ice(&word));
    for word in words(dict, "DTLS") {
        dtls(&mut request.dtls, &word);
    }
    for word in words(dict, "SDES") {
        sdes(&mut request.sdes, &word);
    }
    request.codecs.read(dict);
    request.ptime_ms = text(dict, "ptime").and_then(|ms| packet_time(&ms));
    request.ptime_reverse_ms = text(dict, "ptime-reverse").and_then(|ms| packet_time(&ms));
    for word in words(dict, "OSRTP") {
        osrtp(&mut request.osrtp, &word);
    }
    words(dict, "flags")
        .iter()
        .for_each(|word| flag(&mut request, word));
    Ok(request)
}

/// One of the `flags`.
fn flag(request: &mut Request, word: &str) {
    if let Some(word) = word.strip_prefix("SDES-") {
        sdes(&mut request.sdes, word);
    }
    if let Some(word) = word.strip_prefix("ICE=") {
        request.ice = ice(word);
    }
    if let Some(word) = word.strip_prefix("DTLS=") {
        dtls(&mut request.dtls, word);
    }
    if let Some((action, name)) = word
        .strip_prefix("codec-")
        .and_then(|rest| rest.split_once('-'))
    {
        request.codecs.add(action, [name.to_owned()]);
    }
    if let Some(word) = word.strip_prefix("OSRTP-") {
        osrtp(&mut request.osrtp, word);
    }
    match word {
        "asymmetric" | "no-learning" | "endpoint-learning-off" => request.asymmetric = true,
        "SIP-source-address" | "sip-source-address" => request.sip_source_address = true,
        "replace-origin" => request.replace_origin = true,
        "detect-DTMF" => request.detect_dtmf = true,
        "all" => request.all = true,
        "allow-transcoding" => request.allow_transcoding = true,
        "record-call" => request.record = Some(true),
        _ => {}
    }
}

fn seed_of(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn mux(flags: &mut MuxFlags, word: &str) {
    match word {
        "offer" => flags.offer = true,
        "require" => (flags.offer, flags.require) = (true, true),
        "demux" => flags.demux = true,
        "accept" => flags.accept = true,
        "reject" => flags.reject = true,
        _ => {}
    }
}

fn ice(word: &str) -> Option<IceFlag> {
    Some(match word {
        "remove" => IceFlag::Remove,
        "force" => IceFlag::Force,
        "optional" => IceFlag::Optional,
        "default" => IceFlag::Default,
        _ => return None,
    })
}

fn dtls(flags: &mut DtlsFlags, word: &str) {
    match word {
        "passive" => flags.passive = true,
        "active" => flags.passive = false,
        "off" | "no" | "disable" => flags.off = true,
        _ => return,
    }
    flags.given = true;
}

fn sdes(flags: &mut SdesFlags, word: &str) {
    let suite = |prefix: &str| word.strip_prefix(prefix)?.parse::<Suite>().ok();
    match word {
        "off" | "no" | "disable" => flags.off = true,
        "nonew" => flags.nonew = true,
        "pad" => flags.pad = true,
        "lifetime" => flags.lifetime = true,
        _ => {
            flags.only.extend(suite("only-"));
            flags.no.extend(suite("no-"));
        }
    }
}

fn osrtp(flags: &mut OsrtpFlags, word: &str) {
    match word {
        "offer" | "offer-RFC" => flags.offer = true,
        "accept" | "accept-RFC" => flags.accept = true,
        _ => {}
    }
}

/// A string, or a number as one.
pub(super) fn text(dict: &Dict, key: &str) -> Option<String> {
    match dict.get(key.as_bytes())? {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A list of words or one string of them; spaces inside a listed word count as hyphens.
pub(super) fn words(dict: &Dict, key: &str) -> Vec<String> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match dict.get(key.as_bytes()) {
        Some(Value::List(list)) => list
            .iter()
            .filter_map(|item| match item {
                Value::Bytes(bytes) => Some(lossy(bytes).replace(' ', "-")),
                _ => None,
            })
            .collect(),
        Some(Value::Bytes(bytes)) => lossy(bytes)
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::bencode::dict;
    use super::*;

    #[test]
    fn flags_are_read_in_both_spellings_and_unknown_ones_ignored() {
        let list = |items: &[&str]| Value::List(items.iter().map(|i| (*i).into()).collect());
        let request = read(&dict([
            ("call-id", "c".into()),
            ("replace", list(&["origin", "session connection"])),
            (
                "flags",
                list(&[
                    "trust address",
                    "SIP source address",
                    "strange",
                    "codec-mask-PCMA",
                ]),
            ),
            ("received-from", list(&["IP4", "203.0.113.7"])),
            ("rtcp-mux", list(&["demux"])),
            ("address-family", "IP6".into()),
            ("SDES", list(&["no-AEAD_AES_256_GCM", "pad"])),
            ("OSRTP", list(&["offer"])),
            ("ICE", "force".into()),
            ("DTLS", "passive".into()),
            (
                "codec",
                dict([("strip", list(&["all"])), ("transcode", "opus G722".into())]).into(),
            ),
        ]))
        .expect("a request");
        assert_eq!(request.sdes.no, [Suite::AeadAes256Gcm]);
        assert_eq!(request.ice, Some(IceFlag::Force));
        assert!(request.dtls.given && request.dtls.passive && !request.dtls.off);
        assert!(request.sdes.pad && request.osrtp.offer && !request.osrtp.accept);
        assert!(request.replace_origin && request.sip_source_address && request.mux.demux);
        assert_eq!(request.received_from, "203.0.113.7".parse().ok());
        assert_eq!(request.ipv6, Some(true));
        let CodecFlags {
            strip,
            mask,
            transcode,
            ..
        } = request.codecs;
        assert_eq!(
            (&strip[0][..], &mask[0][..], transcode.len()),
            ("all", "PCMA", 2)
        );
    }

    #[test]
    fn endless_names_are_refused() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(
            read(&dict([("call-id", long.into())])),
            Err("Name too long")
        );
    }
}
