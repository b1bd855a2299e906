//! Reads the columns of a row: what cannot be read is absent, with a warning.

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::QueryResult;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::{
    aggregate::value::from_members,
    source_schema::{Family, SourceTable},
};

/// JSON deeper than this is treated as broken: protobuf decoders stop at 100 levels, and each level
/// of a `Value` takes three of them.
const JSON_LEVELS_MAX: usize = 24;

/// Warnings for the section's report, such as `MALFORMED_COLUMN table.column`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// What the database's tables lack; logged when that was found.
    pub(super) fn of_schema(differences: Vec<String>) -> Self {
        Self(differences)
    }

    /// Adds a warning, once.
    pub fn add(&mut self, code: &str, what: impl std::fmt::Display) {
        let warning = format!("{code} {what}");
        if !self.0.contains(&warning) {
            tracing::warn!(warning, "source column left out of the document");
            self.0.push(warning);
        }
    }

    /// In the order in which they were added.
    #[must_use]
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// A row whose columns are text, bigint or double precision.
#[derive(Debug)]
pub(in crate::aggregate) struct SourceRow(QueryResult);

impl SourceRow {
    pub(super) fn new(row: QueryResult) -> Self {
        Self(row)
    }

    /// Text as stored; absent if NULL.
    pub(in crate::aggregate) fn text(&self, column: &str) -> Option<String> {
        self.0.try_get("", column).ok().flatten()
    }

    pub(in crate::aggregate) fn integer(&self, column: &str) -> Option<i64> {
        self.0.try_get("", column).ok().flatten()
    }

    /// A finite double; absent otherwise.
    pub(in crate::aggregate) fn double(&self, column: &str) -> Option<f64> {
        self.0.try_get::<Option<f64>>("", column).ok().flatten().filter(|number| number.is_finite())
    }

    /// The row's columns that come from this table.
    pub(in crate::aggregate) fn of<'a>(
        &'a self,
        table: &'static SourceTable,
        warnings: &'a mut Warnings,
    ) -> Columns<'a> {
        Columns { row: self, table, warnings }
    }
}

/// The columns of a row that come from one table. Readers that may add a warning are here.
#[derive(Debug)]
pub(in crate::aggregate) struct Columns<'a> {
    row: &'a SourceRow,
    table: &'static SourceTable,
    warnings: &'a mut Warnings,
}

impl Columns<'_> {
    pub(in crate::aggregate) fn text(&self, column: &str) -> Option<String> {
        self.check(column, Family::Text);
        self.row.text(column)
    }

    /// An integer that fits an int32 field; absent, with a warning, if it does not, also if it has a fraction. Ids are
    /// selected as bigint; any other integer as text, because a cast to an integer would cut its fraction off.
    pub(in crate::aggregate) fn integer(&mut self, column: &str) -> Option<i32> {
        self.check(column, Family::Integer);
        let read = match self.row.0.try_get::<Option<i64>>("", column) {
            Ok(number) => number.map(|number| i32::try_from(number).map_err(|_| "OUT_OF_RANGE"))?,
            Err(_) => parse_integer(&self.row.text(column)?),
        };
        read.map_err(|code| self.warn(code, column)).ok()
    }

    pub(in crate::aggregate) fn double(&self, column: &str) -> Option<f64> {
        self.check(column, Family::Double);
        self.row.double(column)
    }

    /// A boolean as either database prints it, or as an application may store it in a SQLite column; absent, with a
    /// warning, if it is neither.
    pub(in crate::aggregate) fn boolean(&mut self, column: &str) -> Option<bool> {
        self.check(column, Family::Boolean);
        match self.row.text(column)?.to_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
            "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
            _ => {
                self.warn("MALFORMED_COLUMN", column);
                None
            }
        }
    }

    /// A timestamp, read as UTC; absent, with a warning, if it is in another form.
    pub(in crate::aggregate) fn time(&mut self, column: &str) -> Option<DateTime<Utc>> {
        self.check(column, Family::Time);
        let text = self.row.text(column)?;
        let time = parse_time(&text);
        if time.is_none() {
            self.warn("MALFORMED_COLUMN", column);
        }
        time
    }

    /// A JSON column; `Null` if absent, and with a warning if it is broken, too large or too deep.
    pub(in crate::aggregate) fn json(&mut self, column: &str) -> Json {
        self.check(column, Family::Json);
        let text = match self.row.0.try_get::<Option<String>>("", column) {
            Ok(None) => return Json::Null,
            Ok(Some(text)) => text,
            // SQLite keeps any bytes in any column, also such as are no UTF-8.
            Err(_) => "#".to_owned(),
        };
        if let Some(json) = parse_json(&text) {
            return json;
        }
        match without_nan(&text).and_then(|text| parse_json(&text)) {
            Some(json) => {
                self.warn("NOT_A_NUMBER", column);
                json
            }
            None => {
                self.warn("MALFORMED_COLUMN", column);
                Json::Null
            }
        }
    }

    /// The row as a type whose fields are named as the columns.
    pub(in crate::aggregate) fn read<T: DeserializeOwned>(&mut self) -> T {
        from_members(self.all())
    }

    /// All columns of the table that are selected and not absent, by name, in the form in which a message's JSON has them.
    pub(in crate::aggregate) fn all(&mut self) -> Map<String, Json> {
        let mut all = Map::new();
        for (column, family) in self.table.columns() {
            let value = match family {
                Family::Integer => self.integer(column).into(),
                Family::Double => self.double(column).into(),
                Family::Boolean => self.boolean(column).into(),
                Family::Text => self.text(column).into(),
                Family::Time => self.time(column).map(|time| time.to_rfc3339()).into(),
                Family::Json => self.json(column),
            };
            if !value.is_null() {
                all.insert(column.to_owned(), value);
            }
        }
        all
    }

    fn check(&self, column: &str, family: Family) {
        debug_assert_eq!(self.table.family(column), Some(family), "{}.{column}", self.table.name);
    }

    fn warn(&mut self, code: &str, column: &str) {
        self.warnings.add(code, format_args!("{}.{column}", self.table.name));
    }
}

