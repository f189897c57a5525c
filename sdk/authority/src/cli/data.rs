//! `data`: what devices can fetch.

use anyhow::bail;
use bailiwick_authority::{DeviceId, ResourceName};
use clap::Subcommand;
use std::{io::Write, path::PathBuf};

use super::Dir;

/// Put files into the data repository, list them, take them out
///
/// A name without a slash can be fetched by every enrolled device. A name with a slash belongs to the device before the
/// slash: `data put dev1/wifi.json FILE` is for dev1 alone. Names in .json are served as MO serializations.
#[derive(clap::Args)]
pub(super) struct Data {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Copy a file into the repository, replacing what was there
    Put {
        #[command(flatten)]
        dir: Dir,
        /// NAME, or DEVICE/NAME
        name: ResourceName,
        /// The file to be copied
        file: PathBuf,
    },
    /// List the names, with sizes in bytes
    List {
        #[command(flatten)]
        dir: Dir,
    },
    /// Take a file out of the repository
    Remove {
        #[command(flatten)]
        dir: Dir,
        /// NAME, or DEVICE/NAME
        name: ResourceName,
    },
}

impl Data {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self.command {
            DataCommand::Put { dir, name, file } => {
                let authority = dir.open()?;
                if let Some(owner) = name.owner() {
                    authority.device(&owner.parse::<DeviceId>()?)?;
                }
                let bytes = authority.repository().put(&name, &file)?;
                writeln!(out, "/data/{name}  {bytes} bytes")?;
            }
            DataCommand::List { dir } => {
                for (name, bytes) in dir.open()?.repository().list()? {
                    writeln!(out, "/data/{name}  {bytes} bytes")?;
                }
            }
            DataCommand::Remove { dir, name } => {
                if !dir.open()?.repository().remove(&name)? {
                    bail!("{name} is not in the repository; see `bailiwick-authority data list`");
                }
            }
        }
        Ok(())
    }
}
