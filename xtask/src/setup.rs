//! What has to be on the machine, beside rustup: the WebAssembly target and a few Debian packages.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::Result;

use crate::shell::{self, find_program, step, yellow};

/// The target of plug-ins.
pub(crate) const WASM: &str = "wasm32-wasip2";

/// A Debian package that some tests need.
pub(crate) struct Package {
    name: &'static str,
    program: &'static str,
    why: &'static str,
}

const PACKAGES: [Package; 1] = [Package {
    name: "strace",
    program: "strace",
    why: "the crash test records with it what the daemon writes",
}];

/// Sets up everything that is missing, and gives what still is: tests that need it are skipped.
pub(crate) fn setup() -> Result<Vec<&'static Package>> {
    wasm_target()?;
    Ok(packages())
}

/// Says what was skipped, and what to do about it.
pub(crate) fn report(missing: &[&Package]) {
    for package in missing {
        let (name, why) = (package.name, package.why);
        eprintln!("{} without {name}: {why}", yellow("SKIPPED"));
    }
    if !missing.is_empty() {
        eprintln!("        to run these tests: {}", install_line(missing));
    }
}

/// Gets the target of plug-ins if it is missing.
pub(crate) fn wasm_target() -> Result<()> {
    if find_program("rustup").is_none() {
        // A tool chain from elsewhere: cargo will say whether it has the target.
        return Ok(());
    }
    let mut list = rustup(&["target", "list", "--installed"]);
    if shell::output(&mut list)?.lines().any(|line| line == WASM) {
        return Ok(());
    }
    step("the WebAssembly target, for plug-ins");
    shell::run(&mut rustup(&["target", "add", WASM]))
}

fn rustup(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(arguments).current_dir(shell::root());
    command
}

fn packages() -> Vec<&'static Package> {
    let missing = not_installed();
    if missing.is_empty() || !is_root() || find_program("apt-get").is_none() {
        return missing;
    }
    step("Debian packages that tests need");
    for package in &missing {
        eprintln!("    {}: {}", package.name, package.why);
    }
    // Without a network the tests that need them are skipped; the others still say something.
    if shell::run(Command::new("apt-get").args(["update", "-qq"])).is_ok() {
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "-qq", "--no-install-recommends"]);
        install.env("DEBIAN_FRONTEND", "noninteractive");
        install.args(missing.iter().map(|package| package.name));
        let _ = shell::run(&mut install);
    }
    not_installed()
}

fn not_installed() -> Vec<&'static Package> {
    PACKAGES
        .iter()
        .filter(|package| find_program(package.program).is_none())
        .collect()
}

fn install_line(packages: &[&Package]) -> String {
    let names: Vec<_> = packages.iter().map(|package| package.name).collect();
    format!("sudo apt-get install -y {}", names.join(" "))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}
