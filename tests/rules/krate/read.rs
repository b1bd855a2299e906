//! Reads a crate's files into modules.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, UseTree, Visibility,
    visit::{self, Visit},
};

use super::{Import, Krate, Mention, Module, Path};
use crate::sources::Texts;

/// Reads the file of a module, and those of its children.
pub(super) fn file(krate: &mut Krate, texts: &Texts, path: Path) {
    let name = if path.is_empty() { "lib.rs".to_owned() } else { format!("{}.rs", path.join("/")) };
    let text = texts.get(&name).unwrap_or_else(|| panic!("{name} is declared, but not there"));
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    module(krate, texts, path, &name, &parsed.items);
}

fn module(krate: &mut Krate, texts: &Texts, path: Path, file_name: &str, items: &[Item]) {
    let mut reader =
        Reader { module: Module { file: file_name.to_owned(), ..Module::default() }, children: Vec::new() };
    items.iter().for_each(|item| reader.visit_item(item));
    let Reader { module: read, children } = reader;
    krate.modules.insert(path.clone(), read);
    for (name, content) in children {
        let child = [&path[..], &[name]].concat();
        match content {
            Some(items) => module(krate, texts, child, file_name, &items),
            None => file(krate, texts, child),
        }
    }
}

struct Reader {
    module: Module,
    children: Vec<(String, Option<Vec<Item>>)>,
}

impl Reader {
    fn mention(&mut self, path: Path, line: usize) {
        self.module.mentions.push(Mention { path, line });
    }

    /// Every name that a `use` brings. A re-export alone is no use of what it names.
    fn import(&mut self, tree: &UseTree, before: &mut Path, is_export: bool) {
        match tree {
            UseTree::Path(part) => {
                before.push(part.ident.to_string());
                self.import(&part.tree, before, is_export);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before, is_export)),
            UseTree::Glob(_) => self.module.imports.push(Import { name: None, path: before.clone() }),
            UseTree::Name(part) if part.ident == "self" => {
                let name = before.last().cloned();
                self.module.imports.push(Import { name, path: before.clone() });
            }
            UseTree::Name(part) => self.import_as(&part.ident, &part.ident, before, is_export),
            UseTree::Rename(part) if part.ident == "self" => {
                self.module.imports.push(Import { name: Some(part.rename.to_string()), path: before.clone() });
            }
            UseTree::Rename(part) => {
                self.import_as(&part.ident, &part.rename, before, is_export);
            }
        }
    }

    fn import_as(&mut self, of: &syn::Ident, name: &syn::Ident, before: &[String], is_export: bool) {
        let path = [before, &[of.to_string()]].concat();
        if !is_export {
            self.mention(path.clone(), of.span().start().line);
        }
        self.module.imports.push(Import { name: Some(name.to_string()), path });
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons, mut line) = (Path::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.mention(std::mem::take(&mut path), line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => colons = 0,
            }
        }
        self.mention(path, line);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes(item)) {
            return;
        }
        let (name, is_type) = match item {
            Item::Struct(item) => (&item.ident, true),
            Item::Enum(item) => (&item.ident, true),
            Item::Union(item) => (&item.ident, true),
            Item::Trait(item) => (&item.ident, true),
            Item::Type(item) => (&item.ident, true),
            Item::Fn(item) => (&item.sig.ident, false),
            Item::Const(item) => (&item.ident, false),
            Item::Static(item) => (&item.ident, false),
            Item::Mod(item) => {
                let content = item.content.as_ref().map(|(_, items)| items.clone());
                return self.children.push((item.ident.to_string(), content));
            }
            Item::Use(item) => {
                let is_export = !matches!(item.vis, Visibility::Inherited);
                return self.import(&item.tree, &mut Path::new(), is_export);
            }
            _ => return visit::visit_item(self, item),
        };
        self.module.items.insert(name.to_string());
        if is_type {
            self.module.types.push((name.to_string(), name.span().start().line));
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.mention(names, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether it is compiled for tests only: also what stands in for another item of the same name there.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let Ok(condition) = attribute.meta.require_list() else { return false };
        let condition = condition.tokens.to_string().replace(' ', "");
        ["test", "feature=\"shuttle\"", "not(feature=\"mutants\")"].contains(&condition.as_str())
    })
}
