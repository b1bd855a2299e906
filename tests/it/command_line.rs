//! The one binary as a person and a script meet it: what is printed where, as JSON too, and the exit code.

mod calls;
mod configuration;
mod database;
mod secrets;
mod start;
mod top;

use testkit::command::Ran;

/// What is said about a failure: one line, to stderr, by this program.
#[track_caller]
pub(crate) fn complaint(ran: &Ran, exit_code: i32) -> String {
    assert_eq!((ran.exit_code, ran.stdout.as_str()), (exit_code, ""), "{ran:?}");
    let line = ran.stderr.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "one line: {line}");
    line.strip_prefix("userdata: ").unwrap_or_else(|| panic!("{line}")).to_owned()
}

/// Whether some line has all these words.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| words.iter().all(|word| line.contains(word)))
}
