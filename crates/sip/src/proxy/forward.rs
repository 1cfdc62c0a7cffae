//! Messages as a proxy passes them on: requests (RFC 3261 sections 16.4 and 16.6), responses
//! (section 16.7), the marks that detect loops (RFC 5393).
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::drachtio::headers::{is_ours, localise};
use crate::journal::hex;
use crate::limits::BREADTH_DEFAULT;
use crate::message::{Address, Essentials, Message, Name, Start, Via, Writer, canonical, list};

const MAX_BREADTH: &str = "Max-Breadth";
/// Max-Forwards of a request that came without (section 16.6, step 3).
const HOPS: u32 = 70;

/// How one branch differs from the request.
pub struct Hop<'a> {
    /// The new Request-URI.
    pub target: &'a str,
    /// Our Via value.
    pub via: &'a str,
    /// Our Record-Route (for REGISTER: Path) values when we stay in the path, topmost first:
    /// two when the two sides differ (RFC 5658).
    pub stay: &'a [String],
    /// Headers of the application, added or in place of those that are there.
    pub more: Option<&'a Message<'a>>,
    /// Our address, for `@localhost`.
    pub local: std::net::SocketAddr,
    /// Take the credentials out that were meant for us.
    pub drop_credentials: bool,
    /// Branches this one may have at once.
    pub breadth: usize,
}

/// A request ready to be sent.
pub struct Forwarded {
    /// The message.
    pub bytes: Vec<u8>,
    /// The URI of the next hop: the first Route, else the Request-URI.
    pub next: String,
}

/// The Max-Forwards of what is sent on; None when the request must go no further.
pub fn hops(message: &Message<'_>) -> Option<u32> {
    match message.get(Name::MaxForwards) {
        None => Some(HOPS),
        Some(value) => value.trim().parse::<u32>().ok()?.checked_sub(1),
    }
}

/// How many branches a request may have at once (RFC 5393 section 5.3.3).
pub fn breadth(message: &Message<'_>) -> usize {
    let mut all = message.headers.iter();
    all.find(|header| header.text.eq_ignore_ascii_case(MAX_BREADTH))
        .and_then(|header| header.value.trim().parse().ok())
        .unwrap_or(BREADTH_DEFAULT)
}

/// The Route values, without the first ones that name us (section 16.4).
pub fn routes<'a>(message: &Message<'a>, own: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let mut all: Vec<&str> = message.all(Name::Route).flat_map(list).collect();
    let names_us = |route: &&str| Address::parse(route).is_some_and(|route| own(route.uri));
    let ours = all.iter().take_while(|route| names_us(route)).count();
    all.split_off(ours)
}

/// The request for one branch. `routes` are the Route values that are left.
pub fn request(message: &Message<'_>, routes: &[&str], hop: &Hop<'_>) -> Option<Forwarded> {
    let Start::Request { method, .. } = message.start else {
        return None;
    };
    let target = hop.target.split('?').next().unwrap_or(hop.target);
    let first = routes.first().and_then(|route| Address::parse(route));
    let strict = first.filter(|route| {
        crate::message::Uri::parse(route.uri).is_some_and(|uri| uri.params.get("lr").is_none())
    });
    let next = first.map_or(target, |route| route.uri).to_owned();
    let uri = strict.map_or(target, |route| route.uri);
    let mut writer = Writer::request(method, uri);
    writer.header(Name::Via, hop.via);
    let name = if method == "REGISTER" {
        "Path"
    } else {
        "Record-Route"
    };
    for stay in hop.stay {
        writer.named(name, stay);
    }
    for route in routes.iter().skip(usize::from(strict.is_some())) {
        writer.header(Name::Route, route);
    }
    if strict.is_some() {
        // The next hop is a strict router (section 16.6, step 6).
        writer.header(Name::Route, &format!("<{target}>"));
    }
    writer.header(Name::MaxForwards, &hops(message)?.to_string());
    writer.named(MAX_BREADTH, &hop.breadth.to_string());
    copy(&mut writer, message, hop);
    Some(Forwarded {
        bytes: writer.finish(message.body),
        next,
    })
}

fn copy(writer: &mut Writer, message: &Message<'_>, hop: &Hop<'_>) {
    let replaced = |text: &str| {
        let mut more = hop.more.iter().flat_map(|more| more.headers.iter());
        more.any(|header| header.text.eq_ignore_ascii_case(text))
    };
    for header in &message.headers {
        let own = matches!(
            header.name,
            Name::Route
                | Name::MaxForwards
                | Name::ContentLength
                | Name::XLeg
                | Name::XAuthenticatedUser
        ) || header.text.eq_ignore_ascii_case(MAX_BREADTH)
            || (hop.drop_credentials && header.name == Name::ProxyAuthorization);
        let identity = matches!(header.name, Name::Via | Name::RecordRoute);
        if !own && (identity || is_identity(header.name) || !replaced(header.text)) {
            writer.named(header.text, header.value);
        }
    }
    for header in hop.more.iter().flat_map(|more| more.headers.iter()) {
        if !is_ours(header.name) && !is_identity(header.name) && header.name != Name::MaxForwards {
            let value = localise(header.name, header.value, hop.local);
            writer.named(&canonical(header.text), &value);
        }
    }
}

