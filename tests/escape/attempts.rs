//! The attempts, by what they are after.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::scene::Scene;

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    /// Anybody may do it where nothing is locked, and it can be undone.
    pub(crate) is_harmless: bool,
    run: fn(&Scene) -> io::Result<()>,
}

impl Attempt {
    /// `done`, `refused (…)` or `failed (…)`: only the kernel's no counts as a refusal.
    pub(crate) fn outcome(&self, scene: &Scene) -> String {
        outcome((self.run)(scene))
    }
}

fn outcome(result: io::Result<()>) -> String {
    match result {
        Ok(()) => "done".into(),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(refusal @ (Errno::EPERM | Errno::EACCES)) => format!("refused ({refusal:?})"),
            _ => format!("failed ({error})"),
        },
    }
}

/// A thread that starts before the lock and tries when it is told to.
pub(crate) struct Helper {
    go: mpsc::SyncSender<()>,
    said: mpsc::Receiver<String>,
}

pub(crate) fn helper(scene: Scene) -> Option<Helper> {
    let ((go, wait), (say, said)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
    std::thread::Builder::new()
        .spawn(move || {
            if wait.recv().is_ok() {
                let _ = say.send(outcome(fs::read(scene.path("secret")).map(drop)));
            }
        })
        .ok()?;
    Some(Helper { go, said })
}

impl Helper {
    pub(crate) fn run(self) -> String {
        let _ = self.go.send(());
        self.said.recv().unwrap_or_default()
    }
}

/// All attempts.
pub(crate) fn all() -> Vec<Attempt> {
    let harmless = |(name, run)| Attempt {
        name,
        is_harmless: true,
        run,
    };
    let harmful = |(name, run)| Attempt {
        name,
        is_harmless: false,
        run,
    };
    let mut attempts: Vec<Attempt> = Vec::new();
    attempts.extend(FILES.iter().copied().map(harmless));
    attempts.extend(SOCKETS.iter().copied().map(harmless));
    attempts.extend(PROCESSES.iter().copied().map(harmless));
    attempts.extend(OBJECTS.iter().copied().map(harmless));
    attempts.extend(PRIVILEGED.iter().copied().map(harmful));
    attempts
}

type Entry = (&'static str, fn(&Scene) -> io::Result<()>);

const FILES: &[Entry] = &[
    ("read a file", |scene| read(scene.path("secret"))),
    ("read /etc/passwd", |_| read("/etc/passwd")),
    ("read its own executable", |_| read("/proc/self/exe")),
    ("read its own memory map", |_| read("/proc/self/maps")),
    ("read about another process", |scene| {
        read(format!("/proc/{}/status", scene.victim))
    }),
    ("read about process 1", |_| read("/proc/1/stat")),
    ("read a device", |_| read("/dev/zero")),
    ("read the kernel's settings", |_| {
        read("/proc/sys/kernel/ostype")
    }),
    ("list /", |_| fs::read_dir("/").map(drop)),
    ("list its descriptors", |_| {
        fs::read_dir("/proc/self/fd").map(drop)
    }),
    ("ask after a file", |scene| {
        fs::metadata(scene.path("secret")).map(drop)
    }),
    ("ask after a link", |_| {
        fs::symlink_metadata("/proc/self/exe").map(drop)
    }),
    ("ask whether a file can be read", |scene| {
        Ok(nix::unistd::access(
            &scene.path("secret"),
            nix::unistd::AccessFlags::R_OK,
        )?)
    }),
    ("ask after a file system", |_| {
        Ok(nix::sys::statfs::statfs("/").map(drop)?)
    }),
    ("follow a link", |_| {
        fs::read_link("/proc/self/cwd").map(drop)
    }),
    ("write a file", |scene| {
        OpenOptions::new()
            .append(true)
            .open(scene.path("secret"))
            .map(drop)
    }),
    ("make a file", |scene| {
        File::create_new(scene.path("new")).map(drop)
    }),
    ("make a directory", |scene| {
        fs::create_dir(scene.path("new-folder"))
    }),
    ("make a symbolic link", |scene| {
        symlink("secret", scene.path("link"))
    }),
    ("make a hard link", |scene| {
        fs::hard_link(scene.path("secret"), scene.path("hard-link"))
    }),
    ("make a pipe with a name", |scene| {
        Ok(nix::unistd::mkfifo(&scene.path("pipe"), Mode::S_IRUSR)?)
    }),
    ("rename a file", |scene| {
        fs::rename(scene.path("secret"), scene.path("moved"))?;
        fs::rename(scene.path("moved"), scene.path("secret"))
    }),
    ("cut a file", |scene| {
        Ok(nix::unistd::truncate(&scene.path("secret"), 3)?)
    }),
    ("change who may read a file", |scene| {
        fs::set_permissions(scene.path("secret"), fs::Permissions::from_mode(0o644))
    }),
    ("remove a directory", |scene| {
        fs::remove_dir(scene.path("folder"))
    }),
    ("remove a file", |scene| {
        fs::remove_file(scene.path("secret"))
    }),
    ("change its directory", |_| std::env::set_current_dir("/")),
];

const SOCKETS: &[Entry] = &[
    ("connect by TCP", |scene| {
        TcpStream::connect((Ipv4Addr::LOCALHOST, scene.port)).map(drop)
    }),
    ("listen by TCP", |_| {
        TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    ("send by UDP", |scene| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket
            .send_to(b"x", (Ipv4Addr::LOCALHOST, scene.port))
            .map(drop)
    }),
    ("connect to a socket of the file system", |scene| {
        UnixStream::connect(scene.path("socket")).map(drop)
    }),
    ("listen in the file system", |scene| {
        UnixListener::bind(scene.path("new-socket")).map(drop)
    }),
    ("send to nobody in particular", |_| {
        UnixDatagram::unbound().map(drop)
    }),
    ("make a pair of sockets", |_| UnixStream::pair().map(drop)),
    ("talk to the kernel by netlink", |_| {
        open_socket(AddressFamily::Netlink, SockType::Raw, None)
    }),
    ("make an IPv6 socket", |_| {
        open_socket(AddressFamily::Inet6, SockType::Stream, None)
    }),
];

const PROCESSES: &[Entry] = &[
    ("start a program", |_| {
        Command::new("/bin/true").status().map(drop)
    }),
    ("start a thread", |_| {
        std::thread::Builder::new()
            .spawn(|| ())
            .map(|thread| drop(thread.join()))
    }),
    ("signal a process", |scene| {
        Ok(nix::sys::signal::kill(Pid::from_raw(scene.victim), None)?)
    }),
    ("take hold of a process", |scene| {
        let process = rustix::process::Pid::from_raw(scene.victim);
        let process = process.ok_or(io::ErrorKind::InvalidInput)?;
        let flags = rustix::process::PidfdFlags::empty();
        Ok(rustix::process::pidfd_open(process, flags).map(drop)?)
    }),
    ("ask after the limits of a process", |scene| {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let core = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        Ok(prlimit(Pid::from_raw(scene.victim), Resource::Core, core).map(drop)?)
    }),
    ("set a limit", |_| {
        Ok(nix::sys::resource::setrlimit(
            nix::sys::resource::Resource::RLIMIT_CORE,
            0,
            0,
        )?)
    }),
    ("let its memory be dumped", |_| {
        Ok(nix::sys::prctl::set_dumpable(true)?)
    }),
    ("change its name", |_| {
        Ok(nix::sys::prctl::set_name(c"bailiwick")?)
    }),
    ("choose its processor", |_| {
        let mut processors = nix::sched::CpuSet::new();
        processors.set(0)?;
        Ok(nix::sched::sched_setaffinity(
            Pid::from_raw(0),
            &processors,
        )?)
    }),
    ("step back behind others", |_| {
        Ok(rustix::process::setpriority_process(None, 19)?)
    }),
    ("start a session", |_| Ok(nix::unistd::setsid().map(drop)?)),
];

const OBJECTS: &[Entry] = &[
    ("make a pipe", |_| {
        Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map(drop)?)
    }),
    ("make a memory file", |_| {
        let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
        Ok(nix::sys::memfd::memfd_create("x", flags).map(drop)?)
    }),
    ("make shared memory", |_| {
        let name = format!("/bailiwick-escape-{}", std::process::id());
        let flags = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_RDWR;
        nix::sys::mman::shm_open(name.as_str(), flags, Mode::S_IRUSR)?;
        Ok(nix::sys::mman::shm_unlink(name.as_str())?)
    }),
    ("double a descriptor", |_| {
        io::stdin().as_fd().try_clone_to_owned().map(drop)
    }),
    ("watch files", |_| {
        let flags = nix::sys::inotify::InitFlags::IN_CLOEXEC;
        Ok(nix::sys::inotify::Inotify::init(flags).map(drop)?)
    }),
    ("make a timer", |_| {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        Ok(TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty()).map(drop)?)
    }),
    ("make an event", |_| {
        Ok(nix::sys::eventfd::EventFd::new().map(drop)?)
    }),
    ("take signals from a descriptor", |_| {
        Ok(nix::sys::signalfd::SignalFd::new(&nix::sys::signal::SigSet::empty()).map(drop)?)
    }),
    ("make an epoll set", |_| {
        let flags = nix::sys::epoll::EpollCreateFlags::empty();
        Ok(nix::sys::epoll::Epoll::new(flags).map(drop)?)
    }),
    ("change its personality", |_| {
        use nix::sys::personality::{Persona, set};
        Ok(set(Persona::empty()).map(drop)?)
    }),
];

/// What only the administrator may do, or what would do harm: there is no control for these.
const PRIVILEGED: &[Entry] = &[
    ("read the machine's memory", |_| read("/dev/mem")),
    ("read the memory of a process", |scene| {
        let mut there = [0_u8; 8];
        let from = nix::sys::uio::RemoteIoVec {
            base: 0x1000,
            len: 8,
        };
        let mut to = [io::IoSliceMut::new(&mut there)];
        let victim = Pid::from_raw(scene.victim);
        Ok(nix::sys::uio::process_vm_readv(victim, &mut to, &[from]).map(drop)?)
    }),
    ("trace a process", |scene| {
        Ok(nix::sys::ptrace::attach(Pid::from_raw(scene.victim))?)
    }),
    ("kill a process", |scene| {
        let signal = nix::sys::signal::Signal::SIGKILL;
        Ok(nix::sys::signal::kill(Pid::from_raw(scene.victim), signal)?)
    }),
    ("kill everybody", |_| {
        Ok(nix::sys::signal::kill(
            Pid::from_raw(-1),
            nix::sys::signal::Signal::SIGTERM,
        )?)
    }),
    ("make a raw socket", |_| {
        open_socket(AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp))
    }),
    ("make a packet socket", |_| {
        open_socket(AddressFamily::Packet, SockType::Raw, None)
    }),
    ("make a socket to other machines of the host", |_| {
        open_socket(AddressFamily::Vsock, SockType::Stream, None)
    }),
    ("mount a file system", |scene| {
        let none: Option<&str> = None;
        let flags = nix::mount::MsFlags::empty();
        Ok(nix::mount::mount(
            Some("none"),
            &scene.directory,
            Some("tmpfs"),
            flags,
            none,
        )?)
    }),
    ("unmount a file system", |_| {
        Ok(nix::mount::umount2(
            "/proc",
            nix::mount::MntFlags::MNT_DETACH,
        )?)
    }),
    ("make a namespace", |_| {
        let flags = nix::sched::CloneFlags::CLONE_NEWUSER | nix::sched::CloneFlags::CLONE_NEWNS;
        Ok(nix::sched::unshare(flags)?)
    }),
    ("enter a namespace", |_| {
        let flags = nix::sched::CloneFlags::CLONE_NEWNET;
        Ok(nix::sched::setns(io::stdin().as_fd(), flags)?)
    }),
    ("change its root", |scene| {
        Ok(nix::unistd::chroot(&scene.directory)?)
    }),
    ("swap its root", |scene| {
        Ok(nix::unistd::pivot_root(&scene.directory, &scene.directory)?)
    }),
    ("become another user", |_| {
        Ok(nix::unistd::setuid(nix::unistd::Uid::from_raw(65_534))?)
    }),
    ("become another group", |_| {
        Ok(nix::unistd::setgid(nix::unistd::Gid::from_raw(65_534))?)
    }),
    ("leave its groups", |_| Ok(nix::unistd::setgroups(&[])?)),
    ("give a file away", |scene| {
        Ok(nix::unistd::chown(
            &scene.directory,
            Some(nix::unistd::Uid::from_raw(65_534)),
            None,
        )?)
    }),
    ("make a device", |scene| {
        use nix::sys::stat::{SFlag, makedev, mknod};
        Ok(mknod(
            &scene.path("memory"),
            SFlag::S_IFCHR,
            Mode::S_IRUSR,
            makedev(1, 1),
        )?)
    }),
    ("rename the machine", |_| Ok(nix::unistd::sethostname("x")?)),
    ("set the clock", |_| {
        let time = nix::sys::time::TimeSpec::new(0, 0);
        Ok(nix::time::clock_settime(
            nix::time::ClockId::CLOCK_REALTIME,
            time,
        )?)
    }),
    ("let a key restart the machine", |_| {
        Ok(nix::sys::reboot::set_cad_enabled(true)?)
    }),
    ("load a module", |_| {
        let flags = nix::kmod::ModuleInitFlags::empty();
        Ok(nix::kmod::finit_module(io::stdin().as_fd(), c"", flags)?)
    }),
    ("unload a module", |_| {
        let flags = nix::kmod::DeleteModuleFlags::O_NONBLOCK;
        Ok(nix::kmod::delete_module(c"x", flags)?)
    }),
    ("keep a book on processes", |_| {
        Ok(nix::unistd::acct::disable()?)
    }),
    ("watch all files", |_| {
        use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags};
        let flags = InitFlags::FAN_CLASS_NOTIF;
        Ok(Fanotify::init(flags, EventFFlags::O_RDONLY).map(drop)?)
    }),
    ("raise a limit", |_| {
        let all = nix::sys::resource::RLIM_INFINITY;
        Ok(nix::sys::resource::setrlimit(
            nix::sys::resource::Resource::RLIMIT_NOFILE,
            all,
            all,
        )?)
    }),
    ("replace its program", |_| {
        Ok(nix::unistd::execv(c"/bin/true", &[c"true"]).map(|never| match never {})?)
    }),
];

fn read(path: impl AsRef<std::path::Path>) -> io::Result<()> {
    File::open(path)?.read(&mut [0; 16]).map(drop)
}

fn open_socket(
    family: AddressFamily,
    kind: SockType,
    protocol: Option<SockProtocol>,
) -> io::Result<()> {
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map(drop)?)
}
