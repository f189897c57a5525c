//! `bailiwick-authority`: a Management Authority on the command line.

mod cli;

use clap::Parser;
use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(cli.log)
        .with_target(false)
        .init();
    let mut out = io::stdout().lock();
    match cli.run(&mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody can be told that stderr is gone.
            let _ = writeln!(io::stderr(), "bailiwick-authority: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True if whoever read our output has seen enough, such as `head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
