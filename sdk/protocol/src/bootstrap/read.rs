//! Bootstrap document to accounts.

use super::{
    Account, AccountAuth, BootstrapAuth, BootstrapDocument, DMACC_MOID, GcmPush, NotiAuth, SecMode,
    Secret, TrspAuth,
};
use crate::{
    client_uri::{ClientUri, UriError, is_name},
    command::is_server_uri,
    limits::{Limits, excerpt},
    object::{MoItem, Node, ObjectError},
    value::{Format, Value, ValueError, decode_base64},
};
use serde_json::Value as Json;
use thiserror::Error;

/// Why bytes are not a bootstrap document. Values are never quoted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BootstrapError {
    /// Not an MO serialization.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// An item without a place.
    #[error("item {item} has no ClientURI; add it")]
    NoUri {
        /// Counted from 0.
        item: usize,
    },
    /// An item whose ClientURI cannot be read.
    #[error("item {item}: {source}")]
    Uri {
        /// Counted from 0.
        item: usize,
        /// What is wrong with it.
        source: UriError,
    },
    /// No account at all.
    #[error("no account; add an item with the ClientURI {DMACC_MOID}//")]
    NoAccount,
    /// A required node is missing.
    #[error("item {item}: the account lacks {node:?}; add it")]
    Missing {
        /// Counted from 0.
        item: usize,
        /// Path below the account's root.
        node: String,
    },
    /// A node that is not what it must be.
    #[error("item {item}: {node:?} must be {expected}")]
    Content {
        /// Counted from 0.
        item: usize,
        /// Path below the account's root.
        node: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A leaf that cannot be read.
    #[error("item {item}: {node:?}: {source}")]
    Value {
        /// Counted from 0.
        item: usize,
        /// Path below the account's root.
        node: String,
        /// What is wrong with it.
        source: ValueError,
    },
    /// Two accounts for one server.
    #[error("two accounts have the SrvID {srv_id:?}; it must be unique")]
    Repeated {
        /// The identifier, shortened.
        srv_id: String,
    },
}

pub(super) fn document(bytes: &[u8], limits: &Limits) -> Result<BootstrapDocument, BootstrapError> {
    let limits = Limits {
        object_bytes: limits.package_bytes,
        ..*limits
    };
    let mut document = BootstrapDocument::default();
    for (index, item) in MoItem::parse_all(bytes, &limits)?.into_iter().enumerate() {
        let text = item
            .client_uri
            .as_deref()
            .ok_or(BootstrapError::NoUri { item: index })?;
        let uri = ClientUri::parse_within(text, &limits).map_err(|source| BootstrapError::Uri {
            item: index,
            source,
        })?;
        if uri.moid == DMACC_MOID {
            let account = Reader {
                item: index,
                limits: &limits,
                root: root(&item.data),
            }
            .account()?;
            if document
                .accounts
                .iter()
                .any(|known| known.srv_id == account.srv_id)
            {
                return Err(BootstrapError::Repeated {
                    srv_id: excerpt(&account.srv_id),
                });
            }
            document.accounts.push(account);
        } else {
            document.objects.push(item);
        }
    }
    match document.accounts.is_empty() {
        true => Err(BootstrapError::NoAccount),
        false => Ok(document),
    }
}

/// What stands below the one key of `MOData`, whatever its name.
fn root(data: &Json) -> &Json {
    let single = data.as_object().filter(|members| members.len() == 1);
    single
        .and_then(|members| members.values().next())
        .unwrap_or(data)
}

/// Reads one account.
struct Reader<'a> {
    item: usize,
    limits: &'a Limits,
    root: &'a Json,
}

