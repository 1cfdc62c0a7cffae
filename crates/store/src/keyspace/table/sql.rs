//! Rows of the SQL commands.

use super::spec::{Group, Keys, Kind, Spec, Sql, flags};

const fn sql(name: &'static str, arity: i32, command: Sql) -> Spec {
    Spec::new(Group::Sql, name, arity, Kind::Sql(command))
        .keys(Keys::None)
        .since("")
}

/// See the module head.
#[rustfmt::skip]
pub const ROWS: &[Spec] = &[
    sql("sql.exec", -2, Sql::Exec).bits(flags::DENYOOM).says(
        "statement [arguments]",
        "Runs an SQL statement from the log; the arguments are a JSON array.",
    ),
    sql("sql.migrate", 3, Sql::Migrate)
        .bits(flags::DENYOOM | flags::DANGEROUS)
        .says(
            "version statements",
            "Brings the SQL schema to a version, once.",
        ),
    sql("sql.query", -2, Sql::Query).says(
        "statement [arguments]",
        "Answers an SQL read as a JSON array of rows.",
    ),
];
