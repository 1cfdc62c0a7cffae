//! Messages of a hidden call: what names one side's addresses is replaced before the other
//! side sees it. See `docs/operating/topology-hiding.md` for what that covers.
use std::borrow::Cow;
use std::net::IpAddr;

use super::veil::Veil;
use crate::message::{Address, Header, Message, Name, Start, Uri, Writer, list};

/// Headers that say what a peer is, or which servers are behind it.
const DROPPED: [&str; 7] = [
    "User-Agent",
    "Server",
    "Organization",
    "P-Access-Network-Info",
    "P-Charging-Function-Addresses",
    "P-Charging-Vector",
    "P-Visited-Network-ID",
];
/// Headers that begin with the Call-ID of another call (RFC 3891, RFC 3911, RFC 4538).
const NAMING: [&str; 3] = ["Replaces", "Join", "Target-Dialog"];
/// Contact parameters that name a device or one of its flows (RFC 5626, RFC 5627).
const DEVICE: [&str; 4] = ["+sip.instance", "reg-id", "pub-gruu", "temp-gruu"];
/// Stands for whoever was called at an address (RFC 7044 section 10.1).
const ANONYMOUS: &str = "<sip:anonymous@anonymous.invalid>";

/// One side of a call, as the other one is to see it.
pub struct Side<'a> {
    /// Makes the tokens.
    pub veil: &'a Veil,
    /// The plain Call-ID.
    pub call: &'a str,
    /// The side the message comes from names the call by the sealed Call-ID.
    pub sealed_call: bool,
    /// The Call-ID for the side it goes to.
    pub call_id: &'a str,
    /// Calls have two names: what one side says of another call has to be translated.
    pub seals_calls: bool,
    /// Our address on the side it goes to.
    pub host: IpAddr,
    /// Our URI there with this user part, in angle brackets.
    pub contact: &'a dyn Fn(&str) -> String,
}

/// A request whose first Via is ours, without what is behind it.
pub fn request(message: &Message<'_>, side: &Side<'_>) -> Option<Vec<u8>> {
    let Start::Request { method, uri } = message.start else {
        return None;
    };
    let mut writer = Writer::request(method, uri);
    writer.header(Name::Via, message.get(Name::Via)?);
    let routes: Vec<&str> = message.all(Name::RecordRoute).flat_map(list).collect();
    record_route(&mut writer, side, &routes);
    Some(finish(writer, message, side))
}

/// A response for the sender of `request`, whose Vias and Record-Routes come back to it.
pub fn response(
    message: &Message<'_>,
    request: &Message<'_>,
    challenges: &[(String, String)],
    side: &Side<'_>,
) -> Option<Vec<u8>> {
    let Start::Response { status, reason } = message.start else {
        return None;
    };
    let mut writer = match status {
        503 => Writer::response(500, "Server Internal Error"),
        _ => Writer::response(status, reason),
    };
    for via in request.all(Name::Via) {
        writer.header(Name::Via, via);
    }
    // Seen from here the way begins with the last one (RFC 3261 section 12.1.2).
    let mut routes: Vec<&str> = message.all(Name::RecordRoute).flat_map(list).collect();
    routes.reverse();
    record_route(&mut writer, side, &routes);
    for route in request.all(Name::RecordRoute) {
        writer.header(Name::RecordRoute, route);
    }
    for (name, value) in challenges {
        writer.named(name, value);
    }
    Some(finish(writer, message, side))
}

/// The way back is part of the dialog and never changes, so it does not stand in the Contact,
/// which a later request may replace.
fn record_route(writer: &mut Writer, side: &Side<'_>, routes: &[&str]) {
    if !routes.is_empty() {
        let token = side.veil.hide(side.call, side.sealed_call, "", routes);
        let contact = (side.contact)(&token);
        let route = format!("{};lr>", contact.trim_end_matches('>'));
        writer.header(Name::RecordRoute, &route);
    }
}

fn finish(mut writer: Writer, message: &Message<'_>, side: &Side<'_>) -> Vec<u8> {
    for header in &message.headers {
        if let Some(value) = shown(header, side) {
            writer.named(header.text, &value);
        }
    }
    let kind = message.get(Name::ContentType).unwrap_or_default();
    writer.finish(&body(kind, message.body, side.host))
}

/// What a header says to the other side; None when it says nothing.
fn shown<'a>(header: &Header<'a>, side: &Side<'a>) -> Option<Cow<'a, str>> {
    let is = |name: &str| header.text.eq_ignore_ascii_case(name);
    match header.name {
        Name::Via | Name::RecordRoute | Name::ContentLength => None,
        Name::CallId => Some(Cow::Borrowed(side.call_id)),
        Name::Contact => Some(Cow::Owned(each(header.value, |one| contact(one, side)))),
        _ if DROPPED.iter().any(|name| is(name)) => None,
        _ if NAMING.iter().any(|name| is(name)) => Some(Cow::Owned(other_call(header.value, side))),
        Name::Other if is("Warning") => Some(Cow::Owned(each(header.value, |one| {
            warning(one, side.host)
        }))),
        Name::Other if is("History-Info") || is("Diversion") => {
            Some(Cow::Owned(each(header.value, without_address)))
        }
        _ => Some(Cow::Borrowed(header.value)),
    }
}

