//! How a column of another type than the described one is read.
//!
//! SQLite stores any value in any column, so there only a missing column differs. PostgreSQL refuses a whole statement
//! for one operator that a type lacks: a column of another type is converted before the statement sees it.

use super::{Family, Owner, SourceTable};
use crate::database::Dialect;

/// How a column comes into the form that statements expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    /// It has that form.
    None,
    /// By this expression.
    Expression(String),
    /// There is no such column: NULL takes its place.
    Missing,
    /// Its type cannot be read: NULL takes its place.
    Unreadable,
}

/// What it costs to read a column in the type that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Conditions on it cannot use an index.
    NoIndex,
    /// Only JSON objects without objects or arrays inside are read; others count as malformed.
    FlatObjectsOnly,
    /// Only numbers in plain decimal notation are read; other text counts as absent.
    PlainNumbersOnly,
}

/// The alias of the table in [`Conversion::Expression`].
pub(super) const ROW: &str = "stored";

const PLAIN_NUMBER: &str = "^-?[0-9]{1,15}([.][0-9]{1,15})?$";
/// An object of strings, numbers, booleans and nulls that PostgreSQL is certain to parse as JSON.
const FLAT_OBJECT: &str = r#"^[ \n\r\t]*[{]([ \n\r\t]*"([^"\\[:cntrl:]]|\\["\\/bfnrt])*"[ \n\r\t]*:[ \n\r\t]*("([^"\\[:cntrl:]]|\\["\\/bfnrt])*"|-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?|true|false|null)[ \n\r\t]*(,(?=[ \n\r\t]*")|(?=[}])))*[ \n\r\t]*[}][ \n\r\t]*$"#;

pub(super) fn of(dialect: Dialect, table: &SourceTable, column: &str, family: Family, stored_type: &str) -> Conversion {
    // The user is compared by the column's type (see `is_user`): a conversion would keep the index from being used.
    if dialect.is_sqlite() || (column == "user_id" && matches!(table.owner, Owner::UserId)) {
        return Conversion::None;
    }
    let stored = format!("{ROW}.{column}");
    match (family, PostgresType::of(stored_type)) {
        (Family::Integer, PostgresType::Integer | PostgresType::Fraction)
        | (Family::Boolean, PostgresType::Boolean)
        | (Family::Text, PostgresType::Text)
        | (Family::Time, PostgresType::Timestamp)
        | (Family::Json, PostgresType::Json) => Conversion::None,
        (Family::Double, PostgresType::Fraction) if stored_type == "float8" => Conversion::None,
        (Family::Json, PostgresType::Text) if column != "metrics" => Conversion::None,
        (_, kind) => conversion(family, kind, &stored).map_or(Conversion::Unreadable, Conversion::Expression),
    }
}

fn conversion(family: Family, kind: PostgresType, stored: &str) -> Option<String> {
    use PostgresType as Is;
    Some(match (family, kind) {
        (Family::Integer, Is::Text) => {
            format!("CASE WHEN {stored} ~ '{PLAIN_NUMBER}' THEN CAST({stored} AS NUMERIC) END")
        }
        (Family::Double, Is::Text) => {
            format!("CASE WHEN {stored} ~ '{PLAIN_NUMBER}' THEN CAST({stored} AS DOUBLE PRECISION) END")
        }
        // A numeric beyond the range of a double would fail the statement.
        (Family::Double, Is::Integer | Is::Fraction) => {
            format!("CASE WHEN abs({stored}) < 1e300 THEN CAST({stored} AS DOUBLE PRECISION) END")
        }
        (Family::Boolean, Is::Integer) => format!("{stored} <> 0"),
        (Family::Boolean, Is::Text) => format!(
            "CASE WHEN lower({stored}) IN ('1', 't', 'true', 'y', 'yes', 'on') THEN TRUE \
             WHEN lower({stored}) IN ('0', 'f', 'false', 'n', 'no', 'off') THEN FALSE END"
        ),
        (Family::Text, _) => format!("CAST({stored} AS TEXT)"),
        (Family::Time, Is::TimestampWithZone) => format!("({stored} AT TIME ZONE 'UTC')"),
        (Family::Time, Is::Date) => format!("CAST({stored} AS TIMESTAMP)"),
        (Family::Json, Is::JsonBinary) => format!("CAST({stored} AS JSON)"),
        // What is no flat object becomes a string: the statement counts it as malformed by the escape.
        (Family::Json, Is::Text) => format!(
            "CASE WHEN {stored} ~ '{FLAT_OBJECT}' THEN CAST({stored} AS JSON) \
             WHEN {stored} IS NOT NULL THEN CAST('\"\\u0000\"' AS JSON) END"
        ),
        _ => return None,
    })
}

