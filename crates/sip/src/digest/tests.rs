use super::*;
use crate::journal::digest_ha1;

const NOW_S: u64 = 1_700_000_000;

fn authenticator() -> Authenticator {
    Authenticator::new("pbx.test", [7; 32], Offer::Sha256AndMd5)
}

fn users(user: &str) -> Option<Credentials> {
    (user == "1001").then(|| digest_ha1("1001", "pbx.test", "secret"))
}

fn answer(user: &str, password: &str, nonce: &str, sha: bool) -> String {
    let hash: fn(&str) -> String = if sha {
        |t| hex(&Sha256::digest(t))
    } else {
        |t| hex(&Md5::digest(t))
    };
    let ha1 = hash(&format!("{user}:pbx.test:{password}"));
    let ha2 = hash("REGISTER:sip:pbx.test");
    let response = hash(&format!("{ha1}:{nonce}:00000001:abc:auth:{ha2}"));
    let algorithm = if sha { "SHA-256" } else { "MD5" };
    format!(
        "Digest username=\"{user}\",realm=\"pbx.test\", nonce=\"{nonce}\", uri=\"sip:pbx.test\", \
         response=\"{response}\", cnonce=\"abc\", nc=00000001, qop=auth, algorithm={algorithm}"
    )
}

fn verify(header: &str, now_s: u64) -> Verdict {
    let mut users = Directory::new(users);
    authenticator().verify([header].into_iter(), "REGISTER", now_s, &mut users)
}

#[test]
fn both_algorithms_are_accepted_on_any_node() {
    let nonce = authenticator().nonce(NOW_S, 1);
    for sha in [false, true] {
        let verdict = verify(&answer("1001", "secret", &nonce, sha), NOW_S + 10);
        assert!(matches!(verdict, Verdict::Accepted(right) if right.user == "1001"));
    }
}

#[test]
fn wrong_passwords_and_unknown_users_look_the_same() {
    let nonce = authenticator().nonce(NOW_S, 1);
    assert_eq!(
        verify(&answer("1001", "guess", &nonce, true), NOW_S),
        Verdict::Wrong("1001".to_owned())
    );
    assert_eq!(
        verify(&answer("nobody", "secret", &nonce, true), NOW_S),
        Verdict::Wrong("nobody".to_owned())
    );
}

#[test]
fn an_old_nonce_with_the_right_password_is_stale() {
    let nonce = authenticator().nonce(NOW_S, 1);
    let late = NOW_S + NONCE_LIFETIME_S + 1;
    assert_eq!(
        verify(&answer("1001", "secret", &nonce, true), late),
        Verdict::Stale
    );
    assert_eq!(
        verify(&answer("1001", "guess", &nonce, true), late),
        Verdict::Missing
    );
    let forged = Authenticator::new("pbx.test", [8; 32], Offer::Md5).nonce(NOW_S, 1);
    assert_eq!(
        verify(&answer("1001", "secret", &forged, true), NOW_S),
        Verdict::Stale
    );
}

#[test]
fn other_realms_and_schemes_are_no_answer() {
    assert_eq!(verify("Basic abc", NOW_S), Verdict::Missing);
    assert_eq!(
        verify("Digest realm=\"other\", username=\"1001\"", NOW_S),
        Verdict::Missing
    );
    assert_eq!(verify("Digest realm=\"pbx.test", NOW_S), Verdict::Missing);
}

#[test]
fn the_stronger_algorithm_is_offered_first() {
    let challenges = authenticator().challenges(Offer::Sha256AndMd5, NOW_S, 1, true);
    assert!(challenges[0].contains("SHA-256") && challenges[0].ends_with("stale=true"));
    assert!(challenges[1].contains("algorithm=MD5"));
    let plain = authenticator().challenges(Offer::Md5, NOW_S, 1, false);
    assert!(plain.len() == 1 && plain[0].contains("algorithm=MD5"));
}

#[test]
fn a_captured_answer_is_good_for_its_own_request_only() {
    let nonce = authenticator().nonce(NOW_S, 1);
    let Verdict::Accepted(right) = verify(&answer("1001", "secret", &nonce, false), NOW_S) else {
        panic!("refused");
    };
    let mut counts = NonceCounts::default();
    assert!(right.count_in(&mut counts, ("call", 1), NOW_S));
    assert!(right.count_in(&mut counts, ("call", 1), NOW_S));
    assert!(!right.count_in(&mut counts, ("call", 2), NOW_S));
}

#[test]
fn an_answer_without_a_count_asks_for_another() {
    let nonce = authenticator().nonce(NOW_S, 1);
    let whole = answer("1001", "secret", &nonce, false);
    for bad in ["nc=0", "nc=", "nc=xyz", "nc=123456789"] {
        let header = whole.replace("nc=00000001", bad);
        assert_eq!(verify(&header, NOW_S), Verdict::Missing, "{bad}");
    }
}