/// Who reads this is the other end of the call it names: it knows the call by its other name.
fn other_call(value: &str, side: &Side<'_>) -> String {
    let (call_id, params) = value.split_at(value.find(';').unwrap_or(value.len()));
    let other = side.veil.other_call(call_id.trim(), side.seals_calls);
    format!("{other}{params}")
}

fn each(value: &str, change: impl Fn(&str) -> String) -> String {
    list(value).map(change).collect::<Vec<String>>().join(", ")
}

fn contact(one: &str, side: &Side<'_>) -> String {
    let Some(address) = Address::parse(one).filter(|address| address.uri != "*") else {
        return one.to_owned();
    };
    let token = side
        .veil
        .hide(side.call, side.sealed_call, address.uri, &[]);
    let mut text = (side.contact)(&token);
    let hides = |name: &str| DEVICE.iter().any(|one| name.eq_ignore_ascii_case(one));
    address.params.write(&mut text, |name| !hides(name));
    text
}

/// `code agent "text"` (RFC 3261 section 20.43): the agent is a host.
fn warning(one: &str, host: IpAddr) -> String {
    let mut words = one.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(code), Some(_), Some(text)) => format!("{code} {host} {text}"),
        _ => format!("399 {host} \"hidden\""),
    }
}

/// Keeps names of a domain, which voice mail needs, and hides those at an address.
fn without_address(one: &str) -> String {
    let parsed = Address::parse(one);
    let at_address =
        parsed.is_none_or(|address| Uri::parse(address.uri).is_some_and(|uri| uri.ip().is_some()));
    if !at_address {
        return one.to_owned();
    }
    let params = parsed.map_or("", |address| address.params.0);
    let separator = if params.is_empty() { "" } else { ";" };
    format!("{ANONYMOUS}{separator}{params}")
}

/// A session description without its origin, a report of a transfer without its headers.
pub fn body<'a>(kind: &str, body: &'a [u8], host: IpAddr) -> Cow<'a, [u8]> {
    let is = |prefix: &str| {
        let start = kind.as_bytes().get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    if is("message/sipfrag") {
        let end = memchr::memchr(b'\n', body).map_or(body.len(), |at| at + 1);
        return Cow::Borrowed(&body[..end]);
    }
    // Some phones do not say what they send.
    let unnamed = kind.is_empty() && body.starts_with(b"v=0");
    if !(unnamed || is("application/sdp") || is("multipart/")) {
        return Cow::Borrowed(body);
    }
    let mut shown = Vec::with_capacity(body.len());
    let mut session = false;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        session = match line {
            [b'v', b'=', ..] => true,
            // What follows the first medium is about media.
            [b'm', b'=', ..] => false,
            _ => session,
        };
        match line {
            [b'o', b'=', ..] if session => shown.extend_from_slice(&origin(line, host)),
            [b's', b'=', ..] if session => shown.extend_from_slice(b"s=-\r\n"),
            _ => shown.extend_from_slice(line),
        }
    }
    Cow::Owned(shown)
}

