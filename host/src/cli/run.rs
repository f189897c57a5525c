//! `bailiwick run`: the daemon, until a signal ends it.

use std::process::ExitCode;

use super::{CliError, Common, log};
use crate::agent;
use crate::config::Config;

pub(super) fn run(common: &Common) -> Result<ExitCode, CliError> {
    log::start(common.log, log::INFO);
    let mut config = Config::read(&common.config)?;
    if let Some(socket) = &common.socket {
        config.admin_socket.clone_from(socket);
    }
    agent::run(config)?;
    Ok(ExitCode::SUCCESS)
}
