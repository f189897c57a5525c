//! `cargo xtask bench`: release builds, measured.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::plugins;
use crate::shell::{self, cargo, step};

/// Builds the daemon with and without the compiler, then runs `tests/bench`.
///
/// Both builds share one directory: only what depends on the compiler is built twice. The executables are put aside in
/// `target/bench/{lean,full}/bailiwick`, where the benchmark finds them by `BAILIWICK_BENCH_DIR`.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    let laid_out = plugins::plugins()?;
    let target = laid_out
        .parent()
        .context("the plug-ins lie in a directory")?;
    let aside = target.join("bench");
    let lean: &[&str] = &["--no-default-features"];
    // The benchmark is built with the full daemon, so that both share their dependencies.
    let full: &[&str] = &["--package", "bailiwick-bench"];
    for (name, selection) in [("lean", lean), ("full", full)] {
        step(&format!(
            "the daemon, {name} (release builds optimise for size and take some minutes)"
        ));
        let mut build = cargo(["build", "--release", "--package", "bailiwick"]);
        shell::run(build.args(selection))?;
        let directory: PathBuf = aside.join(name);
        std::fs::create_dir_all(&directory)?;
        shell::copy_if_different(
            &target.join("release/bailiwick"),
            &directory.join("bailiwick"),
        )?;
    }
    step("benchmarks");
    let mut bench = std::process::Command::new(target.join("release/bench"));
    bench.args(arguments).env("BAILIWICK_BENCH_DIR", &aside);
    shell::run(&mut bench)
}
