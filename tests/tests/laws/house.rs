//! The tree as the laws see it: every file below the root, and the packages as cargo understands them.
//!
//! Files are found by walking, not by asking git, so that the laws also hold in an unpacked archive; folders that cargo
//! fills (they carry a `CACHEDIR.TAG`) or npm does, hidden ones and what fuzzing leaves behind are passed by.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;

/// A Rust file: its path from the root (with `/`), and its text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The syntax tree, or nothing when the file does not parse, which is an offence of its own.
    pub(crate) fn ast(&self) -> Option<syn::File> {
        syn::parse_file(&self.text).ok()
    }

    /// Whether the file lies in a folder of tests (the package `tests` included).
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests")
    }

    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// A package of ours as its manifest declares it.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// From the root.
    pub(crate) folder: String,
    pub(crate) manifest: String,
    pub(crate) dependencies: Vec<Dependency>,
    /// The files that cargo hands to the compiler, from the root.
    pub(crate) roots: Vec<String>,
    /// False for the fuzzers and for the peers of the bench, which are workspaces of their own.
    pub(crate) is_member: bool,
}

#[derive(Debug)]
pub(crate) struct Dependency {
    /// The crate's own name, whatever the manifest calls it.
    pub(crate) name: String,
    pub(crate) is_dev: bool,
}

#[derive(Debug)]
pub(crate) struct House {
    pub(crate) packages: Vec<Package>,
    pub(crate) sources: Vec<Source>,
    /// Every file, Rust or not, from the root.
    pub(crate) files: Vec<String>,
}

/// The house that this test stands in, read once.
pub(crate) fn house() -> &'static House {
    static HOUSE: LazyLock<House> = LazyLock::new(read);
    &HOUSE
}

impl House {
    /// The sources under `src` of the package called `name`; none if there is no such package yet.
    pub(crate) fn crate_sources(&self, name: &str) -> Vec<&Source> {
        let Some(package) = self.packages.iter().find(|package| package.name == name) else { return Vec::new() };
        let folder = format!("{}/src", package.folder);
        self.sources.iter().filter(|source| source.is_in(&folder)).collect()
    }
}

fn read() -> House {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let files: Vec<String> = paths.iter().map(|path| from_root(&root, path)).collect();
    let sources = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source { path: from_root(&root, path), text: text_of(path) })
        .collect();
    let mut packages = packages_of(&root, "Cargo.toml", true);
    for manifest in files.iter().filter(|file| ALONE.iter().any(|folder| is_manifest_below(folder, file))) {
        packages.extend(packages_of(&root, manifest, false));
    }
    House { packages, sources, files }
}

/// Folders of packages that are no members of the workspace.
const ALONE: [&str; 2] = ["fuzz/", "bench/peers/"];

fn is_manifest_below(folder: &str, file: &str) -> bool {
    file.starts_with(folder) && file.ends_with("/Cargo.toml")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() || name.starts_with('.') {
            continue;
        }
        let is_ours = !path.join("CACHEDIR.TAG").exists()
            && !matches!(&*name, "target" | "corpus" | "artifacts" | "node_modules");
        if path.is_file() {
            found.push(path);
        } else if is_ours {
            walk(&path, found);
        }
    }
}

fn packages_of(root: &Path, manifest: &str, is_member: bool) -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"];
    let output = Command::new(cargo)
        .args(arguments)
        .arg(root.join(manifest))
        .output()
        .unwrap_or_else(|error| panic!("cargo metadata did not start: {error}"));
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("metadata: {error}"));
    list(&metadata["packages"]).iter().map(|package| package_of(root, package, is_member)).collect()
}

fn package_of(root: &Path, package: &Value, is_member: bool) -> Package {
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    let dependencies = list(&package["dependencies"])
        .iter()
        .map(|one| Dependency { name: text(&one["name"]), is_dev: one["kind"] == "dev" })
        .collect();
    let roots =
        list(&package["targets"]).iter().map(|target| from_root(root, Path::new(&text(&target["src_path"])))).collect();
    Package {
        name: text(&package["name"]),
        folder: from_root(root, manifest.parent().unwrap_or(root)),
        manifest: text_of(&manifest),
        dependencies,
        roots,
        is_member,
    }
}

fn from_root(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_house_knows_this_very_file() {
    let house = house();
    assert!(house.sources.iter().any(|source| source.path == "tests/tests/laws/house.rs" && source.is_test()));
    assert!(house.packages.iter().any(|package| package.name == "windlass-tests" && package.folder == "tests"));
}
