//! Where the parsers disagree.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::generate::{Dice, message};
use crate::readers::{OTHERS, OURS, Seen};

/// So many generated messages are shown of each kind of disagreement.
const SHOWN_MAX: usize = 3;

/// Reads the torture messages and generated ones; fails when ours is wrong.
pub fn run(seed: u64, count: u64) -> ExitCode {
    let torture = torture();
    let generated = generated(seed, count);
    if torture + generated == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn verdict(seen: Option<&Seen>) -> &'static str {
    if seen.is_some() { "accepts" } else { "refuses" }
}

/// Each message of RFC 4475 and RFC 5118 on which somebody disagrees with us; the RFC decides, and
/// `tests/torture.rs` holds what it says. Returns how many are read differently by two who accept.
fn torture() -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/torture");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect()
        })
        .unwrap_or_default();
    files.sort();
    let mut contradictions = 0;
    println!("torture messages: {}", files.len());
    for file in &files {
        let bytes = std::fs::read(file).unwrap_or_default();
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let ours = (OURS.read)(&bytes);
        for other in OTHERS {
            let theirs = (other.read)(&bytes);
            match (&ours, &theirs) {
                (Some(ours), Some(theirs)) if ours != theirs => {
                    contradictions += 1;
                    println!(
                        "{name}: read differently by {}\n  {ours:?}\n  {theirs:?}",
                        other.name
                    );
                }
                (ours, theirs) if ours.is_some() != theirs.is_some() => println!(
                    "{name}: {} {}, {} {}",
                    OURS.name,
                    verdict(ours.as_ref()),
                    other.name,
                    verdict(theirs.as_ref()),
                ),
                _ => {}
            }
        }
    }
    contradictions
}

/// Generated messages: ours must read what was written. Returns how many it did not.
fn generated(seed: u64, count: u64) -> usize {
    let mut dice = Dice::new(seed);
    let mut wrong: BTreeMap<&str, usize> = BTreeMap::new();
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..count {
        let (bytes, truth) = message(&mut dice);
        for reader in std::iter::once(&OURS).chain(OTHERS) {
            let seen = (reader.read)(&bytes);
            let tally = match &seen {
                Some(seen) if *seen == truth => continue,
                Some(_) => wrong.entry(reader.name).or_default(),
                None => refused.entry(reader.name).or_default(),
            };
            *tally += 1;
            if *tally <= SHOWN_MAX {
                let text = String::from_utf8_lossy(&bytes);
                println!("{}: {truth:?}\n  as {seen:?}\n{text}", reader.name);
            }
        }
    }
    println!("generated messages: {count} from seed {seed}");
    for reader in std::iter::once(&OURS).chain(OTHERS) {
        let of = |tally: &BTreeMap<&str, usize>| tally.get(reader.name).copied().unwrap_or(0);
        let (refused, wrong) = (of(&refused), of(&wrong));
        println!(
            "{}: refuses {refused}, reads {wrong} differently",
            reader.name
        );
    }
    [&wrong, &refused]
        .iter()
        .filter_map(|tally| tally.get(OURS.name))
        .sum()
}
