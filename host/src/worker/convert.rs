//! WIT types to the host's and back; the only file that knows both.

use bailiwick_protocol::{Node, Value};

use super::bindings::environment::exports::bailiwick::env::device as exported_device;
use super::bindings::imports::bailiwick::env::device as imported_device;
use super::bindings::imports::bailiwick::host::session as wit_session;
use super::bindings::imports::bailiwick::host::{applications, certificates};
use super::bindings::imports::bailiwick::types::types as wit;
use super::bindings::object::exports::bailiwick::mo::handler as wit_handler;
use crate::plugins::messages::{
    ApplicationPrincipal, Bearer, CertificateRole, Change, ExecOutcome, Identity, PluginError,
};
use crate::plugins::{CertificateView, GrantView};

pub(super) fn node_out(node: Node) -> wit::Node {
    wit::Node {
        path: node.path,
        value: node.value.map(value_out),
    }
}

pub(super) fn node_in(node: wit::Node) -> Node {
    Node {
        path: node.path,
        value: node.value.map(value_in),
    }
}

fn value_out(value: Value) -> wit::LeafValue {
    match value {
        Value::Null => wit::LeafValue::Null,
        Value::Bool(value) => wit::LeafValue::Boolean(value),
        Value::Int(value) => wit::LeafValue::Integer(value),
        Value::Float(value) => wit::LeafValue::Floating(value),
        Value::Chr(value) => wit::LeafValue::Chars(value),
        Value::Bin(value) => wit::LeafValue::Binary(value),
        Value::B64(value) => wit::LeafValue::Base64(value),
        Value::Xml(value) => wit::LeafValue::Xml(value),
        Value::Date(value) => wit::LeafValue::Date(value),
        Value::Time(value) => wit::LeafValue::Time(value),
    }
}

fn value_in(value: wit::LeafValue) -> Value {
    match value {
        wit::LeafValue::Null => Value::Null,
        wit::LeafValue::Boolean(value) => Value::Bool(value),
        wit::LeafValue::Integer(value) => Value::Int(value),
        wit::LeafValue::Floating(value) => Value::Float(value),
        wit::LeafValue::Chars(value) => Value::Chr(value),
        wit::LeafValue::Binary(value) => Value::Bin(value),
        wit::LeafValue::Base64(value) => Value::B64(value),
        wit::LeafValue::Xml(value) => Value::Xml(value),
        wit::LeafValue::Date(value) => Value::Date(value),
        wit::LeafValue::Time(value) => Value::Time(value),
    }
}

pub(super) fn error_out(error: PluginError) -> wit::Error {
    match error {
        PluginError::NotFound => wit::Error::NotFound,
        PluginError::NotPermitted => wit::Error::NotPermitted,
        PluginError::NotSupported => wit::Error::NotSupported,
        PluginError::InvalidArgument(text) => wit::Error::InvalidArgument(text),
        PluginError::Conflict(text) => wit::Error::Conflict(text),
        PluginError::Busy => wit::Error::Busy,
        PluginError::TooLarge => wit::Error::TooLarge,
        PluginError::TimedOut => wit::Error::TimedOut,
        PluginError::Unavailable(text) => wit::Error::Unavailable(text),
        PluginError::Other(text) => wit::Error::Other(text),
    }
}

pub(super) fn error_in(error: wit::Error) -> PluginError {
    match error {
        wit::Error::NotFound => PluginError::NotFound,
        wit::Error::NotPermitted => PluginError::NotPermitted,
        wit::Error::NotSupported => PluginError::NotSupported,
        wit::Error::InvalidArgument(text) => PluginError::InvalidArgument(text),
        wit::Error::Conflict(text) => PluginError::Conflict(text),
        wit::Error::Busy => PluginError::Busy,
        wit::Error::TooLarge => PluginError::TooLarge,
        wit::Error::TimedOut => PluginError::TimedOut,
        wit::Error::Unavailable(text) => PluginError::Unavailable(text),
        wit::Error::Other(text) => PluginError::Other(text),
    }
}

