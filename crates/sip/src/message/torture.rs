//! Messages in the spirit of RFC 4475, written from its descriptions.
use super::*;

fn refusal(text: &str) -> Option<u16> {
    let bytes = text.replace('\n', "\r\n");
    match Message::parse(bytes.as_bytes()) {
        Err(ParseError::Version) => Some(505),
        Err(_) => Some(0),
        Ok(message) => Essentials::of(&message).err().map(|refusal| refusal.status),
    }
}

fn check(cases: &[(u16, String)]) {
    for (status, text) in cases {
        assert_eq!(refusal(text), Some(*status), "{text}");
    }
}

const HEAD: &str = "From: <sip:a@example.com>;tag=1\nTo: <sip:b@example.com>\nCall-ID: x@y\n";
const VIA: &str = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\n";

#[test]
fn a_short_tortuous_invite_is_understood() {
    let text = "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n\
        TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n\
        from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
        MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\nContent-Length   : 3\r\n\
        cseq: 0009\r\n  INVITE\r\n\
        Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\ns :\r\n\
        NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
        UnknownHeaderWithUnusualValue: ;;,,;;,;\r\nContent-Type: application/sdp\r\n\
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n \
        SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n\
        m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  \
        secondparam ; q = 0.33\r\n\r\nv=0";
    let message = Message::parse(text.as_bytes()).expect("valid");
    let essentials = Essentials::of(&message).expect("valid");
    assert_eq!(essentials.to.tag(), Some("1918181833n"));
    assert_eq!(essentials.from.tag(), Some("98asjd8"));
    assert_eq!((essentials.cseq, essentials.method), (9, "INVITE"));
    assert_eq!(essentials.via.branch(), Some("390skdjuw"));
    assert_eq!(essentials.via.host, "192.0.2.2");
    assert_eq!(message.body, b"v=0");
    let contact = Address::parse(message.get(Name::Contact).expect("compact form")).expect("valid");
    assert_eq!(contact.params.get("q"), Some("0.33"));
    let second = message
        .all(Name::Via)
        .nth(1)
        .and_then(Via::parse)
        .expect("valid");
    assert_eq!(
        (second.transport, second.host),
        ("TCP", "spindle.example.com")
    );
}

#[test]
fn wide_range_of_characters_is_accepted() {
    let text = format!(
        "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/\
         crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n{VIA}\
         To: \"BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}\" \
         <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n\
         From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\
         \"работающий\";tag=_token~1'+`*%!-.\nCall-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}}{{\n\
         CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nMax-Forwards: 255\n\n"
    );
    assert_eq!(refusal(&text), None);
}

#[test]
fn valid_oddities_are_accepted() {
    for text in [
        format!(
            "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\n{VIA}{HEAD}CSeq: 0 OPTIONS\n\n"
        ),
        format!("INVITE sip:user@[2001:db8::10]:5070 SIP/2.0\n{VIA}{HEAD}CSeq: 7 INVITE\nl: 0\n\n"),
        "SIP/2.0 100 \nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398\n".to_owned()
            + HEAD
            + "CSeq: 35 INVITE\n\n",
        format!(
            "REGISTER sip:example.com SIP/2.0\n{VIA}{HEAD}CSeq: 8 REGISTER\nContact: *\nExpires: 0\n\n"
        ),
        format!("INVITE tel:+12025550199 SIP/2.0\n{VIA}{HEAD}CSeq: 7 INVITE\n\n"),
    ] {
        assert_eq!(refusal(&text), None, "{text}");
    }
}

#[test]
fn broken_requests_are_refused_with_a_reason() {
    let cases = [
        (
            400,
            format!("INVITE sip:b SIP/2.0\n{VIA}{HEAD}CSeq: 36893488147419103232 INVITE\n\n"),
        ),
        (
            400,
            format!("INVITE sip:b SIP/2.0\n{VIA}{HEAD}CSeq: 8 OPTIONS\n\n"),
        ),
        (
            400,
            format!("INVITE sip:b SIP/2.0\n{VIA}{HEAD}CSeq: 8 INVITE\nContent-Length: 9999\n\n"),
        ),
        (
            400,
            format!("INVITE sip:b SIP/2.0\n{VIA}{HEAD}CSeq: 8 INVITE\nContent-Length: -999\n\n"),
        ),
        (
            400,
            format!("INVITE sip:b SIP/2.0\n{VIA}{HEAD}CSeq: 8 INVITE\nCSeq: 9 INVITE\n\n"),
        ),
        (
            400,
            format!("INVITE <sip:b@c> SIP/2.0\n{VIA}{HEAD}CSeq: 8 INVITE\n\n"),
        ),
        (
            400,
            format!("INVITE sip:b%Z@c SIP/2.0\n{VIA}{HEAD}CSeq: 8 INVITE\n\n"),
        ),
        (
            416,
            format!("OPTIONS soap.beep://192.0.2.1:9 SIP/2.0\n{VIA}{HEAD}CSeq: 8 OPTIONS\n\n"),
        ),
        (
            416,
            format!("OPTIONS nobodyKnowsThisScheme:x SIP/2.0\n{VIA}{HEAD}CSeq: 8 OPTIONS\n\n"),
        ),
        (
            400,
            format!("INVITE sip:b SIP/2.0\nVia: SIP/2.0/UDP\n{HEAD}CSeq: 8 INVITE\n\n"),
        ),
        (
            400,
            format!("INVITE sip:b SIP/2.0\n{VIA}CSeq: 8 INVITE\n\n"),
        ),
        (
            400,
            format!("INVITE sip:b SIP/2.0\n{VIA}{HEAD}CSeq: 8 INVITE\nMax-Forwards: 300\n\n"),
        ),
        (
            400,
            "INVITE sip:b SIP/2.0\n".to_owned()
                + VIA
                + "From: \"open <sip:a@b>;tag=1\nTo: <sip:b>\nCall-ID: x\nCSeq: 8 INVITE\n\n",
        ),
    ];
    check(&cases);
}

#[test]
fn what_cannot_be_parsed_is_dropped_or_told_the_version() {
    let cases = [
        (
            505,
            format!("OPTIONS sip:b SIP/7.0\n{VIA}{HEAD}CSeq: 8 OPTIONS\n\n"),
        ),
        (
            0,
            format!("INVITE  sip:b SIP/2.0\n{VIA}{HEAD}CSeq: 8 INVITE\n\n"),
        ),
        (
            0,
            format!("INVITE sip:b  c SIP/2.0\n{VIA}{HEAD}CSeq: 8 INVITE\n\n"),
        ),
        (
            0,
            format!("INVITE sip:b SIP/2.0 \n{VIA}{HEAD}CSeq: 8 INVITE\n\n"),
        ),
        (
            0,
            format!("INVITE sip:b SIP/2.0\nno colon here\n{VIA}{HEAD}CSeq: 8 INVITE\n\n"),
        ),
        (
            0,
            format!("SIP/2.0 4294967301 better\n{VIA}{HEAD}CSeq: 8 INVITE\n\n"),
        ),
    ];
    check(&cases);
}

#[test]
fn latin1_names_are_read_after_repair() {
    let mut bytes = b"INVITE sip:b SIP/2.0\r\nSubject: M\xfcller\r\n\r\n\xff".to_vec();
    assert_eq!(Message::parse(&bytes).err(), Some(ParseError::NotUtf8));
    bytes = latin1_to_utf8(&bytes).expect("it has a head");
    let message = Message::parse(&bytes).expect("repaired");
    assert_eq!(message.get(Name::Subject), Some("Müller"));
    assert_eq!(message.body, b"\xff");
}
