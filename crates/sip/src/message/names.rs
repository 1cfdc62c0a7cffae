//! Header names: the ones the engine acts on, their compact forms, their usual spelling.

macro_rules! names {
    ($($variant:ident = $text:literal $(/ $compact:literal)?),* $(,)?) => {
        /// A header field name the engine acts on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Name {
            $(#[doc = $text] $variant,)*
            /// Any other.
            Other,
        }

        impl Name {
            /// Recognises a name in any case, and compact forms (RFC 3261 section 7.3.3).
            pub fn of(text: &str) -> Name {
                $(if text.eq_ignore_ascii_case($text) $(|| text.eq_ignore_ascii_case($compact))? {
                    return Name::$variant;
                })*
                Name::Other
            }

            /// The usual spelling; empty for [`Name::Other`].
            pub fn text(self) -> &'static str {
                match self {
                    $(Name::$variant => $text,)*
                    Name::Other => "",
                }
            }
        }
    };
}

names! {
    Via = "Via" / "v",
    From = "From" / "f",
    To = "To" / "t",
    CallId = "Call-ID" / "i",
    CSeq = "CSeq",
    Contact = "Contact" / "m",
    ContentLength = "Content-Length" / "l",
    ContentType = "Content-Type" / "c",
    MaxForwards = "Max-Forwards",
    Expires = "Expires",
    Authorization = "Authorization",
    ProxyAuthorization = "Proxy-Authorization",
    Route = "Route",
    RecordRoute = "Record-Route",
    Require = "Require",
    Supported = "Supported" / "k",
    UserAgent = "User-Agent",
    PAssertedIdentity = "P-Asserted-Identity",
    XLeg = "X-Leg",
    XAuthenticatedUser = "X-Authenticated-User",
    RSeq = "RSeq",
    Reason = "Reason",
    Subject = "Subject" / "s",
    ReferTo = "Refer-To" / "r",
    Event = "Event" / "o",
    RAck = "RAck",
    Allow = "Allow",
    SessionExpires = "Session-Expires" / "x",
    MinSe = "Min-SE",
    Replaces = "Replaces",
    SubscriptionState = "Subscription-State",
    ReferSub = "Refer-Sub",
    Privacy = "Privacy",
    Path = "Path",
}

/// Spellings that capitalising after dashes would get wrong.
const IRREGULAR: [&str; 7] = [
    "Call-ID",
    "CSeq",
    "WWW-Authenticate",
    "RSeq",
    "MIME-Version",
    "SIP-ETag",
    "SIP-If-Match",
];

/// The spelling sent on the wire: usual names as registered, others capitalised after
/// dashes (`x-foo-bar` becomes `X-Foo-Bar`), compact forms written out.
pub fn canonical(text: &str) -> String {
    let name = Name::of(text);
    if name != Name::Other {
        return name.text().to_owned();
    }
    if let Some(usual) = IRREGULAR
        .iter()
        .find(|usual| usual.eq_ignore_ascii_case(text))
    {
        return (*usual).to_owned();
    }
    let mut start = true;
    text.chars()
        .map(|letter| {
            let shown = if start {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            start = letter == '-';
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_phones_expect_them() {
        for (given, sent) in [
            ("x-foo-bar", "X-Foo-Bar"),
            ("call-id", "Call-ID"),
            ("www-authenticate", "WWW-Authenticate"),
            ("m", "Contact"),
            ("X-CID", "X-CID"),
        ] {
            assert_eq!(canonical(given), sent);
        }
    }
}
