//! The reference of commands in `docs`, made from the table.

use std::fmt::Write;

use super::spec::Spec;
use super::{all, flags_shown};

const HEAD: &str = "# Commands of the store

<!-- Made by `make fix` from the table in crates/store/src/keyspace/table. -->

Semantics and error texts are those of Redis 7 unless a line says otherwise. Commands of sessions
(HELLO, AUTH, CLIENT, SUBSCRIBE, MULTI, WATCH and their kin) are not in this table: the connection
answers them. Commands of Redis that are missing here answer `ERR unknown command`.
";

/// The whole text.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut group = None;
    for spec in all() {
        if group != Some(spec.group) {
            group = Some(spec.group);
            let name = spec.group.name();
            let _infallible = write!(text, "\n## {name}\n\n{COLUMNS}");
        }
        row(&mut text, spec);
    }
    text
}

const COLUMNS: &str = "| Command | Arity | Flags | What it does | Since | Differs from Redis |
|---|---|---|---|---|---|
";

fn row(text: &mut String, spec: &Spec) {
    let escaped = |text: &str| text.replace('|', "\\|");
    let syntax = format!("{} {}", spec.name.to_uppercase(), spec.syntax);
    let _infallible = writeln!(
        text,
        "| `{}` | {} | {} | {} | {} | {} |",
        escaped(syntax.trim_end()),
        spec.arity,
        flags_shown(spec),
        spec.summary,
        spec.since,
        spec.differs,
    );
}
