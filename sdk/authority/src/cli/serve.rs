//! `serve`: the DM server and the data repository.

use anyhow::Context;
use bailiwick_authority::{Server, ServerOptions};
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Dir;

/// Answer devices: DM server at /dm, data repository below /data/
///
/// Only clients with a certificate of this authority get an answer. Ends on SIGTERM or ctrl-c.
#[derive(clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    dir: Dir,
    /// Address and port; port 0 = any free one, which is printed
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Write the bound address to this file once the server answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Media type that uploads must have; may be repeated [default: any]
    #[arg(long = "upload-type", value_name = "TYPE")]
    upload_types: Vec<String>,
}

impl Serve {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?
            .block_on(self.serve(out))
    }

    async fn serve(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let authority = self.dir.open()?;
        // Before anybody can know that we are there, so that no signal is missed.
        let terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
        let options = ServerOptions {
            upload_types: self.upload_types,
            ..ServerOptions::default()
        };
        let server = Server::bind(authority, self.listen, options).await?;
        let address = server.local_addr();
        if let Some(path) = &self.ready_file {
            write_ready(path, address)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        writeln!(out, "listening on {address}")?;
        out.flush()?;
        server.run(either(terminate, interrupt)).await;
        Ok(())
    }
}

async fn either(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Whoever sees the file sees all of it.
fn write_ready(path: &Path, address: SocketAddr) -> std::io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    fs::write(&unfinished, format!("{address}\n"))?;
    fs::rename(&unfinished, path)
}
