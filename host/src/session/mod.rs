//! How we talk: DM sessions. Package#1 out, then Package#2 in and Package#3 out until the server says END
//! (OMA DM 2.0 §5.2).
//!
//! ```text
//!  mod        who may run a session, what outlives it, how it ends
//!  talk       the package loop ─▶ commands (a function each) ─▶ objects
//!  transfer   HGET, HPUT, HPOST
//!  enrol      certificates and revocation lists, over connections of their own
//!  reach      transport plug-in dials ─▶ TLS ─▶ http
//! ```

mod accept;
mod alerts;
mod commands;
mod cookies;
mod endpoint;
mod enrol;
mod error;
mod http;
mod reach;
mod record;
mod report;
mod story;
mod talk;
mod transfer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bailiwick_protocol as protocol;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::accounts::Accounts;
use crate::authority::Authority;
use crate::config::Limits;
use crate::keys::Keys;
use crate::objects::Objects;
use crate::permissions::UNKNOWN_TIME;
use crate::plugins::Plugins;
use crate::store::{Store, StoreError};

pub use alerts::raise_alert;
pub use endpoint::{Endpoint, EndpointError};
pub use enrol::{Enrol, EnrolError};
pub use error::{Cause, SessionError};
pub use http::{Connection, HttpError};
pub use reach::{Connecting, Reach, ReachError, Reached};
pub use record::{Last, Phase};
pub use report::{CommandReport, PackageReport, Report};

use talk::Talk;

/// Commands of one session. Stops a server whose packages are few and full.
const COMMANDS: usize = 20_000;

/// Why a session is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The device's own decision, or its operator's.
    ClientInitiated,
    /// An account is new, or has changed.
    BootstrapComplete,
}

/// All sessions of the device; a cheap handle.
#[derive(Clone)]
pub struct Sessions {
    inner: Rc<Inner>,
}

struct Inner {
    objects: Objects,
    reach: Rc<dyn Reach>,
    store: Store,
    limits: Limits,
    /// What a package or the data of a repository may cost.
    wire: protocol::Limits,
    /// One session per authority at a time.
    running: RefCell<BTreeSet<Authority>>,
    /// Whether the daemon stops.
    stop: watch::Sender<bool>,
}

impl Sessions {
    /// Sessions over what transport plug-ins dial, with the servers that `accounts` know.
    pub fn new(
        objects: Objects,
        accounts: Accounts,
        keys: Keys,
        plugins: Plugins,
        store: Store,
        limits: &Limits,
    ) -> Self {
        let reach = reach::ThroughPlugins::new(accounts, keys, plugins, store.clone(), limits);
        Self::over(Rc::new(reach), objects, store, limits)
    }

    /// Sessions over any way to reach a server.
    pub fn over(reach: Rc<dyn Reach>, objects: Objects, store: Store, limits: &Limits) -> Self {
        let wire = protocol::Limits {
            package_bytes: limits.package_bytes,
            object_bytes: limits.object_bytes,
            ..protocol::Limits::DEFAULT
        };
        let limits = limits.clone();
        let running = RefCell::default();
        let inner = Inner {
            objects,
            reach,
            store,
            limits,
            wire,
            running,
            stop: watch::Sender::new(false),
        };
        Self {
            inner: Rc::new(inner),
        }
    }

    /// Runs one session to its end and tells what happened. Ends within `limits.session_ms`.
    ///
    /// A bootstrap that has not been reported yet is reported by any session, whatever the reason.
    pub async fn run(&self, authority: &Authority, reason: Reason) -> Result<Report, SessionError> {
        let inner = &self.inner;
        let Some(_running) = Running::begin(inner, authority) else {
            return Err(SessionError::before(Cause::Busy {
                authority: authority.clone(),
            }));
        };
        let began = Instant::now();
        let mut report = Report::new(authority, reason, unix_now());
        let outcome = inner.run(authority, reason, &mut report).await;
        report.end(began.elapsed(), outcome.as_ref().err());
        if matches!(outcome, Err(Cause::Stopping)) {
            // Its record stays as it is, so that it is recovered after the next start.
        } else if let Err(error) = record::end(&inner.store, authority, &report).await {
            warn!(%authority, %error, "the end of the session was not recorded");
        }
        match outcome {
            Ok(()) => {
                info!(%authority, packages = report.packages.len(), "session ended");
                Ok(report)
            }
            Err(cause) => {
                warn!(%authority, %cause, "session failed");
                Err(SessionError {
                    cause,
                    report: Some(Box::new(report)),
                })
            }
        }
    }

    /// What a restart interrupted: each such session has failed now, is recorded as its authority's last one, and
    /// is returned once. What it was to report is still pending and rides in the next session.
    pub async fn recover(&self) -> Result<Vec<Last>, StoreError> {
        record::recover(&self.inner.store, unix_now()).await
    }

    /// How the last session of an authority ended.
    pub fn last(&self, authority: &Authority) -> Result<Option<Last>, StoreError> {
        record::last(&self.inner.store, authority)
    }

    /// The authorities whose bootstrap has not been reported to their server yet.
    pub fn unreported_bootstraps(&self) -> Result<Vec<Authority>, StoreError> {
        alerts::unreported_bootstraps(&self.inner.store)
    }

    /// Ends all sessions after the command that each is at; [`Sessions::recover`] finds them after the next start.
    pub fn stop(&self) {
        self.inner.stop.send_replace(true);
    }

    /// Whether a session with this authority runs now.
    pub fn is_running(&self, authority: &Authority) -> bool {
        self.inner.running.borrow().contains(authority)
    }
}

impl Inner {
    /// Ends when the daemon stops.
    async fn stopping(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as `self`.
        let _never_gone = stop.wait_for(|stop| *stop).await.is_ok();
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    async fn run(
        self: &Rc<Self>,
        authority: &Authority,
        reason: Reason,
        report: &mut Report,
    ) -> Result<(), Cause> {
        record::begin(&self.store, report).await?;
        let deadline = Duration::from_millis(self.limits.session_ms);
        let talk = async {
            let mut talk = Talk::new(Rc::clone(self), authority).await?;
            talk.hold(reason, report).await
        };
        match timeout(deadline, talk).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Cause::SessionTooLong {
                milliseconds: self.limits.session_ms,
            }),
        }
    }
}

/// Marks an authority's session as running until it is dropped.
struct Running<'a> {
    inner: &'a Inner,
    authority: Authority,
}

impl<'a> Running<'a> {
    fn begin(inner: &'a Inner, authority: &Authority) -> Option<Self> {
        let is_new = inner.running.borrow_mut().insert(authority.clone());
        is_new.then(|| Self {
            inner,
            authority: authority.clone(),
        })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.inner.running.borrow_mut().remove(&self.authority);
    }
}

/// Unix time in seconds. A clock before 1970 is no clock: every temporary grant has then ended.
fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(UNKNOWN_TIME, |time| time.as_secs())
}
