//! A PIV card (NIST SP 800-73) in the virtual reader of vsmartcard: keys are made on it and never leave it.
//!
//! `bailiwick-card-piv ADDRESS [STATE]`: ADDRESS is the reader's port, such as 127.0.0.1:40101. With STATE, the card is
//! kept in two files of that name, `STATE.internal` and `STATE.external`, and is the same card when it is inserted again.
//! It ends when the reader goes. PIN 123456, PUK 12345678, management key 0102030405060708 three times. Its random
//! numbers are those of a test.

mod card;
mod dispatch;

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use piv_authenticator::{Authenticator, Options};
use rustix::rand::{GetRandomFlags, getrandom};
use trussed::virt::{self, StorageConfig, StoreConfig};
use trussed_core::{CryptoClient, syscall};

/// How long the reader may take to appear: pcscd opens the port a moment after it has started.
const READER: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .context("usage: bailiwick-card-piv ADDRESS [STATE]")?;
    let store = match arguments.next() {
        Some(state) => StoreConfig {
            internal: StorageConfig::filesystem(PathBuf::from(format!("{state}.internal"))),
            external: StorageConfig::filesystem(PathBuf::from(format!("{state}.external"))),
            volatile: StorageConfig::ram(),
        },
        None => StoreConfig::ram(),
    };
    let mut random = [0; 16];
    getrandom(&mut random, GetRandomFlags::empty()).context("random numbers")?;

    let reader = connect(&address)?;
    virt::with_platform(store, |platform| {
        platform.run_client_with_backends(
            "piv",
            dispatch::Parts::new(),
            dispatch::BACKENDS,
            |mut client| {
                // Every generator of the platform starts alike: some steps apart, two cards make different keys.
                for step in &random[..8] {
                    syscall!(client.random_bytes(usize::from(*step) + 1));
                }
                let application =
                    Authenticator::new(client, Options::new().uuid(Some(uuid(random))));
                card::serve(reader, application)
            },
        )
    })
}

/// A version 4 UUID (RFC 9562 §5.4): the card's GUID, if it is a new one.
fn uuid(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    bytes
}

fn connect(address: &str) -> Result<TcpStream> {
    let end = Instant::now() + READER;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => {
                return Err(error).context(format!("no reader at {address}"));
            }
            Err(_) => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}
