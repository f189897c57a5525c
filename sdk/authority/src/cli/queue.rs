//! `queue`: what a device is told next.

use anyhow::Context;
use bailiwick_authority::{DeviceId, queue};
use bailiwick_protocol::Command;
use std::{fs, io::Write, path::PathBuf};

use super::Dir;

/// Queue commands for a device, or show what waits for it
///
/// Commands are sent in this order when the device connects, and stay queued until their status has come back: after a
/// crash they are sent again. An END is queued only to cut a session short; what goes out with it gets no status.
///
/// Examples:
///   queue --dir DIR dev1 GET urn:oma:mo:oma-dm-devinfo:1.2//
///   queue --dir DIR dev1 HGET https://dm.example.org:8443/data/wifi.json urn:oma:mo:x-wifi:1.0//
///   queue --dir DIR dev1 --file commands.json
///   queue --dir DIR dev1
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Queue {
    #[command(flatten)]
    dir: Dir,
    /// Take this one out of the queue; may be repeated
    #[arg(long, value_name = "ID", conflicts_with_all = ["file", "command"])]
    remove: Vec<u64>,
    /// Take all out of the queue
    #[arg(long, conflicts_with_all = ["file", "command", "remove"])]
    clear: bool,
    /// JSON file with an array of commands, each an array of strings
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    file: Option<PathBuf>,
    /// The device's DevID
    device: DeviceId,
    /// HGET, HPUT, HPOST, DELETE, EXEC, GET, SHOW, CONT, END, DEFAULT, SUB or UNSUB, then its parameters
    #[arg(value_name = "COMMAND ARG", trailing_var_arg = true)]
    command: Vec<String>,
}

impl Queue {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let queue = self.dir.open()?.queue(&self.device)?;
        if self.clear || !self.remove.is_empty() {
            let all =
                || Ok::<_, anyhow::Error>(queue.list()?.iter().map(|queued| queued.id).collect());
            let ids = if self.clear { all()? } else { self.remove };
            writeln!(out, "{} removed", queue.remove(&ids)?)?;
            return Ok(());
        }
        let commands = if let Some(path) = &self.file {
            let json = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            queue::parse_commands(&json).with_context(|| path.display().to_string())?
        } else if let [name, parameters @ ..] = self.command.as_slice() {
            let mut parts = vec![name.to_ascii_uppercase()];
            parts.extend_from_slice(parameters);
            vec![Command::parse(&parts)?]
        } else {
            for queued in queue.list()? {
                let sent = match queued.sent {
                    0 => "not sent yet".to_owned(),
                    1 => "sent once".to_owned(),
                    times => format!("sent {times} times"),
                };
                writeln!(
                    out,
                    "{}  {}  {sent}  {}",
                    queued.id,
                    queued.queued,
                    queued.command.to_parts().join(" ")
                )?;
            }
            return Ok(());
        };
        for (id, command) in queue.push_all(&commands)?.iter().zip(&commands) {
            writeln!(out, "{id}  {}", command.to_parts().join(" "))?;
        }
        Ok(())
    }
}
