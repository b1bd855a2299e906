//! A long file tells two stories, a long function does two things.

use syn::visit::{self, Visit};

use crate::{
    assert_none,
    sources::{self, Texts},
};

const FILE_LINES_MAX: usize = 450;
/// From `fn` to the closing brace, as rustfmt writes it.
const FUNCTION_LINES_MAX: usize = 60;

#[derive(Default)]
struct Functions(Vec<(String, usize, usize)>);

impl Functions {
    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.fn_token.span.start().line, block.brace_token.span.close().end().line);
        self.0.push((signature.ident.to_string(), first, last + 1 - first));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.note(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn long_functions(texts: &Texts) -> Vec<String> {
    let mut found = Vec::new();
    // A table of cases in a test may be longer.
    for (name, text) in texts.iter().filter(|(name, _)| !name.ends_with("tests.rs")) {
        let mut functions = Functions::default();
        functions.visit_file(&syn::parse_file(text).unwrap());
        let long = functions.0.into_iter().filter(|(.., lines)| *lines > FUNCTION_LINES_MAX);
        found.extend(long.map(|(function, line, lines)| format!("src/{name}:{line}: {function} has {lines} lines")));
    }
    found
}

#[test]
fn no_file_tells_two_stories() {
    let files = sources::of_the_crate();
    let long =
        files.iter().map(|(name, text)| (name, text.lines().count())).filter(|(_, lines)| *lines > FILE_LINES_MAX);
    let found: Vec<_> = long.map(|(name, lines)| format!("src/{name}:1: {lines} lines")).collect();
    assert_none("a file has at most 450 lines", &found);
}

#[test]
fn no_function_does_two_things() {
    assert_none("a function has at most 60 lines", &long_functions(&sources::of_the_crate()));
}

#[test]
fn a_long_function_is_found() {
    for (lines, found) in [(58, 0), (59, 1)] {
        let text = format!("struct S;\nimpl S {{\n    fn f() {{\n{}    }}\n}}\n", "        f();\n".repeat(lines));
        let texts = Texts::from([("a.rs".to_owned(), text)]);
        assert_eq!(long_functions(&texts).len(), found, "{lines}");
    }
}
