//! `COMMAND` and its subcommands, answered from the table.

use bytes::Bytes;

use super::spec::{Keys, Spec};
use super::{all, arity_refusal, find, named};
use crate::keyspace::parse::{Outcome, Refusal, is, refuse};
use crate::keyspace::pattern::matches;
use crate::reply::Reply;

/// Answers `COMMAND ...`; `words` begins with `COMMAND`.
pub fn describe(words: &[Bytes]) -> Reply {
    let outcome = match words.get(1) {
        None => Ok(Reply::Array(all().into_iter().map(info).collect())),
        Some(verb) => subcommand(verb, words),
    };
    outcome.unwrap_or_else(Reply::from)
}

fn subcommand(verb: &Bytes, words: &[Bytes]) -> Outcome {
    let rest = &words[2..];
    if is(verb, "COUNT") && rest.is_empty() {
        return Ok(Reply::Int(i64::try_from(all().len()).unwrap_or(i64::MAX)));
    }
    if is(verb, "INFO") {
        let one = |name: &Bytes| found(name).map_or(Reply::NilArray, info);
        let rows = match rest {
            [] => all().into_iter().map(info).collect(),
            names => names.iter().map(one).collect(),
        };
        return Ok(Reply::Array(rows));
    }
    if is(verb, "DOCS") {
        let rows = match rest {
            [] => all(),
            names => names.iter().filter_map(found).collect(),
        };
        let pair = |spec: &'static Spec| (Reply::text(spec.name), docs(spec));
        return Ok(Reply::Map(rows.into_iter().map(pair).collect()));
    }
    if is(verb, "LIST") {
        return list(rest);
    }
    if is(verb, "GETKEYS") {
        return keys(rest);
    }
    let verb = String::from_utf8_lossy(verb);
    Err(Refusal(
        format!("ERR unknown subcommand '{verb}'. Try COMMAND HELP.").into(),
    ))
}

fn found(name: &Bytes) -> Option<&'static Spec> {
    named(name).filter(|spec| !spec.is_internal())
}

fn simple(text: &&'static str) -> Reply {
    Reply::Simple((*text).to_owned())
}

fn info(spec: &'static Spec) -> Reply {
    let (first, last, step) = spec.key_places();
    Reply::Array(vec![
        Reply::text(spec.name),
        Reply::Int(i64::from(spec.arity)),
        Reply::Set(spec.flag_names().iter().map(simple).collect()),
        Reply::Int(first),
        Reply::Int(last),
        Reply::Int(step),
        Reply::Set(spec.categories().iter().map(simple).collect()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn docs(spec: &'static Spec) -> Reply {
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("syntax", spec.syntax),
        ("differs", spec.differs),
    ];
    let given = texts.iter().filter(|(_, text)| !text.is_empty());
    Reply::Map(
        given
            .map(|(name, text)| (Reply::text(*name), Reply::text(*text)))
            .collect(),
    )
}

fn list(rest: &[Bytes]) -> Outcome {
    let wanted: Box<dyn Fn(&Spec) -> bool + '_> = match rest {
        [] => Box::new(|_| true),
        [filter, by, value] if is(filter, "FILTERBY") && is(by, "ACLCAT") => {
            let category = format!("@{}", String::from_utf8_lossy(value).to_lowercase());
            Box::new(move |spec| spec.is_in(&category))
        }
        [filter, by, value] if is(filter, "FILTERBY") && is(by, "PATTERN") => {
            Box::new(|spec| matches(value, spec.name.as_bytes()))
        }
        _ => return Err(refuse("ERR syntax error")),
    };
    let names = all().into_iter().filter(|spec| wanted(spec));
    Ok(Reply::Array(
        names.map(|spec| Reply::text(spec.name)).collect(),
    ))
}

fn keys(command: &[Bytes]) -> Outcome {
    if command.is_empty() {
        return Err(arity_refusal("command|getkeys"));
    }
    let spec = find(command).map_err(|_| match command.first().and_then(found) {
        None => refuse("ERR Invalid command specified"),
        Some(_) => refuse("ERR Invalid number of arguments specified for command"),
    })?;
    if spec.keys == Keys::None || spec.is_internal() {
        return Err(refuse("ERR The command has no key arguments"));
    }
    let keys = spec.keys_of(command);
    if keys.is_empty() {
        return Err(refuse("ERR Invalid arguments specified for command"));
    }
    Ok(Reply::Array(
        keys.into_iter()
            .map(|key| Reply::Bulk(key.clone()))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Reply {
        let words: Vec<_> = line
            .split(' ')
            .map(|word| Bytes::from(word.to_owned()))
            .collect();
        describe(&words)
    }

    #[test]
    fn command_answers_from_the_table() {
        let count = i64::try_from(all().len()).expect("few");
        assert_eq!(ask("COMMAND COUNT"), Reply::Int(count));
        let Reply::Array(rows) = ask("COMMAND INFO get nope") else {
            panic!("not an array")
        };
        assert_eq!(rows[1], Reply::NilArray);
        let Reply::Array(get) = &rows[0] else {
            panic!("not an array")
        };
        assert_eq!(get[1], Reply::Int(2));
        let keys = Reply::Array(vec![Reply::text("a"), Reply::text("b")]);
        assert_eq!(ask("COMMAND GETKEYS mset a 1 b 2"), keys);
        assert!(ask("COMMAND GETKEYS time").is_error());
        assert!(ask("COMMAND NOPE").is_error());
        let sql = ask("COMMAND LIST FILTERBY ACLCAT sql");
        assert!(matches!(sql, Reply::Array(names) if names.len() == 3));
    }
}
