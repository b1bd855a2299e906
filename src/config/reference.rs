//! The reference for people: every setting, what has to hold between settings, and the variables of OpenTelemetry.
//!
//! Made from the tables by which settings are read and compared, so that it cannot say anything else than they do;
//! `docs/configuration.md` is this text, and a test compares the two.

use super::{Config, SECTIONS, SETTINGS, Setting, check::RULES, otel};

/// Stands before what is generated.
const HEAD: &str = "\
# Every setting

Written by `userdata config reference`, from the tables by which settings are read; do not edit.

Defaults < file (`--config FILE`, TOML) < environment < flags. Each setting has a variable `USERDATA__SECTION__KEY` and
can be given as `--set section.key=value`; a few have a flag of their own, which stands below them. In the file,
`memory.ttl` is `ttl` under `[memory]`. Durations are written as `5s`, `100ms` or `1h`, sizes as `4MiB`.

A setting marked *secret* is never printed. It can also be read from a file: `database.url_file`,
`USERDATA__DATABASE__URL_FILE`.

`userdata config show` prints the values in effect and where each came from, `userdata config check` refuses what
`serve` would refuse (exit code 2, or 78 for a listener that is not safe), `userdata doctor` tries what they point at,
`userdata config schema` is the file's JSON Schema.
";

const LISTENERS: &str = "
A listener beyond loopback is refused (exit code 78) unless it is guarded: `server.listen` needs `tls.cert`, `tls.key` and
an `auth.mode` other than `none`; `metrics.listen` needs `metrics.allow_remote`. `server.insecure_allow_remote` lifts both.
All instances on one database need the same `fence.lease`: one with a longer lease than the cluster agreed on
(`invalidation_log_head.lease_ms`) does not start (exit code 78).
";

const OPENTELEMETRY: &str = "
## OpenTelemetry

These have the names that every program's operator knows, and are read from the environment only. An empty value is no
value; one that cannot be understood is told in the log and ignored. Other `OTEL_*` variables do nothing here.

| variable | default | meaning |
|---|---|---|
";

const CLIENTS: &str = "
## Client commands

| variable | flag | meaning |
|---|---|---|
| `USERDATA_TOKEN` | `--token` | The caller's token, sent as a bearer token. *Secret* |
";

/// All of it, as Markdown. `flags` are those that are settings: the flag and the setting's key.
#[must_use]
pub fn reference(flags: &[(&str, &str)]) -> String {
    let mut text = HEAD.to_owned();
    for (section, about) in SECTIONS {
        text += &format!("\n## {section}\n\n{}\n\n", about.trim());
        text += "| setting | environment | expected | default | meaning |\n|---|---|---|---|---|\n";
        for setting in SETTINGS.iter().filter(|setting| setting.path().0 == *section) {
            text += &row(setting, flags);
        }
    }
    text += "\n## What has to hold between settings\n\n| | | | otherwise |\n|---|---|---|---|\n";
    for rule in RULES {
        text += &format!("| `{}` | {} | `{}` | {} |\n", rule.left, rule.must, rule.right, rule.otherwise);
    }
    text += LISTENERS;
    text += OPENTELEMETRY;
    for (name, default, meaning) in otel::VARIABLES {
        text += &format!("| `{name}` | {default} | {meaning} |\n");
    }
    text + CLIENTS
}

fn row(setting: &Setting, flags: &[(&str, &str)]) -> String {
    let flag = flags.iter().find(|(_, key)| *key == setting.key);
    let flag = flag.map(|(flag, _)| format!("<br>`{flag}`")).unwrap_or_default();
    let secret = if (setting.secret)() { " *Secret*" } else { "" };
    // What a pipe would end is a cell.
    let cell = |text: &str| text.trim().replace('|', "\\|");
    format!(
        "| `{}`{flag} | `{}` | {} | {} | {}{secret} |\n",
        setting.key,
        setting.variable(),
        cell(&(setting.expected)()),
        default(setting),
        cell(setting.doc),
    )
}

fn default(setting: &Setting) -> String {
    match (setting.get)(&Config::default()) {
        none if none.is_empty() => "none".to_owned(),
        // The one secret that has a default tells it in its meaning.
        _ if (setting.secret)() => "see there".to_owned(),
        value => format!("`{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_meaning_and_a_row() {
        let text = reference(&[("--listen", "server.listen")]);
        for setting in SETTINGS {
            let row = text.lines().find(|line| line.starts_with(&format!("| `{}`", setting.key)));
            let row = row.unwrap_or_else(|| panic!("{} is missing", setting.key));
            let cells: Vec<_> = row.replace("\\|", "/").split('|').map(|cell| cell.trim().to_owned()).collect();
            assert_eq!(cells.len(), 7, "{row}");
            assert!(cells[1..6].iter().all(|cell| !cell.is_empty()), "{row}");
            assert!(setting.doc.trim().len() >= 20 && setting.doc.trim().ends_with('.'), "{row}");
            assert_eq!((setting.secret)(), row.contains("*Secret*"), "{row}");
        }
        assert!(text.contains("| `server.listen`<br>`--listen` | `USERDATA__SERVER__LISTEN` |"), "{text}");
    }

    #[test]
    fn rules_name_settings() {
        for rule in RULES {
            assert!(Setting::find(rule.left).is_some() && Setting::find(rule.right).is_some(), "{}", rule.left);
            assert!(rule.otherwise.ends_with('.'), "{}", rule.otherwise);
        }
    }
}
