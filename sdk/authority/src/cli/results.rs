//! `results`: what came back.

use bailiwick_authority::{DeviceId, Entry};
use std::io::Write;

use super::Dir;

/// Show what came back from a device: results, alerts, uploads
#[derive(clap::Args)]
pub(super) struct Results {
    #[command(flatten)]
    dir: Dir,
    /// The device's DevID
    device: DeviceId,
    /// One JSON object per line, as in DIR/results/DEVICE.jsonl
    #[arg(long)]
    json: bool,
}

impl Results {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        for entry in self.dir.open()?.journal(&self.device)?.entries()? {
            if self.json {
                serde_json::to_writer(&mut *out, &entry)?;
                writeln!(out)?;
            } else {
                show(out, &entry)?;
            }
        }
        Ok(())
    }
}

fn show(out: &mut dyn Write, entry: &Entry) -> std::io::Result<()> {
    match entry {
        Entry::Result {
            time,
            id,
            command,
            status,
            reason,
            uris,
            objects,
            ..
        } => {
            let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            writeln!(
                out,
                "{time}  {id}  {status} {reason}  {}",
                command.join(" ")
            )?;
            for uri in uris {
                writeln!(out, "    stored at {}", uri.escape_default())?;
            }
            for object in objects {
                writeln!(out, "    {object}")?;
            }
        }
        Entry::Alert { time, alert, .. } => writeln!(out, "{time}  alert  {alert}")?,
        Entry::Upload {
            time,
            method,
            name,
            media_type,
            bytes,
        } => {
            let media_type = media_type.as_deref().unwrap_or("no type");
            writeln!(
                out,
                "{time}  {method} {name}  {bytes} bytes, {}",
                media_type.escape_default()
            )?;
        }
    }
    Ok(())
}
