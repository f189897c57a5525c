//! The authority's directory: who it is, its keys, and the devices that it has enrolled.
//!
//! ```text
//! authority.json              name, SrvID, hosts
//! ca.pem ca.key               trust anchor of its devices and of its server
//! server.pem server.key       what the server presents
//! devices/<device>.json       one enrolled device
//! certificates/<sha256>       the device that a client certificate belongs to
//! queue/<device>.json         commands that wait for their status
//! results/<device>.jsonl      what came back
//! data/ uploads/              the data repository
//! ```

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};
use thiserror::Error;

use crate::{
    clock,
    device::DeviceId,
    files::{self, FileError, PRIVATE, PUBLIC},
    journal::Journal,
    pki::{self, Ca, Identity, PkiError, Validity},
    queue::Queue,
    record::{self, RecordError},
    repository::Repository,
};

mod certify;
mod enrolment;

pub use enrolment::{DEFAULT_MOIDS, Device, Enroll, Enrollment};

/// Port that devices are told when nothing else is said.
pub const DEFAULT_PORT: u16 = 8443;
/// Days that the CA certificate holds.
pub const CA_DAYS: u32 = 3650;
/// Days that server and client certificates hold when nothing else is said; strict verifiers accept up to 398.
pub const CERTIFICATE_DAYS: u32 = 397;

/// Bytes of a JSON file of ours. Stops a damaged disk from filling memory.
const RECORD_BYTES: u64 = 1 << 20;
/// Why the authority's directory cannot be used.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// `init` where something is already.
    #[error("{} exists already; choose another directory, or remove it if nothing depends on its keys", path.display())]
    Exists {
        /// The file that is in the way.
        path: PathBuf,
    },
    /// `open` where nothing is.
    #[error("{} holds no authority; make one with `bailiwick-authority init`", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// A setting that makes no sense.
    #[error("{0}")]
    Setting(String),
    /// A device that is already enrolled.
    #[error("{device} is enrolled already; give it a new certificate with --renew")]
    Enrolled {
        /// The device.
        device: DeviceId,
    },
    /// A device that is not enrolled.
    #[error("{device} is not enrolled; see `bailiwick-authority devices`, or enroll it first")]
    Unknown {
        /// The device.
        device: DeviceId,
    },
    /// A record could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate could not be made or read.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// What [`Authority::init`] needs to know.
#[derive(Debug, Clone, Default)]
pub struct Init {
    /// Shown to people, 1 to 60 characters.
    pub name: String,
    /// `SrvID`, 1 to 255 bytes without spaces; `None` = made from the name, with a random end.
    pub srv_id: Option<String>,
    /// DNS names and IP addresses under which devices reach the server; empty = `localhost`, `127.0.0.1` and `::1`.
    pub hosts: Vec<String>,
}

/// A Management Authority on disk. Cheap to clone; several processes may use one directory at the same time.
#[derive(Debug, Clone)]
pub struct Authority {
    dir: PathBuf,
    settings: Settings,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Settings {
    name: String,
    srv_id: String,
    hosts: Vec<String>,
    /// Seconds since 1970-01-01 UTC.
    server_not_after: u64,
}

impl Authority {
    /// Makes a new authority in `dir`: its CA and its server certificate. Refuses to replace anything.
    pub fn init(dir: &Path, init: Init) -> Result<Self, AuthorityError> {
        if !(1..=60).contains(&init.name.chars().count()) || init.name.chars().any(char::is_control)
        {
            return Err(AuthorityError::Setting(
                "the name must have 1 to 60 printable characters".into(),
            ));
        }
        let srv_id = match init.srv_id {
            Some(srv_id) => srv_id,
            None => default_srv_id(&init.name)?,
        };
        if !(1..=255).contains(&srv_id.len())
            || srv_id.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return Err(AuthorityError::Setting(
                "the SrvID must have 1 to 255 bytes and no spaces".into(),
            ));
        }
        let hosts = if init.hosts.is_empty() {
            ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec()
        } else {
            init.hosts
        };
        let validity = Validity::days(CERTIFICATE_DAYS);
        let authority = Authority {
            dir: dir.to_path_buf(),
            settings: Settings {
                name: init.name,
                srv_id,
                hosts,
                server_not_after: clock::unix_seconds(validity.not_after),
            },
        };
        let ca = Ca::new(&authority.ca_name(), Validity::days(CA_DAYS))?;
        let server = ca.issue_server(&authority.settings.hosts, validity)?;

