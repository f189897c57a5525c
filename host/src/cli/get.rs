//! `bailiwick get CLIENTURI`: what is there, as an MO serialization.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Wait, call};
use super::{CliError, Common, print_json};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to read, such as urn:oma:mo:oma-dm-devinfo:1.2//DevID
    #[arg(value_name = "CLIENTURI")]
    client_uri: String,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    let parameters = json!({ "clientUri": arguments.client_uri });
    let reply = call(common, "Get", parameters, Wait::Device)?;
    print_json(reply.get("items").unwrap_or(&Value::Null))?;
    Ok(ExitCode::SUCCESS)
}
