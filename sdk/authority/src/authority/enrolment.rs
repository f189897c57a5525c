//! The devices of an authority: what they are given, and by which certificate they are known.

use bailiwick_protocol::{
    Account, AccountAuth, BootstrapDocument,
    bootstrap::{self, NotiAuth, TrspAuth},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Authority, AuthorityError, CERTIFICATE_DAYS, DEFAULT_PORT, RECORD_BYTES};
use crate::{
    clock,
    device::DeviceId,
    files::{self, FileError, PRIVATE},
    pki::{self, Ca, Identity, Validity},
    record::{self, RecordError},
};

/// What a device is told to grant when nothing else is said: who it is, who manages it, how it is connected.
pub const DEFAULT_MOIDS: &[&str] = &[
    bootstrap::DEVINFO_MOID,
    bootstrap::DMACC_MOID,
    bootstrap::SESSION_INFO_MOID,
];

/// Certificates of one device that are accepted at a time: the new one, and the old one until the device has changed over.
const CERTIFICATES_PER_DEVICE: usize = 2;

/// What [`Authority::enroll`] needs to know.
#[derive(Debug, Clone)]
pub struct Enroll {
    /// Object types to be permitted; empty = [`DEFAULT_MOIDS`], or at a renewal what was permitted before.
    pub moids: Vec<String>,
    /// `SrvURI`; `None` = `https://HOST:8443/dm` with the first host of the authority.
    pub uri: Option<String>,
    /// Of the client certificate.
    pub validity: Validity,
    /// True: the device is enrolled and gets a further certificate.
    pub renew: bool,
}

impl Default for Enroll {
    fn default() -> Self {
        Enroll {
            moids: Vec::new(),
            uri: None,
            validity: Validity::days(CERTIFICATE_DAYS),
            renew: false,
        }
    }
}

/// What a device gets.
#[derive(Debug)]
pub struct Enrollment {
    /// The account, with the client identity and the trust anchor in it: secret.
    pub bootstrap: BootstrapDocument,
    /// The same client identity by itself.
    pub identity: Identity,
}

impl Enrollment {
    /// Writes the bootstrap document to `path`, readable by its owner alone, replacing what was there.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        if let Some(directory) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            files::private_dir(directory)?;
        }
        files::replace(path, &self.bootstrap.to_bytes(), PRIVATE)
    }
}

/// What an authority knows of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Device {
    /// Its ID.
    pub device: DeviceId,
    /// When it was enrolled, RFC 3339.
    pub enrolled: String,
    /// Object types that it was told to permit.
    pub moids: Vec<String>,
    /// Fingerprints of the accepted client certificates, oldest first; empty = revoked.
    pub certificates: Vec<String>,
    /// When the newest certificate ends, in seconds since 1970-01-01 UTC.
    pub not_after: u64,
    /// Authenticates notifications.
    pub(crate) notification: NotificationKey,
}

impl Device {
    /// When the newest certificate ends, RFC 3339.
    pub fn expires(&self) -> String {
        clock::rfc3339(UNIX_EPOCH + Duration::from_secs(self.not_after))
    }
}

/// What signs the notifications to one device.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct NotificationKey {
    /// `Auth/Noti/Data`.
    pub(crate) data: String,
    /// `Auth/Noti/Secret`.
    pub(crate) secret: String,
}

impl fmt::Debug for NotificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NotificationKey")
    }
}

