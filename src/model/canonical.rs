//! JSON as Python's `json.dumps(value, sort_keys=True)` prints it: the form that is hashed.
//!
//! Existing callers compute the same hash in Python, so the text has to be equal to the letter:
//! separators `", "` and `": "`, ASCII only, keys sorted by code point, floats as `repr` prints them.
//! Whole numbers below 2^53 print as integers, because a protobuf `Struct` cannot tell `1` from `1.0`.

use std::fmt::Write as _;

use crate::proto::{Kind, Struct, Value};

/// Levels at most, the outermost object being the first: deeper ones are refused.
pub const LEVELS_MAX: usize = 32;

/// Why a value has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// NaN or an infinity is in it.
    #[error("must hold finite numbers only")]
    NotFinite,
    /// It is nested deeper than [`LEVELS_MAX`].
    #[error("must be nested at most {LEVELS_MAX} levels deep")]
    TooDeep,
}

/// The canonical text of an object.
pub fn canonical_json(object: &Struct) -> Result<String, CanonicalError> {
    let mut text = String::new();
    write_object(&mut text, object, 1)?;
    Ok(text)
}

fn write_object(text: &mut String, object: &Struct, level: usize) -> Result<(), CanonicalError> {
    if level > LEVELS_MAX {
        return Err(CanonicalError::TooDeep);
    }
    text.push('{');
    // A BTreeMap of UTF-8 strings iterates in code point order, as Python sorts.
    for (index, (key, value)) in object.fields.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        write_string(text, key);
        text.push_str(": ");
        write_value(text, value, level)?;
    }
    text.push('}');
    Ok(())
}

fn write_value(text: &mut String, value: &Value, level: usize) -> Result<(), CanonicalError> {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => text.push_str("null"),
        Some(Kind::BoolValue(truth)) => text.push_str(if *truth { "true" } else { "false" }),
        Some(Kind::NumberValue(number)) => write_number(text, *number)?,
        Some(Kind::StringValue(string)) => write_string(text, string),
        Some(Kind::StructValue(object)) => write_object(text, object, level + 1)?,
        Some(Kind::ListValue(list)) => {
            if level + 1 > LEVELS_MAX {
                return Err(CanonicalError::TooDeep);
            }
            text.push('[');
            for (index, item) in list.values.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                write_value(text, item, level + 1)?;
            }
            text.push(']');
        }
    }
    Ok(())
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            ' '..='~' => text.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    push(text, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    text.push('"');
}

fn write_number(text: &mut String, number: f64) -> Result<(), CanonicalError> {
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
    if !number.is_finite() {
        return Err(CanonicalError::NotFinite);
    }
    if number.fract() == 0.0 && number.abs() < EXACT_BELOW {
        #[expect(clippy::cast_possible_truncation, reason = "checked: integral and below 2^53")]
        push(text, format_args!("{}", number as i64));
        return Ok(());
    }
    // The shortest digits that round-trip, as Python's repr prints them. `{:e}` finds how many they are; where two are
    // equally near it takes the greater, Python the even one, as rounding to so many digits does.
    let shortest = format!("{number:e}");
    let (mantissa, exponent) = parts(&shortest);
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if (-4..16).contains(&exponent) {
        let places = i32::try_from(decimals).unwrap_or(0) - exponent;
        match usize::try_from(places) {
            Ok(places @ 1..) => text.push_str(&even(number, format!("{number:.places$}"), format!("{number:?}"))),
            // `{:?}` is plain notation with `.0` in this range.
            _ => push(text, format_args!("{number:?}")),
        }
    } else {
        let scientific = even(number, format!("{number:.decimals$e}"), shortest);
        let (mantissa, exponent) = parts(&scientific);
        let sign = if exponent < 0 { '-' } else { '+' };
        push(text, format_args!("{mantissa}e{sign}{:02}", exponent.abs()));
    }
    Ok(())
}

/// Of two spellings with as many digits the rounded one, if it is one of this number.
fn even(number: f64, rounded: String, shortest: String) -> String {
    if rounded.parse() == Ok(number) { rounded } else { shortest }
}

fn parts(scientific: &str) -> (&str, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa, exponent.parse().unwrap_or_default())
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}
