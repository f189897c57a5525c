//! What the host and its workers say to each other: small, typed, bounded. The identity of an authority
//! is bound to the worker's socket and never taken from a message.

use bailiwick_protocol::Node;
use serde::{Deserialize, Serialize};

/// A sandbox inside one worker; chosen by the host.
pub type Slot = u32;

/// What a plug-in is for; decides which world of `wit/` it must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Management Object types.
    Object,
    /// A way to reach servers.
    Transport,
    /// An operating system or runtime.
    Environment,
}

/// An interface of `wit/` that a plug-in may import. Its name is the capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interface {
    /// `bailiwick:host/logging`
    Logging,
    /// `bailiwick:host/call-context`
    CallContext,
    /// `bailiwick:host/config`
    Config,
    /// `bailiwick:host/storage`
    Storage,
    /// `bailiwick:host/notify`
    Notify,
    /// `bailiwick:host/session`
    Session,
    /// `bailiwick:host/accounts`, privileged
    Accounts,
    /// `bailiwick:host/net`, privileged
    Net,
    /// `bailiwick:host/os`, privileged
    Os,
    /// `bailiwick:env/device`
    Device,
}

/// What a call asks a plug-in to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    /// A cheap self test.
    Health,
    /// Types beyond those of the manifest.
    Classes,
    /// Instances that the plug-in brings itself.
    Instances { moid: String },
    /// Make an instance.
    Create { moid: String, miid: String, initial: Vec<Node> },
    /// Delete an instance.
    DeleteInstance { moid: String, miid: String },
    /// Read a subtree.
    Read { moid: String, miid: String, path: Vec<String>, max_nodes: u32, names_only: bool },
    /// Change an instance, all or nothing.
    Apply { moid: String, miid: String, changes: Vec<Change> },
    /// Run an executable node.
    Execute { moid: String, miid: String, path: Vec<String> },
    /// Environment: who the device is.
    Identity,
    /// Environment: named facts.
    Facts { names: Vec<String> },
    /// Transport: bearers that can be dialled over now.
    Bearers,
    /// Transport: connect.
    Dial { host: String, port: u16, preferred: Bearer },
}

/// One element of an all-or-nothing change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Add or replace a node; its path is from the root of the instance.
    Put(Node),
    /// Delete a node and all below it.
    Delete(Vec<String>),
}

/// What a plug-in answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// Nothing but success.
    Done,
    /// `Classes`: (MOID, DDF document).
    Classes(Vec<(String, String)>),
    /// `Instances`.
    Instances(Vec<String>),
    /// `Read`.
    Nodes(Vec<Node>),
    /// `Execute`.
    Executed(ExecOutcome),
    /// `Identity`.
    Identity(Box<Identity>),
    /// `Facts`.
    Facts(Vec<(String, String)>),
    /// `Bearers`.
    Bearers(Vec<Bearer>),
    /// `Dial`: the number of a connection that the host holds, and what it runs over.
    Dialled { connection: u32, bearer: Bearer },
}

/// What became of an EXEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecOutcome {
    /// Done.
    Completed,
    /// Goes on; an alert tells the end.
    Started,
}

/// Kind of connection (OMA DM 2.0, PREFERRED-CON-TYPE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bearer {
    /// Not known, or any.
    #[default]
    Unknown,
    /// A mobile network.
    Cellular,
    /// Wireless LAN.
    Wlan,
    /// A cable.
    Wireline,
}

/// Who the device is, as an environment says. An empty text: it cannot tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Unique and lasting; the `OMADM-DevID` of every package.
    pub device_id: String,
    /// Who made it.
    pub manufacturer: String,
    /// Which model.
    pub model: String,
    /// smartphone, gateway, ...
    pub device_type: String,
    /// Who sells it.
    pub oem: String,
    /// Hardware version.
    pub hardware_version: String,
    /// Firmware version.
    pub firmware_version: String,
    /// Version of the operating system.
    pub software_version: String,
    /// BCP 47 language tag.
    pub language: String,
}

/// `bailiwick:types/types.error`: what a plug-in says went wrong, or is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PluginError {
    /// The node, key or name does not exist.
    #[error("not found")]
    NotFound,
    /// A right or a grant is missing.
    #[error("not permitted")]
    NotPermitted,
    /// Not offered here.
    #[error("not supported")]
    NotSupported,
    /// The value or name does not fit.
    #[error("invalid argument: {}", .0.as_deref().unwrap_or("no details"))]
    InvalidArgument(Option<String>),
    /// The state forbids it now.
    #[error("conflict: {}", .0.as_deref().unwrap_or("no details"))]
    Conflict(Option<String>),
    /// The callee serves this call chain already, or its queue is full.
    #[error("busy")]
    Busy,
    /// A limit was exceeded.
    #[error("too large")]
    TooLarge,
    /// The deadline passed.
    #[error("timed out")]
    TimedOut,
    /// Cannot be reached now.
    #[error("unavailable: {}", .0.as_deref().unwrap_or("no details"))]
    Unavailable(Option<String>),
    /// For logs only.
    #[error("failed: {}", .0.as_deref().unwrap_or("no details"))]
    Other(Option<String>),
}
