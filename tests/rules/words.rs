//! The field's words, not words of our own: a reader finds a thing by its standard name.
//!
//! docs/decisions.md tells what replaced what, and is therefore not read here.

use std::collections::BTreeSet;

use crate::{
    assert_none,
    sources::{self, Texts},
};

/// Words of our own, wherever they stand: in prose, and as a part of an identifier.
const WORDS: &[&str] = &[
    "fence",
    "fences",
    "fenced",
    "fencing",
    "memo",
    "memos",
    "beat",
    "beats",
    "tally",
    "tallies",
    "inspector",
    "incarnation",
    "incarnations",
    "reassembly",
    "reassemblies",
    "reassemble",
    "reassembling",
    "hints",
    "upkeep",
    "cooldown",
    "cooldowns",
    "ledger",
    "flights",
    "stranger",
    "strangers",
    "newcomer",
    "newcomers",
];

/// Names of our own that are English words elsewhere: exactly these identifiers, not in prose.
const IDENTIFIERS: &[&str] = &[
    "Wish",
    "Landing",
    "Landed",
    "Depth",
    "Trust",
    "Raised",
    "Sight",
    "Seen",
    "Turn",
    "Stay",
    "StayLimits",
    "Prompt",
    "Turns",
    "Reserve",
    "Withheld",
    "Said",
    "Told",
    "Asked",
    "Answering",
    "Heard",
    "stale_max",
    "renew_if_due",
    "tally_every",
    "tally_keys_max",
];

/// Several words.
const PHRASES: &[&str] = &["the whole way", "the short way", "left alone", "full house"];

/// What a word of ours is in a standard of others, and the tables by which a database from before 0.1.0 is recognised.
const STANDARD: &[&str] = &["fencing token", "fencing tokens", "fence_head", "fence_log", "ai_analysis_memo"];

/// Where the words stand that users and owners read.
const PLACES: [&str; 6] = ["src", "proto", "migrations", "docs", "deploy", "tests"];

fn private_words(texts: &Texts) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in texts {
        for (number, line) in text.lines().enumerate() {
            let words = words_of_our_own(line, name.ends_with(".rs"));
            if !words.is_empty() {
                found.push(format!("{name}:{}: {}", number + 1, Vec::from_iter(words).join(", ")));
            }
        }
    }
    found
}

fn words_of_our_own(line: &str, is_code: bool) -> BTreeSet<String> {
    let line = STANDARD.iter().fold(line.to_owned(), |line, standard| line.replace(standard, ""));
    let code = line.split("//").next().filter(|_| is_code).unwrap_or_default();
    let named = identifiers(code).filter(|one| IDENTIFIERS.contains(one)).map(str::to_owned);
    let words = identifiers(&line).flat_map(parts).filter(|word| WORDS.contains(&word.as_str()));
    let lower = line.to_lowercase();
    let phrases = PHRASES.iter().filter(|phrase| lower.contains(**phrase)).map(|phrase| (*phrase).to_owned());
    named.chain(words).chain(phrases).collect()
}

fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty())
}

/// The words of an identifier, in lower case: of `FenceLog` and `fence_log`, both times fence and log.
fn parts(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in identifier.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = c;
    }
    words
}

#[test]
fn nothing_is_called_by_a_word_of_our_own() {
    let root = sources::root();
    let is_text = |name: &str| !name.ends_with(".binpb") && !name.ends_with(".png");
    let mut texts = Texts::new();
    for place in PLACES {
        texts.extend(sources::below(&root.join(place), &format!("{place}/"), &is_text));
    }
    for page in ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md"] {
        texts.extend(std::fs::read_to_string(root.join(page)).ok().map(|text| (page.to_owned(), text)));
    }
    texts.retain(|name, _| name != "docs/decisions.md" && !name.starts_with("tests/rules/"));
    assert_none("things are called by the field's words", &private_words(&texts));
}

#[test]
fn a_word_of_our_own_is_found_in_prose_and_in_identifiers() {
    for (line, found) in [
        ("the fence log", true),
        ("let fence_log = FenceLog::new();", true),
        ("USERDATA__FENCE__LEASE=1", true),
        ("let wish = Wish::default();", true),
        ("f(); // Trust me, I wish", false),
        ("heartbeat, beaten, defence", false),
        ("as a fencing token does", false),
        ("it goes The Whole Way", true),
    ] {
        let texts = Texts::from([("a.rs".to_owned(), line.to_owned())]);
        assert_eq!(!private_words(&texts).is_empty(), found, "{line}");
    }
}
