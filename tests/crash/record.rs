//! A program's file operations below one directory, as a typed log, and when it said something to the outside.
//!
//! The recorder keeps descriptors and names by itself, so it needs nothing that a process without debugging rights
//! hides. What it does not model it refuses: an operation that changes a file and is not one of [`Change`], a
//! second process that writes, two threads that write one file at once.
//!
//! Writes through shared memory leave no system call. SQLite's `-shm` is the only file that may be mapped writable,
//! and its contents never matter after a power cut: whoever opens the database first, alone, truncates and rebuilds
//! it (`unixLockSharedMemory`). It is no part of the log; images get it absent or full of garbage.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::strace::{self, Call};

/// What can change or synchronise a file, name one, or copy a descriptor. `?`: not on every architecture.
const CALLS: &str = "?open,?creat,openat,?openat2,close,?close_range,?dup2,dup,dup3,fcntl,\
    read,?readv,lseek,write,writev,pwrite64,?pwritev,?pwritev2,ftruncate,?truncate,?fallocate,fsync,fdatasync,\
    ?sync,?syncfs,?sync_file_range,?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,\
    ?rmdir,?mkdir,mkdirat,?mknod,mknodat,?copy_file_range,?sendfile,?splice,?io_uring_setup,mmap,?msync,\
    socket,accept4,?accept,sendto,sendmsg,?sendmmsg,chdir,fchdir,clone,?clone3,?fork,?vfork,execve";

/// Calls of which only the numbers matter: what they carry need not be written down.
const RAW: &str = "read,readv,sendto,sendmsg,sendmmsg";

/// A file or a directory, whatever its names.
pub(crate) type Inode = usize;

/// The watched directory.
pub(crate) const ROOT: Inode = 0;

/// What is below a directory at one moment.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    /// By inode; [`ROOT`] is the directory itself.
    pub(crate) nodes: Vec<Node>,
}

/// A file or a directory with its permission bits.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) mode: u32,
    pub(crate) kind: Kind,
}

#[derive(Clone)]
pub(crate) enum Kind {
    File(Arc<Vec<u8>>),
    Directory(BTreeMap<String, Inode>),
}

/// One change of the disk, or one synchronisation.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create {
        directory: Inode,
        name: String,
        inode: Inode,
        is_directory: bool,
        mode: u32,
    },
    Rename {
        directory: Inode,
        from: String,
        to: String,
    },
    Remove {
        directory: Inode,
        name: String,
    },
    Write {
        file: Inode,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Truncate {
        file: Inode,
        length: usize,
    },
    Sync {
        inode: Inode,
    },
}

/// A change with its place among all that happened.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) change: Change,
    /// It may be on the disk from here on.
    pub(crate) begin: usize,
    /// It has returned to the program here.
    pub(crate) end: usize,
}

/// Where something was said to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Output,
    Network,
    Local,
}

/// The program began to say something to the outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) channel: Channel,
    pub(crate) position: usize,
    /// Microseconds since 1970.
    pub(crate) time: u64,
}

/// All that happened.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) operations: Vec<Operation>,
    pub(crate) said: Vec<Said>,
    /// Where the first `-shm` was made.
    pub(crate) shared_memory: Option<usize>,
    /// Behind everything.
    pub(crate) end: usize,
}

impl Snapshot {
    /// Reads a directory.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let mut snapshot = Self::default();
        snapshot.add(directory)?;
        Ok(snapshot)
    }

    fn add(&mut self, path: &Path) -> Result<Inode> {
        let inode = self.nodes.len();
        let metadata = fs::symlink_metadata(path)?;
        let mode = metadata.permissions().mode() & 0o777;
        let kind = match metadata.is_dir() {
            true => Kind::Directory(BTreeMap::new()),
            false => Kind::File(Arc::new(fs::read(path)?)),
        };
        self.nodes.push(Node { mode, kind });
        if metadata.is_dir() {
            let mut entries = BTreeMap::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let name = entry
                    .file_name()
                    .into_string()
                    .ok()
                    .context("a name is not text")?;
                entries.insert(name, self.add(&entry.path())?);
            }
            self.nodes[inode].kind = Kind::Directory(entries);
        }
        Ok(inode)
    }
}

