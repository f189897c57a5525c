//! What the host and its workers say to each other: small, typed, bounded. The identity of an authority
//! is bound to the worker's socket and never taken from a message.
//!
//! Bytes are `ByteBuf`, which is copied whole; a `Vec<u8>` would be encoded byte by byte, on the host's only thread.

use bailiwick_protocol::Node;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::budget::one_line;

/// Longest text of an error or reason that is taken from a plug-in or worker, bytes.
pub(super) const TEXT: usize = 512;

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
    /// `bailiwick:host/certificates`, privileged
    Certificates,
    /// `bailiwick:host/applications`, privileged
    Applications,
    /// `bailiwick:host/net`, privileged
    Net,
    /// `bailiwick:host/os`, privileged
    Os,
    /// `bailiwick:env/device`
    Device,
}

/// What a call asks a plug-in to do.
#[allow(missing_docs, reason = "the fields are named and documented in wit/")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    /// A cheap self test.
    Health,
    /// Types beyond those of the manifest.
    Classes,
    /// Instances that the plug-in brings itself.
    Instances { moid: String },
    /// Make an instance.
    Create {
        moid: String,
        miid: String,
        initial: Vec<Node>,
    },
    /// Delete an instance.
    DeleteInstance { moid: String, miid: String },
    /// Read a subtree.
    Read {
        moid: String,
        miid: String,
        path: Vec<String>,
        max_nodes: u32,
        names_only: bool,
    },
    /// Change an instance, all or nothing.
    Apply {
        moid: String,
        miid: String,
        changes: Vec<Change>,
    },
    /// Run an executable node.
    Execute {
        moid: String,
        miid: String,
        path: Vec<String>,
    },
    /// Environment: who the device is.
    Identity,
    /// Environment: named facts.
    Facts { names: Vec<String> },
    /// Transport: bearers that can be dialled over now.
    Bearers,
    /// Transport: connect.
    Dial {
        host: String,
        port: u16,
        preferred: Bearer,
    },
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
    /// `Dial`.
    Dialled {
        /// Number of a connection that the host holds.
        connection: u32,
        /// What it runs over.
        bearer: Bearer,
    },
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

impl PluginError {
    /// The error with its text cut to what a log or a package can bear: texts come from plug-ins.
    pub(super) fn bounded(mut self) -> Self {
        match &mut self {
            Self::InvalidArgument(Some(text))
            | Self::Conflict(Some(text))
            | Self::Unavailable(Some(text))
            | Self::Other(Some(text)) => *text = one_line(text, TEXT),
            _ => {}
        }
        self
    }
}

/// From the host to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// Make a sandbox; the descriptor of its compiled code rides along.
    Load {
        /// Its number.
        slot: Slot,
        /// What it is and may do.
        sandbox: Box<SandboxSpec>,
    },
    /// Call a plug-in.
    Call {
        /// Number of the call.
        call: u64,
        /// Which sandbox.
        slot: Slot,
        /// Milliseconds until the call ends, one way or the other.
        deadline_ms: u32,
        /// What the session of the authority runs over.
        bearer: Option<Bearer>,
        /// What to do.
        operation: Operation,
    },
    /// The answer to an import.
    Reply {
        /// Number of the import.
        import: u64,
        /// The answer.
        result: Result<ImportReply, PluginError>,
    },
    /// Drop a sandbox.
    Unload {
        /// Which.
        slot: Slot,
    },
}

/// From a worker to the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// The process has locked itself in and waits.
    Ready,
    /// A call has ended.
    Done {
        /// Number of the call.
        call: u64,
        /// How.
        result: Result<Output, Failure>,
    },
    /// A plug-in calls the host.
    Import {
        /// Number of the import.
        import: u64,
        /// The call that it happens in.
        call: u64,
        /// It happens in `init`, on the way to that call: the namespace is the plug-in's own.
        initializing: bool,
        /// What it asks for.
        request: ImportRequest,
    },
    /// A plug-in writes a log line.
    Log {
        /// Which sandbox.
        slot: Slot,
        /// 0 trace to 4 error.
        level: u8,
        /// Cut to size, free of control characters.
        message: String,
    },
}

/// A sandbox to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Name of the plug-in, as in its manifest.
    pub name: String,
    /// Version of the plug-in, as in its manifest.
    pub version: String,
    /// Which world it must fit.
    pub kind: Kind,
    /// On whose behalf it runs; `None`: the device.
    pub authority: Option<String>,
    /// What is linked; nothing else is.
    pub grants: Vec<Interface>,
    /// Settings, sorted by key.
    pub config: Vec<(String, String)>,
    /// What it may use up.
    pub limits: SandboxLimits,
}

