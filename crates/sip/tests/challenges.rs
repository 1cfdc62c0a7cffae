//! Who is challenged with SHA-256 beside MD5 (RFC 8760), and who with MD5 alone.
mod support;

use raftpbx_sip::{Offer, RegistrarPolicy};
use support::bench::{Bench, Request, register, udp, values};

const PHONE: &str = "203.0.113.7:40000";
const DESK: &str = "User-Agent: Desk 9000\r\n";

fn bench(offer: Offer) -> Bench {
    Bench::new(RegistrarPolicy::default(), |config| {
        if let Some(registrar) = &mut config.registrar {
            registrar.offer = offer;
        }
    })
}

fn offered(bench: &mut Bench, request: &Request<'_>) -> Vec<&'static str> {
    let challenge = bench.ask(udp(PHONE), &request.text(""));
    let all = values(&challenge, "WWW-Authenticate");
    all.iter()
        .map(|value| {
            if value.contains("algorithm=SHA-256") {
                "SHA-256"
            } else {
                "MD5"
            }
        })
        .collect()
}

#[test]
fn md5_stands_alone_unless_both_are_wanted() {
    let mut bench = bench(Offer::Md5);
    assert_eq!(offered(&mut bench, &register(DESK)), ["MD5"]);
}

#[test]
fn both_are_offered_to_devices_that_are_not_known_to_give_up() {
    let mut bench = bench(Offer::Sha256AndMd5);
    let both = ["SHA-256", "MD5"];
    assert_eq!(offered(&mut bench, &register(DESK)), both);
    for known in [
        "",
        "User-Agent: baresip v1.0.0 (x86_64/linux)\r\n",
        "User-Agent: SIPp/Linux\r\n",
    ] {
        assert_eq!(offered(&mut bench, &register(known)), ["MD5"], "{known}");
    }
}

#[test]
fn a_device_that_does_not_answer_is_asked_for_md5_alone() {
    let mut bench = bench(Offer::Sha256AndMd5);
    let first = register(DESK);
    assert_eq!(offered(&mut bench, &first).len(), 2);
    bench.pass_ms(30_000);
    assert_eq!(offered(&mut bench, &first).len(), 2, "a repetition");
    let again = Request { cseq: 2, ..first };
    assert_eq!(offered(&mut bench, &again), ["MD5"]);
    // It can register now, and need not fail again first.
    let third = Request { cseq: 3, ..first };
    assert!(bench.log_in(udp(PHONE), &third).starts_with("SIP/2.0 200"));
    bench.pass_ms(600_000);
    let later = Request { cseq: 5, ..first };
    assert_eq!(offered(&mut bench, &later), ["MD5"]);
}

#[test]
fn a_device_that_answers_goes_on_hearing_both() {
    let mut bench = bench(Offer::Sha256AndMd5);
    for cseq in [1, 2, 3] {
        let request = Request {
            cseq,
            ..register(DESK)
        };
        assert_eq!(offered(&mut bench, &request).len(), 2);
        assert!(
            bench
                .log_in(udp(PHONE), &request)
                .starts_with("SIP/2.0 200")
        );
        bench.pass_ms(60_000);
    }
}