/// What it costs to read the column as it is; none if it costs nothing, or if it is not read.
pub(super) fn cost(
    dialect: Dialect,
    table: &SourceTable,
    column: &str,
    family: Family,
    stored_type: &str,
) -> Option<Cost> {
    if dialect.is_sqlite() {
        return None;
    }
    let kind = PostgresType::of(stored_type);
    let indexed = column == "id" || column.ends_with("_id") || column == "website_url";
    if column == "user_id" && matches!(table.owner, Owner::UserId) {
        return (!matches!(kind, PostgresType::Integer | PostgresType::Text)).then_some(Cost::NoIndex);
    }
    match (of(dialect, table, column, family, stored_type), family, kind) {
        (Conversion::Expression(_), Family::Json, PostgresType::Text) => Some(Cost::FlatObjectsOnly),
        (Conversion::Expression(_), _, _) if indexed => Some(Cost::NoIndex),
        (Conversion::Expression(_), Family::Time, _) => Some(Cost::NoIndex),
        (Conversion::Expression(_), Family::Integer | Family::Double, PostgresType::Text) => {
            Some(Cost::PlainNumbersOnly)
        }
        _ => None,
    }
}

/// The condition that the column `user_id` names the user, who is bound as text to `parameter`. An index on the column
/// serves it.
pub(super) fn is_user(dialect: Dialect, stored_type: &str, column: &str, parameter: &str) -> String {
    match dialect {
        Dialect::Sqlite => match Affinity::of(stored_type) {
            Affinity::Text => format!("{column} = {parameter}"),
            // The comparison turns a text that looks like a number into one: '07' and '7.0' are other users than 7.
            Affinity::Numeric => format!("({column} = {parameter} AND CAST({column} AS TEXT) = {parameter})"),
            Affinity::None => format!(
                "({column} IN ({parameter}, CAST({parameter} AS INTEGER)) AND CAST({column} AS TEXT) = {parameter})"
            ),
        },
        Dialect::Postgres => match PostgresType::of(stored_type) {
            PostgresType::Text => format!("{column} = {parameter}"),
            PostgresType::Integer => format!(
                "{column} = CASE WHEN CAST({parameter} AS TEXT) ~ '^(0|-?[1-9][0-9]{{0,17}})$' \
                 THEN CAST(CAST({parameter} AS TEXT) AS BIGINT) END"
            ),
            _ => format!("CAST({column} AS TEXT) = {parameter}"),
        },
    }
}

/// Whether a type of PostgreSQL's holds integers.
pub(super) fn is_integer(stored_type: &str) -> bool {
    PostgresType::of(stored_type) == PostgresType::Integer
}

/// The condition that an id column equals an id in text.
pub(super) fn is_id(dialect: Dialect, stored_type: &str, column: &str, value: &str) -> String {
    let number = |text: &str| format!("CASE WHEN {text} ~ '{PLAIN_NUMBER}' THEN CAST({text} AS NUMERIC) END");
    match (dialect, PostgresType::of(stored_type)) {
        // SQLite turns the text into a number if the column holds numbers.
        (Dialect::Sqlite, _) => format!("{column} = {value}"),
        (Dialect::Postgres, PostgresType::Integer) => format!(
            "{column} = CASE WHEN {value} ~ '^-?[0-9]{{1,15}}([.]0{{1,15}})?$' \
             THEN CAST(CAST({value} AS NUMERIC) AS BIGINT) END"
        ),
        (Dialect::Postgres, _) => {
            let text = format!("CAST({column} AS TEXT)");
            format!("({text} = {value} OR {} = {})", number(&text), number(value))
        }
    }
}

/// The value that takes the place of a column that cannot be read.
pub(super) fn absent(dialect: Dialect, family: Family) -> String {
    let name = match family {
        _ if dialect.is_sqlite() => return "NULL".to_owned(),
        Family::Integer => "INTEGER",
        Family::Double => "DOUBLE PRECISION",
        Family::Boolean => "BOOLEAN",
        Family::Text => "TEXT",
        Family::Time => "TIMESTAMP",
        Family::Json => "JSON",
    };
    format!("CAST(NULL AS {name})")
}

/// PostgreSQL's types, as far as they are read alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PostgresType {
    Integer,
    Fraction,
    Boolean,
    Text,
    Timestamp,
    TimestampWithZone,
    Date,
    Json,
    JsonBinary,
    Other,
}

impl PostgresType {
    fn of(name: &str) -> Self {
        match name {
            "int2" | "int4" | "int8" => Self::Integer,
            "numeric" | "float4" | "float8" => Self::Fraction,
            "bool" => Self::Boolean,
            "text" | "varchar" | "bpchar" => Self::Text,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampWithZone,
            "date" => Self::Date,
            "json" => Self::Json,
            "jsonb" => Self::JsonBinary,
            _ => Self::Other,
        }
    }
}

/// Into what SQLite turns a value that is stored in, or compared with, a column (sqlite.org/datatype3.html, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Affinity {
    Text,
    Numeric,
    None,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let has = |part: &str| declared.contains(part);
        if has("int") {
            Self::Numeric
        } else if has("char") || has("clob") || has("text") {
            Self::Text
        } else if has("blob") || declared.is_empty() {
            Self::None
        } else {
            Self::Numeric
        }
    }
}