/// `YYYY-MM-DD HH:MM:SS` with at most six decimals: what both databases print.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let (seconds, fraction) =
        text.split_once('.').map_or((text, None), |(seconds, fraction)| (seconds, Some(fraction)));
    let fraction_reads = fraction.is_none_or(|f| (1..=6).contains(&f.len()) && f.bytes().all(|b| b.is_ascii_digit()));
    if seconds.len() != 19 || !fraction_reads {
        return None;
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().map(|time| time.and_utc())
}

/// The integer that a number's text stands for; else the code of the warning.
fn parse_integer(text: &str) -> Result<i32, &'static str> {
    if let Ok(number) = text.parse::<i64>() {
        return i32::try_from(number).map_err(|_| "OUT_OF_RANGE");
    }
    match text.trim().parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "integral and in range")]
        Ok(number) if number.fract() == 0.0 && number.abs() < 2_147_483_648.0 => Ok(number as i32),
        Ok(_) => Err("OUT_OF_RANGE"),
        Err(_) => Err("MALFORMED_COLUMN"),
    }
}

/// The text with `null` for each `NaN`, `Infinity` and `-Infinity` outside of strings: Python's `json` writes them, and
/// JSON has no such number. None if there is none.
fn without_nan(text: &str) -> Option<String> {
    let (mut replaced, mut rest, mut in_string) = (String::with_capacity(text.len()), text, false);
    while let Some(character) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !in_string && rest.starts_with(word));
        let length = match (character, word) {
            (_, Some(word)) => word.len(),
            ('\\', None) if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => character.len_utf8(),
        };
        in_string ^= character == '"';
        replaced.push_str(if word.is_some() { "null" } else { &rest[..length] });
        rest = &rest[length..];
    }
    (replaced != text).then_some(replaced)
}

/// Strict JSON of at most [`JSON_LEVELS_MAX`] levels; U+0000 in its strings becomes U+FFFD.
fn parse_json(text: &str) -> Option<Json> {
    let mut value: Json = serde_json::from_str(text).ok()?;
    tidy(&mut value, 1).then_some(value)
}

