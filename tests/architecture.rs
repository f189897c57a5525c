//! The rules of the house that the compiler does not check: who may use whom, who may name what, where `unsafe` is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rust_source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use bailiwick_tests::root;
use rust_source::{Source, sources};

/// The rooms of `host/src`, as in `host/src/lib.rs`. A room uses only rooms of lower levels.
const ROOMS: [(&str, u8); 19] = [
    ("agent", 7),
    ("cli", 7),
    ("session", 6),
    ("local", 6),
    ("provisioning", 5),
    ("objects", 4),
    ("accounts", 4),
    ("plugins", 3),
    ("worker", 3),
    ("permissions", 2),
    ("certificates", 2),
    ("store", 1),
    ("keys", 1),
    ("authority", 0),
    ("config", 0),
    ("isolation", 0),
    ("wire", 0),
    // No rooms, but at the top of `host/src` too: above all, they start what the rooms offer.
    ("lib", 8),
    ("main", 8),
];

/// Rooms of one level that may use each other, in both directions.
const NEIGHBOURS: [(&str, &str); 3] = [
    ("agent", "cli"),
    // Two halves of one thing on the two sides of a process boundary; they share the messages.
    ("plugins", "worker"),
    // The policy rules of the configuration name authorities; isolation is configured.
    ("config", "isolation"),
];

/// Crates that only some places of the workspace may name.
const NAMED_ONLY_BY: [(&str, &[&str]); 8] = [
    // The engine runs in a process of its own.
    (
        "wasmtime",
        &["host/src/worker/", "host/src/plugins/compile.rs"],
    ),
    // One TLS configuration on the device; the authority is the other end, and so is a server of another make.
    (
        "rustls",
        &["host/src/certificates/", "sdk/authority/", "tests/server/"],
    ),
    (
        "tokio_rustls",
        &["host/src/certificates/", "sdk/authority/"],
    ),
    // Native code that is not ours runs in the keys process.
    ("pcsc", &["host/src/keys/"]),
    ("cryptoki", &["host/src/keys/"]),
    ("rusqlite", &["host/src/store/"]),
    ("landlock", &["host/src/isolation/"]),
    ("seccompiler", &["host/src/isolation/"]),
];

#[test]
fn rooms_use_only_what_lies_below() {
    let mut offences = Vec::new();
    for source in sources("host/src") {
        let room = source.room();
        for used in source.rooms_used() {
            if !may_use(&room, &used) {
                offences.push(format!("{}: `{room}` uses `{used}`", source.path));
            }
        }
    }
    assert_none(
        &offences,
        "move the code to the room where it belongs, or pass in what it needs",
    );
}

#[test]
fn every_room_has_a_level() {
    let known: BTreeSet<_> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    let found: BTreeSet<_> = sources("host/src").iter().map(Source::room).collect();
    assert_eq!(
        found, known,
        "rooms of host/src, and rooms in the table above and in host/src/lib.rs"
    );
}

#[test]
fn engines_are_named_where_they_belong() {
    let mut offences = Vec::new();
    for source in sources("") {
        for (name, places) in NAMED_ONLY_BY {
            let allowed = places.iter().any(|place| source.path.starts_with(place));
            if !allowed && source.names_crate(name) {
                offences.push(format!("{} names `{name}`", source.path));
            }
        }
    }
    assert_none(&offences, "use what the room in the table above offers");
}

#[test]
fn programs_are_started_in_four_places() {
    let starters: Vec<_> = sources("host/src")
        .into_iter()
        .filter(|source| {
            let names = source.names_after("process::");
            names.iter().any(|name| name == "Command")
        })
        .map(|source| source.path)
        .collect();
    // Each clears the environment and bounds time and output: the keys process, the compiler, what `os` was granted, a
    // worker.
    let expected = [
        "keys/process.rs",
        "plugins/compile.rs",
        "plugins/imports/os.rs",
        "plugins/process.rs",
    ];
    assert_eq!(starters, expected.map(|file| format!("host/src/{file}")));
}

