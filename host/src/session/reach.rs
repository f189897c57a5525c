//! What a session needs of the device: who it is, where its servers are, and connections to them.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tracing::debug;

use super::{Connection, Endpoint, HttpError, unix_now};
use crate::accounts::{AccountError, Accounts};
use crate::authority::Authority;
use crate::certificates::{self, CertificateError};
use crate::config::Limits;
use crate::keys::Keys;
use crate::permissions::UNKNOWN_TIME;
use crate::plugins::{Bearer, Call, CallError, Operation, Output, Plugins};
use crate::store::{Store, StoreError};

/// Longest device identifier, in bytes. Stops an environment that fills every request.
const DEVICE_ID: usize = 255;

/// A connection that is being made, or another answer that takes time.
pub type Connecting<'a, T> = Pin<Box<dyn Future<Output = Result<T, ReachError>> + 'a>>;

/// The device, as far as a session depends on it.
pub trait Reach {
    /// The `SrvURI` of the authority's account; an error if the account rests.
    fn server_uri(&self, authority: &Authority) -> Result<String, ReachError>;
    /// What `OMADM-DevID` says.
    fn device_id(&self) -> Connecting<'_, String>;
    /// What time it is, Unix time in seconds; [`UNKNOWN_TIME`] where the clock is set back: every temporary grant has
    /// then ended.
    fn now(&self) -> u64 {
        unix_now()
    }
    /// An encrypted connection to a server that has proved to be one of the authority's.
    fn connect<'a>(&'a self, authority: &'a Authority, to: &'a Endpoint)
    -> Connecting<'a, Reached>;
}

/// An open connection, and how it came about.
pub struct Reached {
    /// Speaks HTTP.
    pub connection: Connection,
    /// What it runs over.
    pub bearer: Bearer,
    /// The transport plug-in, and the TLS parameters: for reports.
    pub over: String,
}

