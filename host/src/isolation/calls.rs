//! Which system calls each role keeps. Where a list can be short, it lists what is allowed.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::IsolationError;

/// What a worker and the compiler need: their memory, their clock, the descriptors they were born with.
const CONFINED: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

#[cfg(target_arch = "x86_64")]
const CONFINED_OF_THE_ARCHITECTURE: &[libc::c_long] = &[libc::SYS_epoll_wait, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const CONFINED_OF_THE_ARCHITECTURE: &[libc::c_long] = &[];

/// What the host never needs and an intruder would like. It opens files, sockets and processes all the time,
/// so its list says what is refused; Landlock bounds the rest.
const REFUSED_TO_HOST: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_personality,
];

/// What the keys process is refused besides: programs, other processes, and being called by anybody. Modules of vendors
/// are native code that opens files and sockets as it likes, so this is a list of what is refused, too.
const REFUSED_TO_KEYS: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    // Landlock does not look at these.
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fanotify_init,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_TO_KEYS_OF_THE_ARCHITECTURE: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_TO_KEYS_OF_THE_ARCHITECTURE: &[libc::c_long] = &[];

/// The filter of a process that computes and talks to its parent, nothing else. It names no path: it opens nothing and
/// asks after nothing (Landlock cannot refuse the latter), and signals nobody but itself, to abort.
pub(super) fn confined() -> Result<BpfProgram, IsolationError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CONFINED
        .iter()
        .chain(CONFINED_OF_THE_ARCHITECTURE)
        .map(|call| (number(*call), Vec::new()))
        .collect();
    let itself = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        std::process::id().into(),
    )
    .and_then(|condition| SeccompRule::new(vec![condition]))
    .map_err(refused)?;
    rules.insert(number(libc::SYS_tgkill), vec![itself]);
    program(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
    )
}

/// The filter of the host.
pub(super) fn host() -> Result<BpfProgram, IsolationError> {
    let rules = REFUSED_TO_HOST
        .iter()
        .map(|call| (number(*call), Vec::new()))
        .collect();
    program(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
    )
}

/// The filters of the keys process: sockets of this machine alone, threads but no processes, and no signal or limit for
/// others.
pub(super) fn keys() -> Result<[BpfProgram; 2], IsolationError> {
    let condition = |argument, operator, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(refused)
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED_TO_HOST
        .iter()
        .chain(REFUSED_TO_KEYS)
        .chain(REFUSED_TO_KEYS_OF_THE_ARCHITECTURE)
        .map(|call| (number(*call), Vec::new()))
        .collect();
    let local = u64::from(libc::AF_UNIX.unsigned_abs());
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let itself = u64::from(std::process::id());
    for (call, rule) in [
        (libc::SYS_socket, condition(0, SeccompCmpOp::Ne, local)?),
        (
            libc::SYS_clone,
            condition(0, SeccompCmpOp::MaskedEq(thread), 0)?,
        ),
        (libc::SYS_tgkill, condition(0, SeccompCmpOp::Ne, itself)?),
        // Its own limits go by 0.
        (libc::SYS_prlimit64, condition(0, SeccompCmpOp::Ne, 0)?),
    ] {
        rules.insert(number(call), vec![rule]);
    }
    let refusing = program(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
    )?;
    // Its flags lie in memory, where no filter looks. The C library knows kernels without it and takes `clone`.
    let unknown = program(
        BTreeMap::from([(number(libc::SYS_clone3), Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
    )?;
    Ok([unknown, refusing])
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, IsolationError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(refused)?;
    SeccompFilter::new(rules, otherwise, listed, architecture)
        .and_then(BpfProgram::try_from)
        .map_err(refused)
}

/// `c_long` is 64 bits wide on every architecture that seccompiler knows.
fn number(call: libc::c_long) -> i64 {
    call
}

fn refused(error: seccompiler::BackendError) -> IsolationError {
    IsolationError::Refused {
        what: "seccomp",
        reason: error.to_string(),
    }
}
