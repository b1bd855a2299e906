//! A type's name is defined once, so that it means one thing wherever it stands.

use std::collections::BTreeMap;

use crate::{
    assert_none,
    krate::{Krate, SERVICE},
    sources::Texts,
};

/// Types and traits whose name others have as well; not those of `entity/`, whose names SeaORM gives.
fn defined_twice(krate: &Krate) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for module in krate.modules.values().filter(|module| !module.file.starts_with("entity/")) {
        for (name, line) in &module.types {
            places.entry(name).or_default().push(format!("src/{}:{line}", module.file));
        }
    }
    let twice = places.iter().filter(|(_, places)| places.len() > 1);
    twice.map(|(name, places)| format!("{name}: {}", places.join(", "))).collect()
}

#[test]
fn no_type_name_is_defined_twice() {
    assert_none("a type's name is defined once", &defined_twice(&SERVICE));
}

#[test]
fn a_name_is_found_that_is_defined_twice() {
    let texts = [
        ("lib.rs", "pub mod a;\npub mod entity;\nstruct Model;\n"),
        (
            "a.rs",
            "pub struct Answer;\nimpl Iterator for Answer { type Item = u8; }\nmod b { enum Answer {} type Item = u8; }",
        ),
        ("entity.rs", "pub mod entry;"),
        ("entity/entry.rs", "pub struct Model;"),
    ];
    let texts = Texts::from(texts.map(|(name, text)| (name.to_owned(), text.to_owned())));
    assert_eq!(defined_twice(&Krate::parse(&texts)), ["Answer: src/a.rs:1, src/a.rs:3"]);
}
