//! `bailiwick compile`: fills the code cache, so that no first call has to wait for the compiler.

use std::process::ExitCode;

use super::{CliError, Common, log, print};
use crate::agent;
use crate::config::Config;

pub(super) fn run(common: &Common) -> Result<ExitCode, CliError> {
    log::start(common.log, log::INFO);
    let outcomes = agent::compile(&Config::read(&common.config)?)?;
    let all = outcomes.len();
    let mut failed = 0;
    for (plugin, outcome) in outcomes {
        match outcome {
            Ok(()) => print(&format!("{plugin}: compiled\n"))?,
            Err(reason) => {
                failed += 1;
                eprintln!("bailiwick: {plugin}: {reason}");
            }
        }
    }
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        _ => Err(CliError::NotCompiled { failed, all }),
    }
}
