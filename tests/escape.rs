//! A worker that is native code and has escaped from its engine: what can it reach? It locks itself in with the very
//! function that workers use, and then tries everything that a program can try through safe interfaces.
//!
//! Every attempt must be refused. The same attempts, as far as they do no harm, must succeed without the lock: else they
//! would show nothing.

mod escape {
    pub(crate) mod attempts;
    pub(crate) mod scene;
}

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use bailiwick::config::Isolation;
use bailiwick::isolation::{self, Enforcement};
use bailiwick_tests::runner::{self, Trial};

use escape::attempts::{Attempt, all};
use escape::scene::Scene;

/// Fewer attempts than these are no proof.
const LEAST: usize = 40;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--locked") => return escapee(&arguments, true),
        Some("--free") => return escapee(&arguments, false),
        _ => {}
    }
    runner::run(vec![
        Trial::new("a_worker_that_has_escaped_reaches_nothing", refused),
        Trial::new("the_same_attempts_succeed_outside", possible),
        Trial::new(
            "the_lock_holds_in_threads_of_before_and_in_the_compiler",
            others,
        ),
    ])
}

/// The process that tries: a line for each attempt, `name: how it went`.
fn escapee(arguments: &[String], locked: bool) -> ExitCode {
    let Some(scene) = Scene::from_arguments(arguments.get(2..).unwrap_or_default()) else {
        return ExitCode::from(2);
    };
    let mut helper = None;
    if locked {
        let protection = match arguments.get(1).map(String::as_str) {
            // A thread of before tries as well, as the clock of a worker could.
            Some("worker") => isolation::worker(Isolation::BestEffort, || {
                helper = escape::attempts::helper(scene.clone());
            }),
            Some("compiler") => isolation::compiler(Isolation::BestEffort, 100, 4 << 30),
            _ => return ExitCode::from(2),
        };
        match protection {
            Ok(protection) => println!(
                "protection: {:?} {:?}",
                protection.landlock, protection.seccomp
            ),
            Err(error) => {
                println!("protection: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    for attempt in all().iter().filter(|attempt| locked || attempt.is_harmless) {
        println!("{}: {}", attempt.name, attempt.outcome(&scene));
    }
    if let Some(helper) = helper {
        println!("helper: {}", helper.run());
    }
    ExitCode::SUCCESS
}

fn refused() -> Result<String, String> {
    let outcomes = run("--locked", "worker")?;
    all_refused(&outcomes)
}

fn others() -> Result<String, String> {
    let worker = run("--locked", "worker")?;
    let helper = worker.get("helper").ok_or("the thread said nothing")?;
    if !helper.starts_with("refused") {
        return Err(format!("a thread that was there before the lock: {helper}"));
    }
    all_refused(&run("--locked", "compiler")?)
}

fn all_refused(outcomes: &BTreeMap<String, String>) -> Result<String, String> {
    let protection = outcomes
        .get("protection")
        .ok_or("it did not lock itself in")?;
    if *protection != format!("{:?} {:?}", Enforcement::Full, Enforcement::Full) {
        bailiwick_tests::skipped(
            "escape",
            &format!("this kernel enforces only: {protection}"),
        );
    }
    let mut missing: Vec<String> = Vec::new();
    for Attempt { name, .. } in all() {
        match outcomes.get(name) {
            Some(outcome) if outcome.starts_with("refused") => {}
            other => missing.push(format!("{name}: {other:?}")),
        }
    }
    let tried = all().len();
    if tried < LEAST {
        return Err(format!("only {tried} attempts"));
    }
    if missing.is_empty() {
        Ok(format!("{tried} of {tried} refused"))
    } else {
        Err(format!("not refused: {}", missing.join("; ")))
    }
}

fn possible() -> Result<String, String> {
    let outcomes = run("--free", "worker")?;
    let harmless: Vec<_> = all()
        .into_iter()
        .filter(|attempt| attempt.is_harmless)
        .collect();
    let failed: Vec<_> = harmless
        .iter()
        .filter(|attempt| outcomes.get(attempt.name).map(String::as_str) != Some("done"))
        .map(|attempt| format!("{}: {:?}", attempt.name, outcomes.get(attempt.name)))
        .collect();
    if harmless.len() < LEAST {
        return Err(format!("only {} attempts have a control", harmless.len()));
    }
    if failed.is_empty() {
        Ok(format!("{} of {} attempts", harmless.len(), all().len()))
    } else {
        Err(format!("prove nothing: {}", failed.join("; ")))
    }
}

/// Starts the process that tries, in a fresh scene.
fn run(mode: &str, role: &str) -> Result<BTreeMap<String, String>, String> {
    let set = Scene::build().map_err(|error| format!("no scene: {error}"))?;
    let output = Command::new("/proc/self/exe")
        .args([mode, role])
        .args(set.scene.to_arguments())
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {text} {said}", output.status));
    }
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    Ok(pairs
        .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
        .collect())
}