        files::private_dir(dir)?;
        authority.create("ca.key", ca.key_pem().as_bytes(), PRIVATE)?;
        authority.create("ca.pem", ca.certificate_pem().as_bytes(), PUBLIC)?;
        authority.create("server.key", server.key_pem().as_bytes(), PRIVATE)?;
        authority.create("server.pem", server.chain_pem().as_bytes(), PUBLIC)?;
        for name in [
            "devices",
            "certificates",
            "queue",
            "results",
            "data",
            "uploads",
        ] {
            files::private_dir(&dir.join(name))?;
        }
        // Last: a directory without it is no authority.
        record::create(&dir.join("authority.json"), &authority.settings, PUBLIC)?;
        Ok(authority)
    }

    /// The authority that [`Authority::init`] made in `dir`.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let path = dir.join("authority.json");
        match record::read(&path, RECORD_BYTES) {
            Ok(settings) => Ok(Authority {
                dir: dir.to_path_buf(),
                settings,
            }),
            Err(error) if error.is_not_found() => Err(AuthorityError::Missing {
                dir: dir.to_path_buf(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// For people.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// `SrvID`: how devices call it.
    pub fn srv_id(&self) -> &str {
        &self.settings.srv_id
    }

    /// Hosts that the server certificate names.
    pub fn hosts(&self) -> &[String] {
        &self.settings.hosts
    }

    /// When the server certificate ends, in seconds since 1970-01-01 UTC.
    pub fn server_not_after(&self) -> u64 {
        self.settings.server_not_after
    }

    /// The same, RFC 3339.
    pub fn server_expires(&self) -> String {
        clock::rfc3339(UNIX_EPOCH + Duration::from_secs(self.settings.server_not_after))
    }

    /// The CA, with its key.
    pub fn ca(&self) -> Result<Ca, AuthorityError> {
        let certificate = self.text("ca.pem")?;
        Ok(Ca::from_pem(
            &self.ca_name(),
            &certificate,
            &self.text("ca.key")?,
        )?)
    }

    /// The trust anchor of devices and server.
    pub fn ca_certificate(&self) -> Result<CertificateDer<'static>, AuthorityError> {
        let text = self.text("ca.pem")?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes());
        Ok(certificate.map_err(|_| PkiError::Pem {
            what: "certificate",
        })?)
    }

    /// What the server presents.
    pub fn server_identity(&self) -> Result<Identity, AuthorityError> {
        Ok(Identity::from_pem(
            &self.text("server.pem")?,
            &self.text("server.key")?,
        )?)
    }

    /// Gives the server a new key and certificate, for further `hosts` too. A running server takes it at its next start.
    pub fn renew_server(
        &mut self,
        hosts: &[String],
        validity: Validity,
    ) -> Result<(), AuthorityError> {
        let _changing = files::lock(&self.dir.join("authority.lock"))?;
        let mut settings: Settings = record::read(&self.dir.join("authority.json"), RECORD_BYTES)?;
        for host in hosts {
            if !settings.hosts.contains(host) {
                settings.hosts.push(host.clone());
            }
        }
        settings.server_not_after = clock::unix_seconds(validity.not_after);
        let server = self.ca()?.issue_server(&settings.hosts, validity)?;
        // A crash in between leaves a key that does not fit; the server then says so, and renewing again repairs it.
        files::replace(
            &self.dir.join("server.key"),
            server.key_pem().as_bytes(),
            PRIVATE,
        )?;
        files::replace(
            &self.dir.join("server.pem"),
            server.chain_pem().as_bytes(),
            PUBLIC,
        )?;
        record::replace(&self.dir.join("authority.json"), &settings, PUBLIC)?;
        self.settings = settings;
        Ok(())
    }

    /// The commands that wait for an enrolled device.
    pub fn queue(&self, device: &DeviceId) -> Result<Queue, AuthorityError> {
        self.device(device)?;
        Ok(Queue::new(&self.dir.join("queue"), device))
    }

    /// What came back from an enrolled device.
    pub fn journal(&self, device: &DeviceId) -> Result<Journal, AuthorityError> {
        self.device(device)?;
        Ok(Journal::new(&self.dir.join("results"), device))
    }

    /// The data repository.
    pub fn repository(&self) -> Repository {
        Repository::new(&self.dir)
    }

    fn ca_name(&self) -> String {
        format!("{} CA", self.settings.name)
    }

    fn create(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), AuthorityError> {
        let path = self.dir.join(name);
        match files::create(&path, bytes, mode) {
            Err(error) if error.is_already_there() => Err(AuthorityError::Exists { path }),
            other => Ok(other?),
        }
    }

    fn text(&self, name: &str) -> Result<String, AuthorityError> {
        let path = self.dir.join(name);
        let bytes = files::read(&path, RECORD_BYTES)?;
        String::from_utf8(bytes).map_err(|_| RecordError::damaged(&path, "it is not text").into())
    }
}

/// Such as `example-authority-1f2e3d4c`.
fn default_srv_id(name: &str) -> Result<String, PkiError> {
    let slug: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let end = pki::random_hex(4)?;
    Ok(format!("{}-{end}", slug.trim_matches('-')))
}
