//! One table of lints and one of versions, both in the root.

use crate::{
    house::{Package, house},
    offence::{Offence, uphold},
};

/// The lines of a manifest, each with its number and the table that it stands in.
fn lines(manifest: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut table = "";
    manifest.lines().enumerate().filter_map(move |(at, line)| {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
            return None;
        }
        (!line.is_empty()).then_some((at + 1, table, line))
    })
}

fn own_lints(package: &Package) -> Option<Offence> {
    let follows = lines(&package.manifest)
        .any(|(_, table, line)| table == "lints" && line.replace(' ', "") == "workspace=true")
        || lines(&package.manifest).any(|(_, _, line)| line.replace(' ', "") == "lints.workspace=true");
    (!follows)
        .then(|| Offence::new(&format!("{}/Cargo.toml", package.folder), 1, "does not say `[lints] workspace = true`"))
}

fn own_versions(package: &Package) -> Vec<Offence> {
    let file = format!("{}/Cargo.toml", package.folder);
    let stray = |(at, table, line): (usize, &str, &str)| {
        let in_table = table.ends_with("dependencies");
        let in_own_table = table.rsplit_once('.').is_some_and(|(above, _)| above.ends_with("dependencies"));
        let is_version = line.starts_with("version") || line.contains("= \"") && !line.contains('{');
        let is_stray = if in_own_table {
            line.starts_with("version")
        } else {
            in_table && (is_version || line.contains("version") || line.contains("path ="))
        };
        is_stray.then(|| Offence::new(&file, at, format!("`{line}` has a version or path of its own")))
    };
    lines(&package.manifest).filter_map(stray).collect()
}

#[test]
fn every_member_follows_the_one_table_of_lints() {
    let members = house().packages.iter().filter(|package| package.is_member);
    uphold(
        "every member follows the one table of lints",
        members.filter_map(own_lints).collect(),
        "add to the manifest:\n[lints]\nworkspace = true",
    );
}

#[test]
fn every_version_stands_in_the_root() {
    let members = house().packages.iter().filter(|package| package.is_member);
    uphold(
        "every version stands in the root's [workspace.dependencies]",
        members.flat_map(own_versions).collect(),
        "put the version there and say `name.workspace = true` here; features may be added here.",
    );
}

#[test]
fn a_manifest_with_its_own_mind_is_seen() {
    let package = |manifest: &str| Package {
        name: "a".to_owned(),
        folder: "a".to_owned(),
        manifest: manifest.to_owned(),
        dependencies: Vec::new(),
        roots: Vec::new(),
        is_member: true,
    };
    assert!(own_lints(&package("[package]\nname = \"a\"\n")).is_some());
    assert!(own_lints(&package("[lints]\nworkspace = true\n")).is_none());
    let versions =
        |manifest: &str| own_versions(&package(manifest)).iter().map(|offence| offence.line).collect::<Vec<_>>();
    assert_eq!(versions("[package]\nversion = \"1\"\n[dependencies]\nserde = \"1\"\n"), [4]);
    assert_eq!(versions("[dev-dependencies]\nserde = { version = \"1\" }\n"), [2]);
    assert_eq!(versions("[dependencies.serde]\nversion = \"1\"\n"), [2]);
    assert_eq!(versions("[dependencies]\na = { path = \"../a\" }\n"), [2]);
    assert_eq!(
        versions("[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"c\"] }\n"),
        [0_usize; 0]
    );
}
