//! Bailiwick: the device side of OMA Device Management 2.0.
//!
//! The rooms, in reading order. Arrows go down only (`tests/architecture.rs`):
//!
//! ```text
//! 6  cli, agent                 what can wake the daemon, and how it is told
//! 5  session, local             how we talk; who else is here
//! 4  objects, accounts          what is managed; whom we know
//! 3  plugins                    who does the work (worker, compile: ... and where)
//! 2  permissions, certificates  who may do what; who is it
//! 1  store                      where it is kept
//! 0  authority, config, isolation
//! ```

pub mod agent;
pub mod cli;

pub mod local;
pub mod session;

pub mod accounts;
pub mod objects;

pub mod plugins;
pub mod worker;

pub mod certificates;
pub mod permissions;

pub mod store;

pub mod authority;
pub mod config;
pub mod isolation;

/// Plays the role that the command line asks for (`role NAME …`), if it does: the same executable is the host, its workers
/// and its compiler. Call it first in `main`, before any thread exists.
pub fn role() -> Option<std::process::ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != "role" {
        return None;
    }
    let role = arguments.next().and_then(|name| isolation::Role::from_name(&name));
    Some(match role {
        Some(isolation::Role::Worker) => {
            // A word that we did not write ourselves gets the stricter meaning.
            let wanted = match arguments.next().as_deref() {
                Some("best-effort") => config::Isolation::BestEffort,
                _ => config::Isolation::Required,
            };
            let message_bytes = arguments.next().and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
            worker::main(wanted, message_bytes)
        }
        Some(isolation::Role::Compiler) => plugins::compile::main(),
        None => {
            eprintln!("bailiwick: `role` is for bailiwick itself; see `bailiwick help`");
            std::process::ExitCode::FAILURE
        }
    })
}
