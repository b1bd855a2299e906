//! The TOML file as assignments with their lines.

use std::{fs, path::Path};

use toml::de::{DeTable, DeValue};

use super::{Origin, Problem, SETTINGS, Setting, error::unknown, origin::Assignment};

/// What the file says, or what is wrong with it as a whole.
pub(super) fn read(path: &Path) -> Result<Vec<Result<Assignment, Problem>>, Problem> {
    let text = fs::read_to_string(path)
        .map_err(|error| Problem::Unreadable { path: path.to_owned(), cause: error.to_string() })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Result<Assignment, Problem>>, Problem> {
    let at = |offset: usize| {
        let line = 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
        Origin::File { path: path.to_owned(), line }
    };
    // Not the error's Display: it shows the line, and with it what may be a secret.
    let table = DeTable::parse(text).map_err(|error| Problem::Malformed {
        origin: at(error.span().map_or(0, |span| span.start)),
        cause: error.message().to_owned(),
    })?;
    let mut assignments = Vec::new();
    flatten("", table.get_ref(), &at, &mut assignments);
    Ok(assignments)
}

/// Tables become prefixes: `[memory] ttl = "5s"` is `memory.ttl`.
fn flatten(
    prefix: &str,
    table: &DeTable<'_>,
    at: &impl Fn(usize) -> Origin,
    into: &mut Vec<Result<Assignment, Problem>>,
) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let origin = at(name.span().start);
        match value.get_ref() {
            DeValue::Table(table) if prefix.is_empty() && is_section(&key) => {
                flatten(&format!("{key}."), table, at, into)
            }
            // Also when it is empty, which would otherwise go unnoticed.
            DeValue::Table(_) if Setting::find(&key).is_none() => into.push(Err(unknown(origin, key))),
            value => into.push(Ok(Assignment { key, value: as_text(value), origin })),
        }
    }
}

fn is_section(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.path().0 == key)
}

/// A value as other layers write it. No setting is a list or table: those become a text that none accepts.
fn as_text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Integer(_) | DeValue::Array(_) | DeValue::Table(_) => "\0".to_owned(),
    }
}
