//! The house rules that a compiler does not check: which file may use which, what a file looks like, and its words.
//!
//! A rule is a function from the sources to its violations, each with file and line, so that a test can also break it
//! on purpose and see that found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod circles;
mod krate;
mod layers;
mod lengths;
mod names;
mod sources;
mod words;

/// Fails with every violation on a line of its own.
#[track_caller]
fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{} violations: {rule}\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn a_file_says_first_what_it_is() {
    let files = sources::of_the_crate();
    let silent = files.iter().filter(|(_, text)| !text.starts_with("//!") && !text.starts_with("#![doc = "));
    let found: Vec<_> = silent.map(|(name, _)| format!("src/{name}:1")).collect();
    assert_none("a file begins with `//!` and what it is", &found);
}
