//! `bailiwick role NAME ...`: the executable in another role, started by the daemon alone. Each role locks itself in
//! before it reads a byte, so nothing else is set up before.

use std::process::ExitCode;

use crate::config::Isolation;
use crate::isolation::Role;
use crate::{keys, plugins, worker};

/// Runs the role that the words name.
pub fn role(words: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let words: Vec<_> = words
        .map(|word| word.into_string().unwrap_or_default())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match parse(&words) {
        Some(Start::Worker(isolation, message_bytes)) => worker::main(isolation, message_bytes),
        Some(Start::Compiler) => plugins::compile::main(),
        Some(Start::Keys(isolation)) => keys::main(isolation),
        None => {
            eprintln!("bailiwick: roles are started by the daemon; see `bailiwick help`");
            ExitCode::from(2)
        }
    }
}

/// What to start.
#[derive(Debug, PartialEq)]
enum Start {
    Worker(Isolation, usize),
    Compiler,
    Keys(Isolation),
}

fn parse(words: &[&str]) -> Option<Start> {
    let (name, parameters) = words.split_first()?;
    match (Role::from_name(name)?, parameters) {
        (Role::Worker, [isolation, message_bytes]) => {
            let isolation = level(isolation)?;
            Some(Start::Worker(isolation, message_bytes.parse().ok()?))
        }
        (Role::Compiler, []) => Some(Start::Compiler),
        (Role::Keys, [isolation]) => Some(Start::Keys(level(isolation)?)),
        _ => None,
    }
}

fn level(word: &str) -> Option<Isolation> {
    match word {
        "required" => Some(Isolation::Required),
        "best-effort" => Some(Isolation::BestEffort),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_daemon_says_starts_a_role() {
        let worker = |isolation| Some(Start::Worker(isolation, 8));
        for (words, expected) in [
            ("worker required 8", worker(Isolation::Required)),
            ("worker best-effort 8", worker(Isolation::BestEffort)),
            ("compiler", Some(Start::Compiler)),
            ("keys required", Some(Start::Keys(Isolation::Required))),
            ("keys best-effort", Some(Start::Keys(Isolation::BestEffort))),
            ("keys", None),
            ("keys none", None),
            ("worker none 8", None),
            ("worker required", None),
            ("worker required x", None),
            ("compiler 1", None),
            ("host", None),
            ("", None),
        ] {
            assert_eq!(
                parse(&words.split(' ').collect::<Vec<_>>()),
                expected,
                "{words}"
            );
        }
    }
}
