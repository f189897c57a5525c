//! Generic alerts: what a device reports of its own accord, in Package#1 or #3. They are never acknowledged.

use crate::json::{Map, put, text};
use serde::{Deserialize, Serialize};

/// The session answers a notification.
pub const SERVER_INITIATED: &str = "urn:oma:at:dm:2.0:ServerInitiatedMgmt";
/// The session is the device's own decision.
pub const CLIENT_INITIATED: &str = "urn:oma:at:dm:2.0:ClientInitiatedMgmt";
/// The session follows a successful bootstrap.
pub const BOOTSTRAP_COMPLETE: &str = "urn:oma:at:dm:2.0:BootstrapComplete";

/// FUMO: a download ended.
pub const FUMO_DOWNLOAD: &str = "org.openmobilealliance.dm.firmwareupdate.download";
/// FUMO: an update ended.
pub const FUMO_UPDATE: &str = "org.openmobilealliance.dm.firmwareupdate.update";
/// FUMO: a download with update ended.
pub const FUMO_DOWNLOAD_AND_UPDATE: &str =
    "org.openmobilealliance.dm.firmwareupdate.downloadandupdate";
/// FUMO: the device asks for an update.
pub const FUMO_DEVICE_REQUEST: &str = "org.openmobilealliance.dm.firmwareupdate.devicerequest";
/// FUMO: the user asks for an update.
pub const FUMO_USER_REQUEST: &str = "org.openmobilealliance.dm.firmwareupdate.userrequest";
/// SCOMO: an operation ended.
pub const SCOMO_OPERATION_COMPLETE: &str = "urn:oma:at:scomo:1.0:OperationComplete";
/// LAWMO: an operation ended.
pub const LAWMO_OPERATION_COMPLETE: &str = "urn:oma:at:lawmo:1.0:OperationComplete";
/// DCMO: an operation ended.
pub const DCMO_OPERATION_COMPLETE: &str = "urn:oma:at:dcmo:1.0:OperationComplete";
/// DiagMon: an operation ended.
pub const DIAGMON_OPERATION_COMPLETE: &str = "urn:oma:at:diagmon:1.0:OperationComplete";
/// DiagMon: collected data.
pub const DIAGMON_COLLECTED_DATA: &str = "urn:oma:at:diagmon:1.0:CollectedSimpleDataReport";
/// DiagMon: a trap went off.
pub const DIAGMON_TRAP: &str = "urn:oma:at:diagmon:1.0:TrapNotification";
/// DiagMon: a trap is quiet again.
pub const DIAGMON_TRAP_INACTIVE: &str = "urn:oma:at:diagmon:1.0:TrapInactiveNotification";
/// DiagMon: a trap is gone.
pub const DIAGMON_TRAP_DEREGISTERED: &str = "urn:oma:at:diagmon:1.0:TrapDeregistered";
/// SACMO: a workflow ended.
pub const SACMO_OPERATION_REPORT: &str = "urn:oma:at:sacmo:1.0:OperationReport";
/// Management policy: a report.
pub const POLICY_REPORT: &str = "urn:oma:at:oma-mgmtpolicymo:1.0:policyreport";
/// Gateway: a new end device.
pub const GATEWAY_DEVICE_ATTACHED: &str = "urn:oma:at:oma-gwmo:deviceattached:1.1";
/// Gateway: an end device left.
pub const GATEWAY_DEVICE_DETACHED: &str = "urn:oma:at:oma-gwmo:devicedetached:1.0";
/// Gateway: answers of several end devices in one.
pub const GATEWAY_RESULT_AGGREGATION: &str = "urn:oma:at:oma-gwmo:resultaggregation:1.0";
/// Gateway: a fan-out ended.
pub const GATEWAY_COMPLETION_STATUS: &str = "urn:oma:at:oma-gwmo:completionstatus:1.0";
/// Gateway: the servers of an end device changed.
pub const GATEWAY_BOOTSTRAPPED_SERVERS: &str = "urn:oma:at:oma-gwmo:BootstrappedDMSList:1.0";
/// Gateway: an end device names its gateway.
pub const GATEWAY_ASSOCIATED: &str = "urn:oma:at:oma-gwmo:AssociatedGateway:1.0";
/// Gateway: an image is there.
pub const GATEWAY_IMAGE_READY: &str = "urn:oma:at:oma-gwmo:imageready:1.0";

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// `AlertType`: one of the constants of this module, or a vendor's.
    pub alert_type: String,
    /// `SourceURI`: the ClientURI of the node that caused it.
    pub source: Option<String>,
    /// `TargetURI`: the ClientURI of the node that it is about.
    pub target: Option<String>,
    /// `Mark`.
    pub mark: Option<Mark>,
    /// `DataType`: format or media type of the data.
    pub data_type: Option<String>,
    /// `Data`; DM 1.x payload rides in its member `DM1x`.
    pub data: Option<serde_json::Value>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the specification gives the words and no more")]
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
            alert_type: alert_type.to_owned(),
            source: None,
            target: None,
            mark: None,
            data_type: None,
            data: None,
        }
    }

    /// The alert that answers a notification, and echoes its NOTIFICATION-ID if it had one.
    // choice: the specification does not say where the identifier sits.
    pub fn server_initiated(notification_id: Option<u16>) -> Self {
        let data = notification_id.map(|id| serde_json::json!({ NOTIFICATION_ID: id }));
        Alert {
            data,
            ..Alert::new(SERVER_INITIATED)
        }
    }

    /// The NOTIFICATION-ID that a server-initiated alert echoes, as a number or as digits.
    pub fn notification_id(&self) -> Option<u16> {
        let data = self
            .data
            .as_ref()
            .filter(|_| self.alert_type == SERVER_INITIATED)?;
        let id = data
            .get(NOTIFICATION_ID)
            .or_else(|| data.get("DM1x"))
            .unwrap_or(data);
        match id.as_u64() {
            Some(number) => number.try_into().ok(),
            None => id.as_str()?.parse().ok(),
        }
    }

    /// `None` if there is no `AlertType`; unknown marks and members of the wrong type count as absent.
    pub(crate) fn from_json(json: &serde_json::Value) -> Option<Alert> {
        let map = json.as_object()?;
        Some(Alert {
            alert_type: text(map, "AlertType")?,
            source: text(map, "SourceURI"),
            target: text(map, "TargetURI"),
            mark: text(map, "Mark").and_then(|word| Mark::from_name(&word)),
            data_type: text(map, "DataType"),
            data: map.get("Data").filter(|data| !data.is_null()).cloned(),
        })
    }

    /// Members in the order of the schema.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut map = Map::new();
        put(&mut map, "AlertType", Some(self.alert_type.as_str()));
        put(&mut map, "SourceURI", self.source.as_deref());
        put(&mut map, "TargetURI", self.target.as_deref());
        put(&mut map, "Mark", self.mark.map(|mark| mark.name()));
        put(&mut map, "DataType", self.data_type.as_deref());
        put(&mut map, "Data", self.data.clone());
        map.into()
    }
}

impl Mark {
    const NAMES: &[(Mark, &str)] = &[
        (Mark::Fatal, "fatal"),
        (Mark::Critical, "critical"),
        (Mark::Minor, "minor"),
        (Mark::Warning, "warning"),
        (Mark::Informational, "informational"),
        (Mark::Harmless, "harmless"),
        (Mark::Indeterminate, "indeterminate"),
    ];

    /// The word on the wire.
    pub fn name(&self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(mark, _)| mark == self)
            .map_or("", |(_, name)| name)
    }

    /// The mark of this name, in any case.
    pub fn from_name(name: &str) -> Option<Mark> {
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        Self::NAMES
            .iter()
            .find(|(_, known)| same(known))
            .map(|(mark, _)| *mark)
    }
}

const NOTIFICATION_ID: &str = "NOTIFICATION-ID";
