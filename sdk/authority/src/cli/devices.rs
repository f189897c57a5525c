//! `devices`: who is enrolled.

use bailiwick_authority::DeviceId;
use std::io::Write;

use super::Dir;

/// List the enrolled devices, or revoke one
#[derive(clap::Args)]
pub(super) struct Devices {
    #[command(flatten)]
    dir: Dir,
    /// Accept none of this device's certificates any more; its queue and results stay
    #[arg(long, value_name = "DEVICE")]
    revoke: Option<DeviceId>,
}

impl Devices {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let authority = self.dir.open()?;
        if let Some(device) = self.revoke {
            authority.revoke(&device)?;
            writeln!(
                out,
                "{device} is revoked; to let it in again, enroll it with --renew"
            )?;
            return Ok(());
        }
        for device in authority.devices()? {
            let waiting = authority.queue(&device.device)?.list()?.len();
            let state = if device.certificates.is_empty() {
                "revoked".to_owned()
            } else {
                format!("certificate until {}", device.expires())
            };
            writeln!(
                out,
                "{}  enrolled {}  {state}  {waiting} waiting",
                device.device, device.enrolled
            )?;
        }
        Ok(())
    }
}
