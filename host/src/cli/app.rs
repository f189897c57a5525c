//! `bailiwick app`: what a local application does, with certificate and key from files. Exits with 4 if it is not let in or
//! lacks the right.

use std::path::PathBuf;
use std::process::ExitCode;

use bailiwick_application::{Connection, Error, KeyFile, certificates};
use serde_json::Value;

use super::{CliError, Common, NO, print_json};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Socket for applications; without it, the one in the configuration
    #[arg(long, value_name = "PATH")]
    apps_socket: Option<PathBuf>,
    /// Who is to let the application in: its SrvID
    #[arg(long, value_name = "SRVID")]
    authority: String,
    /// The application's certificate in PEM, followed by what completes its chain
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Read what a ClientURI names
    Get {
        #[arg(value_name = "CLIENTURI")]
        client_uri: String,
    },
    /// Replace what is at one node
    Put {
        #[arg(value_name = "CLIENTURI")]
        client_uri: String,
        /// JSON, as the MOData of an MO serialization, such as '{"Name":"value"}'
        #[arg(value_name = "DATA")]
        data: String,
    },
    /// Run an executable node
    Exec {
        #[arg(value_name = "CLIENTURI")]
        client_uri: String,
    },
    /// List everything that the certificate gives rights on
    Rights,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    match use_device(common, arguments) {
        Err(CliError::Application(no @ (Error::NotAdmitted(_) | Error::Refused { .. }))) => {
            eprintln!("bailiwick: {no}");
            Ok(ExitCode::from(NO))
        }
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

fn use_device(common: &Common, arguments: &Arguments) -> Result<(), CliError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| CliError::Read {
            path: path.clone(),
            source,
        })
    };
    let chain = certificates(&read(&arguments.cert)?)?;
    let key = KeyFile::read(&read(&arguments.key)?)?;
    let socket = match &arguments.apps_socket {
        Some(path) => path.clone(),
        None => {
            Config::read(&common.config)?
                .apps_socket
                .ok_or_else(|| CliError::NoAppsSocket {
                    config: common.config.clone(),
                })?
        }
    };
    let mut device = Connection::open(&socket)?;
    device.admit(&arguments.authority, &chain, &key)?;
    match &arguments.action {
        Action::Get { client_uri } => print_json(&Value::Array(device.get(client_uri)?)),
        Action::Put { client_uri, data } => {
            let data = serde_json::from_str(data).map_err(CliError::NotJson)?;
            Ok(device.put(client_uri, &data)?)
        }
        Action::Exec { client_uri } => Ok(device.exec(client_uri).map(drop)?),
        Action::Rights => print_json(&Value::Array(device.rights()?)),
    }
}
