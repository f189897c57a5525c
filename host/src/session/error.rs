//! Why a session failed.

use bailiwick_protocol::PackageError;

use super::{Endpoint, EndpointError, HttpError, ReachError, Report};
use crate::accounts::AccountError;
use crate::authority::Authority;
use crate::certificates::CertificateError;
use crate::objects::ObjectError;
use crate::store::StoreError;

/// A session that did not end with END, and what had happened until then.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct SessionError {
    /// Why.
    #[source]
    pub cause: Cause,
    /// What had happened; `None`: nothing had.
    pub report: Option<Box<Report>>,
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Another session with the authority runs.
    #[error("a session with {authority} runs already; wait for its end")]
    Busy {
        /// Which authority.
        authority: Authority,
    },
    /// The address of the server is no address.
    #[error("the account's SrvURI: {0}")]
    ServerUri(#[from] EndpointError),
    /// There is no connection.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// A package was not answered.
    #[error("package {package} to {server}: {source}")]
    Unanswered {
        /// Which package of the session, from 1.
        package: u32,
        /// Where it went.
        server: Box<Endpoint>,
        /// Why.
        source: HttpError,
    },
    /// A package was answered with an error, which ends the session (OMA DM 2.0 §5.2: 4xx and 5xx are not retried).
    #[error("package {package} to {server}: the server answered HTTP {status}")]
    Refused {
        /// Which package of the session, from 1.
        package: u32,
        /// Where it went.
        server: Box<Endpoint>,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is of another media type than a Package#2.
    #[error("package {package} to {server}: the answer is {found:?}, not a Package#2")]
    NotAPackage {
        /// Which package of the session, from 1.
        package: u32,
        /// Where it went.
        server: Box<Endpoint>,
        /// Its media type, shortened.
        found: String,
    },
    /// The answer is no Package#2.
    #[error("package {package} to {server}: the answer cannot be read: {source}")]
    Unreadable {
        /// Which package of the session, from 1.
        package: u32,
        /// Where it went.
        server: Box<Endpoint>,
        /// What is wrong with it.
        source: PackageError,
    },
    /// The objects for Package#1 cannot be listed.
    #[error("the objects of the device cannot be listed: {0}")]
    Objects(#[from] ObjectError),
    /// More packages than a session may have.
    #[error("the server had not said END after {limit} packages")]
    TooManyPackages {
        /// The limit.
        limit: u32,
    },
    /// More commands than a session may have.
    #[error("the server sent more than {limit} commands without saying END")]
    TooManyCommands {
        /// The limit.
        limit: usize,
    },
    /// Longer than a session may last.
    #[error("the server had not said END after {milliseconds} ms")]
    SessionTooLong {
        /// The limit.
        milliseconds: u64,
    },
    /// The daemon stops.
    #[error("the daemon stops; the session is held again after the next start")]
    Stopping,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionError {
    pub(super) fn before(cause: Cause) -> Self {
        Self {
            cause,
            report: None,
        }
    }

    /// Whether a server was reached, so that the end of the session tells something about who is shown to it.
    pub fn has_reached(&self) -> bool {
        match &self.cause {
            Cause::Reach(error) => matches!(
                error,
                ReachError::Certificate(CertificateError::IdentityRefused { .. })
                    | ReachError::Certificate(CertificateError::Closed { .. })
                    | ReachError::Http(_)
            ),
            Cause::Unanswered { .. }
            | Cause::Refused { .. }
            | Cause::NotAPackage { .. }
            | Cause::Unreadable { .. } => true,
            _ => false,
        }
    }

    /// Whether the same session may succeed a little later without anybody doing anything: no connection, no
    /// answer in time, another session running. A refusal by the server is final (OMA DM 2.0 §5.2), and so is
    /// everything that somebody must correct first.
    pub fn is_worth_retrying(&self) -> bool {
        match &self.cause {
            Cause::Busy { .. } | Cause::SessionTooLong { .. } | Cause::Store(_) => true,
            Cause::Unanswered { source, .. } => is_passing(source),
            Cause::Reach(error) => match error {
                ReachError::Unreachable { .. } | ReachError::NoIdentity { .. } => true,
                ReachError::Http(error) => is_passing(error),
                ReachError::Certificate(CertificateError::Signing { source }) => {
                    source.is_passing()
                }
                ReachError::Account(AccountError::Key(error)) => error.is_passing(),
                ReachError::Certificate(error) => matches!(
                    error,
                    CertificateError::TimedOut { .. }
                        | CertificateError::Closed { .. }
                        | CertificateError::Connection { .. }
                        | CertificateError::NotYetValid { .. }
                ),
                ReachError::Store(_) => true,
                ReachError::NoAccount { .. } | ReachError::Account(_) | ReachError::NoTransport => {
                    false
                }
            },
            Cause::Objects(error) => error.status().0 >= 500,
            Cause::Stopping
            | Cause::ServerUri(_)
            | Cause::Refused { .. }
            | Cause::NotAPackage { .. }
            | Cause::Unreadable { .. }
            | Cause::TooManyPackages { .. }
            | Cause::TooManyCommands { .. } => false,
        }
    }
}

fn is_passing(error: &HttpError) -> bool {
    match error {
        HttpError::NotSent | HttpError::TimedOut { .. } | HttpError::Broken { .. } => true,
        HttpError::TooLarge { .. } | HttpError::Encoded { .. } | HttpError::Request(_) => false,
    }
}
