//! `init`: a new authority.

use bailiwick_authority::{Authority, authority, pki};
use std::{io::Write, path::PathBuf};

/// Make a new authority: its CA, its server certificate, its directory
///
/// Keys are readable by their owner alone. Nothing that exists is replaced.
#[derive(clap::Args)]
pub(super) struct Init {
    /// Directory to be made
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Name of the authority, for people
    #[arg(long)]
    name: String,
    /// How devices call this server (SrvID); made from the name if not given
    #[arg(long, value_name = "ID")]
    srv_id: Option<String>,
    /// Host name or IP address under which devices reach the server; may be repeated [default: localhost, 127.0.0.1, ::1]
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

impl Init {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let init = authority::Init {
            name: self.name,
            srv_id: self.srv_id,
            hosts: self.hosts,
        };
        let authority = Authority::init(&self.dir, init)?;
        let dir = self.dir.display();
        writeln!(out, "authority  {}", authority.name())?;
        writeln!(out, "SrvID      {}", authority.srv_id())?;
        writeln!(out, "hosts      {}", authority.hosts().join(", "))?;
        writeln!(
            out,
            "CA SHA-256 {}",
            pki::fingerprint(&authority.ca_certificate()?)
        )?;
        writeln!(out, "next: bailiwick-authority enroll --dir {dir} DEVICE")?;
        Ok(())
    }
}
