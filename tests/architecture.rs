//! The rules of the layout, as tests: which crate may depend on which, who may name what, and how long a file may be.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Each package of the workspace with the packages of the workspace it may depend on. Edges only go down.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("access", &["model"]),
    ("db-proto", &[]),
    ("ssm-proto", &[]),
    ("aws", &["model", "secrets"]),
    ("brokers", &["aws", "model", "secrets"]),
    ("gateway", &["db-proto", "model", "secrets", "ssm-proto"]),
    ("ipc", &["model"]),
    ("secrets", &["model"]),
    ("sign-in", &["model", "secrets"]),
    ("agent", &["access", "aws", "brokers", "db-proto", "gateway", "ipc", "model", "secrets", "sign-in", "ssm-proto"]),
    ("cli", &["agent", "ipc", "model"]),
    ("daypass-desktop", &["agent", "ipc", "model"]),
    ("sandbox", &["db-proto", "model", "ssm-proto"]),
    ("xtask", &[]),
];

/// They do no IO, spawn nothing, and read neither a clock nor chance.
const PURE: &[&str] = &["access", "db-proto", "model", "ssm-proto"];

/// What a pure crate has no use for, by the first letters of the name.
const IMPURE: &[&str] = &[
    "async-",
    "aws-",
    "fastrand",
    "futures",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "rand",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tauri",
    "tokio",
];

const LONGEST_FILE: usize = 700;

#[test]
fn crates_depend_only_downwards_along_the_table() {
    let packages = packages();
    let mut forbidden = Vec::new();
    for package in &packages {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            forbidden.push(format!("{} is not in the table", package.name));
            continue;
        };
        let inside =
            package.dependencies.iter().filter(|dependency| packages.iter().any(|ours| ours.name == dependency.name));
        for Dependency { name, kind } in inside {
            let tests_against_sandbox = *kind == Kind::Dev
                && name == "sandbox"
                && package.name != "sandbox"
                && !PURE.contains(&package.name.as_str());
            if !allowed.contains(&name.as_str()) && !tests_against_sandbox {
                forbidden.push(format!("{} -> {name} ({kind:?})", package.name));
            }
        }
    }
    assert_eq!(forbidden, [""; 0], "an edge that is not in the table of this file");
    assert_eq!(packages.len(), EDGES.len(), "the table has a package that the workspace has not");
}

#[test]
fn only_the_secrets_crate_names_the_keychain_and_only_the_desktop_shell_names_tauri() {
    let mut forbidden = Vec::new();
    for package in packages() {
        for Dependency { name, .. } in &package.dependencies {
            let owner = match name.as_str() {
                "keyring" => "secrets",
                tauri if tauri.starts_with("tauri") => "daypass-desktop",
                _ => continue,
            };
            if package.name != owner {
                forbidden.push(format!("{} names {name}", package.name));
            }
        }
    }
    assert_eq!(forbidden, [""; 0], "it belongs to one crate alone");
}

#[test]
fn pure_crates_name_nothing_that_waits_connects_or_rolls_dice() {
    let mut forbidden = Vec::new();
    for package in packages().iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for Dependency { name, kind } in &package.dependencies {
            if *kind != Kind::Dev && IMPURE.iter().any(|start| name.starts_with(start)) {
                forbidden.push(format!("{} names {name}", package.name));
            }
        }
    }
    assert_eq!(forbidden, [""; 0], "time, chance and bytes are arguments in these crates");
}

#[test]
fn pure_crates_forbid_clocks_in_one_and_the_same_way() {
    let rules = |name: &str| {
        let path = root().join("crates").join(name).join("clippy.toml");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{} must be readable: {error}", path.display()))
    };
    for name in PURE {
        assert_eq!(rules(name), rules("access"), "crates/{name}/clippy.toml differs from that of access");
    }
    assert!(rules("access").contains("std::time::Instant::now"), "the rules are there");
}

#[test]
fn only_the_backend_folder_of_the_window_knows_tauri() {
    let outside = files("ui/src", &["js", "ts", "svelte"])
        .into_iter()
        .filter(|path| !path.starts_with(root().join("ui/src/backend")));
    let knowing: Vec<PathBuf> = outside.filter(|path| read(path).contains("@tauri-apps")).collect();
    assert_eq!(knowing, [""; 0].map(PathBuf::from), "they import what only ui/src/backend may");
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let sources = ["crates", "src-tauri", "tests", "ui/src"]
        .into_iter()
        .flat_map(|folder| files(folder, &["rs", "ts", "svelte"]));
    // Written by a test of the desktop shell, read by nobody.
    let sources = sources.filter(|path| !path.ends_with("ui/src/backend/bindings.ts"));
    let lengths: BTreeMap<PathBuf, usize> = sources.map(|path| (path.clone(), read(&path).lines().count())).collect();
    assert!(lengths.len() > 50, "the folders are where this test looks for them");
    let long: BTreeMap<_, _> = lengths.into_iter().filter(|(_, length)| *length > LONGEST_FILE).collect();
    assert_eq!(long, BTreeMap::new(), "split them: {LONGEST_FILE} lines at most");
}

struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    kind: Kind,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Build,
    Dev,
    Normal,
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    list(&metadata["packages"]).iter().map(package).collect()
}

fn package(package: &Value) -> Package {
    let dependencies = list(&package["dependencies"]).iter().map(|dependency| Dependency {
        name: text(&dependency["name"]),
        kind: match dependency["kind"].as_str() {
            Some("build") => Kind::Build,
            Some("dev") => Kind::Dev,
            Some(_) | None => Kind::Normal,
        },
    });
    Package { name: text(&package["name"]), dependencies: dependencies.collect() }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo metadata has a list here")
}

fn text(value: &Value) -> String {
    value.as_str().expect("cargo metadata has a text here").to_owned()
}

fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{} must be readable: {error}", folder.display()))
        {
            let path = entry.expect("a folder's entries are readable").path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
                folders.push(path);
            } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
                found.push(path);
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{} must be readable: {error}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