/// Replaces U+0000; false if the value is too deep.
fn tidy(value: &mut Json, level: usize) -> bool {
    let replace = |text: &mut String| {
        if text.contains('\0') {
            *text = text.replace('\0', "\u{fffd}");
        }
    };
    match value {
        Json::String(text) => {
            replace(text);
            true
        }
        Json::Array(items) => level <= JSON_LEVELS_MAX && items.iter_mut().all(|item| tidy(item, level + 1)),
        Json::Object(entries) => {
            if entries.keys().any(|key| key.contains('\0')) {
                *entries = std::mem::take(entries)
                    .into_iter()
                    .map(|(key, item)| (key.replace('\0', "\u{fffd}"), item))
                    .collect();
            }
            level <= JSON_LEVELS_MAX && entries.values_mut().all(|item| tidy(item, level + 1))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::value, testing::withstands_mutated};

    #[test]
    fn timestamps_have_one_form() {
        assert_eq!(parse_time("2025-09-01 10:00:00.25").unwrap().to_rfc3339(), "2025-09-01T10:00:00.250+00:00");
        for broken in [
            "2025-09-01",
            "2025-09-01T10:00:00",
            "2025-09-01 10:00:00Z",
            "2025-09-01 10:00:00.1234567",
            "2025-13-01 10:00:00",
            "infinity",
        ] {
            assert_eq!(parse_time(broken), None, "{broken}");
        }
    }

    #[test]
    fn json_is_strict_and_shallow() {
        assert_eq!(parse_json(r#"{"a": "x\u0000", "a": 2}"#).unwrap(), serde_json::json!({"a": 2}));
        assert_eq!(parse_json("\"x\\u0000y\"").unwrap(), "x\u{fffd}y");
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse_json(&nested(24)).is_some());
        for broken in ["NaN", "{} x", "#", r#""\ud800""#, &nested(25)] {
            assert_eq!(parse_json(broken), None, "{broken}");
        }
    }

    #[test]
    fn any_column_is_a_value_of_few_levels_or_none() {
        let valid = [
            r##"{"tone": "casual", "themes": ["a", {"name": "b"}], "score": 0.5, "palette": "#fff; #000"}"##,
            r#"[{"week": 1, "insights": {"gaps": ["pricing \u00e9"]}}, null, true, 1e3, "x\u0000"]"#,
        ];
        let (mut read, mut refused) = (0, 0);
        withstands_mutated(
            &valid.map(|text| text.as_bytes().to_vec()),
            |length| 256 * length + 64 * 1024,
            |bytes| {
                let Some(mut json) = parse_json(&String::from_utf8_lossy(&bytes)) else {
                    refused += 1;
                    return;
                };
                read += 1;
                // An escaped backslash may stand before the same letters.
                assert!(tidy(&mut json, 1) && !json.to_string().replace(r"\\", "").contains(r"\u0000"));
                // What the sources do with such a value.
                let of = |key| value::member(&json, key);
                for part in [&json, of("tone"), of("themes"), value::path(&json, "insights.gaps")] {
                    let _ = (value::text(part), value::number(part), value::score01(part), value::level(part));
                    let (strings, pillars) = (value::strings(part), value::pillars(part));
                    assert!(strings.len() <= 50 && strings.iter().all(|text| text.chars().count() <= 300));
                    drop(pillars);
                }
            },
        );
        assert!(read > 100 && refused > 100, "{read} read, {refused} refused: the inputs are not nearly right");
    }

    #[test]
    fn integers_keep_their_value_or_are_absent() {
        for (text, expected) in [
            ("7", Ok(7)),
            ("-3", Ok(-3)),
            ("7.0", Ok(7)),
            ("7.00", Ok(7)),
            ("0.8", Err("OUT_OF_RANGE")),
            ("2147483648", Err("OUT_OF_RANGE")),
            ("9e300", Err("OUT_OF_RANGE")),
            ("NaN", Err("OUT_OF_RANGE")),
            ("many", Err("MALFORMED_COLUMN")),
            ("", Err("MALFORMED_COLUMN")),
        ] {
            assert_eq!(parse_integer(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_that_json_has_not_are_null_and_the_rest_is_kept() {
        for (text, expected) in [
            (r#"{"a": NaN, "b": [Infinity, -Infinity, 1]}"#, Some(r#"{"a": null, "b": [null, null, 1]}"#)),
            (r#"["NaN", "\"NaN", -1, "é\\", NaN]"#, Some(r#"["NaN", "\"NaN", -1, "é\\", null]"#)),
            (r#"{"a": "Infinity"}"#, None),
        ] {
            assert_eq!(without_nan(text).as_deref(), expected, "{text}");
        }
    }
}
