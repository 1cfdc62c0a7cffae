use super::*;

const NOW_MS: u64 = 1_000_000_000;

fn stranger(source: &str) -> Attempt<'static> {
    Attempt {
        source: source.parse().expect("an address"),
        user: "1001",
        is_home: false,
        is_own: false,
    }
}

fn ban(defence: &mut Defence, attempt: &Attempt<'_>, now_ms: u64) -> Ban {
    for _ in 1..WRONGS_MAX {
        assert_eq!(defence.wrong(attempt, now_ms), Wrong::Counted);
    }
    match defence.wrong(attempt, now_ms) {
        Wrong::Banned(ban) => ban,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_source_that_guesses_is_banned_for_a_while_and_longer_the_next_time() {
    let mut defence = Defence::default();
    let attempt = stranger("203.0.113.5");
    let first = ban(&mut defence, &attempt, NOW_MS);
    assert!(defence.is_banned(attempt.source, NOW_MS));
    assert_eq!((first.until - first.since, first.times), (BAN_MS_FIRST, 1));
    assert!(!defence.is_banned(attempt.source, first.until));
    let second = ban(&mut defence, &attempt, first.until);
    assert_eq!(second.until - second.since, 2 * BAN_MS_FIRST);
    assert!(!defence.is_banned(stranger("203.0.113.6").source, NOW_MS));
}

#[test]
fn mistakes_far_apart_and_mistakes_made_good_ban_nobody() {
    let mut defence = Defence::default();
    let attempt = stranger("203.0.113.5");
    for count in 0..u64::from(3 * WRONGS_MAX) {
        let now_ms = NOW_MS + count * (WRONG_WINDOW_MS + 1);
        assert_eq!(defence.wrong(&attempt, now_ms), Wrong::Counted);
    }
    for _ in 0..3 * WRONGS_MAX {
        assert_eq!(defence.wrong(&attempt, NOW_MS), Wrong::Counted);
        defence.right(&attempt);
    }
}

#[test]
fn one_wrong_phone_does_not_silence_its_neighbours() {
    let mut defence = Defence::default();
    let mut attempt = stranger("203.0.113.5");
    attempt.is_home = true;
    let ban = ban(&mut defence, &attempt, NOW_MS);
    assert_eq!(ban.user.as_deref(), Some("1001"));
    assert!(defence.refuses(&attempt, NOW_MS));
    assert!(!defence.is_banned(attempt.source, NOW_MS));
    let neighbour = Attempt {
        user: "1002",
        ..attempt
    };
    assert!(!defence.refuses(&neighbour, NOW_MS));
}

#[test]
fn a_user_under_attack_makes_strangers_wait_but_not_its_own_devices() {
    let mut defence = Defence::default();
    for count in 0..USER_WRONGS_FREE + 9 {
        let source = format!("203.0.113.{count}");
        defence.wrong(&stranger(&source), NOW_MS);
    }
    let stranger = stranger("198.51.100.1");
    assert!(defence.refuses(&stranger, NOW_MS + 1_999));
    assert!(!defence.refuses(&stranger, NOW_MS + 2_000));
    defence.wrong(&stranger, NOW_MS + 2_000);
    assert!(defence.refuses(&stranger, NOW_MS + 5_999));
    assert!(!defence.refuses(&stranger, NOW_MS + 6_000));
    let own = Attempt {
        is_home: true,
        is_own: true,
        ..stranger
    };
    assert!(!defence.refuses(&own, NOW_MS));
}

#[test]
fn a_new_leader_goes_on_with_the_bans_and_a_deleted_key_lifts_one() {
    let (mut old, mut new) = (Defence::default(), Defence::default());
    let attempt = stranger("2001:db8:1:2:3:4:5:6");
    let ban = ban(&mut old, &attempt, NOW_MS);
    assert_eq!(ban.key(), "sip:ban:2001:db8:1:2::");
    new.applied(&ban.key(), Some(&ban.to_json()), NOW_MS);
    let neighbour = stranger("2001:db8:1:2::9");
    assert!(new.is_banned(neighbour.source, NOW_MS));
    new.applied(&ban.key(), None, NOW_MS);
    assert!(!new.is_banned(neighbour.source, NOW_MS));
    assert_eq!(new.ban_count(), 0);
}

#[test]
fn the_tables_do_not_grow_without_end() {
    let mut defence = Defence::default();
    for count in 0..3 * SCORES_MAX {
        let source = Ipv6Addr::from((count as u128) << 64);
        defence.wrong(&stranger(&source.to_string()), NOW_MS);
    }
    assert!(defence.parties.len() <= 2 * SCORES_MAX);
    for count in 0..BANS_MAX {
        let source = Ipv6Addr::from((count as u128) << 64);
        ban(&mut defence, &stranger(&source.to_string()), NOW_MS);
    }
    let last = stranger("203.0.113.5");
    for _ in 1..WRONGS_MAX {
        defence.wrong(&last, NOW_MS);
    }
    assert_eq!(defence.wrong(&last, NOW_MS), Wrong::Full);
    assert_eq!(defence.ban_count(), BANS_MAX);
}
