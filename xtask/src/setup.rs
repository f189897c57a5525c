//! What has to be on the machine, beside rustup: the WebAssembly target and a few Debian packages.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{self, find_program, step, yellow};

/// The target of plug-ins.
pub(crate) const WASM: &str = "wasm32-wasip2";

/// A package of Debian and Ubuntu.
pub(crate) struct Package {
    name: &'static str,
    /// It is there when each of these is: a program, or a path, in which `*` stands for any part of one name.
    needs: &'static [&'static str],
    why: &'static str,
}

const fn package(name: &'static str, needs: &'static [&'static str], why: &'static str) -> Package {
    Package { name, needs, why }
}

/// Without these nothing can be built.
const BUILD: [Package; 2] = [
    package(
        "pkg-config",
        &["pkg-config"],
        "finds the C library of smart cards",
    ),
    package(
        "libpcsclite-dev",
        &["/usr/include/PCSC/winscard.h", "/usr/lib/*/libpcsclite.so"],
        "the C library of smart cards",
    ),
];

/// Without these some tests are skipped.
const TESTS: [Package; 14] = [
    package(
        "strace",
        &["strace"],
        "the crash test records with it what the daemon writes",
    ),
    package("pcscd", &["/usr/sbin/pcscd"], "smart-card readers"),
    package(
        "vsmartcard-vpcd",
        &["/usr/lib/pcsc/drivers/serial/libifdvpcd.so"],
        "readers that are programs",
    ),
    package(
        "python3-virtualsmartcard",
        &["/usr/lib/python3/*-packages/virtualsmartcard"],
        "the operating system of the PKCS#15 card",
    ),
    package(
        "python3-pycryptodome",
        &["/usr/lib/python3/dist-packages/Cryptodome"],
        "the same card",
    ),
    package(
        "python3-cryptography",
        &["/usr/lib/python3/dist-packages/cryptography"],
        "the same card",
    ),
    package(
        "opensc",
        &["pkcs15-tool"],
        "judges whether cards are read rightly",
    ),
    package(
        "opensc-pkcs11",
        &["/usr/lib/*/opensc-pkcs11.so"],
        "cards through PKCS#11",
    ),
    package(
        "softhsm2",
        &["softhsm2-util"],
        "a PKCS#11 module that is not ours",
    ),
    package("gnutls-bin", &["gnutls-cli"], "a TLS that is not ours"),
    package("curl", &["curl"], "an HTTP client that is not ours"),
    package("openssl", &["openssl"], "a TLS server that is not ours"),
    package(
        "yubico-piv-tool",
        &["yubico-piv-tool"],
        "puts keys and certificates on the PIV card",
    ),
    package(
        LIBCLANG,
        &[
            "/usr/lib/llvm-*/lib/libclang*.so*",
            "/usr/lib/llvm-*/lib/clang/*/include/stddef.h",
        ],
        "the PIV card is built with it",
    ),
];

/// Where a library of C is turned into Rust.
pub(crate) const LIBCLANG: &str = "libclang-dev";

/// Sets up everything that is missing, and gives what still is: tests that need it are skipped.
pub(crate) fn setup() -> Result<Vec<&'static Package>> {
    wasm_target()?;
    to_build()?;
    Ok(install(&TESTS))
}

/// Sets up what nothing can be built without.
pub(crate) fn to_build() -> Result<()> {
    let missing = install(&BUILD);
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        let Package { name, why, .. } = package;
        eprintln!("    {name} is missing: {why}");
    }
    bail!("to build Bailiwick: {}", install_line(&missing))
}

/// Whether a package is among those that are missing.
pub(crate) fn is_among(missing: &[&Package], name: &str) -> bool {
    missing.iter().any(|package| package.name == name)
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

/// Installs what is missing, if we may, and gives what still is.
fn install(packages: &'static [Package]) -> Vec<&'static Package> {
    let missing = not_installed(packages);
    if missing.is_empty() || !is_root() || find_program("apt-get").is_none() {
        return missing;
    }
    step("Debian packages");
    for package in &missing {
        eprintln!("    {}: {}", package.name, package.why);
    }
    // Without a network the tests that need them are skipped; the others still say something.
    if shell::run(Command::new("apt-get").args(["update", "-qq"])).is_ok() {
        // One by one: where a system lacks one of them, the others are still of use.
        for package in &missing {
            let mut install = Command::new("apt-get");
            install.args(["install", "-y", "-qq", "--no-install-recommends"]);
            install.env("DEBIAN_FRONTEND", "noninteractive");
            let _ = shell::run(install.arg(package.name));
        }
    }
    not_installed(packages)
}

fn not_installed(packages: &'static [Package]) -> Vec<&'static Package> {
    let missing = |package: &&Package| !package.needs.iter().all(|need| is_there(need));
    packages.iter().filter(missing).collect()
}

fn is_there(need: &str) -> bool {
    match need.strip_prefix('/') {
        Some(path) => matches(PathBuf::from("/"), path),
        None => find_program(need).is_some(),
    }
}

/// Whether something below `directory` has this path, in which `*` stands for any part of one name.
fn matches(directory: PathBuf, path: &str) -> bool {
    let Some((name, rest)) = path
        .split_once('/')
        .or((!path.is_empty()).then_some((path, "")))
    else {
        return directory.exists();
    };
    if !name.contains('*') {
        return matches(directory.join(name), rest);
    }
    let entries = std::fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter(|entry| fits(&entry.file_name().to_string_lossy(), name))
        .any(|entry| matches(entry.path(), rest))
}

fn fits(name: &str, pattern: &str) -> bool {
    let (first, others) = pattern.split_once('*').unwrap_or((pattern, ""));
    if !pattern.contains('*') {
        return name == pattern;
    }
    let Some(rest) = name.strip_prefix(first) else {
        return false;
    };
    let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.into_iter().any(|at| fits(&rest[at..], others))
}

fn install_line(packages: &[&Package]) -> String {
    let names: Vec<_> = packages.iter().map(|package| package.name).collect();
    format!("sudo apt-get install -y {}", names.join(" "))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}
