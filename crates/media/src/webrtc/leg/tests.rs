use super::*;
use crate::limits::HANDSHAKE_TRIES_MAX;
use std::net::SocketAddr;

fn raw(text: &str) -> RawAddress {
    RawAddress::from(text.parse::<SocketAddr>().expect("an address"))
}

fn identity() -> Arc<Identity> {
    Identity::new().expect("an identity")
}

fn now() -> u64 {
    crate::epoll::monotonic_ns()
}

fn spec(active: bool, other: &Arc<Identity>) -> Spec {
    Spec {
        dtls: Some((active, vec![other.fingerprint().clone()])),
        ..Spec::default()
    }
}

fn leg(own: &Arc<Identity>, active: bool, other: &Arc<Identity>) -> Leg {
    Leg::new(own, spec(active, other), now())
}

/// The same with RTCP on a port of its own.
fn apart(own: &Arc<Identity>, active: bool, other: &Arc<Identity>) -> Leg {
    let apart = true;
    let spec = Spec {
        apart,
        ..spec(active, other)
    };
    Leg::new(own, spec, now())
}

/// Carries datagrams between two legs until nothing is said any more.
fn shake(legs: &mut [Leg; 2]) {
    let remote = raw("10.0.0.1:1");
    for leg in legs.iter_mut() {
        leg.tick([Some(&remote); 2], now());
    }
    while let Some(n) = (0..2).find(|&n| !legs[n].outgoing.is_empty()) {
        for out in legs[n].take_outgoing() {
            legs[1 - n].shake(out.rtcp, &remote, &out.bytes, now());
        }
    }
}

#[test]
fn the_active_end_begins_once_it_knows_where_and_both_have_keys() {
    let (a, b) = (identity(), identity());
    let mut legs = [leg(&a, true, &b), leg(&b, false, &a)];
    legs[0].tick([None, None], now());
    assert!(legs[0].outgoing.is_empty());
    shake(&mut legs);
    let [one, other] = &legs;
    let keys = |leg: &Leg| leg.keys(false).cloned().expect("keys");
    assert!(one.keys(true).is_none() && !one.shakes_apart());
    let (one, other) = (keys(one), keys(other));
    assert_eq!((&one.ours, &one.theirs), (&other.theirs, &other.ours));
    assert_eq!(
        (a.counts.handshakes.get(), b.counts.handshakes.get()),
        (1, 1)
    );
}

#[test]
fn what_stays_the_same_goes_on_and_another_certificate_begins_anew() {
    let (a, b, c) = (identity(), identity(), identity());
    let mut legs = [leg(&a, true, &b), leg(&b, false, &a)];
    shake(&mut legs);
    let before = legs[0].keys(false).cloned();
    let same = legs[0].spec().clone();
    legs[0].settle(same, now());
    assert_eq!(legs[0].keys(false).cloned(), before);
    legs[0].settle(spec(true, &c), now());
    legs[1] = leg(&c, false, &a);
    assert_eq!(legs[0].keys(false), None);
    shake(&mut legs);
    assert_ne!(legs[0].keys(false).cloned(), before);
    assert_eq!(
        legs[0].keys(false).map(|keys| &keys.ours),
        legs[1].keys(false).map(|keys| &keys.theirs)
    );
}

#[test]
fn a_wrong_certificate_is_counted_and_not_tried_for_ever() {
    let (a, b, c) = (identity(), identity(), identity());
    let mut legs = [leg(&a, true, &c), leg(&b, false, &a)];
    for _ in 0..HANDSHAKE_TRIES_MAX + 2 {
        shake(&mut legs);
        legs[1] = leg(&b, false, &a);
    }
    assert!(legs[0].keys(false).is_none());
    assert_eq!(a.counts.mismatched.get(), u64::from(HANDSHAKE_TRIES_MAX));
    assert!(a.counts.refused.get() > 0 && a.running() == 0);
}

#[test]
fn what_is_written_down_goes_on_elsewhere_with_the_same_keys() {
    let (a, b, c) = (identity(), identity(), identity());
    let (ours, theirs) = (Credentials::random(), Credentials::random());
    let mut legs = [leg(&a, false, &b), leg(&b, true, &a)];
    shake(&mut legs);
    let mut spec = legs[0].spec().clone();
    let remote = Remote {
        credentials: theirs.clone(),
        ..Remote::default()
    };
    spec.ice = Some((ours.clone(), remote));
    legs[0].settle(spec, now());
    let at = raw("10.0.0.9:4000");
    let written = serde_json::to_string(&legs[0].state([Some(&at), None])).expect("JSON");
    let state: LegState = serde_json::from_str(&written).expect("a state");
    let mut other = Leg::restored(&c, &state, now());
    assert_eq!(other.keys(false), legs[0].keys(false));
    assert_eq!(other.state([Some(&at), None]), state);
    let check = super::super::stun::Check {
        username: &format!("{}:{}", ours.name, theirs.name),
        password: &ours.password,
        priority: 1,
        controlling: true,
        tie_breaker: 1,
        nominates: true,
    };
    let check = super::super::stun::request([1; 12], &check);
    let taken = other.hear(false, &at, &check, now());
    assert_eq!(
        taken.valid,
        Some(true),
        "who knew the old one knows this one"
    );
    let shown = format!("{state:?}");
    assert!(
        !shown.contains(&ours.password),
        "secrets do not end up in logs"
    );
}