/// What a sandbox may use up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SandboxLimits {
    /// Linear memory, bytes.
    pub memory_bytes: usize,
    /// Elements of all tables.
    pub table_elements: usize,
    /// Live resource handles.
    pub handles: usize,
    /// Bytes that one call into the host may make the host side allocate.
    pub hostcall_bytes: usize,
    /// Log bytes a second.
    pub log_bytes_per_second: usize,
    /// Nodes that one answer may hold.
    pub nodes: u32,
}

/// Why a call brought no output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Failure {
    /// The plug-in said so.
    Plugin(PluginError),
    /// The sandbox trapped and was dropped.
    Trapped(String),
    /// The deadline passed.
    TimedOut {
        /// The call had begun, and the sandbox was dropped. Else it only waited behind another one.
        begun: bool,
    },
    /// The component cannot be run at all.
    Unusable(String),
}

/// What a plug-in asks of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named and documented in wit/")]
pub enum ImportRequest {
    StorageGet {
        key: String,
    },
    StorageScan {
        prefix: String,
    },
    StorageCommit {
        entries: Vec<(String, Option<ByteBuf>)>,
    },
    RaiseAlert(super::AlertRequest),
    Accounts,
    Certificates,
    AddCertificate {
        role: CertificateRole,
        der: ByteBuf,
        purposes: Vec<String>,
    },
    RemoveCertificate {
        id: String,
        role: CertificateRole,
    },
    GiveRights(ApplicationGrant),
    TakeRights {
        to: ApplicationPrincipal,
        on: String,
    },
    GivenRights,
    Identity,
    Facts {
        names: Vec<String>,
    },
    Resolve {
        host: String,
    },
    Connect {
        candidates: Vec<Candidate>,
        stagger_ms: u32,
    },
    Close {
        connection: u32,
    },
    Interfaces,
    ReadFile {
        root: String,
        path: String,
        max_len: u32,
    },
    ListDir {
        root: String,
        path: String,
    },
    ReadLink {
        root: String,
        path: String,
    },
    Run {
        command: String,
        arguments: Vec<String>,
    },
}

impl ImportRequest {
    /// The interface that must have been granted.
    pub fn interface(&self) -> Interface {
        match self {
            Self::StorageGet { .. } | Self::StorageScan { .. } | Self::StorageCommit { .. } => {
                Interface::Storage
            }
            Self::RaiseAlert(_) => Interface::Notify,
            Self::Accounts => Interface::Accounts,
            Self::Certificates | Self::AddCertificate { .. } | Self::RemoveCertificate { .. } => {
                Interface::Certificates
            }
            Self::GiveRights(_) | Self::TakeRights { .. } | Self::GivenRights => {
                Interface::Applications
            }
            Self::Identity | Self::Facts { .. } => Interface::Device,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Close { .. } | Self::Interfaces => {
                Interface::Net
            }
            Self::ReadFile { .. }
            | Self::ListDir { .. }
            | Self::ReadLink { .. }
            | Self::Run { .. } => Interface::Os,
        }
    }
}

/// What a certificate is to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateRole {
    /// Others are believed because of it.
    Anchor,
    /// The device shows it.
    Identity,
    /// Completes chains.
    Intermediate,
}

/// Whom an authority certifies, as a plug-in names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplicationPrincipal {
    /// The subject of a certificate.
    Subject(String),
    /// A certificate policy.
    Policy(String),
}

/// Rights that a plug-in wants to give to a local application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationGrant {
    /// To whom.
    pub to: ApplicationPrincipal,
    /// ClientURI of the instance.
    pub on: String,
    /// 1 read, 2 write, 4 execute.
    pub rights: u8,
    /// Last second, Unix time.
    pub not_after: Option<u64>,
}

/// What the host answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named and documented in wit/")]
pub enum ImportReply {
    Done,
    Value(Option<ByteBuf>),
    Entries(Vec<(String, ByteBuf)>),
    Accounts(Vec<super::AccountView>),
    Certificates(Vec<super::CertificateView>),
    Rights(Vec<super::GrantView>),
    Identity(Box<Identity>),
    Facts(Vec<(String, String)>),
    Addresses(Vec<String>),
    Connection {
        number: u32,
        peer: String,
    },
    Interfaces(Vec<(String, Bearer)>),
    Bytes(ByteBuf),
    Names(Vec<String>),
    Text(String),
    Command {
        exit_code: i32,
        stdout: ByteBuf,
        stderr: ByteBuf,
    },
}

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// IPv4 or IPv6 address, as text.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Network interface to leave by.
    pub via: Option<String>,
}
