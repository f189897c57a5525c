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

/// What the keys process keeps, where modules of vendors do as native code does: itself, its threads, sockets of this
/// machine, and asking after files. The last five matter to the administrator alone, whom no device runs it as, and many machines
/// do not have the first of them.
const LEFT_TO_KEYS: &[&str] = &[
    "read its own memory map",
    "list its descriptors",
    "ask after a file",
    "ask after a link",
    "ask whether a file can be read",
    "ask after a file system",
    "follow a link",
    "change its directory",
    "connect to a socket of the file system",
    "send to nobody in particular",
    "make a pair of sockets",
    "start a thread",
    "set a limit",
    "let its memory be dumped",
    "change its name",
    "start a session",
    "make a pipe",
    "make a memory file",
    "double a descriptor",
    "watch files",
    "make a timer",
    "make an event",
    "take signals from a descriptor",
    "make an epoll set",
    "read the machine's memory",
    "become another user",
    "become another group",
    "leave its groups",
    "raise a limit",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--locked") => return escapee(&arguments, true),
        Some("--free") => return escapee(&arguments, false),
        _ => {}
    }
    runner::run(vec![
        Trial::new("a_worker_that_has_escaped_reaches_nothing", refused),
        Trial::new(
            "a_keys_process_that_has_escaped_reaches_no_network_no_program_and_no_store",
            keys,
        ),
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
            Some("keys") => {
                let directory = scene.path("keys");
                isolation::keys(Isolation::BestEffort, Vec::new(), vec![directory])
            }
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
    let spared = |attempt: &Attempt| {
        arguments.get(1).is_some_and(|role| role == "keys") && LEFT_TO_KEYS.contains(&attempt.name)
    };
    let mut attempts = all();
    attempts.retain(|attempt| (locked || attempt.is_harmless) && !spared(attempt));
    for attempt in &attempts {
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

/// The scene is to it what the store is on a device.
fn keys() -> Result<String, String> {
    let outcomes = run("--locked", "keys")?;
    let mut refused = all();
    refused.retain(|attempt| !LEFT_TO_KEYS.contains(&attempt.name));
    are_refused(&outcomes, &refused)
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
    are_refused(outcomes, &all())
}

fn are_refused(
    outcomes: &BTreeMap<String, String>,
    attempts: &[Attempt],
) -> Result<String, String> {
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
    for Attempt { name, .. } in attempts {
        match outcomes.get(*name) {
            Some(outcome) if outcome.starts_with("refused") => {}
            other => missing.push(format!("{name}: {other:?}")),
        }
    }
    let tried = attempts.len();
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
