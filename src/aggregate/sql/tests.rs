//! What holds for every statement of the sources.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::source_schema::TABLES;

/// Each `.sql` file of the sources: its name and its text without comments.
fn statements() -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/aggregate");
    let (mut statements, mut directories) = (Vec::new(), vec![root]);
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sql") {
                let text = std::fs::read_to_string(&path).unwrap();
                let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
                statements.push((path.display().to_string(), lines.join("\n")));
            }
        }
    }
    assert!(statements.len() > 20, "the statements are looked for in the wrong place");
    statements
}

#[test]
fn placeholders_are_the_databases_own() {
    for (file, text) in statements() {
        let numbers: BTreeSet<u32> = text
            .split('$')
            .skip(1)
            .filter_map(|after| after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
            .collect();
        let last = numbers.last().copied().unwrap_or_default();
        assert_eq!(numbers, (1..=last).collect(), "both databases number them from $1: {file}");
    }
}

#[test]
fn statements_name_the_columns_that_are_described_and_no_other() {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut named = BTreeSet::new();
    for (file, text) in statements() {
        let words: Vec<&str> = text.split_whitespace().collect();
        // An alias follows its table; a part of the statement (`WITH own AS`) has its own name.
        let tables: BTreeMap<&str, &SourceTable> = words
            .windows(2)
            .filter_map(|pair| Some((pair[1].trim_matches(')'), *TABLES.iter().find(|table| table.name == pair[0])?)))
            .collect();
        assert!(!tables.is_empty(), "{file}");
        for (at, _) in text.match_indices('.') {
            let alias = text[..at].rsplit(|c| !is_word(c)).next().unwrap();
            let column = text[at + 1..].split(|c| !is_word(c)).next().unwrap();
            if let Some(table) = tables.get(alias) {
                assert!(table.family(column).is_some(), "{}.{column} is not described: {file}", table.name);
                named.insert((table.name, column.to_owned()));
            }
        }
    }
    for table in TABLES {
        for (column, _) in table.columns() {
            let is_named = column == "id" || named.contains(&(table.name, column.to_owned()));
            assert!(is_named, "no statement reads {}.{column}", table.name);
        }
    }
}

#[test]
fn no_statement_reads_secrets_or_crawled_pages() {
    for (file, text) in statements() {
        for never in ["api_keys", "crawl_result", ".*", "SELECT *"] {
            assert!(!text.contains(never), "{never}: {file}");
        }
    }
}
