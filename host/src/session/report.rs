//! What happened in a session: every package, every command with the decision behind its status. No values, no
//! queries of ServerURIs, no secrets.

use std::time::Duration;

use bailiwick_protocol::StatusCode;
use serde::Serialize;

use super::{Cause, Reason};
use crate::authority::Authority;
use crate::objects::Journal;
use crate::plugins::Bearer;

/// What happened in a session. As JSON, what `bailiwick session --json` prints; as text, a story.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// With whom.
    pub authority: Authority,
    /// Why it was opened.
    pub reason: Reason,
    /// Unix time, seconds.
    pub started: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// Whether the server ended it with END.
    pub completed: bool,
    /// Why it failed, and what to do.
    pub error: Option<String>,
    /// Connections that were opened, in order: where to, over which transport, with which TLS parameters.
    pub connections: Vec<ConnectionReport>,
    /// Packages that were sent, in order, each with its answer.
    pub packages: Vec<PackageReport>,
}

/// A connection that was opened for packages.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionReport {
    /// Where to.
    pub server: String,
    /// The transport plug-in and the TLS parameters.
    pub over: String,
    /// What it runs over.
    pub bearer: Bearer,
}

/// A package that was sent, and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct PackageReport {
    /// 1 or 3.
    pub kind: u8,
    /// Where to.
    pub server: String,
    /// Its size.
    pub bytes: usize,
    /// Types of the alerts that it carried.
    pub alerts: Vec<String>,
    /// HTTP status of the answer.
    pub answer_status: Option<u16>,
    /// Size of the answer.
    pub answer_bytes: usize,
    /// The commands of the answer, in order.
    pub commands: Vec<CommandReport>,
}

/// A command and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct CommandReport {
    /// Its name; empty if it has none.
    pub name: String,
    /// The ClientURIs and, without their queries, the ServerURIs in it.
    pub parameters: Vec<String>,
    /// Its status; `None` for END, which has none.
    pub status: Option<u16>,
    /// The status in words.
    pub reason: Option<&'static str>,
    /// What stood in the way, for people.
    pub error: Option<String>,
    /// The decisions behind it, and the plug-ins that served it.
    #[serde(flatten)]
    pub journal: Journal,
    /// How long it took.
    pub milliseconds: u64,
    /// Bytes of management data that were moved for it.
    pub bytes: usize,
}

impl Report {
    pub(super) fn new(authority: &Authority, reason: Reason, started: u64) -> Self {
        Self {
            authority: authority.clone(),
            reason,
            started,
            milliseconds: 0,
            completed: false,
            error: None,
            connections: Vec::new(),
            packages: Vec::new(),
        }
    }

    pub(super) fn end(&mut self, took: Duration, cause: Option<&Cause>) {
        self.milliseconds = milliseconds(took);
        self.completed = cause.is_none();
        self.error = cause.map(Cause::to_string);
    }

    /// How many commands were run.
    pub fn commands(&self) -> usize {
        self.packages
            .iter()
            .map(|package| package.commands.len())
            .sum()
    }
}

impl CommandReport {
    pub(super) fn set_status(&mut self, status: StatusCode) {
        self.status = Some(status.0);
        self.reason = Some(status.reason());
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