/// What names the transaction and the dialog: a proxy never changes it.
fn is_identity(name: Name) -> bool {
    matches!(name, Name::From | Name::To | Name::CallId | Name::CSeq)
}

/// A response without our Via, with the challenges of other branches; None when no Via is
/// left: it was for us. A 503 says that *we* cannot, so it goes on as 500 (section 16.7).
pub fn response(message: &Message<'_>, challenges: &[(String, String)]) -> Option<Vec<u8>> {
    let Start::Response { status, reason } = message.start else {
        return None;
    };
    let mut writer = match status {
        503 => Writer::response(500, "Server Internal Error"),
        _ => Writer::response(status, reason),
    };
    let mut first = true;
    let mut vias = 0;
    for header in &message.headers {
        let mut value = header.value;
        match header.name {
            Name::ContentLength => continue,
            Name::Via if std::mem::take(&mut first) => {
                let end = Via::parse(value)?.end;
                value = value[end..].trim_start_matches([',', ' ', '\t']);
                if value.is_empty() {
                    continue;
                }
                vias += 1;
            }
            Name::Via => vias += 1,
            _ => {}
        }
        writer.named(header.text, value);
    }
    for (name, value) in challenges {
        writer.named(name, value);
    }
    (vias > 0).then(|| writer.finish(message.body))
}

/// The challenges of a response.
pub fn challenges(message: &Message<'_>) -> Vec<(String, String)> {
    let asks = |text: &str| {
        text.eq_ignore_ascii_case("WWW-Authenticate")
            || text.eq_ignore_ascii_case("Proxy-Authenticate")
    };
    let all = message.headers.iter().filter(|header| asks(header.text));
    all.map(|header| (header.text.to_owned(), header.value.to_owned()))
        .collect()
}

