//! All output to stdout and stderr: tables for people, JSON for programs.
//!
//! JSON is the reply in its proto3 JSON form; it is indented only on a terminal, so that a script reads one value a line.

use std::{
    fmt::Display,
    io::{self, ErrorKind, IsTerminal, Write},
    process::ExitCode,
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::Failure;
use crate::text::is_layout_control;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

pub struct Output<'a> {
    to: &'a mut dyn Write,
    terminal: bool,
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Output").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl<'a> Output<'a> {
    /// Results go to stdout, a failure to stderr and into the exit code.
    pub fn with_stdout(work: impl FnOnce(&mut Output<'_>) -> Result<(), Failure>) -> ExitCode {
        let mut stdout = io::stdout();
        let terminal = stdout.is_terminal();
        match work(&mut Output { to: &mut stdout, terminal }) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(&failure);
                failure.exit_code()
            }
        }
    }

    /// Results go to `writer`.
    #[cfg(test)]
    pub(super) fn to(writer: &'a mut dyn Write, terminal: bool) -> Self {
        Self { to: writer, terminal }
    }

    /// A result, in words or as JSON.
    pub fn show<T: Serialize>(
        &mut self,
        format: Format,
        result: &T,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match format {
            Format::Table => self.say(&people(result)),
            Format::Json if self.terminal => self.write(&serde_json::to_string_pretty(result)?),
            Format::Json => self.write(&serde_json::to_string(result)?),
        }
    }

    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Words for people, of a line or several.
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.write(&printable(text))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        match writeln!(self.to, "{text}").and_then(|()| self.to.flush()) {
            // The reader of the pipe has read enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| Failure::unwritable(&error)),
        }
    }
}

/// Prints a problem to stderr.
pub fn complain(problem: &dyn Display) {
    for line in printable(&problem.to_string()).lines() {
        drop(writeln!(io::stderr(), "userdata: {line}"));
    }
}

/// Replaces characters that control the terminal or reorder a line: documents contain text of others.
pub(super) fn printable(text: &str) -> String {
    text.replace(|c: char| is_layout_control(c) && c != '\n', "\u{fffd}")
}

/// A table with a header, as wide as the terminal at most.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header)
        .add_rows(rows);
    table.to_string()
}

/// Names and values, one pair a line, values in one column.
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(pairs.into_iter().map(|(name, value)| [name.to_owned(), value]));
    if let Some(names) = table.column_mut(0) {
        names.set_padding((0, 1));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(format: Format, terminal: bool) -> String {
        let mut text = Vec::new();
        let result = json!({ "name": "a\u{1b}[2J\u{202e}b" });
        let people = |result: &serde_json::Value| format!("name {}", result["name"].as_str().unwrap_or_default());
        Output::to(&mut text, terminal).show(format, &result, people).expect("written");
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn json_is_indented_for_people_only_and_nothing_commands_the_terminal() {
        let cases = [
            (Format::Table, true, "name a\u{fffd}[2J\u{fffd}b\n"),
            (Format::Json, false, "{\"name\":\"a\\u001b[2J\u{202e}b\"}\n"),
            (Format::Json, true, "{\n  \"name\": \"a\\u001b[2J\u{202e}b\"\n}\n"),
        ];
        for (format, terminal, expected) in cases {
            assert_eq!(shown(format, terminal), expected);
        }
    }

    #[test]
    fn names_and_values_stand_in_columns() {
        assert_eq!(pairs([("age", "12s".into()), ("status", "OK".into())]), "age     12s\nstatus  OK");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        Output::to(&mut Closed, false).say("text").expect("a closed reader is no failure");
    }
}
