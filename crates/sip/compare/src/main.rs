//! The parser beside those of other crates.
//!
//! `raftpbx-sip-compare time ROUNDS` prints nanoseconds for each message, columns separated by
//! tabs; `raftpbx-sip-compare differ [SEED] [COUNT]` reads the torture messages and generated ones
//! with every parser and fails when ours contradicts what was generated, or another on what both
//! accept.
//!
//! # Layout
//! - `readers`: one function a crate, from bytes to the fields a server lives on
//! - `generate`: messages from a seed, with what they say
//! - `differ`, `time`: the two commands
mod differ;
mod generate;
mod readers;
mod time;

use std::process::ExitCode;

fn number(word: Option<&String>, otherwise: u64) -> Option<u64> {
    word.map_or(Some(otherwise), |word| word.parse().ok())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (first, second) = (words.get(1), words.get(2));
    match words.first().map(String::as_str) {
        Some("time") => number(first, 200_000).map(time::run),
        Some("differ") => number(first, 1)
            .zip(number(second, 100_000))
            .map(|(seed, count)| differ::run(seed, count)),
        _ => None,
    }
    .unwrap_or_else(|| {
        eprintln!("use: raftpbx-sip-compare time [ROUNDS] | differ [SEED] [COUNT]");
        ExitCode::from(2)
    })
}
