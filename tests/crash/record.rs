//! A program's file operations below one directory, as a typed log, and when it said something to the outside.
//!
//! The recorder keeps descriptors and names by itself, so it needs nothing that a process without debugging rights
//! hides. What it does not model it refuses: an operation that changes a file and is not one of [`Change`], a
//! second process that writes, two threads that write one file at once.
//!
//! Writes through shared memory leave no system call. SQLite's `-shm` is the only file that may be mapped writable,
//! and its contents never matter after a power cut: whoever opens the database first, alone, truncates and rebuilds
//! it (`unixLockSharedMemory`). It is no part of the log; images get it absent or full of garbage.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::DumpableBehavior;

use super::follow::Run;
use super::log::{Change, Inode, Kind, Log, Operation, Snapshot};
use super::scratch::Scratch;
use super::strace::{self, Call};

/// What can change or synchronise a file, name one, or copy a descriptor. `?`: not on every architecture.
const CALLS: &str = "?open,?creat,openat,?openat2,close,?close_range,?dup2,dup,dup3,fcntl,\
    read,?readv,lseek,write,writev,pwrite64,?pwritev,?pwritev2,ftruncate,?truncate,?fallocate,fsync,fdatasync,\
    ?sync,?syncfs,?sync_file_range,?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,\
    ?rmdir,?mkdir,mkdirat,?mknod,mknodat,?copy_file_range,?sendfile,?splice,?io_uring_setup,mmap,?msync,\
    socket,accept4,?accept,sendto,sendmsg,?sendmmsg,chdir,fchdir,clone,?clone3,?fork,?vfork,execve";

/// Calls of which only the numbers matter: what they carry need not be written down.
const RAW: &str = "read,readv,sendto,sendmsg,sendmmsg";

/// What strace is started by, the first that works. The daemon hides its memory, and so the strings of its calls,
/// from all but a superuser; in a user namespace, everybody can be that.
const STARTERS: [&[&str]; 2] = [&[], &["unshare", "--user", "--map-root-user"]];

/// The command that runs `program` and writes down its calls.
pub(crate) fn traced(program: &Path, trace: &Path) -> Command {
    traced_by(starter().unwrap_or_default(), program, trace)
}

/// Whether a program that hides its memory can be recorded here.
pub(crate) fn is_possible() -> bool {
    starter().is_some()
}

fn starter() -> Option<&'static [&'static str]> {
    static FOUND: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        STARTERS
            .into_iter()
            .find(|starter| can_see(starter).unwrap_or(false))
    })
}

/// Whether the calls of a program that hides its memory are seen.
fn can_see(starter: &[&str]) -> Result<bool> {
    let scratch = Scratch::new("see")?;
    let trace = scratch.path().join("trace");
    let file = scratch.path().join("file");
    let mut command = traced_by(starter, &std::env::current_exe()?, &trace);
    let out = command.arg("--hide").arg(&file).output()?;
    let calls = strace::calls(&std::fs::read_to_string(&trace)?)?;
    let is_it = |call: &Call| {
        call.bytes(1)
            .is_ok_and(|path| path == file.as_os_str().as_bytes())
    };
    Ok(out.status.success()
        && calls
            .iter()
            .any(|call| call.name == "openat" && is_it(call)))
}

/// Hides its memory and makes a file: `crash --hide FILE`.
pub(crate) fn hide(arguments: &[String]) -> Result<()> {
    let [file] = arguments else {
        bail!("--hide FILE");
    };
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    std::fs::write(file, b"")?;
    Ok(())
}

fn traced_by(starter: &[&str], program: &Path, trace: &Path) -> Command {
    let mut words = [starter, &["strace"]].concat().into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command
        .args(words)
        .args(["-f", "-ttt", "-xx", "-s", "67108864", "-e", "signal=none"])
        .args([
            "-e",
            &format!("trace={CALLS}"),
            "-e",
            &format!("raw={RAW}"),
            "-o",
        ])
        .arg(trace)
        .arg(program);
    command
}

/// Turns traces into a log, one run of a program after the other.
pub(crate) struct Recorder {
    pub(crate) root: PathBuf,
    /// Names as the programs see them now.
    pub(crate) directories: HashMap<Inode, BTreeMap<String, Inode>>,
    /// Lengths of files.
    pub(crate) lengths: HashMap<Inode, usize>,
    /// The next new file or directory.
    pub(crate) next: Inode,
    pub(crate) log: Log,
}

impl Recorder {
    /// Records what happens below `root`, which is as in `snapshot` now.
    pub(crate) fn new(root: &Path, snapshot: &Snapshot) -> Result<Self> {
        let mut recorder = Self {
            root: root.canonicalize()?,
            directories: HashMap::new(),
            lengths: HashMap::new(),
            next: snapshot.nodes.len(),
            log: Log::default(),
        };
        for (inode, node) in snapshot.nodes.iter().enumerate() {
            match &node.kind {
                Kind::File(bytes) => {
                    recorder.lengths.insert(inode, bytes.len());
                }
                Kind::Directory(entries) => {
                    recorder.directories.insert(inode, entries.clone());
                    let names = entries.iter().map(|(name, inode)| (*inode, name.clone()));
                    recorder.log.names.extend(names);
                }
            }
        }
        Ok(recorder)
    }

    /// Adds the trace of one run.
    pub(crate) fn add(&mut self, trace: &str) -> Result<()> {
        let calls = strace::calls(trace)?;
        let base = self.log.end;
        let mut run = Run::new(self, &calls)?;
        // A descriptor or name is looked up when a call begins, and there is a new one when it ends.
        let mut moments: Vec<(usize, bool, &Call)> = Vec::new();
        for call in &calls {
            moments.push((call.begin, false, call));
            moments.push((call.end, true, call));
        }
        moments.sort_by_key(|(position, end, _)| (*position, *end));
        let mut targets = HashMap::new();
        for (_, ended, call) in moments {
            let failed = || {
                format!(
                    "line {}: {} {:?}",
                    call.begin + 1,
                    call.name,
                    call.arguments
                )
            };
            if !run.is_ours(call) {
                run.check_other(call).with_context(failed)?;
            } else if !ended {
                let target = run.begin(call).with_context(failed)?;
                targets.insert(call.begin, target);
            } else if let Some(target) = targets.remove(&call.begin) {
                run.end(call, target).with_context(failed)?;
            }
        }
        self.log.end = base + trace.lines().count() + 1;
        Ok(())
    }

    /// What was recorded.
    pub(crate) fn finish(mut self) -> Result<Log> {
        self.log.operations.sort_by_key(|operation| operation.begin);
        check_overlaps(&self.log.operations)?;
        Ok(self.log)
    }
}

/// Two changes of one thing at the same time have no order.
fn check_overlaps(operations: &[Operation]) -> Result<()> {
    let mut busy: HashMap<Inode, usize> = HashMap::new();
    for operation in operations {
        let inode = match &operation.change {
            Change::Write { file, .. } | Change::Truncate { file, .. } => *file,
            Change::Create { directory, .. }
            | Change::Rename { directory, .. }
            | Change::Remove { directory, .. } => *directory,
            Change::Sync { .. } => continue,
        };
        let until = busy.insert(inode, operation.end);
        ensure!(
            until.is_none_or(|until| until < operation.begin),
            "two threads change one file at once: {operation:?}"
        );
    }
    Ok(())
}
