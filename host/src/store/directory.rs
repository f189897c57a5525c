//! The state directory: made durably, private to the daemon, used by one daemon at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::{Durability, StoreError};

/// The database; SQLite puts `-wal` and `-shm` beside it.
pub(super) const DATABASE: &str = "store.sqlite";
/// Locked as long as a daemon works here.
const LOCK: &str = "store.lock";
/// How long the lock is waited for, and how often it is looked at.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_LOOK: Duration = Duration::from_millis(5);
/// The key that wraps the keys of sealed values.
pub(super) const DEVICE_KEY: &str = "device.key";

/// Held as long as the store is open; the system releases it with the process, however that ends.
pub(super) struct Lock {
    _file: File,
}

/// Makes the directory and the empty database where they are missing, and takes the lock.
pub(super) fn prepare(directory: &Path, durability: Durability) -> Result<Lock, StoreError> {
    let made = make_directory(directory)?;
    check_owner_and_mode(directory)?;
    let lock = lock(directory)?;
    make_file(&directory.join(DATABASE))?;
    if durability == Durability::Full {
        sync(directory)?;
        if let (true, Some(parent)) = (made, directory.parent()) {
            sync(if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            })?;
        }
    }
    Ok(lock)
}

/// Whether the directory had to be made. Its parent must exist: a mistyped path is not to be obeyed.
fn make_directory(directory: &Path) -> Result<bool, StoreError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(problem(
            directory,
            format!("the state directory cannot be made: {e}"),
        )),
    }
}

fn check_owner_and_mode(directory: &Path) -> Result<(), StoreError> {
    let found = fs::metadata(directory).map_err(|e| problem(directory, e.to_string()))?;
    if !found.is_dir() {
        return Err(problem(
            directory,
            "the state directory is not a directory".to_owned(),
        ));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        let text = format!(
            "the state directory belongs to user {}; run bailiwick as that user, or change its owner",
            found.uid()
        );
        return Err(problem(directory, text));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(|e| {
            problem(
                directory,
                format!("cannot be made private (mode 0700): {e}"),
            )
        })?;
    }
    Ok(())
}

/// A daemon that was killed while it started a process leaves the lock to that process until it runs its own
/// program; whoever starts the daemon again at once need not notice.
#[expect(
    clippy::disallowed_methods,
    reason = "the store is opened before anything else runs"
)]
fn lock(directory: &Path) -> Result<Lock, StoreError> {
    let file = make_file(&directory.join(LOCK))?;
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_LOOK);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::InUse {
                    directory: directory.to_owned(),
                });
            }
            Err(e) => {
                return Err(problem(
                    &directory.join(LOCK),
                    format!("cannot be locked: {e}"),
                ));
            }
        }
    }
}

/// Opens a file for writing, made with mode 0600 if it is missing. Never follows a link.
fn make_file(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull => StoreError::Full {
                attempt: "make the store",
            },
            _ => problem(path, e.to_string()),
        })
}

/// What is in a small file of ours; `None` if it is not there.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut bytes = Vec::new();
    let read = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(problem(path, e.to_string())),
    }
}

/// Replaces a small file, wholly or not at all, even by a power cut.
pub(super) fn write_file(
    directory: &Path,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    let (path, new) = (directory.join(name), directory.join(format!("{name}.new")));
    let mut file = make_file(&new)?;
    file.set_len(0)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| {
            if durability == Durability::Full {
                file.sync_all()
            } else {
                Ok(())
            }
        })
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull => StoreError::Full {
                attempt: "make the store",
            },
            _ => problem(&path, format!("cannot be written: {e}")),
        })?;
    if durability == Durability::Full {
        sync(directory)
    } else {
        Ok(())
    }
}

/// A new name in a directory survives a power cut only after this.
fn sync(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|e| problem(directory, format!("cannot be synchronised: {e}")))
}

fn problem(path: &Path, problem: String) -> StoreError {
    StoreError::Directory {
        path: path.to_owned(),
        problem,
    }
}
