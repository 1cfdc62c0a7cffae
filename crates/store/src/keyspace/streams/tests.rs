//! What a stream does that a redis-server of another time or another memory does not show.

use bytes::Bytes;

use super::*;
use crate::keyspace::{Effects, Keyspace};

fn run(space: &mut Keyspace, line: &str) -> Reply {
    let words = line.split(' ').map(|word| Bytes::from(word.to_owned()));
    space.apply(&words.collect::<Vec<_>>(), &mut Effects::default())
}

#[test]
fn a_star_takes_the_time_of_the_entry_and_never_goes_back() {
    let mut space = Keyspace::default();
    space.advance(1_000, &mut Effects::default());
    assert_eq!(run(&mut space, "XADD x * a 1"), Reply::text("1000-0"));
    assert_eq!(run(&mut space, "XADD x * a 2"), Reply::text("1000-1"));
    assert_eq!(run(&mut space, "XADD x 5000-7 a 3"), Reply::text("5000-7"));
    assert_eq!(run(&mut space, "XADD x * a 4"), Reply::text("5000-8"));
    space.advance(6_000, &mut Effects::default());
    assert_eq!(
        run(&mut space, "XADD x MAXLEN ~ 2 LIMIT 10 * a 5"),
        Reply::text("6000-0")
    );
    assert_eq!(run(&mut space, "XLEN x"), Reply::Int(2));
}

#[test]
fn a_description_tells_what_is_there_and_what_was() {
    let mut space = Keyspace::default();
    for line in [
        "XADD x 1-1 a 1",
        "XADD x 2-1 a 2",
        "XADD x 3-1 a 3",
        "XDEL x 2-1",
    ] {
        assert!(!run(&mut space, line).is_error());
    }
    let Reply::Map(pairs) = run(&mut space, "XINFO STREAM x") else {
        panic!("not a map")
    };
    let value = |name: &str| {
        let mut found = pairs.iter().filter(|(key, _)| *key == Reply::text(name));
        found.next().map(|(_, value)| value.clone())
    };
    assert_eq!(value("length"), Some(Reply::Int(2)));
    assert_eq!(value("entries-added"), Some(Reply::Int(3)));
    assert_eq!(value("last-generated-id"), Some(Reply::text("3-1")));
    assert_eq!(value("max-deleted-entry-id"), Some(Reply::text("2-1")));
    assert_eq!(value("recorded-first-entry-id"), Some(Reply::text("1-1")));
    assert!(run(&mut space, "XINFO STREAM no").is_error());
    assert!(run(&mut space, "XINFO GROUPS x").is_error());
}
