//! What is logged, and in which form: to standard error, without a time where the journal adds one.

use std::str::FromStr;

use tracing_subscriber::filter::LevelFilter;

/// Environment variable with the level, unless `--log` says otherwise.
const VARIABLE: &str = "BAILIWICK_LOG";

/// Severity from which on is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(LevelFilter);

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self(LevelFilter::ERROR)),
            "warn" => Ok(Self(LevelFilter::WARN)),
            "info" => Ok(Self(LevelFilter::INFO)),
            "debug" => Ok(Self(LevelFilter::DEBUG)),
            "trace" => Ok(Self(LevelFilter::TRACE)),
            _ => Err("use error, warn, info, debug or trace".into()),
        }
    }
}

/// Sets up logging of this process: `wanted`, or else the environment, or else `otherwise`.
pub(super) fn start(wanted: Option<Level>, otherwise: Level) {
    let level = wanted.or_else(from_environment).unwrap_or(otherwise);
    let log = tracing_subscriber::fmt()
        .with_max_level(level.0)
        .with_ansi(false)
        .with_target(level.0 >= LevelFilter::DEBUG)
        .with_writer(std::io::stderr);
    match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => log.without_time().init(),
        None => log.init(),
    }
}

/// The level of a daemon that nobody told otherwise.
pub(super) const INFO: Level = Level(LevelFilter::INFO);

fn from_environment() -> Option<Level> {
    let text = std::env::var(VARIABLE).ok()?;
    let level = text.parse();
    if let Err(problem) = &level {
        eprintln!("bailiwick: {VARIABLE}={text:?} is ignored: {problem}");
    }
    level.ok()
}
