//! JSON values as SQL values and back. Blobs travel as lower-case hexadecimal text.

use rusqlite::Connection;
use rusqlite::types::{Value as SqlValue, ValueRef};
use serde_json::{Map, Number, Value};

use super::wrong;
use crate::error::StoreError;
use crate::limits::SQL_ROWS_MAX;

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
) -> Result<Vec<Map<String, Value>>, StoreError> {
    let args = args
        .iter()
        .map(bind)
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong)?;
    let mut statement = connection.prepare_cached(sql).map_err(wrong)?;
    if !statement.readonly() {
        return Err(wrong("this statement writes; use SQL.EXEC"));
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement
        .query(rusqlite::params_from_iter(args.iter()))
        .map_err(wrong)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(wrong)? {
        if found.len() == SQL_ROWS_MAX {
            return Err(wrong(format!(
                "more than {SQL_ROWS_MAX} rows; read in pages"
            )));
        }
        let mut object = Map::with_capacity(names.len());
        for (position, name) in names.iter().enumerate() {
            object.insert(name.clone(), unbind(row.get_ref(position).map_err(wrong)?));
        }
        found.push(object);
    }
    Ok(found)
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
