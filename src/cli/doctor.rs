//! `userdata doctor`: the findings, worst news included, for people and for programs.
//!
//! The exit code is 0 unless something does not work (FAIL), then 1. No log is written: what a library would say
//! about a database that is down stands in the finding.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{
    OutputArgs,
    output::{Format, Output, complain},
    server_side::Settings,
};
use crate::{
    config::{ConfigError, Loaded},
    doctor::{self, AiCheck, Findings, Verdict},
};

#[derive(Debug)]
pub struct DoctorCommand {
    pub(super) loaded: Result<Box<Loaded>, ConfigError>,
    pub(super) ai: AiCheck,
    pub(super) format: Format,
}

/// The same configuration as `serve`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) settings: Settings,
    /// Ask the AI endpoint one small question, for the price of one call, and say whether its answer can be used
    #[arg(long)]
    pub(super) ask_ai: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl DoctorArgs {
    pub(super) fn ai(&self) -> AiCheck {
        if self.ask_ai { AiCheck::Ask } else { AiCheck::Connect }
    }
}

/// Checks, and prints the findings.
#[must_use]
pub fn run(command: &DoctorCommand) -> ExitCode {
    let findings = match &command.loaded {
        Err(error) => doctor::unreadable(error),
        Ok(loaded) => {
            let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    complain(&format!("cannot start: {error}"));
                    return ExitCode::FAILURE;
                }
            };
            let findings = runtime.block_on(doctor::examine(loaded, command.ai));
            // Does not wait for connections that hang; they are findings.
            runtime.shutdown_background();
            findings
        }
    };
    let json = json!({ "verdict": findings.verdict(), "findings": findings.iter().collect::<Vec<_>>() });
    let said = Output::with_stdout(|output| output.show(command.format, &json, |_| lines(&findings)));
    if said == ExitCode::SUCCESS && findings.verdict() == Verdict::Fail { ExitCode::FAILURE } else { said }
}

/// A line each, and below it what to do.
fn lines(findings: &Findings) -> String {
    let mut lines = Vec::new();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    for finding in findings.iter() {
        lines.push(format!("{:<4}  {:<width$}  {}", finding.verdict.name(), finding.check, finding.found));
        if !finding.remedy.is_empty() {
            lines.push(format!("{:<4}  {:<width$}  -> {}", "", "", finding.remedy));
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    lines.push(summary(count(Verdict::Fail), count(Verdict::Warn)));
    lines.join("\n")
}

fn summary(failures: usize, warnings: usize) -> String {
    let better = format!("{warnings} could be better");
    let fails = if failures == 1 { "1 does not work".to_owned() } else { format!("{failures} do not work") };
    match (failures, warnings) {
        (0, 0) => "all is well".to_owned(),
        (0, _) => format!("it can serve; {better}"),
        (_, 0) => fails,
        _ => format!("{fails}, {better}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_what_there_is() {
        for (failures, warnings, line) in [
            (0, 0, "all is well"),
            (0, 2, "it can serve; 2 could be better"),
            (1, 0, "1 does not work"),
            (2, 0, "2 do not work"),
            (1, 1, "1 does not work, 1 could be better"),
        ] {
            assert_eq!(summary(failures, warnings), line);
        }
    }
}
