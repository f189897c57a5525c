//! Secrets of accounts, one file each in `keys/` of the state directory, mode 0600.
//!
//! A file is written, synchronised and given its name before the account that refers to it is committed, and
//! removed after the last one that did is gone. Its name is a hash of what it holds, so it never changes, and
//! a bootstrap that is repeated finds it there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::SecretError;
use crate::keys::{self, make_directory, sync, write_synced};

/// How the name of a secret's file ends.
const FINISHED: &str = ".pem";
/// How it ends while the file is written.
const UNFINISHED: &str = ".pem-new";

/// Name of a secret's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// A secret that is not written yet.
#[derive(Clone)]
pub(super) struct Unwritten {
    name: SecretName,
    bytes: Vec<u8>,
}

/// The directory of the secrets.
#[derive(Clone)]
pub(super) struct Secrets {
    directory: PathBuf,
}

impl SecretName {
    /// Hexadecimal digits and a suffix: nothing that could lead elsewhere.
    fn is_valid(name: &str) -> bool {
        name.strip_suffix(FINISHED)
            .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

impl TryFrom<String> for SecretName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if Self::is_valid(&name) {
            Ok(Self(name))
        } else {
            Err("not the name of a secret")
        }
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl Unwritten {
    /// A secret of `owner`. Two authorities never share a file, even if they share the secret.
    pub(super) fn new(owner: &str, bytes: Vec<u8>) -> Self {
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        hash.update(owner.as_bytes());
        hash.update(&[0]);
        hash.update(&bytes);
        let hash = hash.finish();
        let digits: String = hash
            .as_ref()
            .iter()
            .take(16)
            .map(|b| format!("{b:02x}"))
            .collect();
        Self {
            name: SecretName(format!("{digits}{FINISHED}")),
            bytes,
        }
    }

    pub(super) fn name(&self) -> &SecretName {
        &self.name
    }
}

impl Secrets {
    pub(super) fn in_state(state: &Path) -> Self {
        Self {
            directory: state.join("keys"),
        }
    }

    pub(super) fn path(&self, name: &SecretName) -> PathBuf {
        self.directory.join(&name.0)
    }

    /// Writes all secrets so that they survive a power cut, and tells which were not there before. After an
    /// error none of those is left.
    pub(super) async fn write(
        &self,
        secrets: Vec<Unwritten>,
    ) -> Result<Vec<SecretName>, SecretError> {
        let this = self.clone();
        let writing = tokio::task::spawn_blocking(move || this.write_blocking(&secrets));
        writing
            .await
            .unwrap_or_else(|e| Err(self.failed("write in", io::Error::other(e))))
    }

    fn write_blocking(&self, secrets: &[Unwritten]) -> Result<Vec<SecretName>, SecretError> {
        let mut fresh = Vec::new();
        let written = self.write_each(secrets, &mut fresh);
        if let Err(error) = written {
            self.remove(&fresh);
            return Err(error);
        }
        Ok(fresh)
    }

    fn write_each(
        &self,
        secrets: &[Unwritten],
        fresh: &mut Vec<SecretName>,
    ) -> Result<(), SecretError> {
        if secrets.is_empty() {
            return Ok(());
        }
        make_directory(&self.directory).map_err(|e| self.failed("make", e))?;
        for secret in secrets {
            let path = self.path(&secret.name);
            if fs::read(&path).is_ok_and(|there| there == secret.bytes) {
                continue;
            }
            let temporary = self
                .directory
                .join(secret.name.0.replace(FINISHED, UNFINISHED));
            let attempt =
                write_anew(&temporary, &secret.bytes).and_then(|()| fs::rename(&temporary, &path));
            if let Err(source) = attempt {
                let _gone = fs::remove_file(&temporary);
                return Err(SecretError {
                    attempt: "write",
                    path,
                    source,
                });
            }
            fresh.push(secret.name.clone());
        }
        sync(&self.directory).map_err(|e| self.failed("synchronise", e))
    }

    /// Removes secrets that were written in vain.
    pub(super) fn remove(&self, names: &[SecretName]) {
        for name in names {
            if let Err(error) = fs::remove_file(self.path(name)) {
                tracing::warn!(%error, "a secret in vain stays until the next start");
            }
        }
    }

    /// Removes every secret of an account but the ones named, and what an interrupted write left. Other rooms keep
    /// files here too; those stay.
    pub(super) fn remove_all_but(&self, keep: &BTreeSet<SecretName>) -> Result<(), SecretError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(self.failed("list", e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| self.failed("list", e))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let written = name.replace(UNFINISHED, FINISHED);
            if SecretName::is_valid(&written) && !keep.contains(&SecretName(name)) {
                fs::remove_file(entry.path()).map_err(|e| self.failed("remove files of", e))?;
                tracing::info!("removed a secret that no account refers to");
            }
        }
        Ok(())
    }

    /// Removes keys that the keys process has made, but the ones named.
    pub(super) fn remove_made_but(&self, keep: &BTreeSet<String>) -> Result<(), SecretError> {
        keys::remove_made_but(&self.directory, keep).map_err(|e| self.failed("remove files of", e))
    }

    fn failed(&self, attempt: &'static str, source: io::Error) -> SecretError {
        SecretError {
            attempt,
            path: self.directory.clone(),
            source,
        }
    }
}

/// In the place of what an interrupted write left.
fn write_anew(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    write_synced(path, bytes)
}
