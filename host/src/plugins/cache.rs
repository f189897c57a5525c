//! Compiled code, kept between starts. An entry is bound to the component, the full version of the engine and its
//! profile, and carries an authentication code under a key of this device: compiled code is native code.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, hmac, rand};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Bytes of the authentication code at the head of an entry.
const CODE: usize = 32;

/// Name of the key's file. Names of entries are hexadecimal.
const KEY: &str = "key";

/// The cache of one device.
pub struct CodeCache {
    directory: PathBuf,
    key: hmac::Key,
}

/// What an entry is bound to.
pub struct Identity {
    /// SHA-256 of the component.
    component: [u8; 32],
    /// The engine's full version and profile.
    engine: String,
}

impl Identity {
    /// Of a component that is to run on the engine `version`.
    pub fn of(component: &[u8], engine: String) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, component).as_ref());
        Self {
            component: hash,
            engine,
        }
    }

    fn file_name(&self) -> String {
        let mut both = self.component.to_vec();
        both.extend_from_slice(self.engine.as_bytes());
        hex(digest::digest(&digest::SHA256, &both).as_ref())
    }
}

impl CodeCache {
    /// The cache in `state`; makes its directory and, in it, its key where they are missing.
    pub fn open(state: &Path) -> io::Result<Self> {
        let directory = state.join("code");
        fs::create_dir_all(&directory)?;
        let path = directory.join(KEY);
        let key = match fs::read(&path) {
            Ok(key) if key.len() == 32 => key,
            Ok(_) => {
                return Err(io::Error::other(format!(
                    "{}: not a key of 32 bytes",
                    path.display()
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = vec![0; 32];
                rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
                write_durably(&path, &[&key])?;
                key
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            directory,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    /// The code of an entry, as a memory file that nobody can change any more. `None`: there is no entry, or it is
    /// damaged, of another device or of another engine; compile again.
    pub fn get(&self, identity: &Identity, limit: u64) -> io::Result<Option<OwnedFd>> {
        let mut entry = Vec::new();
        match File::open(self.directory.join(identity.file_name())) {
            Ok(file) => file.take(limit).read_to_end(&mut entry)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((code, content)) = entry.split_first_chunk::<CODE>() else {
            return Ok(None);
        };
        if self.tag(identity, content).as_ref() != code {
            return Ok(None);
        }
        sealed(content).map(Some)
    }

    /// Keeps `content` as the code of `identity`.
    pub fn put(&self, identity: &Identity, content: &[u8]) -> io::Result<()> {
        let tag = self.tag(identity, content);
        write_durably(
            &self.directory.join(identity.file_name()),
            &[tag.as_ref(), content],
        )
    }

    fn tag(&self, identity: &Identity, content: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&identity.component);
        context.update(&(identity.engine.len() as u64).to_le_bytes());
        context.update(identity.engine.as_bytes());
        context.update(content);
        context.sign()
    }
}

/// A memory file with `content`, sealed against any change.
fn sealed(content: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd_create(
        "bailiwick-code",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?;
    let mut file = File::from(file);
    file.write_all(content)?;
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file.into())
}

/// Writes a private file so that after a power cut it is there whole or not at all.
fn write_durably(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: Option<OwnedFd>) -> Option<Vec<u8>> {
        use std::io::Seek;
        code.map(|code| {
            let mut file = File::from(code);
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            assert!(file.write(b"x").is_err(), "the file is not sealed");
            bytes
        })
    }

    #[test]
    fn an_entry_is_good_for_one_device_component_and_engine_and_not_when_touched() {
        let state = std::env::temp_dir().join(format!("bailiwick-cache-{}", std::process::id()));
        let cache = CodeCache::open(&state).unwrap();
        let identity = Identity::of(b"component", "engine 1".into());
        assert!(cache.get(&identity, 1 << 20).unwrap().is_none());
        cache.put(&identity, b"native code").unwrap();
        assert_eq!(
            read(cache.get(&identity, 1 << 20).unwrap()).as_deref(),
            Some(&b"native code"[..])
        );

        let others = [
            Identity::of(b"component", "engine 2".into()),
            Identity::of(b"other", "engine 1".into()),
        ];
        let path = state.join("code").join(identity.file_name());
        for other in others {
            assert!(cache.get(&other, 1 << 20).unwrap().is_none());
            fs::copy(&path, state.join("code").join(other.file_name())).unwrap();
            assert!(
                cache.get(&other, 1 << 20).unwrap().is_none(),
                "an entry passes for another one"
            );
        }
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(
                cache.get(&identity, 1 << 20).unwrap().is_none(),
                "byte {at} is not covered"
            );
        }
        fs::write(&path, &good).unwrap();
        assert!(
            CodeCache::open(&state)
                .unwrap()
                .get(&identity, 1 << 20)
                .unwrap()
                .is_some()
        );
        fs::remove_file(state.join("code").join(KEY)).unwrap();
        assert!(
            CodeCache::open(&state)
                .unwrap()
                .get(&identity, 1 << 20)
                .unwrap()
                .is_none(),
            "another device"
        );
        fs::remove_dir_all(&state).unwrap();
    }
}