pub(super) fn change_out(change: Change) -> wit_handler::Change {
    match change {
        Change::Put(node) => wit_handler::Change::Put(node_out(node)),
        Change::Delete(path) => wit_handler::Change::Delete(path),
    }
}

pub(super) fn outcome_in(outcome: wit_handler::ExecOutcome) -> ExecOutcome {
    match outcome {
        wit_handler::ExecOutcome::Completed => ExecOutcome::Completed,
        wit_handler::ExecOutcome::Started => ExecOutcome::Started,
    }
}

pub(super) fn bearer_out(bearer: Bearer) -> wit_session::Bearer {
    match bearer {
        Bearer::Unknown => wit_session::Bearer::Unknown,
        Bearer::Cellular => wit_session::Bearer::Cellular,
        Bearer::Wlan => wit_session::Bearer::Wlan,
        Bearer::Wireline => wit_session::Bearer::Wireline,
    }
}

pub(super) fn bearer_in(bearer: wit_session::Bearer) -> Bearer {
    match bearer {
        wit_session::Bearer::Unknown => Bearer::Unknown,
        wit_session::Bearer::Cellular => Bearer::Cellular,
        wit_session::Bearer::Wlan => Bearer::Wlan,
        wit_session::Bearer::Wireline => Bearer::Wireline,
    }
}

pub(super) fn identity_out(identity: Identity) -> imported_device::Identity {
    imported_device::Identity {
        device_id: identity.device_id,
        manufacturer: identity.manufacturer,
        model: identity.model,
        device_type: identity.device_type,
        oem: identity.oem,
        hardware_version: identity.hardware_version,
        firmware_version: identity.firmware_version,
        software_version: identity.software_version,
        language: identity.language,
    }
}

pub(super) fn identity_in(identity: exported_device::Identity) -> Identity {
    Identity {
        device_id: identity.device_id,
        manufacturer: identity.manufacturer,
        model: identity.model,
        device_type: identity.device_type,
        oem: identity.oem,
        hardware_version: identity.hardware_version,
        firmware_version: identity.firmware_version,
        software_version: identity.software_version,
        language: identity.language,
    }
}

pub(super) fn role_in(role: certificates::Role) -> CertificateRole {
    match role {
        certificates::Role::Anchor => CertificateRole::Anchor,
        certificates::Role::Identity => CertificateRole::Identity,
        certificates::Role::Intermediate => CertificateRole::Intermediate,
    }
}

pub(super) fn certificate_out(view: CertificateView) -> certificates::Certificate {
    certificates::Certificate {
        id: view.id,
        role: match view.role {
            CertificateRole::Anchor => certificates::Role::Anchor,
            CertificateRole::Identity => certificates::Role::Identity,
            CertificateRole::Intermediate => certificates::Role::Intermediate,
        },
        der: view.der,
        purposes: view.purposes,
        origins: view.origins,
        removable: view.own,
        state: view.state,
        key_in: view.key_in,
        subject: view.subject,
        issuer: view.issuer,
        serial_number: view.serial_number,
        not_before: view.not_before,
        not_after: view.not_after,
    }
}

pub(super) fn principal_in(principal: applications::Principal) -> ApplicationPrincipal {
    match principal {
        applications::Principal::Subject(name) => ApplicationPrincipal::Subject(name),
        applications::Principal::Policy(name) => ApplicationPrincipal::Policy(name),
    }
}

/// Each right and its bit.
const RIGHTS: [(applications::Rights, u8); 3] = [
    (applications::Rights::READ, 1),
    (applications::Rights::WRITE, 2),
    (applications::Rights::EXECUTE, 4),
];

pub(super) fn rights_in(rights: applications::Rights) -> u8 {
    let held = RIGHTS.iter().filter(|(right, _)| rights.contains(*right));
    held.fold(0, |bits, (_, bit)| bits | bit)
}

pub(super) fn grant_out(view: GrantView) -> applications::Grant {
    let mut rights = applications::Rights::empty();
    for (right, bit) in RIGHTS {
        if view.rights & bit != 0 {
            rights |= right;
        }
    }
    applications::Grant {
        to: view.to,
        on: view.on,
        rights,
        not_after: view.not_after,
    }
}
