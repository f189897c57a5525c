//! A table of tests, run one after the other and reported as `cargo test` reports its own. For test executables that
//! need a `main` of their own (`harness = false`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// One test: a name, and what to run. What it returns is printed; `Err` is why it failed.
pub struct Trial {
    name: String,
    run: Box<dyn FnOnce() -> Result<String, String>>,
}

impl Trial {
    /// A test.
    pub fn new(
        name: impl Into<String>,
        run: impl FnOnce() -> Result<String, String> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// Runs the trials whose names contain one of the command line's filters.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let (chosen, others): (Vec<Trial>, Vec<Trial>) = trials.into_iter().partition(|trial| {
        filters.is_empty() || filters.iter().any(|filter| trial.name.contains(*filter))
    });
    if arguments.iter().any(|argument| argument == "--list") {
        chosen
            .iter()
            .for_each(|trial| println!("{}: test", trial.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let started = Instant::now();
    let mut passed = 0;
    let mut failures = Vec::new();
    for Trial { name, run } in chosen {
        let outcome = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err("it panicked; see above".into()));
        match outcome {
            Ok(note) if note.is_empty() => println!("test {name} ... ok"),
            Ok(note) => println!("test {name} ... ok ({note})"),
            Err(reason) => {
                println!("test {name} ... FAILED: {reason}");
                failures.push((name, reason));
                continue;
            }
        }
        passed += 1;
    }
    if !failures.is_empty() {
        println!("\nfailures:");
        for (name, reason) in &failures {
            println!("    {name}: {reason}");
        }
    }
    let verdict = if failures.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        failures.len(),
        others.len(),
        started.elapsed().as_secs_f64()
    );
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
