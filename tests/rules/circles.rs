//! No circle of files: reading one must not need the other first. A module and those around it are read together, so what
//! a file uses of its ancestors does not count; what its siblings use of it, and it of them, does.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    assert_none,
    krate::{EDGES, Edge, Krate},
    sources,
};

/// One line per pair of files in a circle, circle by circle: the first use.
fn circles(edges: &BTreeSet<Edge>) -> Vec<String> {
    let edges: Vec<&Edge> = edges.iter().filter(|edge| !is_around(&edge.to, &edge.from)).collect();
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in &edges {
        next.entry(&edge.from).or_default().insert(&edge.to);
    }
    let reachable: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|file| (*file, from(file, &next))).collect();
    let leads = |a: &str, b: &str| reachable.get(a).is_some_and(|files| files.contains(b));
    let mut circles: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    for edge in edges.iter().copied().filter(|edge| leads(&edge.to, &edge.from)) {
        // Named after its first file.
        let first = next.keys().find(|file| leads(file, &edge.from) && leads(&edge.from, file));
        circles.entry(first.copied().unwrap_or(&edge.from)).or_default().push(edge);
    }
    for edges in circles.values_mut() {
        edges.dedup_by(|b, a| (&a.from, &a.to) == (&b.from, &b.to));
    }
    circles.values().flat_map(|edges| edges.iter().map(|edge| described(edge))).collect()
}

/// Whether a file's module contains another file's.
fn is_around(file: &str, other: &str) -> bool {
    other.strip_prefix(file.trim_end_matches(".rs")).is_some_and(|rest| rest.starts_with('/'))
}

/// All that can be reached from a file.
fn from<'a>(file: &'a str, next: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![file]);
    while let Some(file) = open.pop() {
        for further in next.get(file).into_iter().flatten() {
            if found.insert(*further) {
                open.push(further);
            }
        }
    }
    found
}

fn described(edge: &Edge) -> String {
    let Edge { from, to, line, path, .. } = edge;
    format!("src/{from}:{line}: {path} is of src/{to}")
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    assert!(EDGES.len() > 300, "uses are not found");
    assert_none("files do not use each other in a circle", &circles(&EDGES));
}

#[test]
fn a_circle_is_found_however_it_is_closed() {
    for back in [
        "use crate::a::Upper;",
        "use super::Upper;",
        "type T = super::upper::Upper;",
        "use super::*; type T = Upper;",
        "fn f() { drop(super::Upper) }",
        "fn f() { println!(\"{}\", crate::a::Upper::NAME) }",
        "use crate::b::Exported;",
    ] {
        let texts = [
            ("lib.rs", "pub mod a; pub mod b;"),
            ("a.rs", "mod lower; mod upper; pub use upper::Upper; pub use lower::Lower;"),
            ("a/lower.rs", back),
            ("a/upper.rs", "pub struct Upper; fn f() -> super::Lower { todo!() }"),
            ("b.rs", "pub use crate::a::Upper as Exported;"),
        ];
        let mut texts = sources::Texts::from(texts.map(|(name, text)| (name.to_owned(), text.to_owned())));
        *texts.get_mut("a/lower.rs").unwrap() += "\npub struct Lower;";
        let found = circles(&Krate::parse(&texts).edges());
        assert!(
            found.len() >= 2 && found.iter().any(|line| line.starts_with("src/a/lower.rs:1: ")),
            "{back}: {found:?}"
        );

        texts.insert("a/lower.rs".to_owned(), "pub struct Lower;".to_owned());
        assert_eq!(circles(&Krate::parse(&texts).edges()), Vec::<String>::new());
    }
}