/// Why a server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No account.
    #[error("{authority} has no account on this device; bootstrap it first")]
    NoAccount {
        /// Whose.
        authority: Authority,
    },
    /// The account cannot be used.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// No transport is installed.
    #[error("no transport plug-in is installed; add one to the configuration")]
    NoTransport,
    /// No transport has come through.
    #[error("cannot connect to {host}:{port}: {}", .reasons.join("; "))]
    Unreachable {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// A reason for each transport.
        reasons: Vec<String>,
    },
    /// One side does not believe the other.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The stream does not carry HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Nobody can say who the device is.
    #[error("the device has no identity: {reason}")]
    NoIdentity {
        /// Why, and what to do.
        reason: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Over whatever transport plug-ins dial.
pub(super) struct ThroughPlugins {
    accounts: Accounts,
    keys: Keys,
    plugins: Plugins,
    store: Store,
    handshake: Duration,
}

impl ThroughPlugins {
    pub(super) fn new(
        accounts: Accounts,
        keys: Keys,
        plugins: Plugins,
        store: Store,
        limits: &Limits,
    ) -> Self {
        Self {
            accounts,
            keys,
            plugins,
            store,
            handshake: limits.request(),
        }
    }

    /// Asks a plug-in of the device itself. What it writes is kept if it succeeds.
    async fn ask(&self, plugin: &Rc<str>, operation: Operation) -> Result<Output, AskError> {
        let transaction = Rc::new(self.store.begin());
        let call = Call {
            plugin: Rc::clone(plugin),
            authority: Authority::device(),
            instance: None,
            operation,
            transaction: Rc::clone(&transaction),
            bearer: None,
        };
        let output = self.plugins.call(call).await?;
        transaction.commit().await?;
        Ok(output)
    }

    async fn identity(&self) -> Result<String, ReachError> {
        let no_identity = |reason: String| ReachError::NoIdentity { reason };
        let environment = self
            .plugins
            .environments()
            .into_iter()
            .next()
            .ok_or_else(|| {
                no_identity(
                    "no environment plug-in is installed; add one to the configuration".into(),
                )
            })?;
        let output = self.ask(&environment, Operation::Identity).await;
        let Output::Identity(identity) = output.map_err(|error| no_identity(error.to_string()))?
        else {
            return Err(no_identity(format!("plug-in {environment} is faulty")));
        };
        match check_device_id(&identity.device_id) {
            Ok(()) => Ok(identity.device_id),
            Err(problem) => Err(no_identity(format!("plug-in {environment} {problem}"))),
        }
    }

    async fn dial(&self, to: &Endpoint) -> Result<Dialled, ReachError> {
        let transports = self.plugins.transports();
        if transports.is_empty() {
            return Err(ReachError::NoTransport);
        }
        let mut reasons = Vec::new();
        for transport in transports {
            let operation = Operation::Dial {
                host: to.host().to_owned(),
                port: to.port(),
                preferred: Bearer::Unknown,
            };
            match self.ask(&transport, operation).await {
                Ok(Output::Dialled { connection, bearer }) => {
                    match self.plugins.take_connection(connection) {
                        Some(stream) => {
                            return Ok(Dialled {
                                stream,
                                bearer,
                                transport,
                            });
                        }
                        None => reasons.push(format!("plug-in {transport} dialled nothing")),
                    }
                }
                Ok(_) => reasons.push(format!("plug-in {transport} is faulty")),
                Err(error) => reasons.push(error.to_string()),
            }
            debug!(%transport, server = %to, "could not connect");
        }
        let host = to.host().to_owned();
        Err(ReachError::Unreachable {
            host,
            port: to.port(),
            reasons,
        })
    }

    async fn open(&self, authority: &Authority, to: &Endpoint) -> Result<Reached, ReachError> {
        let trust = self.accounts.trust(authority, &self.keys).await?;
        let Dialled {
            stream,
            bearer,
            transport,
        } = self.dial(to).await?;
        let channel = certificates::connect(stream, to.host(), &trust, self.handshake).await?;
        let mut over = format!("{transport}, {}", channel.description());
        if !channel.is_mutual() {
            over.push_str(", device not authenticated");
        }
        Ok(Reached {
            connection: Connection::open(channel).await?,
            bearer,
            over,
        })
    }
}

impl Reach for ThroughPlugins {
    fn now(&self) -> u64 {
        let clock = self.accounts.clock();
        match clock.is_plausible() {
            true => clock.now(),
            false => UNKNOWN_TIME,
        }
    }

    fn server_uri(&self, authority: &Authority) -> Result<String, ReachError> {
        let account = self.accounts.get(authority)?;
        let no_account = || ReachError::NoAccount {
            authority: authority.clone(),
        };
        let account = account.ok_or_else(no_account)?;
        match account.suspended {
            None => Ok(account.srv_uri),
            Some(why) => Err(ReachError::Account(AccountError::Suspended {
                authority: authority.clone(),
                why,
            })),
        }
    }

    fn device_id(&self) -> Connecting<'_, String> {
        Box::pin(self.identity())
    }

    fn connect<'a>(
        &'a self,
        authority: &'a Authority,
        to: &'a Endpoint,
    ) -> Connecting<'a, Reached> {
        Box::pin(self.open(authority, to))
    }
}

/// What a transport brought.
struct Dialled {
    stream: tokio::net::TcpStream,
    bearer: Bearer,
    transport: Rc<str>,
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What can stand in a header field (RFC 9110 §5.5), and stay there.
fn check_device_id(id: &str) -> Result<(), &'static str> {
    match id {
        "" => Err("knows no device identifier; set one in its configuration"),
        _ if id.len() > DEVICE_ID => Err("gives a device identifier of more than 255 bytes"),
        _ if !id.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("gives a device identifier with blanks or characters outside ASCII")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_identifier_fits_a_header_field() {
        let long = "x".repeat(256);
        let rows = [
            ("IMEI:493005100592800", true),
            ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", true),
            ("", false),
            ("a b", false),
            ("a\r\nX-Evil: 1", false),
            ("naïve", false),
            (long.as_str(), false),
        ];
        for (id, fits) in rows {
            assert_eq!(check_device_id(id).is_ok(), fits, "{id:?}");
        }
    }
}
