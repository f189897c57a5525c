//! Who does the work: installed plug-ins, their sandboxes, and calls to them.
//!
//! A sandbox is one (plug-in, authority). All sandboxes of an authority live in one worker process;
//! both start with the first call and go when idle.

pub mod budget;
pub mod cache;
mod code;
pub mod compile;
pub mod imports;
pub mod manifest;
mod manifests;
pub mod messages;
mod process;
mod supervisor;

use std::rc::Rc;

use bailiwick_protocol::Ddf;
use serde::{Deserialize, Serialize};

use crate::authority::{Authority, Instance};
use crate::store::Transaction;

pub use manifests::{Manifests, PluginsError};
pub use supervisor::Plugins;

pub use messages::{
    ApplicationGrant, ApplicationPrincipal, Bearer, CertificateRole, Change, ExecOutcome, Identity,
    Interface, Kind, Operation, Output, PluginError,
};

/// One call to a plug-in: what, for whom, and where its writes go.
pub struct Call {
    /// Name of the plug-in.
    pub plugin: Rc<str>,
    /// On whose behalf; picks the worker.
    pub authority: Authority,
    /// The instance that the call addresses; picks the storage namespace. `None`: the plug-in's own
    /// namespace for the authority.
    pub instance: Option<Instance>,
    /// What the plug-in is to do.
    pub operation: Operation,
    /// Storage writes of the call go in here; the caller commits or drops it.
    pub transaction: Rc<Transaction>,
    /// What the session of the authority runs over, if there is one.
    pub bearer: Option<Bearer>,
}

/// A Management Object type that an installed plug-in serves, by its manifest.
#[derive(Clone, Debug)]
pub struct Class {
    /// The type.
    pub moid: String,
    /// The plug-in that serves it.
    pub plugin: Rc<str>,
    /// Its description, parsed and checked.
    pub ddf: Rc<Ddf>,
    /// The DDF document as it came.
    pub ddf_text: Rc<str>,
    /// Calls on its instances use the plug-in's own storage namespace (`shared-storage` in the manifest).
    pub shared_storage: bool,
}

/// Why a call brought no output.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The plug-in answered with an error.
    #[error("plug-in {plugin}: {error}")]
    Refused {
        /// The plug-in.
        plugin: String,
        /// Its answer.
        error: PluginError,
    },
    /// The sandbox trapped; it is replaced before the next call.
    #[error("plug-in {plugin} crashed: {reason}")]
    Crashed {
        /// The plug-in.
        plugin: String,
        /// What the engine or the supervisor says.
        reason: String,
    },
    /// The deadline passed; the sandbox is replaced before the next call.
    #[error("plug-in {plugin} did not answer within {milliseconds} ms")]
    TimedOut {
        /// The plug-in.
        plugin: String,
        /// The deadline.
        milliseconds: u64,
    },
    /// It crashed too often and is not called again until the operator releases it.
    #[error(
        "plug-in {plugin} is quarantined for this authority after {traps} crashes; `bailiwick plugins release {plugin}` lets it try again"
    )]
    Quarantined {
        /// The plug-in.
        plugin: String,
        /// How many in a row.
        traps: u32,
    },
    /// It cannot be started.
    #[error("plug-in {plugin} cannot be started: {reason}")]
    Unusable {
        /// The plug-in.
        plugin: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Too many calls wait for it.
    #[error("plug-in {plugin} is busy")]
    Busy {
        /// The plug-in.
        plugin: String,
    },
}

