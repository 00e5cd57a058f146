//! Each room says at its door what it is for.

use syn::{AttrStyle, Expr, ExprLit, Lit, Meta};

use crate::{
    house::{Source, house},
    offence::{Offence, uphold},
};

fn undocumented(source: &Source) -> Option<Offence> {
    let file = source.ast()?;
    let says_something = file.attrs.iter().any(|attribute| {
        let inner = matches!(attribute.style, AttrStyle::Inner(_)) && attribute.path().is_ident("doc");
        let Meta::NameValue(doc) = &attribute.meta else { return false };
        inner
            && match &doc.value {
                Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => !text.value().trim().is_empty(),
                _ => true,
            }
    });
    (!says_something).then(|| Offence::new(&source.path, 1, "no module documentation (//!)"))
}

#[test]
fn every_module_says_what_it_is_for() {
    let in_src = |source: &&Source| source.path.split('/').any(|part| part == "src");
    uphold(
        "every file under a src folder begins with module documentation",
        house().sources.iter().filter(in_src).filter_map(undocumented).collect(),
        "write one or two sentences (//!) that tell which question this file answers.",
    );
}

#[test]
fn a_silent_module_is_seen() {
    let silent = |text: &str| undocumented(&Source::new("a/src/b.rs", text)).is_some();
    assert!(silent("/// Of the function.\nfn f() {}"));
    assert!(silent("//!\nfn f() {}"));
    assert!(silent("// Not documentation.\nfn f() {}"));
    assert!(!silent("//! Says it.\nfn f() {}"));
    assert!(!silent("#![no_std]\n//! Says it late.\n"));
}
