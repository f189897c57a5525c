//! For applications on a device that Bailiwick manages: **connect, prove the certificate, use what it gives rights on**.
//!
//! ```no_run
//! use bailiwick_application::{Connection, KeyFile, certificates};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chain = certificates(&std::fs::read("meter.crt")?)?;
//! let key = KeyFile::read(&std::fs::read("meter.key")?)?;
//! let mut device = Connection::open("/run/bailiwick/apps.sock".as_ref())?;
//! let admission = device.admit("com.example.ma", &chain, &key)?;
//! println!("acts as {:?} until {}", admission.principals, admission.not_after);
//! println!("{:?}", device.get("urn:oma:mo:oma-dm-devinfo:1.2//Mod")?);
//! # Ok(())
//! # }
//! ```
//!
//! The authority that issued the certificate decides what its subject and its policies may do. A key that is not in a
//! file signs through [`Sign`].

mod key;
mod message;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub use key::{KeyFile, Scheme, Sign, certificates};
pub use message::proof;

/// Bytes of a reply. Stops a socket that is not the daemon's from filling memory.
const REPLY: usize = 64 << 20;
/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
}

/// What the certificate gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whom the connection acts as.
    pub principals: Vec<String>,
    /// Until when, Unix time in seconds.
    pub not_after: u64,
}

/// Why something did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon cannot be reached, or has hung up.
    #[error(
        "the daemon does not answer: {0}; it runs, and has an `apps-socket`, or the path is another"
    )]
    Io(#[from] std::io::Error),
    /// The certificate does not let in.
    #[error("{0}")]
    NotAdmitted(String),
    /// A right is missing, or the command cannot be done; the status is that of OMA DM.
    #[error("{message} ({status})")]
    Refused {
        /// e.g. 403.
        status: u16,
        /// In words.
        message: String,
    },
    /// Another error of the daemon, by its name.
    #[error("{name}: {message}")]
    Failed {
        /// As in the interface, e.g. `Busy`.
        name: String,
        /// In words.
        message: String,
    },
    /// Not what the interface says.
    #[error("the answer is not understood: {0}; the daemon is of another version")]
    Foreign(&'static str),
    /// Somebody stands between, or the process has another number from outside.
    #[error(
        "the daemon sees process {seen} instead of {own}: somebody stands between, or this process runs in another PID \
         namespace than the daemon; connect from the daemon's"
    )]
    SomebodyBetween {
        /// By the daemon.
        seen: u64,
        /// By itself.
        own: u32,
    },
    /// A file holds no certificate or key that can be used.
    #[error("{0}")]
    Credential(String),
}

impl Connection {
    /// Connects to the socket that `apps-socket` of the daemon's configuration names.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Shows the chain (DER, the application's certificate first) to be let in by `authority` (its SrvID), and proves its key.
    pub fn admit(
        &mut self,
        authority: &str,
        chain: &[Vec<u8>],
        key: &dyn Sign,
    ) -> Result<Admission, Error> {
        let chain: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
        let challenge = self.call("Present", json!({ "authority": authority, "chain": chain }))?;
        let text = |name| challenge.get(name).and_then(Value::as_str);
        let nonce = text("nonce").and_then(|nonce| STANDARD.decode(nonce).ok());
        let nonce = nonce.ok_or(Error::Foreign("no nonce"))?;
        let scheme = text("scheme").and_then(Scheme::named);
        let scheme = scheme.ok_or(Error::Foreign("no scheme of ours"))?;
        let own = std::process::id();
        match challenge.get("process").and_then(Value::as_u64) {
            Some(seen) if seen == u64::from(own) => {}
            seen => {
                return Err(Error::SomebodyBetween {
                    seen: seen.unwrap_or_default(),
                    own,
                });
            }
        }
        let signature = key.sign(scheme, &proof(authority, &nonce, own))?;
        let admitted = self.call("Prove", json!({ "signature": STANDARD.encode(signature) }))?;
        let principals = admitted.get("principals").and_then(Value::as_array);
        let principals = principals.ok_or(Error::Foreign("no principals"))?;
        Ok(Admission {
            principals: principals
                .iter()
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect(),
            not_after: admitted
                .get("notAfter")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        })
    }

    /// What a ClientURI names, as items of an MO serialization.
    pub fn get(&mut self, client_uri: &str) -> Result<Vec<Value>, Error> {
        let mut reply = self.call("Get", json!({ "clientUri": client_uri }))?;
        match reply.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(Error::Foreign("no items")),
        }
    }

    /// Replaces what is at one node; `data` as the `MOData` of an MO serialization.
    pub fn put(&mut self, client_uri: &str, data: &Value) -> Result<(), Error> {
        self.call("Put", json!({ "clientUri": client_uri, "data": data }))
            .map(drop)
    }

    /// Runs an executable node. `true`: it goes on.
    pub fn exec(&mut self, client_uri: &str) -> Result<bool, Error> {
        let reply = self.call("Exec", json!({ "clientUri": client_uri }))?;
        Ok(reply
            .get("started")
            .and_then(Value::as_bool)
            .unwrap_or_default())
    }

    /// All that the connection has a right on: `on`, `to` and `rights` of each.
    pub fn rights(&mut self) -> Result<Vec<Value>, Error> {
        let mut reply = self.call("Rights", json!({}))?;
        match reply.get_mut("rights").map(Value::take) {
            Some(Value::Array(rights)) => Ok(rights),
            _ => Err(Error::Foreign("no rights")),
        }
    }

    /// Calls a method of `org.bailiwick.Apps`.
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value, Error> {
        let call =
            json!({ "method": format!("org.bailiwick.Apps.{method}"), "parameters": parameters });
        self.stream.write_all(format!("{call}\0").as_bytes())?;
        let mut reply: Value =
            serde_json::from_slice(&self.frame()?).map_err(|_| Error::Foreign("it is no JSON"))?;
        let parameters = reply
            .get_mut("parameters")
            .map(Value::take)
            .unwrap_or_default();
        match reply.get("error").and_then(Value::as_str) {
            None => Ok(parameters),
            Some(error) => Err(error_of(error, &parameters)),
        }
    }

    /// One message: everything up to a NUL. Calls and replies alternate, so nothing comes after it.
    fn frame(&mut self) -> Result<Vec<u8>, Error> {
        let mut frame = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = self.stream.read(&mut buffer)?;
            let piece = buffer.get(..read).unwrap_or_default();
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                frame.extend_from_slice(piece.get(..end).unwrap_or_default());
                return Ok(frame);
            }
            if read == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            frame.extend_from_slice(piece);
            if frame.len() > REPLY {
                return Err(Error::Foreign("it has no end"));
            }
        }
    }
}

fn error_of(error: &str, parameters: &Value) -> Error {
    let text = |name: &str| parameters.get(name).and_then(Value::as_str);
    let message = text("message")
        .or(text("parameter"))
        .unwrap_or(error)
        .to_owned();
    match error.rsplit('.').next().unwrap_or_default() {
        "NotAdmitted" => Error::NotAdmitted(message),
        "Refused" => {
            let status = parameters.get("status").and_then(Value::as_u64);
            let status = status.and_then(|status| u16::try_from(status).ok());
            Error::Refused {
                status: status.unwrap_or_default(),
                message,
            }
        }
        name => Error::Failed {
            name: name.to_owned(),
            message,
        },
    }
}
