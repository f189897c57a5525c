//! APDUs (ISO/IEC 7816-4) between the reader and the PIV application: command chaining, GET RESPONSE, selection.

use std::io::ErrorKind;
use std::net::TcpStream;

use anyhow::{Context, Result};
use iso7816::Status;
use iso7816::command::CommandView;
use piv_authenticator::{Authenticator, Client};
use rustix::net::sockopt;
use vpicc::{Connection, VSmartCard};

/// The application's full name; readers may select it by the first five bytes or more.
const AID: [u8; 11] = [
    0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00,
];
/// The largest command and reply: a certificate of 3 KiB.
const BUFFER: usize = 4096;

const CHAINED: u8 = 0x10;
const SELECT: u8 = 0xA4;
const GET_RESPONSE: u8 = 0xC0;

/// Answers the reader until it goes.
pub(crate) fn serve<T: Client>(reader: TcpStream, application: Authenticator<T>) -> Result<()> {
    let socket = reader.try_clone().context("the reader's socket")?;
    let mut connection = Connection::from(reader);
    let mut card = Card {
        application,
        selected: false,
        chain: Vec::new(),
        rest: Vec::new(),
    };
    loop {
        // The reader sends length and body apart; without this the second waits 40 ms for our acknowledgement.
        sockopt::set_tcp_quickack(&socket, true).context("TCP_QUICKACK")?;
        match connection.poll(&mut card) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error).context("the reader"),
        }
    }
}

struct Card<T> {
    application: Authenticator<T>,
    selected: bool,
    /// Data of the chained commands so far.
    chain: Vec<u8>,
    /// What of the last reply was not fetched yet.
    rest: Vec<u8>,
}

impl<T: Client> VSmartCard for Card<T> {
    fn power_on(&mut self) {
        self.forget();
    }

    fn power_off(&mut self) {
        self.forget();
    }

    fn reset(&mut self) {
        self.forget();
    }

    fn execute(&mut self, command: &[u8]) -> Vec<u8> {
        let Ok(view) = CommandView::try_from(command) else {
            return status(Status::WrongLength);
        };
        // Without an Le, as much as fits: the tools of Yubico expect it.
        let expected = if view.expected() == 0 {
            256
        } else {
            view.expected()
        };
        if command[1] == GET_RESPONSE {
            return self.reply(expected);
        }
        self.rest.clear();
        self.chain.extend_from_slice(view.data());
        if command[0] & CHAINED != 0 {
            return status(if self.chain.len() > BUFFER {
                Status::WrongLength
            } else {
                Status::Success
            });
        }
        let data = std::mem::take(&mut self.chain);
        match self.answer([command[0], command[1], command[2], command[3]], &data) {
            Ok(reply) => {
                self.rest = reply;
                self.reply(expected)
            }
            Err(refused) => status(refused),
        }
    }
}

impl<T: Client> Card<T> {
    /// A reset: no application, no PIN.
    fn forget(&mut self) {
        self.selected = false;
        self.chain.clear();
        self.rest.clear();
        // VERIFY with P1 FF takes the PIN's verification back.
        let _nothing_to_take = self.command(&[0x00, 0x20, 0xFF, 0x80]);
    }

    fn answer(&mut self, header: [u8; 4], data: &[u8]) -> Result<Vec<u8>, Status> {
        if header[1] == SELECT && header[2] == 0x04 {
            self.selected = data.len() >= 5 && AID.starts_with(data);
            if !self.selected {
                return Err(Status::NotFound);
            }
            return self.command(&long([header[0], SELECT, 0x04, 0x00], &AID));
        }
        if !self.selected {
            return Err(Status::InstructionNotSupportedOrInvalid);
        }
        self.command(&long(header, data))
    }

    fn command(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Status> {
        let view = CommandView::try_from(bytes).map_err(|_| Status::WrongLength)?;
        let mut reply = heapless::Vec::<u8, BUFFER>::new();
        self.application.respond(view, &mut reply)?;
        Ok(reply.to_vec())
    }

    fn reply(&mut self, expected: usize) -> Vec<u8> {
        let part: Vec<u8> = self.rest.drain(..expected.min(self.rest.len())).collect();
        let end = match self.rest.len() {
            0 => Status::Success,
            more => Status::MoreAvailable(u8::try_from(more).unwrap_or(0)),
        };
        [part, status(end)].concat()
    }
}

/// The command with extended length, which has room for what was chained.
fn long(header: [u8; 4], data: &[u8]) -> Vec<u8> {
    if data.is_empty() {
        return header.to_vec();
    }
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&header[..], &[0], &length, data, &[0, 0]].concat()
}

fn status(status: Status) -> Vec<u8> {
    <[u8; 2]>::from(status).to_vec()
}