/// The command that runs `program` and writes down its calls.
pub(crate) fn traced(program: &Path, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command
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

/// Whether strace is there and may trace.
pub(crate) fn is_possible() -> bool {
    let out = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    out.is_ok_and(|out| out.status.success())
}

/// Turns traces into a log, one run of a program after the other.
pub(crate) struct Recorder {
    root: PathBuf,
    /// Names as the programs see them now.
    directories: HashMap<Inode, BTreeMap<String, Inode>>,
    lengths: HashMap<Inode, usize>,
    next: Inode,
    log: Log,
}

/// What a descriptor stands for.
#[derive(Clone)]
enum Descriptor {
    File {
        inode: Inode,
        position: Rc<Cell<usize>>,
        append: bool,
    },
    Directory(Inode),
    SharedMemory,
    Said(Channel),
    /// Outside of the watched directory.
    Elsewhere,
}

/// Where a path leads.
enum Place {
    Outside,
    Itself(Inode),
    Name(Inode, String),
}

/// One run of a program.
struct Run<'a> {
    recorder: &'a mut Recorder,
    /// Added to positions: what was recorded before.
    base: usize,
    /// Threads of the program itself.
    threads: HashMap<u32, bool>,
    births: HashMap<u32, Vec<(usize, u32, bool)>>,
    descriptors: HashMap<i64, Descriptor>,
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
                }
            }
        }
        Ok(recorder)
    }

    /// Adds the trace of one run.
    pub(crate) fn add(&mut self, trace: &str) -> Result<()> {
        let calls = strace::calls(trace)?;
        let main = calls.first().context("nothing was traced")?.thread;
        let mut births: HashMap<u32, Vec<(usize, u32, bool)>> = HashMap::new();
        for call in &calls {
            if let ("clone" | "clone3" | "fork" | "vfork", Some(child @ 1..)) =
                (&*call.name, call.result)
            {
                let thread = call.arguments.iter().any(|a| a.contains("CLONE_THREAD"));
                let born = (call.begin, call.thread, thread);
                births.entry(child as u32).or_default().push(born);
            }
        }
        let base = self.log.end;
        let mut run = Run {
            recorder: self,
            base,
            threads: HashMap::from([(main, true)]),
            births,
            descriptors: [(1, Descriptor::Said(Channel::Output))].into(),
        };
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

impl Run<'_> {
    /// Whether it is a thread of the program, and not of a process that it started.
    fn is_ours(&mut self, call: &Call) -> bool {
        if let Some(ours) = self.threads.get(&call.thread) {
            return *ours;
        }
        let births = self.births.get(&call.thread);
        let birth = births.and_then(|b| b.iter().rev().find(|(begin, ..)| *begin <= call.begin));
        let ours = birth.is_some_and(|(_, parent, thread)| {
            *thread && self.threads.get(parent).copied().unwrap_or(false)
        });
        self.threads.insert(call.thread, ours);
        ours
    }

    /// Another process: must not change what is watched.
    fn check_other(&self, call: &Call) -> Result<()> {
        let paths = call.arguments.iter().filter(|a| a.starts_with('"'));
        let writes = match call.name.as_str() {
            "open" | "openat" => call
                .arguments
                .iter()
                .any(|a| a.contains("O_WRONLY") || a.contains("O_RDWR")),
            name => [
                "rename", "link", "unlink", "mkdir", "rmdir", "mknod", "truncate", "creat",
            ]
            .iter()
            .any(|changing| name.contains(changing)),
        };
        for path in paths.filter(|_| writes) {
            let path = strace::string(path)?;
            ensure!(
                matches!(self.place(None, &path)?, Place::Outside),
                "a second process changes what is watched"
            );
        }
        Ok(())
    }

    /// Looks up what a call is about.
    fn begin(&mut self, call: &Call) -> Result<Target> {
        let target = match call.name.as_str() {
            "close" => {
                self.descriptors.remove(&call.number(0)?);
                Target::None
            }
            "open" => Target::Place(self.path(None, call, 0)?),
            "openat" => Target::Place(self.path(Some(0), call, 1)?),
            "write" | "writev" | "pwrite64" | "ftruncate" | "fsync" | "fdatasync" | "read"
            | "readv" | "lseek" | "dup" | "dup2" | "dup3" => self.descriptor(call, 0)?,
            "fcntl" => match call.argument(1)? {
                "F_DUPFD" | "F_DUPFD_CLOEXEC" => self.descriptor(call, 0)?,
                _ => Target::None,
            },
            "mmap" => {
                let target = self.descriptor(call, 4)?;
                let shared = call.argument(3)?.contains("MAP_SHARED");
                let writes = shared && call.has(2, "PROT_WRITE")?;
                if let (Target::Descriptor(Descriptor::File { .. }), true) = (&target, writes) {
                    bail!("a watched file is written through memory");
                }
                Target::None
            }
            "sendto" | "sendmsg" | "sendmmsg" => {
                if let Target::Descriptor(Descriptor::Said(channel)) = self.descriptor(call, 0)? {
                    self.say(call, channel);
                }
                Target::None
            }
            "mkdir" => Target::Place(self.path(None, call, 0)?),
            "mkdirat" => Target::Place(self.path(Some(0), call, 1)?),
            "unlink" => Target::Place(self.path(None, call, 0)?),
            "rmdir" => Target::Place(self.path(None, call, 0)?),
            "unlinkat" => Target::Place(self.path(Some(0), call, 1)?),
            "rename" => Target::Two(self.path(None, call, 0)?, self.path(None, call, 1)?),
            "renameat" | "renameat2" => {
                Target::Two(self.path(Some(0), call, 1)?, self.path(Some(2), call, 3)?)
            }
            "socket" | "accept" | "accept4" | "clone" | "clone3" | "fork" | "vfork" => Target::None,
            // The first one is the program itself.
            "execve" if call.begin == 0 => Target::None,
            _ => {
                self.check_unmodelled(call)?;
                Target::None
            }
        };
        if let (Target::Descriptor(Descriptor::Said(channel)), "write" | "writev") =
            (&target, &*call.name)
        {
            self.say(call, *channel);
        }
        Ok(target)
    }

    fn say(&mut self, call: &Call, channel: Channel) {
        let position = self.base + call.begin;
        self.recorder.log.said.push(Said {
            channel,
            position,
            time: call.time,
        });
    }

    /// A call that is not in the model may only be about other files.
    fn check_unmodelled(&self, call: &Call) -> Result<()> {
        if matches!(
            call.name.as_str(),
            "sync" | "syncfs" | "io_uring_setup" | "execve" | "chdir" | "fchdir"
        ) {
            ensure!(
                call.result.is_some_and(|r| r < 0),
                "{} is not in the model",
                call.name
            );
        }
        for argument in &call.arguments {
            if argument.starts_with('"') {
                let place = self.place(None, &strace::string(argument)?)?;
                ensure!(
                    matches!(place, Place::Outside),
                    "{} is not in the model",
                    call.name
                );
            } else if let Ok(descriptor) = argument.parse::<i64>() {
                // Any number may be a descriptor; better one refusal too many.
                let file = self.descriptors.get(&descriptor);
                let watched = matches!(
                    file,
                    Some(Descriptor::File { .. } | Descriptor::Directory(_))
                );
                ensure!(!watched, "{} is not in the model", call.name);
            }
        }
        Ok(())
    }

    fn descriptor(&self, call: &Call, index: usize) -> Result<Target> {
        let found = self.descriptors.get(&call.number(index)?);
        Ok(Target::Descriptor(
            found.cloned().unwrap_or(Descriptor::Elsewhere),
        ))
    }

    fn path(&self, directory: Option<usize>, call: &Call, path: usize) -> Result<Place> {
        let directory = match directory {
            Some(index) if call.argument(index)? != "AT_FDCWD" => Some(call.number(index)?),
            _ => None,
        };
        self.place(directory, &call.bytes(path)?)
    }

    /// Where a path leads; the last name need not exist.
    fn place(&self, directory: Option<i64>, path: &[u8]) -> Result<Place> {
        // A name that is not text is none of ours.
        let Ok(path) = std::str::from_utf8(path) else {
            return Ok(Place::Outside);
        };
        let root = self
            .recorder
            .root
            .to_str()
            .context("the watched path is not text")?;
        let (mut inode, rest) = if path.starts_with('/') {
            match path.strip_prefix(root) {
                Some("") => return Ok(Place::Itself(ROOT)),
                Some(rest) if rest.starts_with('/') => (ROOT, rest),
                _ => return Ok(Place::Outside),
            }
        } else {
            match directory.and_then(|d| self.descriptors.get(&d)) {
                Some(Descriptor::Directory(inode)) => (*inode, path),
                // The daemon works with absolute paths; the working directory is never ours.
                _ => return Ok(Place::Outside),
            }
        };
        let mut names: Vec<&str> = rest
            .split('/')
            .filter(|n| !n.is_empty() && *n != ".")
            .collect();
        ensure!(!names.contains(&".."), "a path with ..");
        let Some(last) = names.pop() else {
            return Ok(Place::Itself(inode));
        };
        for name in names {
            match self
                .recorder
                .directories
                .get(&inode)
                .and_then(|d| d.get(name))
            {
                Some(next) => inode = *next,
                None => return Ok(Place::Outside),
            }
        }
        Ok(Place::Name(inode, last.to_owned()))
    }
}

