//! What the operator is told about the daemon, as the interface has it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Isolation;
use crate::isolation::Protection;
use crate::keys::KeysStatus;
use crate::plugins::PluginStatus;

/// Answer of `Status`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Of the daemon.
    pub version: &'static str,
    /// Since the daemon was ready.
    pub uptime_seconds: u64,
    /// What the kernel enforces.
    pub isolation: Protected,
    /// Workers that run now.
    pub workers: Vec<Worker>,
    /// The keys process.
    pub keys: KeysStatus,
    /// The accounts.
    pub accounts: Vec<AccountStatus>,
    /// The plug-ins.
    pub plugins: Vec<PluginStatus>,
    /// Limits that an operator may want to know, by their names in the configuration.
    pub limits: BTreeMap<&'static str, u64>,
    /// What is not as it should be on a device, one sentence each.
    pub warnings: Vec<String>,
}

/// What was asked of the kernel, and what it does.
#[derive(Clone, Debug, Serialize)]
pub struct Protected {
    /// The configuration.
    pub policy: Isolation,
    /// The kernel.
    #[serde(flatten)]
    pub protection: Protection,
}

/// A worker process.
#[derive(Clone, Debug, Serialize)]
pub struct Worker {
    /// Whose plug-ins it runs.
    pub authority: String,
    /// Its process id.
    pub process: u32,
}

/// An account and its sessions.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// `SrvID`.
    pub authority: String,
    /// `Name`.
    pub name: String,
    /// `SrvURI`.
    pub server: String,
    /// MIID of its DM Account instance.
    pub instance: String,
    /// Whether the device has a certificate to show.
    pub identity: bool,
    /// Where it came from, in words.
    pub origin: String,
    /// Why it holds no sessions, if it rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    /// MOIDs that it may ever manage.
    pub permitted: Vec<String>,
    /// Its sessions.
    #[serde(flatten)]
    pub sessions: SessionStatus,
}

/// The sessions of an account.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// Whether there is one now.
    #[serde(rename = "sessionRunning")]
    pub running: bool,
    /// Until the next try of a session that must be held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_seconds: Option<u64>,
    /// The last one since the daemon started.
    #[serde(rename = "lastSession", skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSession>,
}

/// How a session ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastSession {
    /// When.
    pub seconds_ago: u64,
    /// Whether both sides finished what they had to do.
    pub succeeded: bool,
    /// In words.
    pub outcome: String,
}
