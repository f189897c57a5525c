//! The roles of the one executable and what each may reach.

use std::path::PathBuf;

use rustix::process::Resource;

use super::{
    Enforcement, IsolationError, Protection, Reach, calls, judge, keep_memory_private, limit,
    restrict_calls, restrict_paths,
};
use crate::config::{Config, Isolation};

/// A process of the daemon; its name on the command line is `bailiwick role NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the plug-ins of one authority.
    Worker,
    /// Turns one component into machine code.
    Compiler,
    /// Holds private keys and speaks to smart cards and PKCS#11 modules.
    Keys,
}

impl Role {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Compiler => "compiler",
            Self::Keys => "keys",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Worker, Self::Compiler, Self::Keys]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// What name resolution and the dynamic linker read.
const SYSTEM_FILES: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/sys/class/net",
    "/sys/devices",
    "/proc/self",
    "/proc/sys/vm",
    "/sys/fs/cgroup",
];

/// Where shared libraries lie; needed to start the executable again in another role.
const LIBRARIES: &[&str] = &["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// What the dynamic linker and the C library read in the keys process, where modules of vendors are loaded.
const FILES_OF_MODULES: &[&str] = &[
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",
    "/sys/devices/system/cpu",
];

/// Address space of the keys process, bytes: modules bring libraries of tens of megabytes, and each thread reserves 8 MiB.
const KEYS_MEMORY: u64 = 1 << 30;

/// Locks the host in. Call it before the process has a second thread. `read` and `execute` are what the environments
/// of the configuration were granted. A child never has more than its parent, so what the keys process needs is the
/// host's too.
pub fn host(
    config: &Config,
    read: &[PathBuf],
    execute: &[PathBuf],
) -> Result<Protection, IsolationError> {
    keep_memory_private()?;
    let mut reach = Reach::default();
    reach.read.extend(SYSTEM_FILES.iter().map(PathBuf::from));
    reach
        .read
        .extend(config.plugins.iter().map(|plugin| plugin.path.clone()));
    reach.read.extend(read.iter().cloned());
    reach.execute.extend(LIBRARIES.iter().map(PathBuf::from));
    reach.execute.push(PathBuf::from("/proc/self/exe"));
    reach.execute.extend(execute.iter().cloned());
    reach.write.push(config.state.clone());
    let sockets = [Some(&config.admin_socket), config.apps_socket.as_ref()];
    let directories = sockets
        .into_iter()
        .flatten()
        .filter_map(|path| path.parent());
    reach.write.extend(directories.map(PathBuf::from));
    for module in &config.keys.module {
        reach.read.push(module.path.clone());
        reach.read.extend(module.read.iter().cloned());
        reach.write.extend(module.write.iter().cloned());
    }
    for card in &config.card {
        reach
            .read
            .extend(card.issuer.iter().chain(&card.pin_file).cloned());
    }
    reach.write.push(PathBuf::from("/dev/null"));
    reach.write.extend(notify_socket());
    let protection = Protection {
        landlock: restrict_paths(&reach, true)?,
        seccomp: restrict_calls(&calls::host()?)?,
    };
    judge(protection, config.isolation)
}

/// The service manager's socket, where there is one in the file system.
fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// Locks a worker in, its threads included: one socket to the host is all that it keeps.
///
/// Landlock binds the calling thread and those it starts later, so `start_threads` runs between the two steps.
pub fn worker(
    wanted: Isolation,
    start_threads: impl FnOnce(),
) -> Result<Protection, IsolationError> {
    keep_memory_private()?;
    limit(Resource::Nofile, 64)?;
    let landlock = restrict_paths(&Reach::default(), false)?;
    start_threads();
    judge(
        Protection {
            landlock,
            seccomp: restrict_calls(&calls::confined()?)?,
        },
        wanted,
    )
}

/// Locks the keys process in: no network, no other processes, no paths but the directory of keys and what the modules
/// of the configuration were granted. Its lock binds threads that are started later, so call it before there are any.
pub fn keys(
    wanted: Isolation,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
) -> Result<Protection, IsolationError> {
    keep_memory_private()?;
    limit(Resource::Nofile, 256)?;
    limit(Resource::As, KEYS_MEMORY)?;
    let mut reach = Reach {
        read,
        execute: LIBRARIES.iter().map(PathBuf::from).collect(),
        write,
    };
    reach
        .read
        .extend(FILES_OF_MODULES.iter().map(PathBuf::from));
    reach.write.push(PathBuf::from("/dev/null"));
    let landlock = restrict_paths(&reach, false)?;
    let mut seccomp = Enforcement::Full;
    for filter in calls::keys()? {
        if restrict_calls(&filter)? != Enforcement::Full {
            seccomp = Enforcement::Missing;
        }
    }
    judge(Protection { landlock, seccomp }, wanted)
}

/// Locks the compiler in: it reads a component from one descriptor and writes code to another.
pub fn compiler(
    wanted: Isolation,
    cpu_seconds: u64,
    memory_bytes: u64,
) -> Result<Protection, IsolationError> {
    keep_memory_private()?;
    limit(Resource::Nofile, 16)?;
    limit(Resource::Cpu, cpu_seconds)?;
    limit(Resource::As, memory_bytes)?;
    let landlock = restrict_paths(&Reach::default(), false)?;
    judge(
        Protection {
            landlock,
            seccomp: restrict_calls(&calls::confined()?)?,
        },
        wanted,
    )
}
