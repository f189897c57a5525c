//! `enroll`: an identity and an account for a device.

use anyhow::Context;
use bailiwick_authority::{DeviceId, authority, pki::Validity};
use std::{io::Write, path::PathBuf};

use super::Dir;

/// Give a device a client certificate and write its bootstrap document
///
/// The document holds the device's private key: hand it over on a trusted way, then remove it.
#[derive(clap::Args)]
pub(super) struct Enroll {
    #[command(flatten)]
    dir: Dir,
    /// The device's DevID, such as IMEI:493005100592800
    device: DeviceId,
    /// Type of object that the device shall let this authority manage; may be repeated
    /// [default: DevInfo, DM Account, Session Information]
    #[arg(long = "moid", value_name = "MOID")]
    moids: Vec<String>,
    /// Where to write the bootstrap document, or - for the standard output [default: DIR/bootstrap/DEVICE.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the device finds the server (SrvURI) [default: https://HOST:8443/dm with the first host of the authority]
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// Days that the client certificate holds; strict verifiers accept up to 398
    #[arg(long, value_name = "DAYS", default_value_t = authority::CERTIFICATE_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// The device is enrolled: give it a further certificate; the one before stays good, older ones do not
    #[arg(long)]
    renew: bool,
}

impl Enroll {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let authority = self.dir.open()?;
        let enroll = authority::Enroll {
            moids: self.moids,
            uri: self.uri,
            validity: Validity::days(self.days),
            renew: self.renew,
        };
        let enrollment = authority.enroll(&self.device, enroll)?;
        let path = match self.out {
            Some(path) if path.as_os_str() == "-" => {
                out.write_all(&enrollment.bootstrap.to_bytes())?;
                return Ok(());
            }
            Some(path) => path,
            None => authority
                .dir()
                .join("bootstrap")
                .join(format!("{}.json", self.device)),
        };
        enrollment.write(&path).with_context(|| {
            format!(
                "{} is enrolled, but its document is lost; repeat with --renew",
                self.device
            )
        })?;
        writeln!(out, "{}", path.display())?;
        Ok(())
    }
}