/// What plug-ins reach of the rooms above, through privileged imports. Wired by `agent`.
pub trait Services {
    /// The accounts that a call on behalf of `who` may see: its own; for the operator and the device, all.
    fn accounts(&self, who: &Authority) -> Result<Vec<AccountView>, PluginError>;
    /// Queues a generic alert for `who`, within the transaction of the call.
    fn raise_alert(
        &self,
        transaction: &Transaction,
        who: &Authority,
        alert: AlertRequest,
    ) -> Result<(), PluginError>;
    /// The certificates of `who`, and no others.
    fn certificates(
        &self,
        _transaction: &Transaction,
        _who: &Authority,
    ) -> Result<Vec<CertificateView>, PluginError> {
        Err(PluginError::NotSupported)
    }
    /// Keeps a certificate that `who` gives itself; returns its id.
    fn add_certificate(
        &self,
        _transaction: &Transaction,
        _who: &Authority,
        _certificate: NewCertificate,
    ) -> Result<String, PluginError> {
        Err(PluginError::NotSupported)
    }
    /// Takes back a certificate that `who` gave itself.
    fn remove_certificate(
        &self,
        _transaction: &Transaction,
        _who: &Authority,
        _id: &str,
        _role: CertificateRole,
    ) -> Result<(), PluginError> {
        Err(PluginError::NotSupported)
    }
    /// Gives rights to a local application that `who` certifies, in the name of `who`.
    fn give_rights(
        &self,
        _transaction: &Transaction,
        _who: &Authority,
        _grant: ApplicationGrant,
    ) -> Result<(), PluginError> {
        Err(PluginError::NotSupported)
    }
    /// Takes away what `who` gave so.
    fn take_rights(
        &self,
        _transaction: &Transaction,
        _who: &Authority,
        _to: &ApplicationPrincipal,
        _on: &str,
    ) -> Result<(), PluginError> {
        Err(PluginError::NotSupported)
    }
    /// What `who` has given so.
    fn given_rights(
        &self,
        _transaction: &Transaction,
        _who: &Authority,
    ) -> Result<Vec<GrantView>, PluginError> {
        Err(PluginError::NotSupported)
    }
}

/// A certificate that an authority gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    /// What it is to be.
    pub role: CertificateRole,
    /// X.509, DER.
    pub der: Vec<u8>,
    /// What it is for.
    pub purposes: Vec<String>,
}

/// What may be shown of a certificate: nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Names it, together with its role.
    pub id: String,
    /// What it is.
    pub role: CertificateRole,
    /// X.509, DER.
    #[serde(with = "serde_bytes")]
    pub der: Vec<u8>,
    /// What it is for.
    pub purposes: Vec<String>,
    /// Who gave it, in words.
    pub origins: Vec<String>,
    /// Whether the authority gave it itself, in a session.
    pub own: bool,
    /// `active`, `suspended` or `trial`.
    pub state: String,
    /// Where the key is.
    pub key_in: Option<String>,
    /// Whose it is.
    pub subject: String,
    /// Who has issued it.
    pub issuer: String,
    /// Hexadecimal.
    pub serial_number: String,
    /// From when, ISO 8601.
    pub not_before: String,
    /// Until when, ISO 8601.
    pub not_after: String,
}

/// Rights that an authority gave to a local application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// To whom, as the host names it.
    pub to: String,
    /// ClientURI of the instance.
    pub on: String,
    /// 1 read, 2 write, 4 execute.
    pub rights: u8,
    /// Last second, Unix time.
    pub not_after: Option<u64>,
}

/// What may be shown of an account: nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// MIID of its DM Account instance.
    pub miid: String,
    /// `SrvID`.
    pub srv_id: String,
    /// `SrvURI`.
    pub srv_uri: String,
    /// For people.
    pub name: String,
    /// The client certificate that its sessions present, in DER.
    pub client_certificate: Option<Vec<u8>>,
}

/// A generic alert that a plug-in raises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRequest {
    /// e.g. `urn:oma:at:scomo:1.0:OperationComplete`.
    pub alert_type: String,
    /// The node that it is about: MOID, MIID, path.
    pub source: Option<(String, String, Vec<String>)>,
    /// OMA's name of the severity.
    pub mark: Option<String>,
    /// Text for the data member.
    pub data: Option<String>,
}

impl AlertRequest {
    /// Bytes of its texts.
    fn bytes(&self) -> usize {
        let source = self.source.as_ref().map_or(0, |(moid, miid, path)| {
            moid.len() + miid.len() + path.iter().map(String::len).sum::<usize>()
        });
        let texts = [
            Some(&self.alert_type),
            self.mark.as_ref(),
            self.data.as_ref(),
        ];
        source + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// An installed plug-in and how it does.
#[derive(Clone, Debug, Serialize)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub kind: Kind,
    /// The types that its manifest declares.
    pub moids: Vec<String>,
    /// What it may import.
    pub grants: Vec<Interface>,
    /// What it asked for in vain.
    pub withheld: Vec<Interface>,
    /// How it has done, by authority, since the host started.
    pub sandboxes: Vec<SandboxStatus>,
}

/// How a plug-in has done for one authority.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxStatus {
    /// The authority.
    pub authority: String,
    /// Calls that have ended.
    pub calls: u64,
    /// Crashes in a row.
    pub traps: u32,
    /// Not called any more.
    pub quarantined: bool,
    /// The last failure, in words.
    pub last_failure: Option<String>,
}
