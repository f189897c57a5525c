//! The socket below TLS.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Bytes that are remembered of what passes by.
const OVERHEARD: usize = 1 << 20;

/// A socket with somebody who listens, and perhaps changes a bit.
pub(super) struct Wire {
    stream: TcpStream,
    overheard: Vec<u8>,
    tamper: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            overheard: Vec::new(),
            tamper: false,
        }
    }

    /// Changes one bit of whatever is written next.
    pub(super) fn tamper(&mut self, tamper: bool) {
        self.tamper = tamper;
    }

    pub(super) fn overheard(self) -> Vec<u8> {
        self.overheard
    }

    pub(super) fn set_read_timeout(&self, time: Option<Duration>) -> Result<()> {
        self.stream.set_read_timeout(time)
    }

    /// Ends TCP in both directions.
    pub(super) fn shutdown(&self) {
        let _gone = self.stream.shutdown(Shutdown::Both);
    }

    pub(super) fn reset(&self) {
        reset(&self.stream);
    }

    fn overhear(&mut self, bytes: &[u8]) {
        let room = OVERHEARD.saturating_sub(self.overheard.len());
        self.overheard
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Makes the end of a connection, when it comes, a reset.
pub(super) fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("an option");
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.stream.read(buffer)?;
        self.overhear(&buffer[..read]);
        Ok(read)
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        let mut bytes = buffer.to_vec();
        if std::mem::take(&mut self.tamper)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        let written = self.stream.write(&bytes)?;
        self.overhear(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}