/// What decides where a request goes, as the second part of our branches: the same request
/// with the same mark in one of our Vias is a loop (RFC 5393 section 4.2).
pub fn mark(key: &[u8; 32], message: &Message<'_>, essentials: &Essentials<'_>) -> String {
    let Start::Request { uri, .. } = message.start else {
        return String::new();
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    let sequence = essentials.cseq.to_string();
    let fixed = [
        uri,
        essentials.call_id,
        essentials.from.tag().unwrap_or_default(),
        essentials.to.tag().unwrap_or_default(),
        &sequence,
    ];
    for part in fixed.into_iter().chain(message.all(Name::Route)) {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    hex(&mac.finalize().into_bytes()[..8])
}

/// Whether one of the Vias is ours and carries this mark.
pub fn is_loop(message: &Message<'_>, mark: &str, own: impl Fn(&Via<'_>) -> bool) -> bool {
    message.all(Name::Via).flat_map(list).any(|value| {
        Via::parse(value).is_some_and(|via| {
            let marked = via.branch().and_then(|branch| branch.rsplit_once('.'));
            marked.is_some_and(|(_, found)| found == mark) && own(&via)
        })
    })
}

/// Proof, in the user part of our Record-Route, that we put it into this call's path.
pub fn pass(key: &[u8; 32], call_id: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"record-route\0");
    mac.update(call_id.as_bytes());
    hex(&mac.finalize().into_bytes()[..10])
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "INVITE sip:b@pbx SIP/2.0\r\n\
        Via: SIP/2.0/UDP a;branch=z9hG4bK1;received=192.0.2.1\r\n\
        Route: <sip:me;lr>, <sip:next;lr>\r\nMax-Forwards: 7\r\nFrom: <sip:a@pbx>;tag=1\r\n\
        To: <sip:b@pbx>\r\nCall-ID: 1@a\r\nCSeq: 1 INVITE\r\nX-Old: 1\r\n\
        Proxy-Authorization: Digest x=1\r\nContent-Length: 3\r\n\r\nv=0";

    fn hop<'a>(more: Option<&'a Message<'a>>, stay: &'a [String]) -> Hop<'a> {
        Hop {
            target: "sip:b@192.0.2.2?x=y",
            via: "SIP/2.0/UDP me;branch=z9hG4bK2.m",
            stay,
            more,
            local: "192.0.2.9:5060".parse().expect("an address"),
            drop_credentials: true,
            breadth: 30,
        }
    }

    #[test]
    fn a_request_goes_on_with_our_via_fewer_hops_and_the_application_s_headers() {
        let message = Message::parse(REQUEST.as_bytes()).expect("valid");
        let more = "INVITE sip:x SIP/2.0\r\nx-old: 2\r\nx-new: <sip:q@localhost>\r\n\
                    From: <sip:forged>;tag=2\r\n\r\n";
        let more = Message::parse(more.as_bytes()).expect("valid");
        let left = routes(&message, |uri| uri == "sip:me;lr");
        assert_eq!(left, ["<sip:next;lr>"]);
        let sent = request(
            &message,
            &left,
            &hop(Some(&more), &["<sip:p@me;lr>".to_owned()]),
        )
        .expect("forwarded");
        assert_eq!(sent.next, "sip:next;lr");
        let text = String::from_utf8(sent.bytes).expect("text");
        assert!(text.starts_with(
            "INVITE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP me;branch=z9hG4bK2.m\r\n\
             Record-Route: <sip:p@me;lr>\r\nRoute: <sip:next;lr>\r\nMax-Forwards: 6\r\n\
             Max-Breadth: 30\r\nVia: SIP/2.0/UDP a"
        ));
        assert!(text.contains("From: <sip:a@pbx>;tag=1\r\n") && !text.contains("forged"));
        assert!(text.contains("X-Old: 2\r\n") && !text.contains("X-Old: 1"));
        assert!(text.contains("X-New: <sip:q@localhost>\r\n") && !text.contains("Digest"));
        assert!(text.ends_with("Content-Length: 3\r\n\r\nv=0"));
    }

    #[test]
    fn a_strict_router_gets_the_target_as_the_last_route() {
        let message = Message::parse(REQUEST.as_bytes()).expect("valid");
        let sent = request(&message, &["<sip:old>"], &hop(None, &[])).expect("forwarded");
        let text = String::from_utf8(sent.bytes).expect("text");
        assert!(text.starts_with("INVITE sip:old SIP/2.0\r\n"));
        assert!(text.contains("Route: <sip:b@192.0.2.2>\r\n") && sent.next == "sip:old");
    }

    #[test]
    fn the_last_hop_is_the_end() {
        for (value, left) in [("0", None), ("1", Some(0)), ("70", Some(69))] {
            let text = REQUEST.replace("Max-Forwards: 7", &format!("Max-Forwards: {value}"));
            let message = Message::parse(text.as_bytes()).expect("valid");
            assert_eq!(hops(&message), left);
        }
    }

    #[test]
    fn responses_lose_our_via_and_gain_the_challenges_of_others() {
        for via in [
            "Via: SIP/2.0/UDP me\r\nVia: SIP/2.0/UDP a",
            "Via: SIP/2.0/UDP me, SIP/2.0/UDP a",
        ] {
            let text = format!("SIP/2.0 407 No\r\n{via}\r\nCSeq: 1 INVITE\r\n\r\n");
            let message = Message::parse(text.as_bytes()).expect("valid");
            let more = [("Proxy-Authenticate".to_owned(), "Digest y".to_owned())];
            let sent = response(&message, &more).expect("for somebody");
            assert_eq!(
                String::from_utf8(sent).expect("text"),
                "SIP/2.0 407 No\r\nVia: SIP/2.0/UDP a\r\nCSeq: 1 INVITE\r\n\
                 Proxy-Authenticate: Digest y\r\nContent-Length: 0\r\n\r\n"
            );
        }
        let alone = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP me\r\n\r\n";
        assert!(response(&Message::parse(alone).expect("valid"), &[]).is_none());
    }

    #[test]
    fn a_loop_is_the_same_request_again_a_spiral_is_another() {
        let key = [7; 32];
        let message = Message::parse(REQUEST.as_bytes()).expect("valid");
        let essentials = Essentials::of(&message).expect("complete");
        let first = mark(&key, &message, &essentials);
        let again = REQUEST.replace(
            "Via: ",
            &format!("Via: SIP/2.0/UDP me;branch=z9hG4bKx.{first}\r\nVia: "),
        );
        let own = |via: &Via<'_>| via.host == "me";
        let message = Message::parse(again.as_bytes()).expect("valid");
        let essentials = Essentials::of(&message).expect("complete");
        assert!(is_loop(&message, &mark(&key, &message, &essentials), own));
        let spiral = again.replace("INVITE sip:b@pbx", "INVITE sip:c@pbx");
        let message = Message::parse(spiral.as_bytes()).expect("valid");
        let essentials = Essentials::of(&message).expect("complete");
        assert!(!is_loop(&message, &mark(&key, &message, &essentials), own));
    }
}
