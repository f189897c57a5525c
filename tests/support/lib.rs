//! What the tests of this package share: where the built plug-ins and executables lie, and how a test says that it
//! was skipped.

pub mod card;
pub mod daemon;
pub mod device;
pub mod documented;
pub mod hsm;
pub mod piv;
pub mod runner;

use std::io::Write;
use std::path::{Path, PathBuf};

/// The project's root directory.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where `cargo xtask plugins` lays out what it built: `<plug-in>/{plugin.toml, plugin.wasm, *.ddf}`.
///
/// # Panics
///
/// When they were never built.
pub fn plugins_dir() -> PathBuf {
    let plugins = target_dir().join("plugins");
    assert!(
        plugins.is_dir(),
        "{} is missing: build the plug-ins with `cargo xtask plugins`",
        plugins.display()
    );
    plugins
}

/// The directory of one built plug-in.
///
/// # Panics
///
/// When it was never built.
pub fn plugin_dir(name: &str) -> PathBuf {
    let plugin = plugins_dir().join(name);
    assert!(
        plugin.join("plugin.wasm").is_file(),
        "{} is missing: build it with `cargo xtask plugins`",
        plugin.display()
    );
    plugin
}

/// An executable of this workspace, such as `bailiwick`, of the same profile as this test.
///
/// # Panics
///
/// When it was never built.
pub fn executable(name: &str) -> PathBuf {
    let path = profile_dir().join(name);
    assert!(
        path.is_file(),
        "{} is missing: build it with `cargo build`, or run `cargo xtask test`, which does",
        path.display()
    );
    path
}

/// A program of the system, if it is installed.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// Says, past the capture of test output, that `test` was skipped and why.
pub fn skipped(test: &str, why: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Says that `test` cannot run here, and why. In CI, and with `BAILIWICK_REQUIRE_ALL`, that is a failure.
///
/// # Panics
///
/// There.
pub fn cannot_run(test: &str, why: &str) {
    assert!(!is_all_required(), "{test} cannot run: {why}");
    skipped(test, why);
}

/// Whether a test that cannot run is a failure.
pub fn is_all_required() -> bool {
    ["CI", "BAILIWICK_REQUIRE_ALL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

fn target_dir() -> PathBuf {
    let mut path = profile_dir();
    path.pop();
    path
}

/// `target/debug` or `target/release`: the parent of the `deps` in which test executables lie.
fn profile_dir() -> PathBuf {
    let executable = std::env::current_exe().expect("a test knows where it lies");
    let in_deps = executable
        .parent()
        .filter(|parent| parent.ends_with("deps"));
    in_deps
        .and_then(Path::parent)
        .or_else(|| executable.parent())
        .expect("a test lies in a directory")
        .to_owned()
}

/// An empty directory of this process under the system's temporary one; whoever asks for it removes it.
pub fn scratch(name: &str) -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("bailiwick-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path)?;
    path.canonicalize()
}

/// Tests that use the library as a host start workers, and workers are the running executable in another role. Call
/// this first in `main`; `Some`: the role has been played, leave with this code.
pub fn role() -> Option<std::process::ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let asked = arguments.next().is_some_and(|word| word == "role");
    asked.then(|| bailiwick::cli::role(arguments))
}
