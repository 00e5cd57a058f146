//! Nobody who uses Windlass meets a type of ractor or RocksDB: they are ours to exchange.
//!
//! What is `pub` counts as public wherever it stands, because the lint `unreachable_pub` (an error in `make check`) leaves
//! `pub` on nothing that cannot be reached from outside; whatever is private or `pub(crate)` may name what it likes.

use std::collections::BTreeSet;

use syn::{
    Fields, ImplItem, Item, ItemImpl, Path, Signature, TraitItem, Type, Visibility,
    visit::{self, Visit},
};

use crate::{
    house::{Source, house},
    offence::{Offence, uphold},
    uses::{Import, imports_of, items_of},
};

const FOREIGN: [&str; 2] = ["ractor", "rocksdb"];

/// Looks for paths that begin with a foreign crate or with a name that comes from one.
struct Eye<'a> {
    names: &'a BTreeSet<String>,
    seen: Vec<(usize, String)>,
}

impl<'ast> Visit<'ast> for Eye<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        if let Some(first) = path.segments.first() {
            let name = first.ident.to_string();
            if FOREIGN.contains(&name.as_str()) || self.names.contains(&name) {
                let whole: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
                self.seen.push((first.ident.span().start().line, whole.join("::")));
            }
        }
        visit::visit_path(self, path);
    }
}

fn seen_by(names: &BTreeSet<String>, look: impl FnOnce(&mut Eye)) -> Vec<(usize, String)> {
    let mut eye = Eye { names, seen: Vec::new() };
    look(&mut eye);
    eye.seen
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_foreign(import: &Import) -> bool {
    FOREIGN.contains(&import.path[0].as_str())
}

/// What the whole crate knows: its public types, and the private names (aliases, re-exports) that stand for foreign ones.
#[derive(Default)]
struct Crate {
    public_types: BTreeSet<String>,
    aliases: BTreeSet<String>,
}

impl Crate {
    fn learn(&mut self, items: &[&Item]) {
        let mut names = BTreeSet::new();
        for item in items {
            let (visibility, ident) = match item {
                Item::Struct(item) => (&item.vis, &item.ident),
                Item::Enum(item) => (&item.vis, &item.ident),
                Item::Union(item) => (&item.vis, &item.ident),
                Item::Trait(item) => (&item.vis, &item.ident),
                Item::Use(item) => {
                    names.extend(imports_of(item).into_iter().filter(is_foreign).map(|import| import.name));
                    continue;
                }
                _ => continue,
            };
            if is_public(visibility) {
                self.public_types.insert(ident.to_string());
            }
        }
        for item in items {
            match item {
                Item::Type(alias) if !seen_by(&names, |eye| eye.visit_type(&alias.ty)).is_empty() => {
                    self.aliases.insert(alias.ident.to_string());
                }
                Item::Use(item) if !matches!(item.vis, Visibility::Inherited) => {
                    self.aliases.extend(imports_of(item).into_iter().filter(is_foreign).map(|import| import.name));
                }
                _ => {}
            }
        }
    }

    /// The names that mean something foreign in this file.
    fn foreign_names(&self, items: &[&Item]) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for item in items {
            match item {
                Item::Type(alias) if self.aliases.contains(&alias.ident.to_string()) => {
                    names.insert(alias.ident.to_string());
                }
                Item::Use(item) => {
                    let meant = |import: &Import| {
                        let last = import.path.last().cloned().unwrap_or_default();
                        let ours = ["crate", "self", "super"].contains(&import.path[0].as_str());
                        is_foreign(import) || ours && self.aliases.contains(&last)
                    };
                    names.extend(imports_of(item).into_iter().filter(meant).map(|import| import.name));
                }
                _ => {}
            }
        }
        names
    }

    fn leaks_of(&self, source: &Source) -> Vec<Offence> {
        let Some(file) = source.ast() else { return Vec::new() };
        let items = items_of(&file.items);
        let names = self.foreign_names(&items);
        let seen = items.iter().flat_map(|item| self.leaks_of_item(item, &names));
        seen.map(|(line, what)| Offence::new(&source.path, line, what)).collect()
    }

    fn leaks_of_item(&self, item: &Item, names: &BTreeSet<String>) -> Vec<(usize, String)> {
        if let Item::Use(item) = item {
            let leaks = |import: &Import| {
                is_foreign(import) && (import.is_public || import.is_glob())
                    || import.is_public && names.contains(&import.name)
            };
            let what = |import: Import| (import.line, format!("use {}", import.path.join("::")));
            return imports_of(item).into_iter().filter(leaks).map(what).collect();
        }
        seen_by(names, |eye| match item {
            Item::Struct(item) if is_public(&item.vis) => {
                eye.visit_generics(&item.generics);
                look_at_fields(eye, &item.fields, false);
            }
            Item::Enum(item) if is_public(&item.vis) => {
                eye.visit_generics(&item.generics);
                item.variants.iter().for_each(|variant| look_at_fields(eye, &variant.fields, true));
            }
            Item::Fn(item) if is_public(&item.vis) => look_at_signature(eye, &item.sig),
            Item::Type(item) if is_public(&item.vis) => eye.visit_item_type(item),
            Item::Const(item) if is_public(&item.vis) => eye.visit_type(&item.ty),
            Item::Static(item) if is_public(&item.vis) => eye.visit_type(&item.ty),
            Item::Trait(item) if is_public(&item.vis) => {
                eye.visit_generics(&item.generics);
                item.supertraits.iter().for_each(|bound| eye.visit_type_param_bound(bound));
                item.items.iter().for_each(|item| match item {
                    TraitItem::Fn(method) => look_at_signature(eye, &method.sig),
                    TraitItem::Const(constant) => eye.visit_type(&constant.ty),
                    other => eye.visit_trait_item(other),
                });
            }
            Item::Impl(item) if self.is_of_public_type(item) => look_at_impl(eye, item),
            Item::ExternCrate(item) if is_public(&item.vis) && FOREIGN.contains(&item.ident.to_string().as_str()) => {
                eye.seen.push((item.ident.span().start().line, item.ident.to_string()));
            }
            _ => {}
        })
    }

    fn is_of_public_type(&self, item: &ItemImpl) -> bool {
        let Type::Path(path) = &*item.self_ty else { return true };
        path.path.segments.last().is_some_and(|last| self.public_types.contains(&last.ident.to_string()))
    }
}

