//! Files that are whole or not there, whenever the power goes; and private ones.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use thiserror::Error;

/// Readable by the owner alone: keys, and what belongs to one device.
pub(crate) const PRIVATE: u32 = 0o600;
/// Readable by all: certificates.
pub(crate) const PUBLIC: u32 = 0o644;
/// How unfinished files are called. No device and no public name may begin with a dot.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// A file operation that failed, on which file, and why.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was attempted.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| FileError {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// True if the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// True if something of that name is there already.
    pub fn is_already_there(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}

/// Makes a directory and its parents, for the owner alone.
pub(crate) fn private_dir(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(FileError::new("make the directory", path))
}

/// Reads at most `limit` bytes; more is an error.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::new("read", path)(source);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(io::Error::other(format!(
            "it has more than {limit} bytes"
        ))));
    }
    Ok(bytes)
}

/// Puts `bytes` at `path`, replacing what was there.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    Unfinished::write(path, bytes, mode)?.replace(path)
}

/// Puts `bytes` at `path`, unless something is there already.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    Unfinished::write(path, bytes, mode)?.create(path)
}

/// A file that is being written beside its destination; removed unless it gets there.
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// An empty unfinished file in `directory`, open for writing.
    pub(crate) fn open(directory: &Path, mode: u32) -> Result<(Self, File), FileError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "{UNFINISHED}{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let path = directory.join(name);
        let open = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path)
        };
        let file = match open() {
            // Left behind by a process that had the same number and was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&path).and_then(|()| open())
            }
            other => other,
        };
        match file {
            Ok(file) => Ok((Unfinished { path }, file)),
            Err(source) => Err(FileError::new("write", &path)(source)),
        }
    }

    fn write(destination: &Path, bytes: &[u8], mode: u32) -> Result<Self, FileError> {
        let (unfinished, mut file) = Self::open(parent(destination), mode)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(FileError::new("write", destination))?;
        Ok(unfinished)
    }

    /// Moves it to `destination`, replacing what was there. Its content must have been synced.
    pub(crate) fn replace(&self, destination: &Path) -> Result<(), FileError> {
        fs::rename(&self.path, destination)
            .and_then(|()| sync_parent(destination))
            .map_err(FileError::new("replace", destination))
    }

    /// Moves it to `destination`, unless something is there already. Its content must have been synced.
    pub(crate) fn create(&self, destination: &Path) -> Result<(), FileError> {
        // A hard link fails when the name is taken; a rename would replace.
        fs::hard_link(&self.path, destination)
            .and_then(|()| sync_parent(destination))
            .map_err(FileError::new("create", destination))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `replace` it is not there any more; nobody can act on another failure.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a file; `false` if it was not there.
pub(crate) fn remove(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path).and_then(|()| sync_parent(path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::new("remove", path)(error)),
    }
}

/// Appends whole lines and makes them durable. A line torn by an earlier crash stays torn and alone.
pub(crate) fn append_lines(path: &Path, lines: &[u8]) -> Result<(), FileError> {
    let append = || {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(PRIVATE)
            .open(path)?;
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        file.write_all(lines)?;
        file.sync_data()
    };
    append().map_err(FileError::new("append to", path))
}

/// Waits until no other process and no other thread holds `path`; it is held until the file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, FileError> {
    lock_file(path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(FileError::new("lock", path))
}

/// Like [`lock`], but `None` if somebody else holds it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<File>, FileError> {
    let file = lock_file(path).map_err(FileError::new("lock", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(FileError::new("lock", path)(error)),
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .open(path)
}

/// The names in a directory, sorted, without unfinished files; empty if there is no directory.
pub(crate) fn list(directory: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::new("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::new("list", directory))?;
        if let Some(name) = entry.file_name().to_str()
            && !name.starts_with('.')
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Removes what a crash left unfinished in `directory`.
pub(crate) fn remove_unfinished(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            // It costs disk space, nothing else; the next start tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
