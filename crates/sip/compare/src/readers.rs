//! What each parser makes of a message.
use raftpbx_sip::message::{Essentials, Message, Start};

/// What a server acts on. Where a crate changes the letter case of a value, so does the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method of a request, status of a response.
    pub start: String,
    pub call_id: String,
    pub cseq: u32,
    pub method: String,
    pub from_tag: Option<String>,
    pub to_tag: Option<String>,
    pub branch: Option<String>,
}

/// A parser, by the name of its crate.
pub struct Reader {
    pub name: &'static str,
    pub read: fn(&[u8]) -> Option<Seen>,
}

pub const OURS: Reader = Reader {
    name: "raftpbx",
    read: ours,
};

/// The others that are compiled in.
pub const OTHERS: &[Reader] = &[Reader {
    name: "rsip",
    read: of_rsip,
}];

fn ours(bytes: &[u8]) -> Option<Seen> {
    let message = Message::parse(bytes).ok()?;
    let essentials = Essentials::of(&message).ok()?;
    Some(Seen {
        start: match message.start {
            Start::Request { method, .. } => method.to_owned(),
            Start::Response { status, .. } => status.to_string(),
        },
        call_id: essentials.call_id.to_owned(),
        cseq: essentials.cseq,
        method: essentials.method.to_owned(),
        from_tag: essentials.from.tag().map(str::to_owned),
        to_tag: essentials.to.tag().map(str::to_owned),
        branch: essentials.via.branch().map(str::to_owned),
    })
}

fn of_rsip(bytes: &[u8]) -> Option<Seen> {
    use rsip::prelude::*;
    let message = rsip::SipMessage::try_from(bytes).ok()?;
    let via = message.via_header().ok()?.clone().typed().ok()?;
    let from = message.from_header().ok()?.clone().typed().ok()?;
    let to = message.to_header().ok()?.clone().typed().ok()?;
    let cseq = message.cseq_header().ok()?.clone().typed().ok()?;
    Some(Seen {
        start: match &message {
            rsip::SipMessage::Request(request) => request.method.to_string(),
            rsip::SipMessage::Response(response) => response.status_code.code().to_string(),
        },
        call_id: message.call_id_header().ok()?.value().to_owned(),
        cseq: cseq.seq.into(),
        method: cseq.method.to_string(),
        from_tag: from.tag().map(ToString::to_string),
        to_tag: to.tag().map(ToString::to_string),
        branch: via.branch().map(ToString::to_string),
    })
}
