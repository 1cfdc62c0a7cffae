//! What stands for the other side's addresses in the messages of a hidden call: tokens that
//! only this cluster can read. They carry all there is to know, so no node has to remember a
//! call that it only passes on.
use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::message::Uri;
use crate::seal::Seal;

/// Begins the user part of our URIs that hide a place.
const PLACE: &str = "th.";
/// Begins a Call-ID that hides another one.
const CALL: &str = "th-";
const MARK_BYTES: usize = 8;

/// Where the side behind a token is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    call: [u8; MARK_BYTES],
    /// That side names the call by the sealed Call-ID.
    pub sealed_call: bool,
    /// Its remote target; empty when the token only says which way.
    pub uri: String,
    /// The Route values toward it.
    pub routes: Vec<String>,
}

/// Makes and reads the tokens.
pub struct Veil {
    places: Seal,
    // A key of its own: callers choose their Call-IDs, so a sealed one could be anything.
    calls: Seal,
}

impl Veil {
    /// With a key that is the same on every node.
    pub fn new(key: &[u8; 32]) -> Veil {
        Veil {
            places: Seal::derived(key, "topology place"),
            calls: Seal::derived(key, "topology call"),
        }
    }

    fn mark(&self, call: &str) -> [u8; MARK_BYTES] {
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(&self.places.hash(b'm', &[call.as_bytes()])[..MARK_BYTES]);
        mark
    }

    /// The user part of a URI of ours that leads to `uri` over `routes`, in the call with this
    /// (plain) Call-ID.
    pub fn hide(&self, call: &str, sealed_call: bool, uri: &str, routes: &[&str]) -> String {
        let place = Place {
            call: self.mark(call),
            sealed_call,
            uri: uri.to_owned(),
            routes: routes.iter().map(|&route| route.to_owned()).collect(),
        };
        let plain = postcard::to_stdvec(&place).expect("places hold plain values only");
        let sealed = BASE64URL_NOPAD.encode(&self.places.close(&plain));
        format!("{PLACE}{sealed}")
    }

    /// What a URI of ours hides; None for any other.
    pub fn place(&self, uri: &str) -> Option<Place> {
        let token = Uri::parse(uri)?.user?.strip_prefix(PLACE)?;
        let sealed = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        postcard::from_bytes(&self.places.open(&sealed)?).ok()
    }

    /// The same, if it was made for the call with this (plain) Call-ID.
    pub fn place_in(&self, uri: &str, call: &str) -> Option<Place> {
        let place = self.place(uri)?;
        (place.call == self.mark(call)).then_some(place)
    }

    /// The Call-ID that stands for a plain one.
    pub fn hide_call(&self, call: &str) -> String {
        let sealed = self.calls.close(call.as_bytes());
        format!("{CALL}{}", BASE64URL_NOPAD.encode(&sealed))
    }

    /// What the other side of a call calls it that this side names so. `sealed`: calls that are
    /// begun now have two names.
    pub fn other_call<'a>(&self, call_id: &'a str, sealed: bool) -> Cow<'a, str> {
        match self.plain_call(call_id) {
            Cow::Borrowed(plain) if sealed => Cow::Owned(self.hide_call(plain)),
            other => other,
        }
    }

    /// The plain Call-ID of a call, whichever of the two is asked about.
    pub fn plain_call<'a>(&self, call_id: &'a str) -> Cow<'a, str> {
        let opened = call_id.strip_prefix(CALL).and_then(|token| {
            let sealed = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
            String::from_utf8(self.calls.open(&sealed)?).ok()
        });
        opened.map_or(Cow::Borrowed(call_id), Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_nothing_and_opens_on_every_node_for_its_call_only() {
        let (here, there) = (Veil::new(&[1; 32]), Veil::new(&[1; 32]));
        let uri = "sip:1001@10.0.0.5:5060;transport=tcp";
        let token = here.hide("c@10.0.0.5", true, uri, &["<sip:10.0.0.1;lr>"]);
        assert_eq!(
            token,
            here.hide("c@10.0.0.5", true, uri, &["<sip:10.0.0.1;lr>"])
        );
        let ours = format!("sip:{token}@192.0.2.1:5060");
        let place = there.place_in(&ours, "c@10.0.0.5").expect("it opens");
        assert_eq!((place.uri.as_str(), place.sealed_call), (uri, true));
        assert_eq!(place.routes, ["<sip:10.0.0.1;lr>"]);
        assert!(there.place_in(&ours, "another").is_none() && there.place(&ours).is_some());
        assert!(Veil::new(&[2; 32]).place(&ours).is_none());
        for wrong in ["sip:th.@h", "sip:th.A@h", "sip:1001@h", "tel:th.AAAA"] {
            assert!(here.place(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_call_id_is_found_again_under_both_its_names() {
        let veil = Veil::new(&[1; 32]);
        let hidden = veil.hide_call("c@10.0.0.5");
        assert!(hidden.starts_with("th-") && !hidden.contains("10.0.0.5"));
        assert_eq!(veil.plain_call(&hidden), "c@10.0.0.5");
        for plain in ["c@10.0.0.5", "th-", "th-AAAA", "th-!"] {
            assert_eq!(veil.plain_call(plain), plain);
        }
        // Each side is told the name that the other one knows.
        assert_eq!(veil.other_call(&hidden, true), "c@10.0.0.5");
        assert_eq!(veil.other_call("c@10.0.0.5", true), hidden);
        assert_eq!(veil.other_call(&hidden, false), "c@10.0.0.5");
        assert_eq!(veil.other_call("c@10.0.0.5", false), "c@10.0.0.5");
        // A Call-ID chosen by a caller is no way to a token.
        let forged = hidden.replacen("th-", "th.", 1);
        assert!(veil.place(&format!("sip:{forged}@h")).is_none());
    }
}
