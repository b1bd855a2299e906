//! A configuration file to begin with: every setting with its meaning, its form and its default, none of them in effect.
//!
//! Made from the table that reads settings, as the reference is. A comment begins with `# `, a setting that is switched
//! off with `#`.

use super::{Config, SECTIONS, SETTINGS, Setting, schema::default};

const HEAD: &str = "\
# Settings of userdata: every one, with its default. Remove the # before a setting to change it.
#
# The environment and flags override this file. With --config FILE, `userdata config check` checks
# it, `userdata config show` prints what is in effect and where it came from, and `userdata doctor`
# checks the dependencies.
";
/// Characters of a line.
const WIDTH: usize = 100;

/// The file.
#[must_use]
pub fn sample() -> String {
    let defaults = Config::default();
    let mut text = HEAD.to_owned();
    for (section, about) in SECTIONS {
        text += &format!("\n{}[{section}]\n", comment(about));
        for setting in SETTINGS.iter().filter(|setting| setting.path().0 == *section) {
            text += &described(setting, &defaults);
        }
    }
    text
}

fn described(setting: &Setting, defaults: &Config) -> String {
    let name = setting.path().1;
    let about = format!("{} Expected: {}.", setting.doc.trim(), (setting.expected)());
    if (setting.secret)() {
        let about = format!("{about} Secret: rather name a file that holds it, as {name}_file.");
        return format!("\n{}#{name} = \"\"\n", comment(&about));
    }
    let value = toml::Value::try_from(default(setting, defaults)).expect("a number, a switch or a text");
    format!("\n{}#{name} = {value}\n", comment(&about))
}

/// Lines of a comment.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &format!("{line}\n");
            line.truncate(1);
        }
        line += &format!(" {word}");
    }
    format!("{lines}{line}\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn loaded(text: &str) -> Result<Config, super::super::ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()), &BTreeMap::new(), &[]).map(|loaded| loaded.config)
    }

    /// With all settings in effect that have a value.
    fn switched_on() -> String {
        let is_on = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && !line.ends_with(" = \"\"");
        let lines = sample();
        let lines: Vec<_> = lines.lines().map(|line| if is_on(&line) { &line[1..] } else { line }).collect();
        lines.join("\n")
    }

    #[test]
    fn the_file_changes_nothing_until_a_setting_is_switched_on_and_then_holds_the_default() {
        let shown = |config: &Config| SETTINGS.iter().map(|of| (of.key, (of.get)(config))).collect::<Vec<_>>();
        let defaults = shown(&Config::default());
        assert_eq!(shown(&loaded(&sample()).unwrap()), defaults);
        assert_eq!(shown(&loaded(&switched_on()).unwrap()), defaults);
    }

    #[test]
    fn every_setting_stands_in_it_once_with_its_meaning() {
        let text = sample();
        let table: toml::Table = switched_on().parse().unwrap();
        for setting in SETTINGS {
            let (section, name) = setting.path();
            let has_default = !(setting.secret)() && !(setting.get)(&Config::default()).is_empty();
            assert_eq!(table[section].get(name).is_some(), has_default, "{}", setting.key);
            let words = setting.doc.split_whitespace().collect::<Vec<_>>().join(" ");
            let prose = text.replace("\n# ", " ");
            assert!(prose.contains(&words) && text.contains(&format!("\n#{name} = ")), "{}", setting.key);
        }
        let long: Vec<_> = text.lines().filter(|line| line.starts_with("# ") && line.chars().count() > WIDTH).collect();
        assert_eq!(long, [""; 0]);
    }
}
