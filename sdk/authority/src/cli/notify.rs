//! `notify`: ask a device to connect.

use anyhow::Context;
use bailiwick_authority::{DeviceId, notification::Notify as Options};
use bailiwick_protocol::Bearer;
use std::{
    fs,
    io::Write,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
};

use super::Dir;

/// Make a notification (Package#0) that asks a device to connect, and send or print it
///
/// It is signed with the secret that the device got at enrolment. Without --udp or --out it is printed in hexadecimal, for
/// whatever carries it: SMS, push, a message broker.
#[derive(clap::Args)]
pub(super) struct Notify {
    #[command(flatten)]
    dir: Dir,
    /// The device's DevID
    device: DeviceId,
    /// Send it as one UDP datagram
    #[arg(long, value_name = "ADDR:PORT")]
    udp: Option<SocketAddr>,
    /// Write it to a file
    #[arg(long, value_name = "FILE", conflicts_with = "udp")]
    out: Option<PathBuf>,
    /// Ask for the list of objects
    #[arg(long)]
    mos: bool,
    /// Connection to be used: any, cellular, wlan or wireline
    #[arg(long, value_name = "KIND", default_value = "any", value_parser = bearer)]
    bearer: Bearer,
}

impl Notify {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let options = Options {
            bearers: vec![self.bearer],
            request_mos: self.mos,
            ..Options::default()
        };
        let bytes = self.dir.open()?.notification(&self.device, options)?;
        if let Some(to) = self.udp {
            let local: SocketAddr = if to.is_ipv4() {
                ([0, 0, 0, 0], 0).into()
            } else {
                ([0u16; 8], 0).into()
            };
            UdpSocket::bind(local)
                .and_then(|socket| socket.send_to(&bytes, to))
                .with_context(|| format!("cannot send to {to}"))?;
            writeln!(out, "{} bytes sent to {to}", bytes.len())?;
        } else if let Some(path) = self.out {
            fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
        } else {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "{hex}")?;
        }
        Ok(())
    }
}

fn bearer(text: &str) -> Result<Bearer, String> {
    match text {
        "any" => Ok(Bearer::Any),
        "cellular" => Ok(Bearer::Cellular),
        "wlan" => Ok(Bearer::Wlan),
        "wireline" => Ok(Bearer::Wireline),
        _ => Err("use any, cellular, wlan or wireline".into()),
    }
}
