//! The headers every message must have, checked: what transactions and dialogs live on.
use super::address::Address;
use super::lexical::{is_call_id, is_token, number, trim};
use super::names::Name;
use super::parse::{Message, Start};
use super::uri::{Scheme, Uri};
use super::via::Via;

/// Why a message is refused, with the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// The reason phrase, naming the mistake.
    pub reason: &'static str,
}

/// The mandatory headers (RFC 3261 section 8.1.1).
#[derive(Clone, Copy, Debug)]
pub struct Essentials<'a> {
    /// The topmost Via.
    pub via: Via<'a>,
    /// From.
    pub from: Address<'a>,
    /// To.
    pub to: Address<'a>,
    /// Call-ID.
    pub call_id: &'a str,
    /// The number in CSeq.
    pub cseq: u32,
    /// The method in CSeq.
    pub method: &'a str,
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal {
        status: 400,
        reason,
    }
}

impl<'a> Essentials<'a> {
    /// Checks a parsed message.
    pub fn of(message: &Message<'a>) -> Result<Essentials<'a>, Refusal> {
        let via = message
            .get(Name::Via)
            .and_then(Via::parse)
            .ok_or(bad("Bad Via"))?;
        let from = once(message, Name::From, "From")?;
        let to = once(message, Name::To, "To")?;
        let from = Address::parse(from).ok_or(bad("Bad From"))?;
        let to = Address::parse(to).ok_or(bad("Bad To"))?;
        let call_id = once(message, Name::CallId, "Call-ID")?;
        if !is_call_id(call_id) {
            return Err(bad("Bad Call-ID"));
        }
        let (cseq, method) = cseq(once(message, Name::CSeq, "CSeq")?).ok_or(bad("Bad CSeq"))?;
        if message.truncated || message.content_length == Some(None) {
            return Err(bad("Bad Content-Length"));
        }
        let essentials = Essentials {
            via,
            from,
            to,
            call_id,
            cseq,
            method,
        };
        essentials.check_request(message)?;
        Ok(essentials)
    }

    fn check_request(&self, message: &Message<'a>) -> Result<(), Refusal> {
        let Start::Request { method, uri } = message.start else {
            return Ok(());
        };
        if method != self.method {
            return Err(bad("CSeq Method Mismatch"));
        }
        if self.from.tag().is_none() && self.via.branch().is_some_and(|b| b.starts_with("z9hG4bK"))
        {
            return Err(bad("Missing From Tag"));
        }
        match Uri::parse(uri) {
            None => return Err(bad("Bad Request-URI")),
            Some(parsed) if parsed.scheme == Scheme::Other => {
                return Err(Refusal {
                    status: 416,
                    reason: "Unsupported URI Scheme",
                });
            }
            // RFC 3261 section 19.1.1: only in Contact and references.
            Some(parsed) if !parsed.headers.is_empty() => {
                return Err(bad("Headers in Request-URI"));
            }
            Some(_) => {}
        }
        let mut forwards = message.all(Name::MaxForwards);
        match (forwards.next(), forwards.next()) {
            (None, _) => Ok(()),
            (Some(value), None) if number(value).is_some_and(|hops| hops <= 255) => Ok(()),
            _ => Err(bad("Bad Max-Forwards")),
        }
    }
}

fn once<'a>(message: &Message<'a>, name: Name, text: &'static str) -> Result<&'a str, Refusal> {
    let mut values = message.all(name);
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value),
        (Some(_), Some(_)) => Err(bad(match text {
            "From" => "Repeated From",
            "To" => "Repeated To",
            "CSeq" => "Repeated CSeq",
            _ => "Repeated Call-ID",
        })),
        _ => Err(bad(match text {
            "From" => "Missing From",
            "To" => "Missing To",
            "CSeq" => "Missing CSeq",
            _ => "Missing Call-ID",
        })),
    }
}

/// Splits a CSeq value; numbers from 2^31 are refused (RFC 3261 section 8.1.1.5).
pub fn cseq(value: &str) -> Option<(u32, &str)> {
    let digits = value.find(|letter: char| !letter.is_ascii_digit())?;
    let sequence = number(&value[..digits]).filter(|sequence| *sequence < 1 << 31)?;
    let method = &value[digits..];
    let spaced = method.starts_with([' ', '\t', '\r']);
    let method = trim(method);
    (spaced && is_token(method)).then_some((sequence, method))
}
