//! `bailiwick session AUTHORITY`: a session now, and what happened in it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Wait, call};
use super::{CliError, Common, NO, print, print_json};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// SrvID of the Management Authority
    authority: String,
    /// Print the whole report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    let parameters = json!({ "authority": arguments.authority });
    let reply = call(common, "Session", parameters, Wait::Servers)?;
    match arguments.json {
        true => print_json(reply.get("report").unwrap_or(&Value::Null))?,
        false => print(
            reply
                .get("story")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        )?,
    }
    Ok(match reply.get("succeeded").and_then(Value::as_bool) {
        Some(true) => ExitCode::SUCCESS,
        _ => ExitCode::from(NO),
    })
}
