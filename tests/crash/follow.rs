//! One run of a program: its descriptors, and the names that it uses, followed from call to call.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};

use super::log::{Change, Channel, Inode, Operation, ROOT, Said, is_shared_memory};
use super::record::Recorder;
use super::strace::{self, Call};

/// What a descriptor stands for.
#[derive(Clone)]
pub(crate) enum Descriptor {
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
pub(crate) enum Place {
    Outside,
    Itself(Inode),
    Name(Inode, String),
}

/// One run of a program.
pub(crate) struct Run<'a> {
    recorder: &'a mut Recorder,
    /// Added to positions: what was recorded before.
    base: usize,
    /// Threads of the program itself.
    threads: HashMap<u32, bool>,
    births: HashMap<u32, Vec<Birth>>,
    descriptors: HashMap<i64, Descriptor>,
}

/// How a thread came to be.
struct Birth {
    begin: usize,
    parent: u32,
    /// Within the process of its parent.
    is_thread: bool,
}

impl Run<'_> {
    /// The first thread of `calls` is the program's.
    pub(crate) fn new<'a>(recorder: &'a mut Recorder, calls: &[Call]) -> Result<Run<'a>> {
        let main = calls.first().context("nothing was traced")?.thread;
        let mut births: HashMap<u32, Vec<Birth>> = HashMap::new();
        for call in calls {
            if let ("clone" | "clone3" | "fork" | "vfork", Some(child @ 1..)) =
                (&*call.name, call.result)
            {
                births.entry(child as u32).or_default().push(Birth {
                    begin: call.begin,
                    parent: call.thread,
                    is_thread: call.arguments.iter().any(|a| a.contains("CLONE_THREAD")),
                });
            }
        }
        Ok(Run {
            base: recorder.log.end,
            recorder,
            threads: HashMap::from([(main, true)]),
            births,
            descriptors: [(1, Descriptor::Said(Channel::Output))].into(),
        })
    }

    /// Whether it is a thread of the program, and not of a process that it started.
    pub(crate) fn is_ours(&mut self, call: &Call) -> bool {
        if let Some(ours) = self.threads.get(&call.thread) {
            return *ours;
        }
        let births = self.births.get(&call.thread);
        let birth = births.and_then(|b| b.iter().rev().find(|birth| birth.begin <= call.begin));
        let ours = birth.is_some_and(|birth| {
            birth.is_thread && self.threads.get(&birth.parent).copied().unwrap_or(false)
        });
        self.threads.insert(call.thread, ours);
        ours
    }

    /// Another process: must not change what is watched.
    pub(crate) fn check_other(&self, call: &Call) -> Result<()> {
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
    pub(crate) fn begin(&mut self, call: &Call) -> Result<Target> {
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
pub(crate) enum Target {
    None,
    Descriptor(Descriptor),
    Place(Place),
    Two(Place, Place),
}

impl Run<'_> {
    /// Notes the effect of a call that has returned.
    pub(crate) fn end(&mut self, call: &Call, target: Target) -> Result<()> {
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
        self.recorder.log.names.insert(inode, name.clone());
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

fn octal(text: &str) -> Result<u32> {
    // The usual umask; what is written here is private anyway.
    u32::from_str_radix(text, 8)
        .map(|mode| mode & !0o022)
        .with_context(|| format!("no mode: {text}"))
}
