//! Power cuts. The file operations of a program that writes are recorded and cut at every point, with what was not
//! synchronised lost, reordered or torn; what then lies on the disk is an image, and the real program starts on it.
//!
//! ```text
//! strace.rs   what strace wrote ─▶ system calls
//! record.rs   ─▶ typed operations below one directory, strictly
//! disk.rs     ─▶ what a disk may hold after a power cut: the model
//! images.rs   ─▶ thousands of images, each tried once
//! store.rs    the store alone          daemon.rs   the whole daemon
//! ```
//!
//! `BAILIWICK_CRASH_IMAGES` and `BAILIWICK_CRASH_SEED` choose how many images, and which. `cargo xtask crash` does so.

mod crash {
    pub(crate) mod disk;
    pub(crate) mod images;
    pub(crate) mod random;
    pub(crate) mod record;
    pub(crate) mod scratch;
    pub(crate) mod store;
    pub(crate) mod strace;
}

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crash::{record, store, strace};

/// Images of the whole daemon where nothing else is asked for.
const IMAGES: usize = 2_000;

/// A test: its name, and what it does with a number of images and a seed.
type Test = (&'static str, fn(usize, u64) -> Result<()>);

const TESTS: &[Test] = &[
    ("strace_is_understood", |_, _| strace::test()),
    ("the_store_survives_power_cuts", |images, seed| {
        store::survives(images / 2, seed)
    }),
    ("the_store_without_fsync_does_not", |_, seed| {
        store::needs_fsync(100, seed)
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((role, rest)) if role == "--write-store" => store::write(rest),
        Some((role, rest)) if role == "--open-store" => store::open(rest),
        Some((role, rest)) if role == "--replay" => replay(rest),
        _ => return run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the tests whose names contain one of the arguments, in the manner of libtest.
fn run(arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let chosen =
        |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str()));
    let (tests, others): (Vec<&Test>, Vec<&Test>) =
        TESTS.iter().partition(|(name, _)| chosen(name));
    if arguments.iter().any(|a| a == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, otherwise: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|t| t.parse().ok()).unwrap_or(otherwise)
    };
    let images = number("BAILIWICK_CRASH_IMAGES", IMAGES as u64) as usize;
    let seed = number("BAILIWICK_CRASH_SEED", 1);
    println!("\nrunning {} tests (seed {seed})", tests.len());
    let started = Instant::now();
    let (mut passed, mut failures, mut ignored) = (0, Vec::new(), 0);
    for (name, test) in tests {
        if !record::is_possible() {
            ignored += 1;
            println!(
                "test {name} ... SKIPPED: strace is missing or may not trace; install it with `cargo xtask setup`"
            );
            continue;
        }
        match test(images, seed) {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(error) => {
                println!("test {name} ... FAILED");
                failures.push((name, error));
            }
        }
    }
    if ignored > 0 && is_all_required() {
        println!("\nfailures: strace is missing, and everything is required here");
        return ExitCode::FAILURE;
    }
    for (name, error) in &failures {
        println!("\n---- {name} ----\n{error:#}");
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failures.is_empty() { "ok" } else { "FAILED" },
        failures.len(),
        others.len(),
        started.elapsed().as_secs_f64(),
    );
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// In CI, a test that cannot run is a failure.
fn is_all_required() -> bool {
    ["CI", "BAILIWICK_REQUIRE_ALL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

/// Tries an image again that was kept: `crash --replay DIRECTORY`.
fn replay(arguments: &[String]) -> Result<()> {
    let [directory] = arguments else {
        bail!("--replay DIRECTORY");
    };
    let directory = std::path::Path::new(directory);
    let case = std::fs::read_to_string(directory.join("case"))?;
    let mut lines = case.lines();
    let (name, acknowledged) = (
        lines.next().context("no name")?,
        lines.next().context("no number")?,
    );
    let acknowledged: usize = acknowledged.parse()?;
    println!("{}", lines.collect::<Vec<_>>().join("\n"));
    match name {
        "store" | "store-off" => store::check(directory, acknowledged),
        _ => bail!("unknown test {name}"),
    }
}
