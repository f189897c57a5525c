//! The command line: `run` is the daemon, everything else talks to it or prepares for it.
//!
//! Exit codes: 0 done; 1 it failed, and standard error says why; 2 wrong usage; 3 the daemon cannot be
//! reached; 4 the answer is no (`explain`: denied; `session`: it did not end well; `certs show`: there is none).

mod app;
mod bootstrap;
mod cards;
mod certs;
mod client;
mod compile;
mod explain;
mod get;
mod import;
mod log;
mod plugins;
mod role;
mod run;
mod session;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::ClientError;

pub use role::role;

/// Where the configuration is if nothing else is said.
const DEFAULT_CONFIG: &str = "/etc/bailiwick/bailiwick.toml";

/// Below every help text.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, standard error says why; 2 wrong usage; \
    3 the daemon cannot be reached; 4 the answer is no (explain: denied; session: it did not end well; certs show: there is none).";

/// The answer is no.
const NO: u8 = 4;

/// Device side of OMA Device Management 2.0 for several Management Authorities.
#[derive(Debug, Parser)]
#[command(name = "bailiwick", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every subcommand.
#[derive(Debug, clap::Args)]
struct Common {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Admin socket of the daemon; without it, the one in the configuration
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// What is logged to standard error: error, warn, info, debug or trace; also BAILIWICK_LOG
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<log::Level>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run,
    /// Take the accounts of a bootstrap document
    Bootstrap(bootstrap::Arguments),
    /// Hold a session with an authority now and report what happened
    Session(session::Arguments),
    /// Show accounts, sessions, plug-ins and what protects them
    Status(status::Arguments),
    /// Show readers and cards, give a PIN, or forget a card
    Cards(cards::Arguments),
    /// List certificates, say what a card would change, or show what was provisioned
    Certs(certs::Arguments),
    /// List plug-ins, or let a quarantined one try again
    Plugins(plugins::Arguments),
    /// Read what a ClientURI names
    Get(get::Arguments),
    /// Say whether an authority may do something, and which rule decides
    Explain(explain::Arguments),
    /// Use the device as a local application with a certificate
    App(app::Arguments),
    /// Compile all plug-ins ahead of time
    Compile,
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Agent(#[from] crate::agent::AgentError),
    #[error("cannot read {path}: {source}; name a file that you may read")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {problem}")]
    Certificates { path: PathBuf, problem: String },
    #[error("cannot write the answer: {0}")]
    Write(#[from] std::io::Error),
    #[error(transparent)]
    Application(#[from] bailiwick_application::Error),
    #[error("this daemon has no socket for applications; set `apps-socket` in {}, or name it with --apps-socket", .config.display())]
    NoAppsSocket { config: PathBuf },
    #[error("the data are not JSON: {0}; write them as the MOData of an MO serialization")]
    NotJson(serde_json::Error),
    #[error("{failed} of {all} plug-ins were not compiled")]
    NotCompiled { failed: usize, all: usize },
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Unreachable { .. } | ClientError::Forbidden { .. }) => 3,
            _ => 1,
        }
    }
}

/// The program, for everything but roles.
pub fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    let outcome = match command {
        Command::Run => run::run(&common),
        Command::Bootstrap(arguments) => bootstrap::run(&common, &arguments),
        Command::Session(arguments) => session::run(&common, &arguments),
        Command::Status(arguments) => status::run(&common, &arguments),
        Command::Cards(arguments) => cards::run(&common, &arguments),
        Command::Certs(arguments) => certs::run(&common, &arguments),
        Command::Plugins(arguments) => plugins::run(&common, &arguments),
        Command::Get(arguments) => get::run(&common, &arguments),
        Command::Explain(arguments) => explain::run(&common, &arguments),
        Command::App(arguments) => app::run(&common, &arguments),
        Command::Compile => compile::run(&common),
    };
    outcome.unwrap_or_else(|error| {
        // Whoever reads the output has gone: nobody is left to be told.
        if !matches!(&error, CliError::Write(e) if e.kind() == std::io::ErrorKind::BrokenPipe) {
            eprintln!("bailiwick: {error}");
        }
        ExitCode::from(error.exit_code())
    })
}

/// Writes text to standard output.
fn print(text: &str) -> Result<(), CliError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes JSON to standard output, for people and programs.
fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    print(&format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_go_before_or_after_the_subcommand() {
        for line in ["--socket /s status --json", "status --json --socket /s"] {
            let words = ["bailiwick"].into_iter().chain(line.split(' '));
            let parsed = Arguments::try_parse_from(words).unwrap();
            assert_eq!(parsed.common.socket, Some("/s".into()));
            assert_eq!(parsed.common.config, PathBuf::from(DEFAULT_CONFIG));
            assert!(matches!(
                parsed.command,
                Command::Status(status::Arguments { json: true })
            ));
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "",
            "dance",
            "get",
            "explain a",
            "plugins release",
            "--log loud status",
        ] {
            let words = ["bailiwick"].into_iter().chain(line.split_whitespace());
            assert!(Arguments::try_parse_from(words).is_err(), "{line}");
        }
    }
}