#[test]
fn rtcp_on_a_port_of_its_own_has_a_handshake_and_keys_of_its_own() {
    let (a, b) = (identity(), identity());
    let mut legs = [apart(&a, true, &b), apart(&b, false, &a)];
    shake(&mut legs);
    let both = [false, true].map(|rtcp| legs[0].keys(rtcp).cloned().expect("keys"));
    assert_ne!(both[0], both[1]);
    for rtcp in [false, true] {
        let theirs = legs[1].keys(rtcp).map(|keys| &keys.theirs);
        assert_eq!(theirs, Some(&both[usize::from(rtcp)].ours));
    }
    assert_eq!((a.counts.handshakes.get(), a.running()), (2, 0));
    // It comes to share the port of RTP, and later does no more: a new association.
    legs[0].settle(spec(true, &b), now());
    legs[1].settle(spec(false, &a), now());
    assert_eq!(legs[0].keys(false), Some(&both[0]));
    assert!(legs[0].keys(true).is_none());
    let stray = legs[0].shake(true, &raw("10.0.0.1:1"), &[22], now());
    assert!(stray.strange, "nothing to shake hands about");
    for (n, other) in [(0, &b), (1, &a)] {
        let apart = true;
        let spec = spec(n == 0, other);
        legs[n].settle(Spec { apart, ..spec }, now());
    }
    shake(&mut legs);
    assert_eq!(legs[0].keys(false), Some(&both[0]));
    assert!(legs[0].keys(true).is_some_and(|keys| *keys != both[1]));
}

#[test]
fn the_keys_of_rtcp_are_written_down_too_and_without_them_nobody_is_asked() {
    let (a, b, c) = (identity(), identity(), identity());
    let mut legs = [apart(&a, true, &b), apart(&b, false, &a)];
    let remotes = ["10.0.0.9:4000", "10.0.0.9:4001"].map(raw);
    let remotes = remotes.each_ref().map(Some);
    let carried = |leg: &Leg| {
        let written = serde_json::to_string(&leg.state(remotes)).expect("JSON");
        let state: LegState = serde_json::from_str(&written).expect("a state");
        Leg::restored(&c, &state, now())
    };
    shake(&mut legs);
    let mut other = carried(&legs[0]);
    assert_eq!(other.keys(true), legs[0].keys(true));
    assert_eq!(other.state(remotes), legs[0].state(remotes));
    other.tick(remotes, now());
    assert!(other.take_outgoing().is_empty(), "nothing begins anew");
    legs[0].secrecy[1] = apart(&a, true, &b).secrecy[1].take();
    let mut other = carried(&legs[0]);
    assert!(other.keys(false).is_some() && other.shakes_apart());
    other.tick(remotes, now());
    assert!(other.take_outgoing().is_empty(), "with another certificate");
}

#[test]
fn ways_of_rtcp_are_checked_only_where_it_has_a_port_of_its_own() {
    let remote = Remote {
        credentials: Credentials::random(),
        lite: true,
        candidates: ["10.0.0.9:4000", "10.0.0.9:4001"]
            .map(|text| vec![text.parse().expect("an address")]),
    };
    let ice = Some((Credentials::random(), remote));
    let (a, started) = (identity(), now());
    let spec = |apart| Spec {
        ice: ice.clone(),
        apart,
        ..Spec::default()
    };
    let mut leg = Leg::new(&a, spec(false), started);
    let mut asked = |apart| {
        leg.settle(spec(apart), started);
        leg.tick([None, None], started + 60_000_000_000);
        let outgoing = leg.take_outgoing().into_iter();
        outgoing.map(|one| one.rtcp).collect::<Vec<_>>()
    };
    assert_eq!(asked(false), [false]);
    assert!(asked(true).contains(&true));
    assert!(!asked(false).contains(&true));
}

#[test]
fn the_first_byte_tells() {
    let of = |byte: u8| Control::of(&[byte]);
    assert_eq!([of(0), of(3)], [Some(Control::Stun); 2]);
    assert_eq!([of(20), of(63)], [Some(Control::Dtls); 2]);
    assert_eq!([of(4), of(19), of(64), of(128), of(191)], [None; 5]);
    assert_eq!(Control::of(&[]), None);
}
