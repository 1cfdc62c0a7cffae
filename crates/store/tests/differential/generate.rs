//! Random commands: patterns with places to fill in, so that most of them mean something.

use bytes::Bytes;

/// Commands that no pattern names, and why.
pub const EXCEPTIONS: &[(&str, &str)] = &[
    ("time", "two clocks"),
    ("publish", "receivers are not counted here"),
    (
        "object",
        "describes how Redis keeps a value; ours only resembles it",
    ),
    (
        "xinfo",
        "Redis adds figures of its radix tree; a unit test covers ours",
    ),
    ("hexpire", "Redis 7.4; unit tests cover it"),
    ("hpexpire", "Redis 7.4; unit tests cover it"),
    ("hexpireat", "Redis 7.4; unit tests cover it"),
    ("hpexpireat", "Redis 7.4; unit tests cover it"),
    ("httl", "Redis 7.4; unit tests cover it"),
    ("hpttl", "Redis 7.4; unit tests cover it"),
    ("hpersist", "Redis 7.4; unit tests cover it"),
    ("hexpiretime", "Redis 7.4; unit tests cover it"),
    ("hpexpiretime", "Redis 7.4; unit tests cover it"),
    ("sql.exec", "not in Redis"),
    ("sql.query", "not in Redis"),
    ("sql.migrate", "not in Redis"),
];

/// What a place in a pattern may become. The first ones are the simplest.
const PLACES: &[(&str, &[&str])] = &[
    ("s", &["s1", "s2", "s1", "s2", "s3", "h1", "l1"]),
    ("h", &["h1", "h2", "h1", "h2", "h3", "s1"]),
    ("e", &["e1", "e2", "e1", "e2", "e3", "z1", "s1"]),
    ("z", &["z1", "z2", "z1", "z2", "z3", "s1"]),
    ("u", &["z1", "z2", "e1", "e2", "z3", "s1"]),
    ("y", &["y1", "y2", "y1", "s1"]),
    ("l", &["l1", "l2", "l1", "l2", "l3", "s1"]),
    ("x", &["x1", "x2", "x1", "x2", "x3", "s1"]),
    (
        "k",
        &[
            "s1", "h1", "e1", "z1", "l1", "x1", "s2", "h2", "e2", "z2", "l2", "x2", "no",
        ],
    ),
    (
        "v",
        &[
            "1",
            "a",
            "10",
            "",
            "-5",
            "3.0",
            "hello",
            "9223372036854775807",
            "0.1",
        ],
    ),
    ("f", &["a", "b", "c", "d", "1", "20"]),
    (
        "i",
        &[
            "1",
            "0",
            "-1",
            "2",
            "-2",
            "5",
            "100",
            "x",
            "9223372036854775807",
            "-9223372036854775808",
        ],
    ),
    ("n", &["1", "2", "100", "0", "-1", "x"]),
    // Sums of these are exact in the floats of every processor.
    ("p", &["1", "0.5", "-2.25", "3e2", "10", "x", "inf"]),
    ("g", &["g1", "g2", "g1", "g2", "w1"]),
    (
        "R",
        &["1", "-1", "2", "-2", "0", "x", "9223372036854775807"],
    ),
    ("m", &["100", "0", "-1", "x"]),
    (
        "c",
        &["1", "0", "2", "-1", "3.5", "2", "inf", "-inf", "0.1", "x"],
    ),
    ("b", &["1", "(1", "-inf", "+inf", "2", "(2", "0", "-1", "x"]),
    ("L", &["-", "+", "[a", "[b", "(b", "[c", "(d", "a"]),
    ("w", &["1", "2", "0", "-1", "0.5", "x"]),
    ("d", &["LEFT", "RIGHT", "left", "UP"]),
    (
        "t",
        &["100", "200", "100", "0", "-1", "x", "9223372036854775807"],
    ),
    ("A", &["9000000000", "9000000100", "1", "-1", "x"]),
    ("P", &["9000000000000", "9000000000100", "1", "-1", "x"]),
    ("o", &["", "", "NX", "XX", "NX XX", "BAD"]),
    ("O", &["", "NX", "XX", "GT", "LT", "GT LT", "NX GT", "BAD"]),
    (
        "a",
        &["1-1", "2-1", "2-2", "3-0", "0-0", "4-*", "5", "x", "3-*"],
    ),
    ("r", &["-", "+", "1-1", "2", "(2-1", "0", "3-0", "x"]),
    ("W", &["0", "0.01", "-1", "x"]),
];

/// Patterns; `{s}` is filled from [`PLACES`], an empty filling adds no word.
pub const PATTERNS: &str = include_str!("patterns.txt");

/// Makes a command of the pattern that `dice` choose.
pub fn command(pattern: usize, dice: &[u8]) -> Vec<String> {
    let patterns: Vec<_> = PATTERNS.lines().filter(|line| !line.is_empty()).collect();
    let mut dice = dice.iter().cycle();
    let mut words = Vec::new();
    for word in patterns[pattern % patterns.len()].split(' ') {
        let place = word
            .strip_prefix('{')
            .and_then(|word| word.strip_suffix('}'));
        let Some(place) = place else {
            words.push(word.to_owned());
            continue;
        };
        let fillings = PLACES.iter().find(|(name, _)| *name == place);
        let (_, fillings) = fillings.unwrap_or_else(|| panic!("no place is called {place}"));
        let die = usize::from(*dice.next().expect("dice"));
        let filling = fillings[die % fillings.len()];
        if place == "v" {
            words.push(filling.to_owned());
        } else {
            words.extend(
                filling
                    .split(' ')
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    words
}

/// Words as a command.
pub fn bytes(words: &[String]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::from(word.clone())).collect()
}
