//! No dead file: each is compiled into something, or read by it.
//!
//! A test file that no target reaches is worse than none: it looks like a promise, and nobody runs it.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta};

use crate::{
    house::{House, Package, Source, house},
    offence::{Offence, uphold},
    uses::is_for_tests,
};

/// The files that cargo's targets reach through `mod`.
pub(crate) struct Reach {
    /// With whether a file is reached through `#[cfg(test)]` alone.
    files: BTreeMap<String, bool>,
}

impl Reach {
    pub(crate) fn of(house: &House) -> Self {
        let mut reach = Self { files: BTreeMap::new() };
        let sources: BTreeMap<&str, &Source> =
            house.sources.iter().map(|source| (source.path.as_str(), source)).collect();
        for root in house.packages.iter().flat_map(|package| &package.roots) {
            reach.visit(&sources, root, folder_of(root), false);
        }
        reach
    }

    pub(crate) fn only_for_tests(&self, path: &str) -> bool {
        self.files.get(path).copied().unwrap_or(false)
    }

    /// `below` is the folder in which the file's modules are looked for.
    fn visit(&mut self, sources: &BTreeMap<&str, &Source>, path: &str, below: &str, for_tests: bool) {
        let Some(source) = sources.get(path) else { return };
        // Seen already, and this way is no wider than the last.
        if self.files.get(path).is_some_and(|seen| !*seen || for_tests) {
            return;
        }
        self.files.insert(path.to_owned(), for_tests);
        if let Some(file) = source.ast() {
            self.visit_items(sources, &file.items, folder_of(path), below, for_tests);
        }
    }

    fn visit_items(
        &mut self,
        sources: &BTreeMap<&str, &Source>,
        items: &[Item],
        beside: &str,
        below: &str,
        for_tests: bool,
    ) {
        for item in items {
            let Item::Mod(ItemMod { attrs, ident, content, .. }) = item else { continue };
            let for_tests = for_tests || is_for_tests(attrs);
            let home = format!("{below}/{ident}");
            if let Some((_, inner)) = content {
                self.visit_items(sources, inner, &home, &home, for_tests);
            } else if let Some(path) = path_attribute(attrs) {
                let path = simplified(&format!("{beside}/{path}"));
                self.visit(sources, &path, folder_of(&path), for_tests);
            } else {
                self.visit(sources, &format!("{home}.rs"), &home, for_tests);
                self.visit(sources, &format!("{home}/mod.rs"), &home, for_tests);
            }
        }
    }

    fn dead_sources(&self, house: &House) -> Vec<Offence> {
        let dead = house.sources.iter().filter(|source| !self.files.contains_key(&source.path));
        dead.map(|source| Offence::new(&source.path, 1, "no target of cargo reaches this file")).collect()
    }
}

/// Files of other kinds under a tests folder that no Rust file of their package names, nor their folder.
fn unread_data(house: &House) -> Vec<Offence> {
    let mut offences = Vec::new();
    for package in &house.packages {
        for file in house.files.iter().filter(|file| is_test_data(package, file)) {
            let mut names: BTreeSet<&str> = file[package.folder.len()..].split('/').collect();
            names.retain(|name| !["", "tests", "src"].contains(name));
            let mut readers = house.sources.iter().filter(|source| source.is_in(&package.folder));
            if !readers.any(|source| names.iter().any(|name| source.text.contains(name))) {
                offences.push(Offence::new(file, 1, "no Rust file of its package names this file or its folder"));
            }
        }
    }
    offences
}

/// (proptest finds the failures that it noted by itself.)
fn is_test_data(package: &Package, file: &str) -> bool {
    let below = file.strip_prefix(&package.folder).is_some_and(|rest| rest.starts_with("/tests/"));
    let is_known = ["rs", "proptest-regressions"].contains(&file.rsplit('.').next().unwrap_or_default());
    below && !is_known && !file.contains("/proptest-regressions/")
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("path")).find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) = &pair.value else { return None };
        Some(path.value())
    })
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Without `.` and `..`.
fn simplified(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn no_rust_file_is_dead() {
    uphold(
        "every Rust file is reached by a target of cargo",
        Reach::of(house()).dead_sources(house()),
        "declare it (`mod name;`, or a target in the manifest, or a member in the root's), or delete it.",
    );
}

#[test]
fn no_test_data_is_dead() {
    uphold(
        "every file under a tests folder is read by a test",
        unread_data(house()),
        "let a test read it (its name or its folder's must stand in a Rust file of the package), or delete it.",
    );
}

#[cfg(test)]
fn small_house(files: &[(&str, &str)]) -> House {
    let package = Package {
        name: "a".to_owned(),
        folder: "a".to_owned(),
        manifest: String::new(),
        dependencies: Vec::new(),
        roots: vec!["a/src/lib.rs".to_owned(), "a/tests/it.rs".to_owned()],
        is_member: true,
    };
    House {
        packages: vec![package],
        sources: files
            .iter()
            .filter(|(path, _)| path.rsplit('.').next() == Some("rs"))
            .map(|(path, text)| Source::new(path, text))
            .collect(),
        files: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
    }
}

#[test]
fn a_dead_file_is_seen_and_a_declared_one_is_not() {
    let house = small_house(&[
        ("a/src/lib.rs", "mod b; mod c { mod d; } #[path = \"../odd.rs\"] mod e; #[cfg(test)] mod tests;"),
        ("a/src/b.rs", "mod inner;"),
        ("a/src/b/inner.rs", ""),
        ("a/src/c/d.rs", ""),
        ("a/odd.rs", ""),
        ("a/src/tests.rs", "mod more;"),
        ("a/src/tests/more.rs", ""),
        ("a/src/dead.rs", ""),
        ("a/tests/it.rs", "mod common;"),
        ("a/tests/common/mod.rs", ""),
        ("a/tests/forgotten/deep.rs", ""),
    ]);
    let reach = Reach::of(&house);
    let dead: Vec<String> = reach.dead_sources(&house).into_iter().map(|offence| offence.file).collect();
    assert_eq!(dead, ["a/src/dead.rs", "a/tests/forgotten/deep.rs"]);
    assert!(reach.only_for_tests("a/src/tests/more.rs"));
    assert!(!reach.only_for_tests("a/src/b/inner.rs"));
}

#[test]
fn data_that_nobody_reads_is_seen() {
    let house = small_house(&[
        ("a/src/lib.rs", ""),
        ("a/tests/it.rs", "const FOLDER: &str = \"scripts\"; const FILE: &str = \"one.bin\";"),
        ("a/tests/scripts/retry.txt", ""),
        ("a/tests/one.bin", ""),
        ("a/tests/two.bin", ""),
    ]);
    let dead: Vec<String> = unread_data(&house).into_iter().map(|offence| offence.file).collect();
    assert_eq!(dead, ["a/tests/two.bin"]);
}
