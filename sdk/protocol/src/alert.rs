//! Generic alerts: what a device reports of its own accord, in Package#1 or #3.

use serde::{Deserialize, Serialize};

/// The session answers a notification.
pub const SERVER_INITIATED: &str = "urn:oma:at:dm:2.0:ServerInitiatedMgmt";
/// The session is the device's own decision.
pub const CLIENT_INITIATED: &str = "urn:oma:at:dm:2.0:ClientInitiatedMgmt";
/// The session follows a successful bootstrap.
pub const BOOTSTRAP_COMPLETE: &str = "urn:oma:at:dm:2.0:BootstrapComplete";

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// `AlertType`.
    pub alert_type: String,
    /// `SourceURI`.
    pub source: Option<String>,
    /// `TargetURI`.
    pub target: Option<String>,
    /// `Mark`.
    pub mark: Option<Mark>,
    /// `DataType`.
    pub data_type: Option<String>,
    /// `Data`.
    pub data: Option<serde_json::Value>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(
    missing_docs,
    reason = "the words are the documentation; the specification adds none"
)]
pub enum Mark {
    Fatal,
    Critical,
    Minor,
    Warning,
    Informational,
    Harmless,
    Indeterminate,
}

impl Alert {
    /// An alert of this type and nothing else.
    pub fn new(alert_type: &str) -> Self {
        Alert {
            alert_type: alert_type.into(),
            source: None,
            target: None,
            mark: None,
            data_type: None,
            data: None,
        }
    }

    /// The alert that answers a notification, and echoes its NOTIFICATION-ID if it had one.
    pub fn server_initiated(_notification_id: Option<u16>) -> Self {
        todo!()
    }

    /// The NOTIFICATION-ID that a server-initiated alert echoes.
    pub fn notification_id(&self) -> Option<u16> {
        todo!()
    }
}
