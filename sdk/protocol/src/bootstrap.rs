//! The bootstrap document: DM accounts, and objects that come with them, as one MO serialization.
//!
//! choice: the envelope is an array of items; those of the DM Account MO are accounts, in order, and the others are kept
//! as they are.

mod read;
mod write;

pub use read::BootstrapError;

use crate::{
    limits::Limits,
    object::{MoItem, Node},
};
use std::fmt;

/// DM Account.
pub const DMACC_MOID: &str = "urn:oma:mo:oma-dm-dmacc:1.2";
/// Device Information.
pub const DEVINFO_MOID: &str = "urn:oma:mo:oma-dm-devinfo:1.2";
/// Delegation Access Control.
pub const DACMO_MOID: &str = "urn:oma:mo:oma-dm-dacmo:1.0";
/// Session Information.
pub const SESSION_INFO_MOID: &str = "urn:oma:mo:oma-sessioninfomo:1.0";

/// What a device learns at bootstrap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BootstrapDocument {
    /// The authorities that may manage the device.
    pub accounts: Vec<Account>,
    /// Other objects, owned by the first account's server.
    pub objects: Vec<MoItem>,
}

/// A DM Account MO.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// `SrvID`: identifies the server; unique on the device.
    pub srv_id: String,
    /// `SrvURI`: where Package#1 goes.
    pub srv_uri: String,
    /// `Name`: for people.
    pub name: String,
    /// `Perm/<x>/MOID`: the object types that this server may ever manage.
    pub permitted_moids: Vec<String>,
    /// `Auth`.
    pub auth: AccountAuth,
    /// `Push/GCM`.
    pub push: Option<GcmPush>,
    /// `Ext/EST`: where the device gets certificates (RFC 7030), e.g. `https://dm.example/.well-known/est`; `cacerts` and the
    /// others are below it.
    // choice: OMA has no node for it.
    pub est_uri: Option<String>,
    /// `Ext`: vendor nodes, relative to it, without those that have fields of their own.
    pub ext: Vec<Node>,
}

/// Credentials of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountAuth {
    /// `Ext/Anchor/<x>`: certificates that the server's chain must end in, DER.
    // choice: the DM Account MO has no place for trust anchors; `Ext` is its only extension point that is there without `Auth`.
    pub anchors_der: Vec<Vec<u8>>,
    /// `Ext/CRL/<x>`: revocation lists (RFC 5280 §5) by which the server's chain is judged, DER.
    pub crls_der: Vec<Vec<u8>>,
    /// `Ext/CRLURI`: where the newest of them is; https, one DER file.
    pub crl_uri: Option<String>,
    /// `Ext/Pin/<x>`: SHA-256 of the SubjectPublicKeyInfo of the server's own certificate; one must fit. Two or more, so that
    /// a lost key does not lock the device out.
    pub pins: Vec<[u8; 32]>,
    /// `Auth/Bootstrap`.
    pub bootstrap: Option<BootstrapAuth>,
    /// `Auth/Noti`.
    pub noti: Option<NotiAuth>,
    /// `Auth/Trsp`.
    pub trsp: Option<TrspAuth>,
}

/// Credentials for the bootstrap server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapAuth {
    /// `ServerURI`.
    pub server_uri: String,
    /// `SecMode`.
    pub sec_mode: SecMode,
    /// `ClientPubKey`: certificate or PSK identity.
    pub client_public: Vec<u8>,
    /// `ServerPubKey`: certificate or PSK identity.
    pub server_public: Vec<u8>,
    /// `ClientSecretKey`: private key or pre-shared key.
    pub client_secret: Secret,
}

/// How the TLS session with the bootstrap server is secured.
// choice: the numbers of the LwM2M Security object; raw public key (1) and none (3) are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecMode {
    /// 0
    Psk,
    /// 2
    Certificate,
}

/// Credentials for notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotiAuth {
    /// `Type`; [`NotiAuth::SHA256`] is the only one known.
    pub kind: i64,
    /// `Data`: AuthData of the digest.
    pub data: Vec<u8>,
    /// `Secret`: of the digest.
    pub secret: Secret,
}

impl NotiAuth {
    /// The digest of [`crate::Notification::digest_input`].
    // choice: the values of `Type` are not known.
    pub const SHA256: i64 = 1;
}

/// Credentials for ordinary sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrspAuth {
    /// `Data`: client certificate chain, PEM or DER.
    pub data: Vec<u8>,
    /// `Secret`: its private key, PEM or DER.
    pub secret: Secret,
}

/// `Push/GCM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcmPush {
    /// `SenderID`.
    pub sender_id: String,
    /// `RegURI`.
    pub reg_uri: String,
    /// `UnRegURI`.
    pub unreg_uri: String,
    /// `RegParams`: a URI query.
    pub reg_params: String,
}

/// Bytes that never show in `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Secret(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl BootstrapDocument {
    /// Reads a document of at most `Limits::package_bytes`. Binary nodes are base64; certificates may be DER or PEM.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, BootstrapError> {
        read::document(bytes, limits)
    }

    /// Writes it: accounts first, then the other objects.
    pub fn to_bytes(&self) -> Vec<u8> {
        write::document(self)
    }
}
