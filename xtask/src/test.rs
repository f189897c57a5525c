//! `cargo xtask test` and `cargo xtask crash`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo, green, seconds, step};
use crate::{cards, plugins, setup};

/// How many crash images `cargo xtask crash` checks when no number is given.
const CRASH_IMAGES: &str = "20000";

/// Chooses which; the test prints it.
const CRASH_SEED: &str = "BAILIWICK_CRASH_SEED";

/// Every test of the workspace, natively, with the real plug-ins and executables.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let begun = Instant::now();
    let missing = setup::setup()?;
    plugins::plugins()?;
    cards::cards(&missing)?;
    build()?;

    step("tests");
    let mut tests = vec!["test".to_owned()];
    if !arguments.iter().any(|a| a == "-p" || a == "--package") {
        tests.extend(everything()?);
    }
    tests.push("--no-fail-fast".into());
    tests.extend_from_slice(arguments);
    let counts = run_tests(&tests);

    step("the protocol, as plug-ins use it");
    let mut wasm = cargo(["build", "--release", "--target", setup::WASM]);
    shell::run(wasm.args(["--package", "bailiwick-protocol"]))?;

    let counts = counts?;
    eprintln!();
    setup::report(&missing);
    eprintln!(
        "{} {} tests passed, {} ignored, in {}",
        green("ok:"),
        counts.passed,
        counts.ignored,
        seconds(begun.elapsed())
    );
    Ok(())
}

/// Power cuts and kills of the daemon, with more images than `test` takes time for, and others each time.
pub(crate) fn crash(arguments: &[String]) -> Result<()> {
    let images = arguments.first().map_or(CRASH_IMAGES, String::as_str);
    if images.parse::<u32>().is_err() {
        bail!("`{images}` is no number of crash images; for example: cargo xtask crash 100000");
    }
    setup::report(&setup::setup()?);
    plugins::plugins()?;
    build()?;
    step(&format!(
        "power cuts, {images} crash images (some minutes for every 10000)"
    ));
    let mut tests = cargo(["test", "--test", "crash"]);
    tests
        .args(everything()?)
        .args(["--", "--nocapture"])
        .env("BAILIWICK_CRASH_IMAGES", images);
    if std::env::var_os(CRASH_SEED).is_none() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        tests.env(CRASH_SEED, now.unwrap_or_default().as_secs().to_string());
    }
    shell::run(&mut tests)
}

/// The executables that tests and the demonstration start.
pub(crate) fn build() -> Result<()> {
    setup::to_build()?;
    step(
        "the daemon and the authority (some minutes the first time: they include a compiler and two C libraries)",
    );
    // The same packages as the tests, so that their dependencies have the same features and are built once.
    shell::run(cargo(["build", "--bins"]).args(everything()?))
}

/// Every package but the plug-ins in `tests/plugins`, which misbehave natively too.
fn everything() -> Result<Vec<String>> {
    let mut selection = vec!["--workspace".to_owned()];
    for plugin in plugins::test_plugins()? {
        selection.extend(["--exclude".into(), plugin]);
    }
    Ok(selection)
}

#[derive(Default)]
struct Counts {
    passed: u64,
    ignored: u64,
}

/// Runs cargo test, passes on what it prints and adds up its `test result` lines.
fn run_tests(arguments: &[String]) -> Result<Counts> {
    let mut command = cargo(arguments);
    eprintln!(
        "    {}",
        shell::dim(&format!("cargo {}", arguments.join(" ")))
    );
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut counts = Counts::default();
    let lines = BufReader::new(child.stdout.take().context("cargo has no output")?);
    for line in lines.split(b'\n') {
        let mut line = line.context("cannot read what cargo prints")?;
        line.push(b'\n');
        std::io::stdout().write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        if text.starts_with("test result:") {
            counts.passed += number_before(&text, " passed");
            counts.ignored += number_before(&text, " ignored");
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!(
            "tests failed; the lines that begin with `error:` above name them, and how to run one again"
        );
    }
    Ok(counts)
}

fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    let number = before.rsplit([' ', ';', '.']).next().unwrap_or_default();
    number.parse().unwrap_or_default()
}
