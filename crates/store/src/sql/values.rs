//! JSON values as SQL values and back. Blobs travel as lower-case hexadecimal text.

use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, StatementStatus};
use serde_json::{Map, Number, Value};

use crate::limits::{SQL_ROWS_BYTES_MAX, SQL_ROWS_MAX};

/// Why a reading statement gave no rows.
pub enum Failure {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// The statement or its result is not accepted.
    Refused(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}

/// A JSON value as an argument.
pub fn bind(value: &Value) -> Result<SqlValue, String> {
    Ok(match value {
        Value::Null => SqlValue::Null,
        Value::Bool(value) => SqlValue::Integer(i64::from(*value)),
        Value::String(text) => SqlValue::Text(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => SqlValue::Integer(integer),
            (None, Some(real)) => SqlValue::Real(real),
            (None, None) => return Err(format!("the number {number} is out of range")),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err("an argument must be null, a boolean, a number or a string".into());
        }
    })
}

/// Runs a reading statement; every row is an object.
pub fn rows(
    connection: &Connection,
    sql: &str,
    args: &[Value],
) -> Result<Vec<Map<String, Value>>, Failure> {
    let args = args.iter().map(bind).collect::<Result<Vec<_>, _>>();
    let args = args.map_err(Failure::Refused)?;
    let mut statement = connection.prepare_cached(sql)?;
    if !statement.readonly() {
        let text = "this statement writes; use SQL.EXEC";
        return Err(Failure::Refused(text.into()));
    }
    statement.reset_status(StatementStatus::VmStep);
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query(rusqlite::params_from_iter(args.iter()))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let mut object = Map::with_capacity(names.len());
        for (position, name) in names.iter().enumerate() {
            let value = row.get_ref(position)?;
            bytes += name.len() + size(value);
            object.insert(name.clone(), unbind(value));
        }
        if found.len() == SQL_ROWS_MAX || bytes > SQL_ROWS_BYTES_MAX {
            return Err(Failure::Refused(format!(
                "more than {SQL_ROWS_MAX} rows or {SQL_ROWS_BYTES_MAX} bytes; read in pages"
            )));
        }
        found.push(object);
    }
    Ok(found)
}

fn size(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(text) => text.len(),
        ValueRef::Blob(blob) => blob.len() * 2,
    }
}

fn unbind(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Number(integer.into()),
        ValueRef::Real(real) => Number::from_f64(real).map_or(Value::Null, Value::Number),
        ValueRef::Text(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(blob) => {
            Value::String(blob.iter().map(|byte| format!("{byte:02x}")).collect())
        }
    }
}
