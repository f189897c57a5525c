//! The command line, one file a subcommand.

use bailiwick_authority::Authority;
use clap::{Args, Parser, Subcommand};
use std::{io::Write, path::PathBuf};

mod init;

mod enroll;
mod queue;
mod serve;

mod data;
mod devices;
mod notify;
mod renew;
mod results;

/// A Management Authority for OMA Device Management 2.0: DM server, data repository, enrolment.
///
/// Begin with `init`, give each device what `enroll` writes, tell it things with `queue`, answer it with `serve`, and
/// read what came back with `results`.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// What to write to stderr: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", global = true)]
    pub(crate) log: tracing::Level,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Enroll(enroll::Enroll),
    Serve(serve::Serve),
    Queue(queue::Queue),
    Results(results::Results),
    Data(data::Data),
    Devices(devices::Devices),
    Notify(notify::Notify),
    Renew(renew::Renew),
}

/// Where the authority is; the same for every subcommand.
#[derive(Args)]
struct Dir {
    /// Directory of the authority, as made by `init`
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Dir {
    fn open(&self) -> anyhow::Result<Authority> {
        Ok(Authority::open(&self.dir)?)
    }
}

impl Cli {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self.command {
            Command::Init(init) => init.run(out),
            Command::Enroll(enroll) => enroll.run(out),
            Command::Serve(serve) => serve.run(out),
            Command::Queue(queue) => queue.run(out),
            Command::Results(results) => results.run(out),
            Command::Data(data) => data.run(out),
            Command::Devices(devices) => devices.run(out),
            Command::Notify(notify) => notify.run(out),
            Command::Renew(renew) => renew.run(out),
        }
    }
}
