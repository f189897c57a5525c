//! The data repository: files that devices fetch (`data/`) and files that they send (`uploads/<device>/`).
//!
//! A name without a slash is public to all enrolled devices. A name with a slash belongs to the device before the slash.
//! Uploads are never served to anybody.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    str::FromStr,
};
use thiserror::Error;

use crate::{
    device::DeviceId,
    files::{self, FileError, PRIVATE, Unfinished},
    limits::Limits,
};

/// Parts of a name. Stops directories nested until the operating system refuses to list them.
const NAME_PARTS: usize = 8;
/// Bytes of a part; room is left for the number of a POST within the 255 bytes of a file name.
const PART_BYTES: usize = 120;

/// The name of a file in the repository: 1 to 8 parts with slashes between them.
///
/// A part has 1 to 120 of the characters `A-Z a-z 0-9 . : _ - + @ ~ =` and does not begin with a dot; there is no way out
/// of the repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceName(Vec<String>);

/// Why something in the repository cannot be read or written.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// A text that is not a [`ResourceName`].
    #[error(
        "{text:?} is not a name; use up to {NAME_PARTS} parts of A-Z a-z 0-9 . : _ - + @ ~ = with '/' between them, none beginning with a dot"
    )]
    Name {
        /// The first 100 characters of it.
        text: String,
    },
    /// It belongs to another device.
    #[error("{name} belongs to another device")]
    Forbidden {
        /// Its name.
        name: ResourceName,
    },
    /// The device has used up its room.
    #[error("{device} has no room left for uploads; clear uploads/{device}, or raise the limit")]
    Full {
        /// The device.
        device: DeviceId,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ResourceName {
    /// The name that stands percent-encoded in the path of a URI.
    pub fn from_uri_path(path: &str) -> Result<Self, RepositoryError> {
        let parts: Option<Vec<String>> = path.split('/').map(percent_decoded).collect();
        Self::from_parts(parts.unwrap_or_default(), path)
    }

    /// The device to which it belongs, if it names one at all; `None` = public.
    pub fn owner(&self) -> Option<&str> {
        match self.0.as_slice() {
            [owner, _, ..] => Some(owner),
            _ => None,
        }
    }

    fn from_parts(parts: Vec<String>, text: &str) -> Result<Self, RepositoryError> {
        if (1..=NAME_PARTS).contains(&parts.len()) && parts.iter().all(|part| is_part(part)) {
            Ok(ResourceName(parts))
        } else {
            Err(RepositoryError::Name {
                text: text.chars().take(100).collect(),
            })
        }
    }
}

impl FromStr for ResourceName {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        Self::from_parts(text.split('/').map(String::from).collect(), text)
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

fn is_part(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-+@~=".contains(&byte);
    (1..=PART_BYTES).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(allowed)
}

/// `None` if a `%` is not followed by two digits, or the result is not text.
fn percent_decoded(part: &str) -> Option<String> {
    let mut bytes = part.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

/// The data repository of one authority.
#[derive(Debug, Clone)]
pub struct Repository {
    data: PathBuf,
    uploads: PathBuf,
}

/// An upload that is not complete yet; it leaves nothing behind when dropped.
pub(crate) struct Upload {
    repository: Repository,
    device: DeviceId,
    name: String,
    unfinished: Unfinished,
    /// Bytes that fit.
    pub(crate) room: u64,
}

impl Repository {
    pub(crate) fn new(dir: &Path) -> Self {
        Repository {
            data: dir.join("data"),
            uploads: dir.join("uploads"),
        }
    }

    /// Copies a file into the repository, replacing what was there; returns its size in bytes.
    pub fn put(&self, name: &ResourceName, source: &Path) -> Result<u64, RepositoryError> {
        let mut source_file = File::open(source).map_err(FileError::new("open", source))?;
        self.put_from(name, &mut source_file)
    }

    /// The same from memory.
    pub fn put_bytes(&self, name: &ResourceName, bytes: &[u8]) -> Result<(), RepositoryError> {
        let mut bytes = bytes;
        self.put_from(name, &mut bytes)?;
        Ok(())
    }

    fn put_from(
        &self,
        name: &ResourceName,
        source: &mut impl io::Read,
    ) -> Result<u64, RepositoryError> {
        let path = self.data_path(name);
        let directory = path.parent().unwrap_or(&self.data);
        files::private_dir(directory)?;
        let (unfinished, mut file) = Unfinished::open(directory, PRIVATE)?;
        let bytes = io::copy(source, &mut file)
            .and_then(|bytes| file.sync_all().map(|()| bytes))
            .map_err(FileError::new("write", &path))?;
        unfinished.replace(&path)?;
        Ok(bytes)
    }

    /// Takes a file out of the repository; `false` if it was not there.
    pub fn remove(&self, name: &ResourceName) -> Result<bool, RepositoryError> {
        Ok(files::remove(&self.data_path(name))?)
    }

    /// What devices can fetch, by name, with its size in bytes.
    pub fn list(&self) -> Result<Vec<(ResourceName, u64)>, RepositoryError> {
        let mut found = Vec::new();
        list_into(&self.data, &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    /// What a device has sent, by name, with its size in bytes.
    pub fn uploads(&self, device: &DeviceId) -> Result<Vec<(ResourceName, u64)>, RepositoryError> {
        let mut found = Vec::new();
        list_into(&self.uploads_of(device), &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    /// Where the uploads of a device are.
    pub fn uploads_of(&self, device: &DeviceId) -> PathBuf {
        self.uploads.join(device.as_str())
    }

    /// Opens a file for a device that may read it.
    pub(crate) fn open_for(
        &self,
        device: &DeviceId,
        name: &ResourceName,
    ) -> Result<File, RepositoryError> {
        match name.owner() {
            Some(owner) if owner != device.as_str() => {
                Err(RepositoryError::Forbidden { name: name.clone() })
            }
            _ => {
                let path = self.data_path(name);
                let open = || {
                    let file = File::open(&path)?;
                    // Opening a directory succeeds; it holds nothing to be read.
                    if file.metadata()?.is_file() {
                        Ok(file)
                    } else {
                        Err(io::ErrorKind::NotFound.into())
                    }
                };
                Ok(open().map_err(FileError::new("open", &path))?)
            }
        }
    }

    /// Where a device's upload under `name` will be called: its last part. Only its own names and public ones are free.
    pub(crate) fn upload_name(
        device: &DeviceId,
        name: &ResourceName,
    ) -> Result<String, RepositoryError> {
        match name.0.as_slice() {
            [last] => Ok(last.clone()),
            [owner, last] if owner == device.as_str() => Ok(last.clone()),
            _ => Err(RepositoryError::Forbidden { name: name.clone() }),
        }
    }

    /// Begins an upload, if there is room for it.
    pub(crate) fn begin_upload(
        &self,
        device: &DeviceId,
        name: &str,
        limits: &Limits,
    ) -> Result<(Upload, File), RepositoryError> {
        let directory = self.uploads_of(device);
        files::private_dir(&directory)?;
        let room = self.room(device, name, limits)?.min(limits.upload_bytes);
        let (unfinished, file) = Unfinished::open(&directory, PRIVATE)?;
        let upload = Upload {
            repository: self.clone(),
            device: device.clone(),
            name: name.to_owned(),
            unfinished,
            room,
        };
        Ok((upload, file))
    }

    /// Bytes that the device may still store under `name`; what is there under that name is going to be replaced.
    fn room(&self, device: &DeviceId, name: &str, limits: &Limits) -> Result<u64, RepositoryError> {
        let (mut bytes, mut count) = (0, 0);
        for (other, size) in self.uploads(device)? {
            if other.to_string() != name {
                bytes += size;
                count += 1;
            }
        }
        let room = limits.uploads_bytes.saturating_sub(bytes);
        if count >= limits.uploads_files || room == 0 {
            return Err(RepositoryError::Full {
                device: device.clone(),
            });
        }
        Ok(room)
    }

    /// Removes what a crash left unfinished.
    pub(crate) fn remove_unfinished(&self) {
        for device in files::list(&self.uploads).unwrap_or_default() {
            files::remove_unfinished(&self.uploads.join(device));
        }
    }

    fn data_path(&self, name: &ResourceName) -> PathBuf {
        name.0
            .iter()
            .fold(self.data.clone(), |path, part| path.join(part))
    }
}

impl Upload {
    /// Puts it, with its `bytes`, in place of an earlier one of that name; returns the name, and `true` if there was none.
    pub(crate) fn replace(
        &self,
        bytes: u64,
        limits: &Limits,
    ) -> Result<(String, bool), RepositoryError> {
        let _finishing = self.finish(&self.name, bytes, limits)?;
        let path = self.repository.uploads_of(&self.device).join(&self.name);
        let is_new = !path.exists();
        self.unfinished.replace(&path)?;
        Ok((self.name.clone(), is_new))
    }

    /// Puts it, with its `bytes`, beside earlier ones of that name, with a number at the end; returns its name.
    pub(crate) fn add(&self, bytes: u64, limits: &Limits) -> Result<String, RepositoryError> {
        // Nothing has an empty name: nothing is going to be replaced.
        let _finishing = self.finish("", bytes, limits)?;
        let directory = self.repository.uploads_of(&self.device);
        let number = |other: &String| {
            let (stem, number) = other.rsplit_once('.')?;
            if stem == self.name {
                number.parse::<u64>().ok()
            } else {
                None
            }
        };
        let highest = files::list(&directory)?.iter().filter_map(number).max();
        let name = format!("{}.{}", self.name, highest.unwrap_or(0).saturating_add(1));
        self.unfinished.create(&directory.join(&name))?;
        Ok(name)
    }

    /// One upload of a device is finished at a time, and only if there still is room: others were under way as well.
    fn finish(&self, replaced: &str, bytes: u64, limits: &Limits) -> Result<File, RepositoryError> {
        let lock = self
            .repository
            .uploads
            .join(format!(".{}.lock", self.device));
        let finishing = files::lock(&lock)?;
        if self.repository.room(&self.device, replaced, limits)? < bytes {
            return Err(RepositoryError::Full {
                device: self.device.clone(),
            });
        }
        Ok(finishing)
    }
}

fn list_into(
    directory: &Path,
    parts: &mut Vec<String>,
    found: &mut Vec<(ResourceName, u64)>,
) -> Result<(), RepositoryError> {
    for name in files::list(directory)? {
        let path = directory.join(&name);
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        parts.push(name);
        if metadata.is_dir() && parts.len() < NAME_PARTS {
            list_into(&path, parts, found)?;
        } else if metadata.is_file() {
            found.push((ResourceName(parts.clone()), metadata.len()));
        }
        parts.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stay_inside() {
        for good in ["a", "a.json", "dev1/a", "IMEI:49/fw/1.0.bin", "a+b@c~d=e"] {
            assert_eq!(good.parse::<ResourceName>().unwrap().to_string(), good);
        }
        let deep = "a/".repeat(8) + "a";
        let long = "x".repeat(121);
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", ".hidden", "a\\b",
            "a\0", "a b", "ä", &deep, &long,
        ] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn percent_encoding_opens_no_door() {
        let name = ResourceName::from_uri_path("IMEI%3A49/a%2Ejson").unwrap();
        assert_eq!(name.to_string(), "IMEI:49/a.json");
        for bad in [
            "%2e%2e",
            "%2E%2E/x",
            "a%2Fb",
            "a%2f..%2fb",
            "%00",
            "%",
            "%4",
            "%zz",
            "%c3",
            "%252e%252e",
        ] {
            assert!(ResourceName::from_uri_path(bad).is_err(), "{bad:?}");
        }
    }
}
