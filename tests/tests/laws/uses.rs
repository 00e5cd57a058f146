//! `use` trees taken apart, and the parts of a file that only tests see.

use std::ops::RangeInclusive;

use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

use crate::{
    house::Source,
    leaves::{Leaf, leaves},
};

/// One name that a `use` brings in.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// `use a::{b::{self as c}}` has the path `a, b` and the name `c`. A glob's last part is `*`.
    pub(crate) path: Vec<String>,
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) is_public: bool,
}

impl Import {
    pub(crate) fn is_glob(&self) -> bool {
        self.name == "*"
    }
}

/// Every name that this `use` brings in.
pub(crate) fn imports_of(item: &ItemUse) -> Vec<Import> {
    let mut found = Vec::new();
    let is_public = matches!(item.vis, Visibility::Public(_));
    take_apart(&item.tree, &mut Vec::new(), is_public, &mut found);
    found
}

fn take_apart(tree: &UseTree, path: &mut Vec<String>, is_public: bool, found: &mut Vec<Import>) {
    let (last, name, line) = match tree {
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            take_apart(&part.tree, path, is_public, found);
            path.pop();
            return;
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| take_apart(tree, path, is_public, found));
            return;
        }
        UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string(), name.ident.span().start().line),
        UseTree::Rename(name) => (name.ident.to_string(), name.rename.to_string(), name.ident.span().start().line),
        UseTree::Glob(glob) => ("*".to_owned(), "*".to_owned(), glob.star_token.spans[0].start().line),
    };
    let mut path = path.clone();
    let mut name = name;
    if last == "self" {
        if name == "self" {
            name = path.last().cloned().unwrap_or_default();
        }
    } else {
        path.push(last);
    }
    found.push(Import { path, name, line, is_public });
}

/// Every import of a file, those inside functions too.
pub(crate) fn all_imports(file: &syn::File) -> Vec<Import> {
    struct Eye(Vec<Import>);
    impl<'ast> Visit<'ast> for Eye {
        fn visit_item_use(&mut self, item: &'ast ItemUse) {
            self.0.extend(imports_of(item));
        }
    }
    let mut eye = Eye(Vec::new());
    eye.visit_file(file);
    eye.0
}

/// Whether the attributes say `#[cfg(test)]` (or `all(test, ..)`): `any(test, ..)` can be seen by others than tests. The
/// build with the bank of known bugs is made for tests alone, too.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let Ok(list) = attribute.meta.require_list() else { return false };
        let words: Vec<Leaf> = leaves(&list.tokens.to_string()).into_iter().filter(|leaf| leaf.is_word).collect();
        let says = |word: &str| words.iter().any(|leaf| leaf.text == word);
        (says("test") || says("windlass_bugs")) && !says("any") && !says("not")
    })
}

/// The lines of a file that stand in `#[cfg(test)]` modules.
pub(crate) fn test_lines(source: &Source) -> Vec<RangeInclusive<usize>> {
    struct Eye(Vec<RangeInclusive<usize>>);
    impl<'ast> Visit<'ast> for Eye {
        fn visit_item_mod(&mut self, module: &'ast ItemMod) {
            match &module.content {
                Some((brace, _)) if is_for_tests(&module.attrs) => {
                    self.0.push(brace.span.open().start().line..=brace.span.close().end().line);
                }
                _ => visit::visit_item_mod(self, module),
            }
        }
    }
    let mut eye = Eye(Vec::new());
    if let Some(file) = source.ast() {
        eye.visit_file(&file);
    }
    eye.0
}

/// The items of a file outside `#[cfg(test)]`, those of inline modules included.
pub(crate) fn items_of(items: &[Item]) -> Vec<&Item> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            Item::Mod(ItemMod { content: Some((_, inner)), .. }) => found.extend(items_of(inner)),
            _ => found.push(item),
        }
    }
    found
}

#[test]
fn a_use_tree_is_taken_apart() {
    let file = syn::parse_file("use a::{self, b::{c as d, *}};").expect("it is Rust");
    let found: Vec<(String, String)> = all_imports(&file).into_iter().map(|i| (i.path.join("::"), i.name)).collect();
    let expected = [("a", "a"), ("a::b::c", "d"), ("a::b::*", "*")];
    assert_eq!(found, expected.map(|(path, name)| (path.to_owned(), name.to_owned())));
}

#[test]
fn only_modules_for_tests_alone_count_as_tests() {
    let source =
        Source::new("a.rs", "mod a {\n}\n#[cfg(test)]\nmod b {\n}\n#[cfg(any(test, feature = \"x\"))]\nmod c {\n}\n");
    assert_eq!(test_lines(&source), [4..=5]);
}
