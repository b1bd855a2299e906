//! A statement as one text with its values, for the simple query protocol: the whole statement is one message.
//!
//! PostgreSQL reads each value as the parameter that it stands for: of the same type, and never as a part of the
//! statement. A text travels as hexadecimal digits, so that neither quotes nor backslashes nor the encoding of the
//! connection can end it; the planner makes a constant of it.

use sea_orm::{DbErr, Statement, Value};

/// The statement with its values in place of `$1`, `$2` ..
pub(super) fn with_values(statement: &Statement) -> Result<String, DbErr> {
    let Some(values) = statement.values.as_ref().filter(|values| !values.0.is_empty()) else {
        return Ok(statement.sql.clone());
    };
    let literals: Vec<String> = values.0.iter().map(literal).collect::<Result<_, _>>()?;
    let sql = statement.sql.as_str();
    let mut text = String::with_capacity(sql.len() + literals.iter().map(String::len).sum::<usize>());
    let mut rest = sql;
    while let Some(at) = rest.find(['$', '\'', '"', '-', '/']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let taken = match from.as_bytes() {
            [b'$', b'1'..=b'9', ..] => {
                let digits = from[1..].bytes().take_while(u8::is_ascii_digit).count();
                let number = &from[1..=digits];
                let literal = number.parse::<usize>().ok().and_then(|number| literals.get(number - 1));
                text.push_str(literal.ok_or_else(|| refused(&format!("the statement has no value for ${number}")))?);
                rest = &from[1 + digits..];
                continue;
            }
            // A doubled quote ends one piece and begins the next.
            [b'\'', ..] => 1 + up_to(&from[1..], "'")?,
            [b'"', ..] => 1 + up_to(&from[1..], "\"")?,
            [b'-', b'-', ..] => from.find('\n').unwrap_or(from.len()),
            [b'/', b'*', ..] => up_to(from, "*/")?,
            [b'$', ..] => return Err(refused("a statement with values has no dollar quotes")),
            _ => 1,
        };
        text.push_str(&from[..taken]);
        rest = &from[taken..];
    }
    text.push_str(rest);
    Ok(text)
}

/// Up to the end of what `end` closes.
fn up_to(text: &str, end: &str) -> Result<usize, DbErr> {
    text.find(end).map(|at| at + end.len()).ok_or_else(|| refused("a quote or a comment does not end"))
}

/// The types are those that sea-query gives to parameters.
fn literal(value: &Value) -> Result<String, DbErr> {
    fn number(value: Option<impl std::fmt::Display>, kind: &str) -> String {
        value.map_or_else(|| format!("CAST(NULL AS {kind})"), |value| format!("CAST('{value}' AS {kind})"))
    }
    fn bytes(value: &[u8]) -> String {
        format!("decode('{}', 'hex')", hex::encode(value))
    }
    Ok(match value {
        Value::Bool(value) => number(*value, "BOOL"),
        Value::SmallInt(value) => number(*value, "INT2"),
        Value::Int(value) => number(*value, "INT4"),
        Value::BigInt(value) => number(*value, "INT8"),
        Value::Unsigned(value) => number(*value, "INT8"),
        // LIMIT and OFFSET. One beyond INT8 is refused by the server.
        Value::BigUnsigned(value) => number(*value, "INT8"),
        Value::Double(value) => number(*value, "FLOAT8"),
        Value::String(None) => "CAST(NULL AS TEXT)".to_owned(),
        Value::String(Some(text)) => format!("convert_from({}, 'UTF8')", bytes(text.as_bytes())),
        Value::Bytes(None) => "CAST(NULL AS BYTEA)".to_owned(),
        Value::Bytes(Some(value)) => bytes(value),
        Value::ChronoDate(value) => number(*value, "DATE"),
        Value::ChronoDateTime(value) => number(value.map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f")), "TIMESTAMP"),
        other => {
            return Err(refused(&format!("a value of this kind is not sent through a connection pooler: {other:?}")));
        }
    })
}

fn refused(why: &str) -> DbErr {
    DbErr::Custom(why.to_owned())
}

#[cfg(test)]
mod tests {
    use sea_orm::DatabaseBackend;

    use super::*;

    fn text(sql: &str, values: impl IntoIterator<Item = Value>) -> Result<String, DbErr> {
        with_values(&Statement::from_sql_and_values(DatabaseBackend::Postgres, sql, values))
    }

    #[test]
    fn a_value_stands_where_its_parameter_did() {
        assert_eq!(text("LIMIT $1", [500_u64.into()]).unwrap(), "LIMIT CAST('500' AS INT8)");
        let eleven = (1..=11).map(Value::from);
        assert_eq!(text("$11 + $1::int", eleven).unwrap(), "CAST('11' AS INT4) + CAST('1' AS INT4)::int");
    }

    #[test]
    fn quotes_and_comments_are_left_alone() {
        for sql in ["'it''s $1'", "\"$1\"", "-- it's $1\n", "/* \" $1 */", "1 - 2 / 3"] {
            assert_eq!(text(&format!("{sql}, $1"), [1_i64.into()]).unwrap(), format!("{sql}, CAST('1' AS INT8)"));
        }
    }

    #[test]
    fn no_text_ends_its_literal() {
        let text = text("$1", ["'; DROP TABLE t; -- \\ $1".into()]).unwrap();
        let digits =
            text.strip_prefix("convert_from(decode('").and_then(|rest| rest.strip_suffix("', 'hex'), 'UTF8')"));
        assert!(digits.is_some_and(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit())), "{text}");
    }

    #[test]
    fn what_cannot_be_read_for_sure_is_refused() {
        for sql in ["$2", "'open", "/* open", "$$ $1 $$", "$body$ $1"] {
            assert!(text(sql, [1_i64.into()]).is_err(), "{sql}");
        }
    }
}
