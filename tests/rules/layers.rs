//! `lib.rs` lists the modules bottom first, and a module uses only those above it in the list; siblings that stand for
//! one another do not know of each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    assert_none,
    krate::{EDGES, Edge, Krate},
    sources::{self, Texts},
};

const SOURCES: [&str; 5] = ["onboarding", "strategy", "performance", "gap_analysis", "ai_analysis"];
const TIERS: [&str; 3] = ["memory", "redis", "database"];

/// The crate's modules in the order of `lib.rs`.
fn layers(texts: &Texts) -> BTreeMap<String, usize> {
    let modules = texts["lib.rs"].lines().filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';'));
    modules.enumerate().map(|(layer, module)| (module.to_owned(), layer)).collect()
}

/// Uses of a module further down the list.
fn upwards(texts: &Texts, edges: &BTreeSet<Edge>) -> Vec<String> {
    let layers = layers(texts);
    let layer = |file: &str| layers.get(file.trim_end_matches(".rs").split('/').next()?);
    let up = edges.iter().filter(|edge| layer(&edge.to) > layer(&edge.from) && layer(&edge.from).is_some());
    up.map(described).collect()
}

/// Uses of one sibling by another: files of `parent` under one of these names.
fn between_siblings(texts: &Texts, edges: &BTreeSet<Edge>, parent: &str, siblings: &[&str]) -> Vec<String> {
    let sibling = |file: &str| {
        let below = file.trim_end_matches(".rs").strip_prefix(parent)?.strip_prefix('/')?.split('/').next()?.to_owned();
        siblings.contains(&below.as_str()).then_some(below)
    };
    let of_siblings = texts.keys().filter(|file| sibling(file).is_some()).count();
    assert!(of_siblings >= siblings.len(), "the files of {siblings:?} are not found");
    let across = edges.iter().filter(|edge| match (sibling(&edge.from), sibling(&edge.to)) {
        (Some(from), Some(to)) => from != to,
        _ => false,
    });
    across.map(described).collect()
}

fn described(edge: &Edge) -> String {
    format!("src/{}:{}: {} is of src/{}", edge.from, edge.line, edge.path, edge.to)
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let texts = sources::of_the_crate();
    assert_none("a module uses only modules above it in lib.rs", &upwards(&texts, &EDGES));
}

#[test]
fn sources_do_not_use_each_other() {
    let found = between_siblings(&sources::of_the_crate(), &EDGES, "aggregate", &SOURCES);
    assert_none("a source does not use another one", &found);
}

#[test]
fn tiers_do_not_use_each_other() {
    let texts = sources::of_the_crate();
    assert_none("a tier does not use another one", &between_siblings(&texts, &EDGES, "cache/tiers", &TIERS));
}

/// Shuttle's tests exchange them there. clippy bans std's; it cannot tell ours from parking_lot's.
#[test]
fn locks_come_from_one_module() {
    let texts = sources::of_the_crate();
    let others = texts.iter().filter(|(name, _)| *name != "sync.rs");
    let lines = others.flat_map(|(name, text)| text.lines().enumerate().map(move |line| (name, line)));
    let direct = lines.filter(|(_, (_, line))| line.contains("parking_lot::"));
    let found: Vec<_> =
        direct.map(|(name, (number, line))| format!("src/{name}:{}: {}", number + 1, line.trim())).collect();
    assert_none("locks come from crate::sync", &found);
}

#[test]
fn a_use_upwards_is_found_through_a_re_export() {
    let texts = [
        ("lib.rs", "pub mod low;\npub mod middle;\npub mod high;\n"),
        ("low.rs", "use crate::middle::Hidden;"),
        ("middle.rs", "pub use crate::low::Low; pub use crate::high::Hidden;"),
        ("high.rs", "pub struct Hidden;"),
    ];
    let texts = Texts::from(texts.map(|(name, text)| (name.to_owned(), text.to_owned())));
    assert_eq!(
        upwards(&texts, &Krate::parse(&texts).edges()),
        ["src/low.rs:1: crate::middle::Hidden is of src/high.rs"]
    );
}