impl Authority {
    /// Gives `device` a client identity and an account.
    pub fn enroll(&self, device: &DeviceId, enroll: Enroll) -> Result<Enrollment, AuthorityError> {
        let uri = match enroll.uri {
            Some(uri) => uri,
            None => self.default_uri(),
        };
        self.check_uri(&uri)?;
        let ca = self.ca()?;
        let identity = ca.issue_client(device.as_str(), enroll.validity)?;

        let _changing = files::lock(&self.dir.join("authority.lock"))?;
        let old = match self.device(device) {
            Ok(old) => Some(old),
            Err(AuthorityError::Unknown { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut record = match (old, enroll.renew) {
            (Some(_), false) => {
                return Err(AuthorityError::Enrolled {
                    device: device.clone(),
                });
            }
            (None, true) => {
                return Err(AuthorityError::Unknown {
                    device: device.clone(),
                });
            }
            (Some(old), true) => old,
            (None, false) => Device {
                device: device.clone(),
                enrolled: clock::rfc3339(SystemTime::now()),
                moids: DEFAULT_MOIDS
                    .iter()
                    .map(|moid| (*moid).to_owned())
                    .collect(),
                certificates: Vec::new(),
                not_after: 0,
                notification: NotificationKey {
                    data: pki::random_hex(16)?,
                    secret: pki::random_hex(32)?,
                },
            },
        };
        if !enroll.moids.is_empty() {
            record.moids = enroll.moids;
        }
        record.certificates.push(identity.fingerprint());
        record.not_after = clock::unix_seconds(enroll.validity.not_after);
        let surplus = record
            .certificates
            .len()
            .saturating_sub(CERTIFICATES_PER_DEVICE);
        for fingerprint in record.certificates.drain(..surplus) {
            files::remove(&self.certificate_path(&fingerprint))?;
        }
        record::replace(&self.device_path(device), &record, PRIVATE)?;
        let path = self.certificate_path(&identity.fingerprint());
        files::replace(&path, device.as_str().as_bytes(), PRIVATE)?;

        let bootstrap = BootstrapDocument {
            accounts: vec![self.account(&record, uri, &ca, &identity)],
            objects: Vec::new(),
        };
        Ok(Enrollment {
            bootstrap,
            identity,
        })
    }

    /// Accepts none of the device's certificates any more, from its next request on. Its queue and results stay.
    pub fn revoke(&self, device: &DeviceId) -> Result<(), AuthorityError> {
        let _changing = files::lock(&self.dir.join("authority.lock"))?;
        let mut record = self.device(device)?;
        for fingerprint in record.certificates.drain(..) {
            files::remove(&self.certificate_path(&fingerprint))?;
        }
        record::replace(&self.device_path(device), &record, PRIVATE)?;
        Ok(())
    }

    /// The enrolled devices, by name.
    pub fn devices(&self) -> Result<Vec<Device>, AuthorityError> {
        let mut devices = Vec::new();
        for name in files::list(&self.dir.join("devices"))? {
            if name.ends_with(".json") {
                devices.push(record::read(
                    &self.dir.join("devices").join(name),
                    RECORD_BYTES,
                )?);
            }
        }
        Ok(devices)
    }

    /// One enrolled device.
    pub fn device(&self, device: &DeviceId) -> Result<Device, AuthorityError> {
        match record::read(&self.device_path(device), RECORD_BYTES) {
            Err(error) if error.is_not_found() => Err(AuthorityError::Unknown {
                device: device.clone(),
            }),
            other => Ok(other?),
        }
    }

    /// The device that presents the certificate with this fingerprint; `None` if it was never enrolled, or is revoked.
    pub fn device_of_certificate(
        &self,
        fingerprint: &str,
    ) -> Result<Option<DeviceId>, AuthorityError> {
        let path = self.certificate_path(fingerprint);
        match files::read(&path, RECORD_BYTES) {
            Ok(bytes) => match String::from_utf8_lossy(&bytes).parse() {
                Ok(device) => Ok(Some(device)),
                Err(error) => Err(RecordError::damaged(&path, error).into()),
            },
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn account(&self, device: &Device, srv_uri: String, ca: &Ca, identity: &Identity) -> Account {
        Account {
            est_uri: est_uri(&srv_uri),
            srv_id: self.settings.srv_id.clone(),
            srv_uri,
            name: self.settings.name.clone(),
            permitted_moids: device.moids.clone(),
            auth: AccountAuth {
                anchors_der: vec![ca.certificate_der().to_vec()],
                noti: Some(NotiAuth {
                    kind: NotiAuth::SHA256,
                    data: device.notification.data.clone().into_bytes(),
                    secret: device.notification.secret.clone().into_bytes().into(),
                }),
                trsp: Some(TrspAuth {
                    data: identity.certificate_der().to_vec(),
                    secret: identity.key_der().to_vec().into(),
                }),
                ..AccountAuth::default()
            },
            ..Account::default()
        }
    }

    fn default_uri(&self) -> String {
        match self.settings.hosts.first() {
            Some(host) if host.contains(':') && !host.starts_with('[') => {
                format!("https://[{host}]:{DEFAULT_PORT}/dm")
            }
            Some(host) => format!("https://{host}:{DEFAULT_PORT}/dm"),
            None => format!("https://localhost:{DEFAULT_PORT}/dm"),
        }
    }

    /// A device that follows `uri` must find a host that the server certificate names.
    fn check_uri(&self, uri: &str) -> Result<(), AuthorityError> {
        let refused =
            |reason: String| Err(AuthorityError::Setting(format!("the URI {uri:?} {reason}")));
        let parsed: hyper::Uri = match uri.parse() {
            Ok(parsed) => parsed,
            Err(error) => return refused(format!("is malformed: {error}")),
        };
        let host = match (parsed.scheme_str(), parsed.host()) {
            (Some("https"), Some(host)) => host.trim_matches(['[', ']']),
            _ => return refused("must begin with https:// and a host".into()),
        };
        if self.settings.hosts.iter().any(|known| names(known, host)) {
            return Ok(());
        }
        refused(format!(
            "leads to {host}, which the server certificate does not name; add it with `bailiwick-authority renew --host {host}`"
        ))
    }

    pub(super) fn device_path(&self, device: &DeviceId) -> PathBuf {
        self.dir.join("devices").join(format!("{device}.json"))
    }

    pub(super) fn certificate_path(&self, fingerprint: &str) -> PathBuf {
        self.dir.join("certificates").join(fingerprint)
    }
}

/// The EST service beside the DM server.
fn est_uri(srv_uri: &str) -> Option<String> {
    let parsed: hyper::Uri = srv_uri.parse().ok()?;
    Some(format!("https://{}/.well-known/est", parsed.authority()?))
}

/// True if a certificate for `known`, which may begin with `*.`, is good for `host`.
fn names(known: &str, host: &str) -> bool {
    match known.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => known.trim_matches(['[', ']']).eq_ignore_ascii_case(host),
    }
}
