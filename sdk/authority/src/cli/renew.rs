//! `renew`: a new server certificate.

use bailiwick_authority::{authority, pki::Validity};
use std::io::Write;

use super::Dir;

/// Give the server a new key and certificate; devices notice nothing, their trust is in the CA
///
/// A running server takes it at its next start.
#[derive(clap::Args)]
pub(super) struct Renew {
    #[command(flatten)]
    dir: Dir,
    /// Further host name or IP address to be named by the certificate; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Days that the certificate holds; strict verifiers accept up to 398
    #[arg(long, value_name = "DAYS", default_value_t = authority::CERTIFICATE_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

impl Renew {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut authority = self.dir.open()?;
        authority.renew_server(&self.hosts, Validity::days(self.days))?;
        writeln!(
            out,
            "certificate for {} until {}",
            authority.hosts().join(", "),
            authority.server_expires()
        )?;
        Ok(())
    }
}