fn look_at_signature(eye: &mut Eye, signature: &Signature) {
    eye.visit_generics(&signature.generics);
    signature.inputs.iter().for_each(|input| eye.visit_fn_arg(input));
    eye.visit_return_type(&signature.output);
}

fn look_at_fields(eye: &mut Eye, fields: &Fields, all: bool) {
    fields.iter().filter(|field| all || is_public(&field.vis)).for_each(|field| eye.visit_type(&field.ty));
}

/// Of a trait's implementation the head and the associated types; of one's own, what is `pub`.
fn look_at_impl(eye: &mut Eye, item: &ItemImpl) {
    if let Some((path, _)) = &item.trait_ {
        eye.visit_path(path);
        for part in &item.items {
            if let ImplItem::Type(part) = part {
                eye.visit_type(&part.ty);
            }
        }
        return;
    }
    eye.visit_generics(&item.generics);
    for part in &item.items {
        match part {
            ImplItem::Fn(method) if is_public(&method.vis) => look_at_signature(eye, &method.sig),
            ImplItem::Const(constant) if is_public(&constant.vis) => eye.visit_type(&constant.ty),
            _ => {}
        }
    }
}

/// The leaks of one crate.
fn leaks(sources: &[&Source]) -> Vec<Offence> {
    let files: Vec<syn::File> = sources.iter().filter_map(|source| source.ast()).collect();
    let mut known = Crate::default();
    for file in &files {
        known.learn(&items_of(&file.items));
    }
    sources.iter().flat_map(|source| known.leaks_of(source)).collect()
}

#[test]
fn no_type_of_ractor_or_rocksdb_is_public() {
    let offences = ["windlass", "windlass-storage"].map(|name| leaks(&house().crate_sources(name)));
    uphold(
        "no type of ractor or RocksDB stands in the public API",
        offences.concat(),
        "wrap it in a type of ours, make the item pub(crate), or turn the conversion into a private function; instead of \
         `use crate_name::*` name what you import.",
    );
}

#[test]
fn a_leak_is_seen_wherever_it_stands() {
    let seen = |text: &str| leaks(&[&Source::new("a/src/lib.rs", text)]).len();
    let leaking = [
        "pub fn f(db: &rocksdb::DB) {}",
        "pub async fn f() -> Result<(), rocksdb::Error> { Ok(()) }",
        "use ractor::ActorRef; pub struct A { pub inner: Option<ActorRef<u8>> }",
        "use rocksdb::Error as E; pub enum A { Io(#[from] E) }",
        "pub trait T { fn f(&self) -> impl ractor::Message; }",
        "pub trait T: ractor::Message {}",
        "pub trait T { type Error: Into<rocksdb::Error>; }",
        "pub type Db = rocksdb::DB;",
        "pub use rocksdb::Options;",
        "pub extern crate ractor;",
        "use rocksdb as r; pub struct A; impl A { pub fn f() -> r::DB { x() } }",
        "pub struct A; impl From<rocksdb::Error> for A { fn from(e: rocksdb::Error) -> A { A } }",
        "pub struct A; impl Iterator for A { type Item = rocksdb::DB; }",
        "type Db = rocksdb::DB; pub fn f() -> Db { x() }",
        "use rocksdb::*;",
        "pub mod m { pub static S: Option<ractor::ActorCell> = None; }",
        "pub fn f<A>() where A: ractor::Actor {}",
    ];
    for text in leaking {
        assert_eq!(seen(text), 1, "{text}");
    }
}

#[test]
fn what_is_not_public_may_name_what_it_likes() {
    let seen = |text: &str| leaks(&[&Source::new("a/src/lib.rs", text)]);
    let clean = [
        "use rocksdb::DB; pub struct RocksJournal { db: DB } impl RocksJournal { fn raw(&self) -> &DB { &self.db } }",
        "pub(crate) struct QueueActor { pub cell: ractor::ActorCell } impl ractor::Actor for QueueActor { type Msg = u8; }",
        "pub(crate) fn f() -> rocksdb::DB { x() }",
        "pub fn f() { let _ = rocksdb::DB::open_default(\".\"); }",
        "#[cfg(test)] mod tests { pub fn f() -> rocksdb::DB { x() } }",
        "pub mod rocks { pub struct Options; pub fn f(options: crate::rocks::Options) {} }",
    ];
    for text in clean {
        assert_eq!(seen(text), [], "{text}");
    }
}

#[test]
fn an_alias_from_another_file_is_seen() {
    let alias =
        Source::new("a/src/b.rs", "pub(crate) type Raw = rocksdb::DB; pub(crate) use rocksdb::Error as Trouble;");
    let user = Source::new("a/src/lib.rs", "use crate::b::Raw; pub fn f(raw: &Raw) {} pub struct Trouble;");
    let offences = leaks(&[&alias, &user]);
    assert_eq!(offences, [Offence::new("a/src/lib.rs", 1, "Raw")]);
}