/// What a call is about.
enum Target {
    None,
    Descriptor(Descriptor),
    Place(Place),
    Two(Place, Place),
}

impl Run<'_> {
    /// Notes the effect of a call that has returned.
    fn end(&mut self, call: &Call, target: Target) -> Result<()> {
        let watched = !matches!(
            target,
            Target::None
                | Target::Descriptor(
                    Descriptor::Elsewhere | Descriptor::Said(_) | Descriptor::SharedMemory
                )
                | Target::Place(Place::Outside)
        );
        let result = match call.result {
            Some(result) if result >= 0 => result,
            Some(_) => return Ok(()),
            None if watched && !matches!(&*call.name, "read" | "readv" | "lseek") => {
                bail!("the program ended in the middle of it")
            }
            None => return Ok(()),
        };
        match (call.name.as_str(), target) {
            ("socket", _) => {
                let channel = match call.argument(0)? {
                    "AF_INET" | "AF_INET6" => Channel::Network,
                    _ => Channel::Local,
                };
                self.descriptors.insert(result, Descriptor::Said(channel));
            }
            ("accept" | "accept4", _) => {
                self.descriptors
                    .insert(result, Descriptor::Said(Channel::Local));
            }
            ("open" | "openat", Target::Place(place)) => self.opened(call, result, place)?,
            ("dup" | "dup2" | "dup3" | "fcntl", Target::Descriptor(descriptor)) => {
                self.descriptors.insert(result, descriptor);
            }
            ("read" | "readv", Target::Descriptor(Descriptor::File { position, .. })) => {
                position.set(position.get() + result as usize);
            }
            ("lseek", Target::Descriptor(Descriptor::File { position, .. })) => {
                position.set(result as usize)
            }
            (
                "write" | "writev" | "pwrite64",
                Target::Descriptor(Descriptor::File {
                    inode,
                    position,
                    append,
                }),
            ) => {
                self.wrote(call, result as usize, inode, &position, append)?;
            }
            ("ftruncate", Target::Descriptor(Descriptor::File { inode, .. })) => {
                let length = call.number(1)? as usize;
                self.recorder.lengths.insert(inode, length);
                self.note(
                    call,
                    Change::Truncate {
                        file: inode,
                        length,
                    },
                );
            }
            ("fsync" | "fdatasync", Target::Descriptor(descriptor)) => match descriptor {
                Descriptor::File { inode, .. } | Descriptor::Directory(inode) => {
                    self.note(call, Change::Sync { inode });
                }
                _ => {}
            },
            ("mkdir" | "mkdirat", Target::Place(Place::Name(directory, name))) => {
                let mode = if call.name == "mkdir" { 1 } else { 2 };
                let mode = octal(call.argument(mode)?)?;
                let inode = self.create(call, directory, name, true, mode);
                self.recorder.directories.insert(inode, BTreeMap::new());
            }
            ("unlink" | "rmdir" | "unlinkat", Target::Place(Place::Name(directory, name))) => {
                self.entries(directory)?.remove(&name);
                if !is_shared_memory(&name) {
                    self.note(call, Change::Remove { directory, name });
                }
            }
            ("rename" | "renameat" | "renameat2", Target::Two(from, to)) => {
                self.renamed(call, from, to)?
            }
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, call: &Call, result: i64, place: Place) -> Result<()> {
        let flags = usize::from(call.name == "openat") + 1;
        let descriptor = match place {
            Place::Outside => Descriptor::Elsewhere,
            Place::Itself(inode) => Descriptor::Directory(inode),
            Place::Name(_, name) if is_shared_memory(&name) => {
                let at = self.base + call.begin;
                self.recorder.log.shared_memory.get_or_insert(at);
                Descriptor::SharedMemory
            }
            Place::Name(directory, name) => {
                ensure!(
                    call.has(flags, "O_CLOEXEC")?,
                    "children would inherit {name}"
                );
                ensure!(
                    !call.has(flags, "O_TMPFILE")?,
                    "files without a name are not in the model"
                );
                let inode = match self.entries(directory)?.get(&name) {
                    Some(inode) => *inode,
                    None => {
                        let mode = octal(call.argument(flags + 1)?)?;
                        let inode = self.create(call, directory, name, false, mode);
                        self.recorder.lengths.insert(inode, 0);
                        inode
                    }
                };
                if call.has(flags, "O_TRUNC")? && self.recorder.lengths.insert(inode, 0) != Some(0)
                {
                    self.note(
                        call,
                        Change::Truncate {
                            file: inode,
                            length: 0,
                        },
                    );
                }
                match self.recorder.directories.contains_key(&inode) {
                    true => Descriptor::Directory(inode),
                    false => Descriptor::File {
                        inode,
                        position: Rc::default(),
                        append: call.has(flags, "O_APPEND")?,
                    },
                }
            }
        };
        self.descriptors.insert(result, descriptor);
        Ok(())
    }

    fn wrote(
        &mut self,
        call: &Call,
        count: usize,
        inode: Inode,
        position: &Cell<usize>,
        append: bool,
    ) -> Result<()> {
        let mut bytes = match call.name.as_str() {
            "writev" => strace::buffers(call.argument(1)?)?,
            _ => call.bytes(1)?,
        };
        ensure!(count <= bytes.len(), "wrote more than there was");
        bytes.truncate(count);
        let length = self.recorder.lengths.entry(inode).or_default();
        let offset = match call.name.as_str() {
            "pwrite64" => call.number(3)? as usize,
            _ if append => *length,
            _ => position.get(),
        };
        *length = (*length).max(offset + count);
        if call.name != "pwrite64" {
            position.set(offset + count);
        }
        self.note(
            call,
            Change::Write {
                file: inode,
                offset,
                bytes: bytes.into(),
            },
        );
        Ok(())
    }

    fn renamed(&mut self, call: &Call, from: Place, to: Place) -> Result<()> {
        match (from, to) {
            (Place::Outside, Place::Outside) => Ok(()),
            (Place::Name(directory, from), Place::Name(other, to)) if directory == other => {
                let entries = self.entries(directory)?;
                let inode = entries.remove(&from).context("renamed what is not there")?;
                entries.insert(to.clone(), inode);
                self.note(
                    call,
                    Change::Rename {
                        directory,
                        from,
                        to,
                    },
                );
                Ok(())
            }
            _ => bail!("a name moves to another directory, which is not in the model"),
        }
    }

    fn create(
        &mut self,
        call: &Call,
        directory: Inode,
        name: String,
        is_directory: bool,
        mode: u32,
    ) -> Inode {
        let inode = self.recorder.next;
        self.recorder.next += 1;
        if let Some(entries) = self.recorder.directories.get_mut(&directory) {
            entries.insert(name.clone(), inode);
        }
        self.note(
            call,
            Change::Create {
                directory,
                name,
                inode,
                is_directory,
                mode,
            },
        );
        inode
    }

    fn entries(&mut self, directory: Inode) -> Result<&mut BTreeMap<String, Inode>> {
        self.recorder
            .directories
            .get_mut(&directory)
            .context("a name below a file")
    }

    fn note(&mut self, call: &Call, change: Change) {
        let (begin, end) = (self.base + call.begin, self.base + call.end);
        self.recorder
            .log
            .operations
            .push(Operation { change, begin, end });
    }
}

fn is_shared_memory(name: &str) -> bool {
    name.ends_with("-shm")
}

fn octal(text: &str) -> Result<u32> {
    // The usual umask; what is written here is private anyway.
    u32::from_str_radix(text, 8)
        .map(|mode| mode & !0o022)
        .with_context(|| format!("no mode: {text}"))
}
