//! A crate's modules, and where a path that one of them writes leads: to the file that defines the item, also through
//! `pub use`, `super::`, `self::` and globs.
//!
//! Code for tests only is left out. Names that generics, variables or other crates introduce lead nowhere.

mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use crate::sources::{self, Texts};

/// A module's path below the crate.
pub(crate) type Path = Vec<String>;

/// Import chains are shorter; what is longer runs in a circle.
const IMPORTS_FOLLOWED_MAX: usize = 32;

/// The service, read once for all rules.
pub(crate) static SERVICE: LazyLock<Krate> = LazyLock::new(|| Krate::parse(&sources::of_the_crate()));
/// Its uses.
pub(crate) static EDGES: LazyLock<BTreeSet<Edge>> = LazyLock::new(|| SERVICE.edges());

/// All modules of a crate.
#[derive(Debug, Default)]
pub(crate) struct Krate {
    pub(crate) modules: BTreeMap<Path, Module>,
}

/// A module that is compiled without tests.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: String,
    items: BTreeSet<String>,
    imports: Vec<Import>,
    mentions: Vec<Mention>,
    /// Types and traits with the lines that define them.
    pub(crate) types: Vec<(String, usize)>,
}

/// A `use`: of one name, or of all that the path contains.
#[derive(Debug)]
struct Import {
    name: Option<String>,
    path: Path,
}

/// A path as it is written.
#[derive(Debug)]
struct Mention {
    path: Path,
    line: usize,
}

/// A file that uses an item of another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) line: usize,
    /// As written.
    pub(crate) path: String,
    /// The module that defines it, and its name.
    pub(crate) target: Path,
}

impl Krate {
    /// The crate whose root is `lib.rs`.
    pub(crate) fn parse(texts: &Texts) -> Self {
        let mut krate = Self::default();
        read::file(&mut krate, texts, Path::new());
        krate
    }

    /// Every use of one file's item by another file.
    pub(crate) fn edges(&self) -> BTreeSet<Edge> {
        let mut edges = BTreeSet::new();
        for (path, module) in &self.modules {
            for mention in &module.mentions {
                let Some((definer, name)) = self.resolve(path, &mention.path, 0) else { continue };
                let Some(name) = name else { continue };
                let to = &self.modules[&definer].file;
                if *to != module.file {
                    edges.insert(Edge {
                        from: module.file.clone(),
                        to: to.clone(),
                        line: mention.line,
                        path: mention.path.join("::"),
                        target: [definer, vec![name]].concat(),
                    });
                }
            }
        }
        edges
    }

    /// The module that defines what `path` means in `module`, and the item's name; no name for a module itself.
    fn resolve(&self, module: &[String], path: &[String], followed: usize) -> Option<(Path, Option<String>)> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.look_up(&[], rest, followed),
            "self" => self.look_up(module, rest, followed),
            "super" => self.resolve_from_parent(module, rest, followed),
            _ => self.look_up(module, path, followed),
        }
    }

    fn resolve_from_parent(
        &self,
        module: &[String],
        rest: &[String],
        followed: usize,
    ) -> Option<(Path, Option<String>)> {
        let (_, parent) = module.split_last()?;
        match rest.first().map(String::as_str) {
            Some("super") => self.resolve_from_parent(parent, &rest[1..], followed),
            _ => self.look_up(parent, rest, followed),
        }
    }

    fn look_up(&self, at: &[String], path: &[String], followed: usize) -> Option<(Path, Option<String>)> {
        if followed > IMPORTS_FOLLOWED_MAX {
            return None;
        }
        let module = self.modules.get(at)?;
        let Some((name, rest)) = path.split_first() else { return Some((at.to_vec(), None)) };
        let child = [at, std::slice::from_ref(name)].concat();
        if self.modules.contains_key(&child) {
            return self.look_up(&child, rest, followed);
        }
        if module.items.contains(name) {
            return Some((at.to_vec(), Some(name.clone())));
        }
        let named = module.imports.iter().filter(|import| import.name.as_ref() == Some(name));
        let named = named.filter_map(|import| {
            // `use image::image;` does not import itself.
            let path = [&import.path[..], rest].concat();
            (path != [name.clone()]).then(|| self.resolve(at, &path, followed + 1)).flatten()
        });
        let mut all = named.chain(module.imports.iter().filter(|import| import.name.is_none()).filter_map(|glob| {
            let (of, None) = self.resolve(at, &glob.path, followed + 1)? else { return None };
            (of != at).then(|| self.look_up(&of, path, followed + 1)).flatten()
        }));
        all.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `a/b.rs` uses in this crate, by the defining file.
    fn uses_of_b(b: &str) -> Vec<String> {
        let texts = [
            ("lib.rs", "pub mod a; pub mod c;"),
            ("a.rs", "mod b; mod d; pub use d::{Door, open as unlock}; pub(crate) use crate::c::*; pub struct Own;"),
            ("a/b.rs", b),
            ("a/d.rs", "pub struct Door; pub fn open() {}"),
            ("c.rs", "pub struct Chair; pub mod inner { pub const ONE: u8 = 1; }"),
        ];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let edges = Krate::parse(&texts).edges().into_iter().filter(|edge| edge.from == "a/b.rs");
        edges.map(|edge| format!("{} of {}", edge.target.last().unwrap(), edge.to)).collect()
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_the_item() {
        for (code, expected) in [
            ("use super::Own;", "Own of a.rs"),
            ("use super::Door;", "Door of a/d.rs"),
            ("use crate::a::{self, Door as Gate};", "Door of a/d.rs"),
            ("fn f() { super::unlock() }", "open of a/d.rs"),
            ("use super::{self as parent}; type T = parent::Door;", "Door of a/d.rs"),
            ("use super::Chair;", "Chair of c.rs"),
            ("use super::*; struct S(Door);", "Door of a/d.rs"),
            ("fn f() { use crate::c::inner; }\nconst C: u8 = crate::c::inner::ONE;", "ONE of c.rs"),
            ("fn f() { println!(\"{}\", crate::c::inner::ONE) }", "ONE of c.rs"),
            ("mod deeper { use super::super::Door; }", "Door of a/d.rs"),
        ] {
            assert_eq!(uses_of_b(code), [expected], "{code}");
        }
        assert_eq!(uses_of_b("#[cfg(test)] mod tests { use crate::c::Chair; }"), Vec::<String>::new());
        assert_eq!(uses_of_b("use std::fmt; fn f(c: fmt::Error, d: serde::Door) {}"), Vec::<String>::new());
    }
}
