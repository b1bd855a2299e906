//! The texts that the rules read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Texts by their path below a root.
pub(crate) type Texts = BTreeMap<String, String>;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Rust files of `src`, by their path below it.
pub(crate) fn of_the_crate() -> Texts {
    let files = below(&root().join("src"), "", &|name| name.ends_with(".rs"));
    assert!(files.len() > 50, "the sources are looked for in the wrong place");
    files
}

/// All text files under `directory` whose name `is_meant`; their paths begin with `prefix`.
pub(crate) fn below(directory: &Path, prefix: &str, is_meant: &dyn Fn(&str) -> bool) -> Texts {
    let mut texts = Texts::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            texts.extend(below(&entry.path(), &format!("{path}/"), is_meant));
        } else if is_meant(&name)
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            texts.insert(path, text);
        }
    }
    texts
}
