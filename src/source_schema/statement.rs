//! Adapts a statement to the tables that are there.
//!
//! A statement is written for the described tables. Where a database's table differs in a column that the statement
//! names, a subquery takes the table's place, with that column converted or NULL; both databases flatten it, so that
//! indexes serve as before. Each `alias.user_id = $n` becomes the comparison that fits the column's type.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Family, Owner, SourceTable,
    catalogue::{Catalogue, Difference},
    conversion::{self, Conversion, ROW},
    tables::TABLES,
};

/// A statement for one database, and what it cannot read there.
#[derive(Debug)]
pub struct Adapted {
    pub sql: String,
    pub differences: Vec<Difference>,
}

/// A table in a statement, with the columns that are named by its alias.
#[derive(Debug)]
struct Reference<'a> {
    table: &'static SourceTable,
    alias: &'a str,
    columns: Vec<&'static str>,
    /// Where its name stands.
    places: Vec<Range<usize>>,
}

pub(super) fn adapt(sql: &str, catalogue: &Catalogue) -> Adapted {
    let sql = without_comments(sql);
    let mut edits: BTreeMap<usize, (usize, String)> = BTreeMap::new();
    let mut differences = Vec::new();
    for reference in references(&sql) {
        let table = reference.table;
        differences.extend(catalogue.differences_of(table, reference.columns.iter().copied()));
        if let Some(subquery) = subquery(&reference, catalogue) {
            edits.extend(reference.places.iter().map(|place| (place.start, (place.end, subquery.clone()))));
        }
        let column = format!("{}.user_id", reference.alias);
        let stored_type = catalogue.stored_type(table, "user_id").filter(|_| matches!(table.owner, Owner::UserId));
        // A converted column is text.
        let stored_type = stored_type.unwrap_or("text");
        for (place, parameter) in comparisons(&sql, &column) {
            let condition = conversion::is_user(catalogue.dialect(), stored_type, &column, parameter);
            edits.insert(place.start, (place.end, condition));
        }
    }
    let mut adapted = sql.clone();
    for (start, (end, text)) in edits.into_iter().rev() {
        adapted.replace_range(start..end, &text);
    }
    Adapted { sql: adapted, differences }
}

/// What takes the table's place; none if all columns are as described.
fn subquery(reference: &Reference<'_>, catalogue: &Catalogue) -> Option<String> {
    let table = reference.table;
    let conversions: Vec<_> =
        reference.columns.iter().map(|column| (*column, catalogue.conversion(table, column))).collect();
    if conversions.iter().all(|(_, conversion)| *conversion == Conversion::None) {
        return None;
    }
    let columns: Vec<String> = conversions
        .into_iter()
        .map(|(column, conversion)| match (conversion, table.family(column)) {
            (Conversion::None, _) => format!("{ROW}.{column}"),
            (Conversion::Expression(expression), _) => format!("{expression} AS {column}"),
            // Where it is not there, the user is compared as text.
            (_, Some(_)) if column == "user_id" => {
                format!("{} AS {column}", conversion::absent(catalogue.dialect(), Family::Text))
            }
            (_, Some(family)) => format!("{} AS {column}", conversion::absent(catalogue.dialect(), family)),
            (_, None) => format!("NULL AS {column}"),
        })
        .collect();
    let columns = columns.join(", ");
    Some(match catalogue.has_table(table) {
        true => format!("(SELECT {columns} FROM {} {ROW})", table.name),
        false => format!("(SELECT {columns} WHERE 1 = 0)"),
    })
}

/// Lines of comment stand above a statement.
fn without_comments(sql: &str) -> String {
    sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n")
}

/// The described tables in a statement without comments. An alias follows each one's name, and names one table only.
fn references(sql: &str) -> Vec<Reference<'_>> {
    let words: Vec<(Range<usize>, &str)> = words(sql).collect();
    let mut references: Vec<Reference<'_>> = Vec::new();
    for pair in words.windows(2) {
        let [(place, name), (_, alias)] = pair else { continue };
        let Some(table) = TABLES.iter().copied().find(|table| table.name == *name) else { continue };
        match references.iter_mut().find(|reference| reference.alias == *alias) {
            Some(reference) => reference.places.push(place.clone()),
            None => references.push(Reference { table, alias, columns: Vec::new(), places: vec![place.clone()] }),
        }
    }
    for pair in words.windows(2) {
        let [(alias_place, alias), (place, name)] = pair else { continue };
        if sql.get(alias_place.end..place.start) != Some(".") {
            continue;
        }
        let Some(reference) = references.iter_mut().find(|reference| reference.alias == *alias) else { continue };
        let column = reference.table.columns().map(|(column, _)| column).find(|column| column == name);
        reference.columns.extend(column.filter(|column| !reference.columns.contains(column)));
    }
    references
}

/// Where `column = $n` stands, and its `$n`.
fn comparisons<'a>(sql: &'a str, column: &str) -> Vec<(Range<usize>, &'a str)> {
    let pattern = format!("{column} = $");
    let starts = sql.match_indices(&pattern).map(|(start, _)| start);
    // Not the end of a longer alias.
    let starts = starts.filter(|start| !sql[..*start].ends_with(is_word));
    starts
        .map(|start| {
            let parameter = start + pattern.len() - 1;
            let digits = sql[parameter + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let end = parameter + 1 + digits;
            (start..end, &sql[parameter..end])
        })
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn words(sql: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + sql[rest..].find(is_word)?;
        let end = sql[start..].find(|c| !is_word(c)).map_or(sql.len(), |length| start + length);
        rest = end;
        Some((start..end, &sql[start..end]))
    })
}
