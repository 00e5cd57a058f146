//! What is published can stand alone: each package has its licences and a README, and nothing in it points outside of it.

use std::{collections::BTreeSet, process::Command};

use crate::{
    house::{Package, house},
    offence::{Offence, uphold},
};

/// What every package carries.
const MUSTS: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

fn is_published(package: &Package) -> bool {
    package.is_member && !package.manifest.contains("publish = false")
}

/// The files that cargo would put into a package, from its folder.
fn files_of(package: &Package) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["package", "--list", "--allow-dirty", "--offline", "--package", &package.name])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap_or_else(|error| panic!("cargo package did not start: {error}"));
    assert!(output.status.success(), "cargo package: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.replace('\\', "/")).collect()
}

/// Where a text of this file points to, relative to its folder: what is included, and links of Markdown to files.
fn targets<'a>(file: &str, text: &'a str) -> Vec<(usize, &'a str)> {
    let (before, after): (&[&str], _) = match file.rsplit_once('.') {
        Some((_, "rs")) => (&["include_str!(\"", "include_bytes!(\""], '"'),
        Some((_, "md")) => (&["]("], ')'),
        _ => return Vec::new(),
    };
    let in_line = |(at, line): (usize, &'a str)| {
        let found = before.iter().flat_map(move |before| line.split(before).skip(1));
        found.filter_map(move |rest| Some((at + 1, rest.split_once(after)?.0)))
    };
    let is_file =
        |(_, target): &(usize, &str)| !target.contains("::") && !target.starts_with('#') && !target.contains("//");
    text.lines().enumerate().flat_map(in_line).filter(is_file).collect()
}

/// A path from a file, as one from the package's folder; nothing if it leaves that.
fn resolve(file: &str, target: &str) -> Option<String> {
    let mut path: Vec<&str> = file.split('/').collect();
    path.pop();
    for part in target.split(['#', '?']).next().unwrap_or_default().split('/') {
        match part {
            "." => {}
            ".." => drop(path.pop()?),
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

/// What a file of a package points to and the package does not have.
fn strays(file: &str, text: &str, files: &BTreeSet<String>) -> Vec<(usize, String)> {
    let is_stray = |target: &str| resolve(file, target).is_none_or(|path| !files.contains(&path));
    let targets = targets(file, text).into_iter().filter(|(_, target)| is_stray(target));
    targets.map(|(line, target)| (line, format!("`{target}` is not in the package"))).collect()
}

fn offences(package: &Package) -> Vec<Offence> {
    let (files, folder) = (files_of(package), &package.folder);
    let missing = MUSTS.iter().filter(|must| !files.contains(**must));
    let mut offences: Vec<_> =
        missing.map(|must| Offence::new(&format!("{folder}/Cargo.toml"), 1, format!("no {must}"))).collect();
    for file in &files {
        let path = format!("{}/../{folder}/{file}", env!("CARGO_MANIFEST_DIR"));
        // Some are made by cargo, and some are not text.
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let here = strays(file, &text, &files).into_iter();
        offences.extend(here.map(|(line, what)| Offence::new(&format!("{folder}/{file}"), line, what)));
    }
    offences
}

#[test]
fn every_published_package_can_stand_alone() {
    let packages: Vec<_> = house().packages.iter().filter(|package| is_published(package)).collect();
    assert_eq!(packages.len(), 4, "scheduler, storage, engine, console");
    uphold(
        "every published package has its licences, a README, and all that it points to",
        packages.into_iter().flat_map(offences).collect(),
        "link the licences (`ln -s ../LICENSE-MIT`), and name what stands elsewhere without a link.",
    );
}

#[test]
fn what_points_outside_is_seen() {
    let files = ["README.md", "docs/a.md", "src/lib.rs"].map(str::to_owned).into();
    let lines = |file, text| strays(file, text, &files).iter().map(|(line, _)| *line).collect::<Vec<_>>();
    let page = "[a](docs/a.md#one)\n[b](../README.md)\n[c](crate::C) [d](https://d.example) [e](#e)\n[f](docs/f.md)";
    assert_eq!(lines("README.md", page), [2, 4]);
    assert_eq!(lines("docs/a.md", "[up](../README.md) [out](../../README.md)\n[a](./a.md)"), [1]);
    assert_eq!(lines("src/lib.rs", "include_str!(\"../README.md\")\ninclude_str!(\"../../README.md\")"), [2]);
}
