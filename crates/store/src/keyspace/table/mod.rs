//! The table of commands: one row each, one file a group.

mod describe;
mod hashes;
mod keys;
mod lists;
mod reference;
mod server;
mod sets;
mod sorted_sets;
mod spec;
mod sql;
mod streams;
mod strings;

use bytes::Bytes;

use super::parse::Refusal;

pub use describe::describe;
pub use reference::reference;
pub use spec::{Kind, Spec, Sql, timeout_ms};

/// All rows, by group.
const GROUPS: &[&[Spec]] = &[
    keys::ROWS,
    strings::ROWS,
    hashes::ROWS,
    sets::ROWS,
    sorted_sets::ROWS,
    lists::ROWS,
    streams::ROWS,
    server::ROWS,
    sql::ROWS,
];

/// Places of the index: several times the number of commands, so that most are found at once.
const PLACES: usize = 1_024;

/// Rows by the hash of their names, the next free place on a collision.
static INDEX: [Option<&'static Spec>; PLACES] = index();

const fn index() -> [Option<&'static Spec>; PLACES] {
    let mut places = [None; PLACES];
    let mut group = 0;
    while group < GROUPS.len() {
        let rows = GROUPS[group];
        let mut row = 0;
        while row < rows.len() {
            let mut at = place(rows[row].name.as_bytes());
            while places[at].is_some() {
                at = (at + 1) % PLACES;
            }
            places[at] = Some(&rows[row]);
            row += 1;
        }
        group += 1;
    }
    places
}

/// Where a name is looked for first, whatever its case (FNV-1a, folded).
const fn place(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ (name[at] | 0x20) as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    ((hash ^ (hash >> 15)) as usize) % PLACES
}

/// Longest name of the table; longer ones are not hashed.
const NAME_MAX: usize = 24;

/// The row of a name, whatever its case.
pub fn named(name: &[u8]) -> Option<&'static Spec> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut at = place(name);
    while let Some(spec) = INDEX[at] {
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        at = (at + 1) % PLACES;
    }
    None
}

/// Finds the row of a command and checks the number of its arguments.
pub fn find(command: &[Bytes]) -> Result<&'static Spec, Refusal> {
    let name = command.first().map(Bytes::as_ref).unwrap_or_default();
    let spec = named(name).ok_or_else(|| unknown_command(command))?;
    let words = i32::try_from(command.len()).unwrap_or(i32::MAX);
    let fits = if spec.arity < 0 {
        words >= -spec.arity
    } else {
        words == spec.arity
    };
    if fits {
        Ok(spec)
    } else {
        Err(arity_refusal(spec.name))
    }
}

/// Every command a client may send, sorted by group and name.
pub fn all() -> Vec<&'static Spec> {
    let rows = GROUPS.iter().flat_map(|rows| rows.iter());
    let mut rows: Vec<_> = rows.filter(|spec| !spec.is_internal()).collect();
    rows.sort_by_key(|spec| (spec.group, spec.name));
    rows
}

fn flags_shown(spec: &Spec) -> String {
    spec.flag_names().join(", ")
}

/// The refusal of a command with the wrong number of arguments.
pub fn arity_refusal(name: &str) -> Refusal {
    Refusal(format!("ERR wrong number of arguments for '{name}' command").into())
}

/// The refusal of a command that is not in the table.
pub fn unknown_command(command: &[Bytes]) -> Refusal {
    const SHOWN: usize = 128;
    let shown = |bytes: &Bytes| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
        text.replace(['\r', '\n'], " ")
    };
    let name = command.first().map(shown).unwrap_or_default();
    let mut arguments = String::new();
    for argument in command.iter().skip(1) {
        if arguments.len() >= SHOWN {
            break;
        }
        arguments.push_str(&format!("'{}' ", shown(argument)));
    }
    let text = format!("ERR unknown command '{name}', with args beginning with: {arguments}");
    Refusal(text.trim_end_matches(['\r', '\n']).to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ')
            .map(|word| Bytes::from(word.to_owned()))
            .collect()
    }

    #[test]
    fn every_row_is_found_by_its_name_in_any_case() {
        for spec in GROUPS.iter().flat_map(|rows| rows.iter()) {
            let upper = spec.name.to_ascii_uppercase();
            assert!(spec.name.len() <= NAME_MAX, "{}", spec.name);
            assert_eq!(
                named(upper.as_bytes()).map(|found| found.name),
                Some(spec.name)
            );
            assert!(!spec.summary.is_empty(), "{}", spec.name);
        }
        let mut names: Vec<_> = all().iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn keys_are_found_where_the_row_says() {
        for (line, expected) in [
            ("GET a", "a"),
            ("MSET a 1 b 2", "a b"),
            ("DEL a b c", "a b c"),
            ("PUBLISH a b", ""),
            ("BLPOP a b 0", "a b"),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
            ("XREAD COUNT 1 STREAMS a b 0 0", "a b"),
        ] {
            let command = words(line);
            let spec = find(&command).expect("a command");
            let found: Vec<_> = spec.keys_of(&command);
            let found = found.iter().map(|key| String::from_utf8_lossy(key));
            assert_eq!(found.collect::<Vec<_>>().join(" "), expected, "{line}");
        }
    }
}