impl Reader<'_> {
    fn account(&self) -> Result<Account, BootstrapError> {
        let srv_id = self.text("SrvID")?;
        if !is_name(&srv_id, self.limits) {
            return Err(self.content("SrvID", "text of 1 to 255 bytes without control characters"));
        }
        Ok(Account {
            srv_id,
            srv_uri: self.server_uri("SrvURI")?,
            name: self.text("Name")?,
            permitted_moids: self.permitted_moids()?,
            auth: AccountAuth {
                anchors_der: self.anchors()?,
                crls_der: self.crls()?,
                crl_uri: self.optional("Ext/CRLURI", |this| this.server_uri("Ext/CRLURI"))?,
                pins: self.pins()?,
                bootstrap: self.optional("Auth/Bootstrap", Self::bootstrap)?,
                noti: self.optional("Auth/Noti", Self::noti)?,
                trsp: self.optional("Auth/Trsp", Self::trsp)?,
            },
            push: self.optional("Push/GCM", Self::gcm)?,
            est_uri: self.optional("Ext/EST", |this| this.server_uri("Ext/EST"))?,
            ext: self.ext()?,
        })
    }

    fn permitted_moids(&self) -> Result<Vec<String>, BootstrapError> {
        let groups = self.find("Perm").and_then(Json::as_object);
        let moids: Vec<String> = groups
            .into_iter()
            .flatten()
            .map(|(_, group)| group.get("MOID").and_then(Json::as_str).map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| self.content("Perm/<x>/MOID", "the text of a MOID"))?;
        if !moids
            .iter()
            .all(|moid| is_name(moid, self.limits) && !moid.contains(['/', '?']))
        {
            return Err(self.content("Perm/<x>/MOID", "a MOID such as urn:oma:mo:oma-fumo:1.0"));
        }
        match moids.is_empty() {
            true => Err(self.missing("Perm/<x>/MOID")),
            false => Ok(moids),
        }
    }

    fn anchors(&self) -> Result<Vec<Vec<u8>>, BootstrapError> {
        self.der(ANCHOR, "CERTIFICATE", "a certificate in DER or PEM")
    }

    fn crls(&self) -> Result<Vec<Vec<u8>>, BootstrapError> {
        self.der(CRL, "X509 CRL", "a revocation list in DER or PEM")
    }

    fn pins(&self) -> Result<Vec<[u8; 32]>, BootstrapError> {
        let mut pins = Vec::new();
        for (node, bytes) in self.folder(PIN)? {
            let pin = bytes.try_into();
            pins.push(pin.map_err(|_| self.content(&node, "the 32 bytes of a SHA-256"))?);
        }
        Ok(pins)
    }

    /// What stands in the leaves of a folder of `Ext`: one in DER or any number in PEM each.
    fn der(
        &self,
        folder: &str,
        label: &str,
        expected: &'static str,
    ) -> Result<Vec<Vec<u8>>, BootstrapError> {
        let mut all = Vec::new();
        for (node, bytes) in self.folder(folder)? {
            let found = all_der(bytes, label);
            all.extend(found.ok_or_else(|| self.content(&node, expected))?);
        }
        Ok(all)
    }

    fn folder(&self, name: &str) -> Result<Vec<(String, Vec<u8>)>, BootstrapError> {
        let folder = format!("{EXT}/{name}");
        let leaves = self.find(&folder).and_then(Json::as_object);
        let nodes = leaves.into_iter().flat_map(|leaves| leaves.keys());
        nodes
            .map(|name| {
                let node = format!("{folder}/{name}");
                self.bytes(&node).map(|bytes| (node, bytes))
            })
            .collect()
    }

    fn bootstrap(&self) -> Result<BootstrapAuth, BootstrapError> {
        let sec_mode = "Auth/Bootstrap/SecMode";
        Ok(BootstrapAuth {
            server_uri: self.server_uri("Auth/Bootstrap/ServerURI")?,
            sec_mode: match self.bytes(sec_mode)?.as_slice() {
                [0] | [b'0'] => SecMode::Psk,
                [2] | [b'2'] => SecMode::Certificate,
                _ => return Err(self.content(sec_mode, "one byte, 0 (PSK) or 2 (certificate)")),
            },
            client_public: self.bytes("Auth/Bootstrap/ClientPubKey")?,
            server_public: self.bytes("Auth/Bootstrap/ServerPubKey")?,
            client_secret: self.secret("Auth/Bootstrap/ClientSecretKey")?,
        })
    }

    fn noti(&self) -> Result<NotiAuth, BootstrapError> {
        let kind = match self.value("Auth/Noti/Type", Format::Int)? {
            Value::Int(kind) => kind,
            _ => return Err(self.content("Auth/Noti/Type", "a number")),
        };
        Ok(NotiAuth {
            kind,
            data: self.bytes("Auth/Noti/Data")?,
            secret: self.secret("Auth/Noti/Secret")?,
        })
    }

    fn trsp(&self) -> Result<TrspAuth, BootstrapError> {
        Ok(TrspAuth {
            data: self.bytes("Auth/Trsp/Data")?,
            secret: self.secret("Auth/Trsp/Secret")?,
        })
    }

    fn gcm(&self) -> Result<GcmPush, BootstrapError> {
        Ok(GcmPush {
            sender_id: self.text("Push/GCM/SenderID")?,
            reg_uri: self.text("Push/GCM/RegURI")?,
            unreg_uri: self.text("Push/GCM/UnRegURI")?,
            reg_params: self.text("Push/GCM/RegParams")?,
        })
    }

    fn ext(&self) -> Result<Vec<Node>, BootstrapError> {
        let Some(Json::Object(members)) = self.find(EXT) else {
            return Ok(Vec::new());
        };
        let data = Json::from_iter([(EXT, Json::Object(members.clone()))]);
        let item = MoItem {
            client_uri: None,
            data,
            ddf: None,
            cv: None,
        };
        let mut nodes = item.nodes(&[EXT.to_owned()], None, self.limits)?;
        let has_field = |name: &String| [ANCHOR, CRL, CRL_URI, PIN, EST].contains(&name.as_str());
        nodes.retain(|node| node.path.first().is_some_and(|name| !has_field(name)));
        Ok(nodes)
    }

    fn optional<T>(
        &self,
        node: &str,
        read: fn(&Self) -> Result<T, BootstrapError>,
    ) -> Result<Option<T>, BootstrapError> {
        self.find(node).map(|_| read(self)).transpose()
    }

    fn server_uri(&self, node: &str) -> Result<String, BootstrapError> {
        let uri = self.text(node)?;
        match is_server_uri(&uri, self.limits) {
            true => Ok(uri),
            false => Err(self.content(node, "an http or https URI")),
        }
    }

    fn secret(&self, node: &str) -> Result<Secret, BootstrapError> {
        self.bytes(node).map(Secret::from)
    }

    fn bytes(&self, node: &str) -> Result<Vec<u8>, BootstrapError> {
        match self.value(node, Format::Bin)? {
            Value::Bin(bytes) => Ok(bytes),
            _ => Err(self.content(node, "base64")),
        }
    }

    fn text(&self, node: &str) -> Result<String, BootstrapError> {
        self.value(node, Format::Chr).map(|value| value.as_text())
    }

    fn value(&self, node: &str, format: Format) -> Result<Value, BootstrapError> {
        let json = self.find(node).ok_or_else(|| self.missing(node))?;
        Value::from_json(json, Some(format), self.limits).map_err(|source| BootstrapError::Value {
            item: self.item,
            node: excerpt(node),
            source,
        })
    }

    /// The JSON value at a path below the root; `null` counts as absent.
    fn find(&self, node: &str) -> Option<&Json> {
        let found = node
            .split('/')
            .try_fold(self.root, |place, name| place.get(name));
        found.filter(|json| !json.is_null())
    }

    fn missing(&self, node: &str) -> BootstrapError {
        BootstrapError::Missing {
            item: self.item,
            node: excerpt(node),
        }
    }

    fn content(&self, node: &str, expected: &'static str) -> BootstrapError {
        BootstrapError::Content {
            item: self.item,
            node: excerpt(node),
            expected,
        }
    }
}

pub(super) const EXT: &str = "Ext";
pub(super) const ANCHOR: &str = "Anchor";
pub(super) const CRL: &str = "CRL";
pub(super) const CRL_URI: &str = "CRLURI";
pub(super) const PIN: &str = "Pin";
pub(super) const EST: &str = "EST";

/// One in DER, or any number in PEM under this label.
fn all_der(bytes: Vec<u8>, label: &str) -> Option<Vec<Vec<u8>>> {
    let all = match str::from_utf8(&bytes) {
        Ok(text) if text.contains("-----BEGIN ") => pem(text, label)?,
        _ => vec![bytes],
    };
    // Each is a DER sequence.
    let is_der = !all.is_empty() && all.iter().all(|der| der.first() == Some(&0x30));
    is_der.then_some(all)
}

/// What stands between the marks (RFC 7468); text around them is skipped.
fn pem(text: &str, label: &str) -> Option<Vec<Vec<u8>>> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    text.split(&begin)
        .skip(1)
        .map(|rest| decode_base64(rest.split_once(&end)?.0))
        .collect()
}