/// `o=user id version IN IP4 address`: only the address changes, so it stays the same session.
fn origin(line: &[u8], host: IpAddr) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.trim_end().splitn(6, ' ').collect();
    let family = if host.is_ipv4() { "IP4" } else { "IP6" };
    match words[..] {
        [user, id, version, ..] => {
            format!("{user} {id} {version} IN {family} {host}\r\n").into_bytes()
        }
        _ => format!("o=- 0 0 IN {family} {host}\r\n").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "192.0.2.1";

    fn side<'a>(veil: &'a Veil, contact: &'a dyn Fn(&str) -> String) -> Side<'a> {
        Side {
            veil,
            call: "c@10.0.0.5",
            sealed_call: false,
            call_id: "hidden",
            seals_calls: true,
            host: HOST.parse().expect("an address"),
            contact,
        }
    }

    fn contact(token: &str) -> String {
        format!("<sip:{token}@{HOST}:5060>")
    }

    const REQUEST: &str = "INVITE sip:b@203.0.113.2 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2\r\n\
        Record-Route: <sip:10.0.0.2;lr>, <sip:10.0.0.1;lr>\r\nMax-Forwards: 7\r\n\
        From: <sip:a@pbx>;tag=1\r\nTo: <sip:b@pbx>\r\ni: c@10.0.0.5\r\nCSeq: 1 INVITE\r\n\
        m: \"A\" <sip:a@10.0.0.5:5062>;+sip.instance=\"<urn:uuid:1>\";audio;q=1\r\n\
        User-Agent: Phone 10.0.0.5\r\nWarning: 399 10.0.0.5 \"odd\"\r\n\
        History-Info: <sip:b@pbx>;index=1, <sip:b@10.0.0.9>;index=1.1;rc=1\r\n\
        Content-Type: application/SDP\r\nContent-Length: 0\r\n\r\n\
        v=0\r\no=a 1 2 IN IP4 10.0.0.5\r\ns=10.0.0.5\r\nc=IN IP4 192.0.2.3\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 0\r\n";

    #[test]
    fn a_request_shows_our_addresses_and_its_media_only() {
        let veil = Veil::new(&[1; 32]);
        let mut message = Message::parse(REQUEST.as_bytes()).expect("valid");
        message.body = &REQUEST.as_bytes()[REQUEST.find("v=0").expect("a body")..];
        let hidden = request(&message, &side(&veil, &contact)).expect("a request");
        let text = String::from_utf8(hidden).expect("text");
        assert!(
            !text.contains("10.0.0.") && !text.contains("uuid"),
            "{text}"
        );
        for line in [
            "i: hidden",
            "Warning: 399 192.0.2.1 \"odd\"",
            "History-Info: <sip:b@pbx>;index=1, \
             <sip:anonymous@anonymous.invalid>;index=1.1;rc=1",
            "o=a 1 2 IN IP4 192.0.2.1",
            "s=-",
            "c=IN IP4 192.0.2.3",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
        }
        let message = Message::parse(text.as_bytes()).expect("valid");
        assert!(!message.truncated && message.all(Name::Via).count() == 1);
        let shown = Address::parse(message.get(Name::Contact).expect("there")).expect("valid");
        assert_eq!(shown.params.0, "audio;q=1");
        let place = veil.place_in(shown.uri, "c@10.0.0.5").expect("ours");
        assert_eq!(
            (place.uri.as_str(), place.routes.len()),
            ("sip:a@10.0.0.5:5062", 0)
        );
        let route = Address::parse(message.get(Name::RecordRoute).expect("there")).expect("valid");
        let place = veil.place_in(route.uri, "c@10.0.0.5").expect("ours");
        assert_eq!(place.routes, ["<sip:10.0.0.2;lr>", "<sip:10.0.0.1;lr>"]);
    }

    #[test]
    fn a_response_goes_back_the_way_the_request_came() {
        let veil = Veil::new(&[1; 32]);
        let asked = Message::parse(REQUEST.as_bytes()).expect("valid");
        let text = "SIP/2.0 503 Busy\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
            Record-Route: <sip:203.0.113.8;lr>, <sip:203.0.113.9;lr>\r\nCall-ID: hidden\r\n\
            To: <sip:b@pbx>;tag=2\r\nContact: <sip:b@203.0.113.2>\r\nServer: 203.0.113.2\r\n\r\n";
        let message = Message::parse(text.as_bytes()).expect("valid");
        let challenges = [("Proxy-Authenticate".to_owned(), "Digest y".to_owned())];
        let hidden = response(&message, &asked, &challenges, &side(&veil, &contact));
        let text = String::from_utf8(hidden.expect("a response")).expect("text");
        assert!(text.starts_with(
            "SIP/2.0 500 Server Internal Error\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2\r\nRecord-Route: <sip:th."
        ));
        assert!(!text.contains("203.0.113.") && text.contains("Proxy-Authenticate: Digest y\r\n"));
        let message = Message::parse(text.as_bytes()).expect("valid");
        let routes: Vec<&str> = message.all(Name::RecordRoute).flat_map(list).collect();
        assert_eq!(routes[1..], ["<sip:10.0.0.2;lr>", "<sip:10.0.0.1;lr>"]);
        let first = Address::parse(routes[0]).expect("valid");
        let place = veil.place(first.uri).expect("ours");
        assert_eq!(
            place.routes,
            ["<sip:203.0.113.9;lr>", "<sip:203.0.113.8;lr>"]
        );
    }

    #[test]
    fn bodies_keep_what_is_not_an_address() {
        let host = HOST.parse().expect("an address");
        let frag = body(
            "message/sipfrag;version=2.0",
            b"SIP/2.0 200 OK\r\nVia: x\r\n",
            host,
        );
        assert_eq!(&frag[..], b"SIP/2.0 200 OK\r\n");
        let parts = b"--x\r\n\r\nv=0\no=a 1 2 IN IP6 ::5\nm=audio 1 RTP/AVP 0\ns=kept\n--x--";
        let shown = body("multipart/mixed;boundary=x", parts, host);
        assert_eq!(
            &shown[..],
            b"--x\r\n\r\nv=0\no=a 1 2 IN IP4 192.0.2.1\r\nm=audio 1 RTP/AVP 0\ns=kept\n--x--"
        );
        assert_eq!(&body("text/plain", b"o=1", host)[..], b"o=1");
        let odd = body("", b"v=0\no=10.0.0.5\n", host);
        assert_eq!(&odd[..], b"v=0\no=- 0 0 IN IP4 192.0.2.1\r\n");
    }
}
