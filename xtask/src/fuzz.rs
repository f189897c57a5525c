//! `cargo xtask fuzz`: the parsers of what cards say, against inputs that a fuzzer thinks of.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::setup;
use crate::shell::{self, find_program, root, step};

/// Its targets, as in `tests/fuzz/Cargo.toml`.
const TARGETS: [&str; 3] = ["tlv", "directories", "card"];

/// How long each runs when nothing else is said, seconds.
const SECONDS: &str = "60";

/// Runs all targets, or one, each for so many seconds.
pub(crate) fn fuzz(arguments: &[String]) -> Result<()> {
    let (numbers, names): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .partition(|argument| argument.parse::<u32>().is_ok());
    if let Some(unknown) = names.iter().find(|name| !TARGETS.contains(&name.as_str())) {
        bail!(
            "there is no target `{unknown}`; there are {}",
            TARGETS.join(", ")
        );
    }
    let seconds = numbers.first().map_or(SECONDS, |number| number.as_str());
    setup::to_build()?;
    check_tools()?;
    for target in TARGETS {
        if !names.is_empty() && !names.iter().any(|name| *name == target) {
            continue;
        }
        step(&format!("{target}, for {seconds} seconds"));
        let time = format!("-max_total_time={seconds}");
        let mut run = Command::new("cargo");
        run.args(["+nightly", "fuzz", "run", "--fuzz-dir"])
            .arg(root().join("tests/fuzz"))
            .args([target, "--", &time, "-max_len=65536", "-timeout=1"])
            .current_dir(root());
        shell::run(&mut run)?;
    }
    Ok(())
}

fn check_tools() -> Result<()> {
    if find_program("cargo-fuzz").is_none() {
        bail!("the fuzzer is missing: cargo install --locked cargo-fuzz");
    }
    let mut nightly = Command::new("cargo");
    nightly.args(["+nightly", "--version"]);
    nightly.stdout(Stdio::null()).stderr(Stdio::null());
    if !nightly.status().is_ok_and(|status| status.success()) {
        bail!("cargo-fuzz needs a nightly compiler: rustup toolchain install nightly");
    }
    Ok(())
}