#[test]
fn unsafe_is_one_function_and_its_one_call() {
    let mut found = Vec::new();
    for source in sources("") {
        for line in source.code.lines() {
            if Source::words_of(line).any(|word| word == "unsafe") {
                found.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    let expected = [
        "host/src/worker/engine.rs: pub(super) unsafe fn load(engine: &Engine, code: OwnedFd) -> wasmtime::Result<(Mmap, Component)> {",
        "host/src/worker/engine.rs: let mapping = unsafe { MmapOptions::new().len(length).map_exec(&file) }?;",
        "host/src/worker/engine.rs: let component = unsafe { Component::deserialize_raw(engine, memory) }?;",
        "host/src/worker/sandbox.rs: let (code, component) = unsafe { engine::load(engine, code) }?;",
    ];
    assert_eq!(found, expected);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources("")
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert_none(&silent, "open the file with `//!` and one sentence");
}

#[test]
fn no_test_is_ignored() {
    let ignored: Vec<_> = sources("")
        .into_iter()
        .filter(|source| source.code.contains("#[ignore"))
        .map(|source| source.path)
        .collect();
    assert_none(
        &ignored,
        "a test that cannot run here says so with `bailiwick_tests::skipped`",
    );
}

#[test]
fn only_the_host_depends_on_the_engine() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let depends = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        dependencies.iter().any(|d| d["name"] == "wasmtime")
    };
    let packages = metadata["packages"].as_array().unwrap();
    let users: Vec<_> = packages
        .iter()
        .filter(|package| depends(package))
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert_eq!(users, ["bailiwick"]);
}

#[test]
fn the_protocol_and_the_plugin_kit_do_no_io() {
    for package in ["bailiwick-protocol", "bailiwick-plugin"] {
        let tree = cargo(&[
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ]);
        assert!(tree.starts_with(package), "{tree}");
        for heavy in [
            "tokio",
            "hyper",
            "rustls",
            "wasmtime",
            "rusqlite",
            "aws-lc-sys",
        ] {
            let found = tree
                .lines()
                .any(|line| line.split(' ').next() == Some(heavy));
            assert!(!found, "{package} must not depend on {heavy}:\n{tree}");
        }
    }
    let io = ["fs", "net", "SystemTime", "Instant", "thread", "process"];
    let mut offences = Vec::new();
    for source in sources("sdk/protocol/src") {
        for word in source.words().filter(|word| io.contains(word)) {
            offences.push(format!("{} names `{word}`", source.path));
        }
    }
    assert_none(&offences, "pass in bytes and times");
}

/// The checks above would be silent if reading Rust went wrong; this shows that it does not.
#[test]
fn the_checks_notice() {
    let source = Source::new(
        "host/src/store/sqlite.rs",
        r##"//! crate::agent in a comment /* crate::cli */
        use crate::{authority::Authority, objects::{self, Objects}};
        /* crate::local /* nested */ crate::cli */
        fn f<'a>(x: &'a str) -> char { crate::session::run("crate::worker \" unsafe", r#"crate::plugins "#, 'u'); '"' }
        fn g() { super::super::accounts::list(); unsafe_code(); }
        "##,
    );
    assert_eq!(source.room(), "store");
    assert_eq!(
        source.rooms_used(),
        ["accounts", "authority", "objects", "session"]
    );
    assert!(source.words().all(|word| word != "unsafe"));
    assert!(source.words().any(|word| word == "unsafe_code"));

    assert!(
        may_use("session", "store") && may_use("plugins", "worker") && may_use("store", "store")
    );
    assert!(!may_use("store", "session") && !may_use("permissions", "certificates"));
}

fn may_use(room: &str, used: &str) -> bool {
    let level = |name: &str| {
        ROOMS
            .iter()
            .find(|(room, _)| *room == name)
            .map(|(_, level)| level)
    };
    let (Some(here), Some(there)) = (level(room), level(used)) else {
        // Not a room, or a room that `every_room_has_a_level` reports.
        return true;
    };
    let neighbours = NEIGHBOURS.contains(&(room, used)) || NEIGHBOURS.contains(&(used, room));
    room == used || there < here || neighbours
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--offline", "--manifest-path"])
        .arg(root().join(Path::new("Cargo.toml")))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn assert_none(offences: &[String], way_out: &str) {
    assert!(
        offences.is_empty(),
        "\n{}\n-> {way_out}\n",
        offences.join("\n")
    );
}
