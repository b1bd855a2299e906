//! The house rules that a compiler does not check: who may use whom, and what a file looks like.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A file that needs more tells two stories.
const LINES_MAX: usize = 450;
const SOURCES: [&str; 5] = ["onboarding", "strategy", "performance", "gap_analysis", "ai_analysis"];
const TIERS: [&str; 3] = ["memory", "redis", "database"];

/// A source file: its module's path below the crate, and its text.
struct File {
    name: String,
    module: Vec<String>,
    text: String,
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut directories) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(File::read(&root, path));
            }
        }
    }
    assert!(files.len() > 50, "the sources are looked for in the wrong place");
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

impl File {
    fn read(root: &Path, path: PathBuf) -> Self {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        Self { name, module, text: fs::read_to_string(path).unwrap() }
    }

    /// Compiled for tests only, as its name says.
    fn is_of_tests(&self) -> bool {
        self.module.iter().any(|part| ["tests", "testing", "database_tests", "fixture"].contains(&part.as_str()))
    }

    /// The text without comments and without the tests at its end.
    fn code(&self) -> String {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code.lines().map(|line| line.split("//").next().unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Every module path that the code names from the crate's root or relative to itself, as a path
    /// from the crate's root.
    fn uses(&self) -> Vec<Vec<String>> {
        let code = self.code();
        let mut paths = Vec::new();
        for root in ["crate::", "super::"] {
            for (start, _) in code.match_indices(root) {
                let before = code[..start].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                unfold(&code[start..], &mut Vec::new(), &mut paths);
            }
        }
        paths.into_iter().filter_map(|path| self.path_from_the_root(&path)).collect()
    }

    fn path_from_the_root(&self, path: &[String]) -> Option<Vec<String>> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        if ups == 0 {
            return Some(path[1..].to_vec());
        }
        let base = self.module.len().checked_sub(ups)?;
        Some([&self.module[..base], &path[ups..]].concat())
    }
}

/// Reads a path, or a tree of paths in braces, from the beginning of `text`; what is left.
fn unfold<'a>(mut text: &'a str, before: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'a str {
    let depth = before.len();
    loop {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        before.push(text[..end].to_owned());
        text = &text[end..];
        let Some(rest) = text.strip_prefix("::") else { break };
        if let Some(mut rest) = rest.strip_prefix('{') {
            loop {
                rest = unfold(rest.trim_start(), before, paths).trim_start();
                // Past a new name (`a as b`) and the comma.
                let Some(end) = rest.find([',', '}']) else { break };
                let closes = rest[end..].starts_with('}');
                rest = rest[end + 1..].trim_start();
                if closes || rest.starts_with('}') {
                    rest = rest.strip_prefix('}').filter(|_| !closes).unwrap_or(rest);
                    break;
                }
            }
            before.truncate(depth);
            return rest;
        }
        text = rest;
    }
    paths.push(before.clone());
    before.truncate(depth);
    text
}

/// The crate's modules in the order of `lib.rs`.
fn layers(files: &[File]) -> BTreeMap<String, usize> {
    let lib = files.iter().find(|file| file.name == "lib.rs").unwrap();
    let modules = lib.text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    modules.enumerate().map(|(layer, module)| (module.to_owned(), layer)).collect()
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let files = files();
    let layers = layers(&files);
    let mut found = Vec::new();
    let mut uses = 0;
    for file in files.iter().filter(|file| !file.is_of_tests()) {
        let Some(ours) = layers.get(&file.module[0]) else { continue };
        for path in file.uses() {
            if let Some(theirs) = path.first().and_then(|module| layers.get(module)) {
                uses += 1;
                if theirs > ours {
                    found.push(format!("{} uses {}", file.name, path.join("::")));
                }
            }
        }
    }
    assert!(uses > 300, "uses are not found: {uses}");
    assert!(found.is_empty(), "{found:#?}");
}

/// The part of a path that follows `parent`.
fn below<'a>(parent: &[&str], path: &'a [String]) -> Option<&'a str> {
    let rest = path.get(parent.len())?;
    path.iter().zip(parent).all(|(ours, theirs)| ours == theirs).then_some(rest)
}

/// Nothing in `parent` under one of these names uses what is under another one.
fn siblings_ignore_each_other(parent: &[&str], siblings: &[&str]) {
    let mut found = Vec::new();
    let mut of_siblings = 0;
    for file in files().iter().filter(|file| !file.is_of_tests()) {
        let Some(own) = below(parent, &file.module).filter(|own| siblings.contains(own)) else { continue };
        of_siblings += 1;
        for path in file.uses() {
            if below(parent, &path).is_some_and(|other| other != own && siblings.contains(&other)) {
                found.push(format!("{} uses {}", file.name, path.join("::")));
            }
        }
    }
    assert!(of_siblings >= siblings.len(), "the files of {siblings:?} are not found");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn sources_do_not_use_each_other() {
    siblings_ignore_each_other(&["aggregate"], &SOURCES);
}

#[test]
fn tiers_do_not_use_each_other() {
    siblings_ignore_each_other(&["cache", "tiers"], &TIERS);
}

#[test]
fn a_file_says_first_what_it_is() {
    let silent: Vec<_> = files()
        .into_iter()
        .filter(|file| !file.text.starts_with("//!") && !file.text.starts_with("#![doc = "))
        .map(|file| file.name)
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn no_file_tells_two_stories() {
    let long: Vec<_> = files()
        .into_iter()
        .filter(|file| file.text.lines().count() > LINES_MAX)
        .map(|file| (file.text.lines().count(), file.name))
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn paths_are_found_however_they_are_written() {
    let text = "use crate::{model::{CacheKey, snapshot::Part}, clock as time};\n\
                use super::super::performance::{self, x};\nfn f(a: crate::error::Error) {} // crate::grpc\n";
    let file = File {
        name: String::new(),
        module: ["aggregate", "strategy", "statements"].map(str::to_owned).to_vec(),
        text: text.to_owned(),
    };
    let uses: Vec<_> = file.uses().into_iter().map(|path| path.join("::")).collect();
    let expected = [
        "model::CacheKey",
        "model::snapshot::Part",
        "clock",
        "error::Error",
        "aggregate::performance::self",
        "aggregate::performance::x",
    ];
    assert_eq!(uses, expected);
}
