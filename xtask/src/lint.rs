//! `cargo xtask lint`: what a reviewer should not have to look for.

use anyhow::{Result, bail};

use crate::shell::{self, cargo, find_program, step, yellow};
use crate::{plugins, setup};

/// Format, clippy, dependencies, documentation. All of them run, so that one look shows everything.
pub(crate) fn lint() -> Result<()> {
    setup::wasm_target()?;
    setup::to_build()?;
    let mut failed = Vec::new();
    let mut check = |what: &str, command: &mut std::process::Command| {
        step(what);
        if let Err(error) = shell::run(command) {
            eprintln!("    {} {error:#}", shell::red("failed:"));
            failed.push(what.to_owned());
        }
    };

    check(
        "format (`cargo fmt --all` repairs it)",
        &mut cargo(["fmt", "--all", "--check"]),
    );

    let mut clippy = cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    check("clippy", &mut clippy);

    // With the others, so that the macros keep their features and are not built again.
    let mut lean = cargo(["clippy", "--no-default-features"]);
    for package in ["bailiwick", "bailiwick-authority", "bailiwick-plugin"] {
        lean.args(["--package", package]);
    }
    check(
        "clippy, without the compiler",
        lean.args(["--", "-D", "warnings"]),
    );

    // In the profile in which they are built, so that the macros are there already.
    let mut wasm = cargo(["clippy", "--release", "--target", setup::WASM]);
    wasm.args(plugins::package_arguments()?)
        .args(["--", "-D", "warnings"]);
    check("clippy, plug-ins as WebAssembly", &mut wasm);

    if find_program("cargo-deny").is_some() {
        let mut deny = cargo(["deny", "--log-level", "warn", "check"]);
        check("dependencies", deny.args(["bans", "licenses", "sources"]));
    } else {
        let install = "cargo install --locked cargo-deny";
        eprintln!(
            "{} dependencies: `{install}` gets the program that checks them",
            yellow("SKIPPED")
        );
    }

    let mut doc = cargo([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    check(
        "documentation",
        doc.env(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private_intra_doc_links",
        ),
    );

    if !failed.is_empty() {
        bail!("{}: see above", failed.join(", "));
    }
    eprintln!("{}", shell::green("ok: nothing to complain about"));
    Ok(())
}
