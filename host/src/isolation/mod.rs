//! Every process locks itself in before it reads a hostile byte: Landlock for paths and ports, seccomp for
//! system calls, no new privileges, no core dumps, limits on what it may use up.
//!
//! Read `role.rs` for who may do what; this file is how it is enforced.

mod calls;
mod role;

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::BpfProgram;
use serde::{Deserialize, Serialize};

pub use role::{Role, compiler, host, keys, worker};

use crate::config::Isolation;

/// What a process may reach after it has locked itself in.
#[derive(Debug, Default)]
struct Reach {
    /// May be read.
    read: Vec<PathBuf>,
    /// May be read and run.
    execute: Vec<PathBuf>,
    /// May be read, written, made and removed.
    write: Vec<PathBuf>,
}

/// What the kernel enforces on a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// Paths and ports.
    pub landlock: Enforcement,
    /// System calls.
    pub seccomp: Enforcement,
}

/// How much of a restriction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforcement {
    /// All that was asked for.
    Full,
    /// What this kernel knows of it.
    Partial,
    /// Nothing.
    Missing,
}

/// Why a process did not lock itself in.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// The kernel cannot do it and the configuration requires it.
    #[error(
        "this kernel does not enforce {0}; boot one that does, or set `isolation = \"best-effort\"` and accept \
         that `bailiwick status` shows it as missing"
    )]
    Unsupported(&'static str),
    /// The kernel refused.
    #[error("cannot restrict the process by {what}: {reason}")]
    Refused {
        /// Which mechanism.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

/// No core dumps and no debugger: memory may hold keys and other authorities' data.
fn keep_memory_private() -> Result<(), IsolationError> {
    let refused = |error: rustix::io::Errno| IsolationError::Refused {
        what: "resource limits",
        reason: error.to_string(),
    };
    limit(Resource::Core, 0)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)
}

/// Sets a hard limit.
fn limit(resource: Resource, maximum: u64) -> Result<(), IsolationError> {
    setrlimit(
        resource,
        Rlimit {
            current: Some(maximum),
            maximum: Some(maximum),
        },
    )
    .map_err(|error| IsolationError::Refused {
        what: "resource limits",
        reason: format!("{resource:?}: {error}"),
    })
}

/// Denies every path and every TCP port to bind, except what `reach` names. Who may not `connect` either may not reach
/// processes outside by signals or abstract sockets.
fn restrict_paths(reach: &Reach, connect: bool) -> Result<Enforcement, IsolationError> {
    let refused = |error: landlock::RulesetError| IsolationError::Refused {
        what: "Landlock",
        reason: error.to_string(),
    };
    let abi = ABI::V5;
    let net = if connect {
        AccessNet::BindTcp.into()
    } else {
        AccessNet::from_all(abi)
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .map_err(refused)?
        .handle_access(net)
        .map_err(refused)?;
    if !connect {
        ruleset = ruleset.scope(Scope::from_all(ABI::V6)).map_err(refused)?;
    }
    let status = ruleset
        .create()
        .map_err(refused)?
        .add_rules(path_beneath_rules(
            &reach.read,
            AccessFs::ReadFile | AccessFs::ReadDir,
        ))
        .map_err(refused)?
        .add_rules(path_beneath_rules(
            &reach.execute,
            AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute,
        ))
        .map_err(refused)?
        .add_rules(path_beneath_rules(
            &reach.write,
            AccessFs::from_all(abi) & !AccessFs::Execute,
        ))
        .map_err(refused)?
        .restrict_self()
        .map_err(refused)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Enforcement::Full,
        RulesetStatus::PartiallyEnforced => Enforcement::Partial,
        RulesetStatus::NotEnforced => Enforcement::Missing,
    })
}

/// Refuses system calls, in all threads, from now on.
fn restrict_calls(filter: &BpfProgram) -> Result<Enforcement, IsolationError> {
    enforcement_of(seccompiler::apply_filter_all_threads(filter))
}

fn enforcement_of(applied: Result<(), seccompiler::Error>) -> Result<Enforcement, IsolationError> {
    match applied {
        Ok(()) => Ok(Enforcement::Full),
        Err(seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error))
            if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
        {
            Ok(Enforcement::Missing)
        }
        Err(error) => Err(IsolationError::Refused {
            what: "seccomp",
            reason: error.to_string(),
        }),
    }
}

/// Holds what was achieved against what the configuration wants.
fn judge(protection: Protection, wanted: Isolation) -> Result<Protection, IsolationError> {
    if wanted == Isolation::Required {
        if protection.landlock == Enforcement::Missing {
            return Err(IsolationError::Unsupported("Landlock"));
        }
        if protection.seccomp == Enforcement::Missing {
            return Err(IsolationError::Unsupported("seccomp"));
        }
    }
    Ok(protection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_must_be_there() {
        use Enforcement::{Full, Missing, Partial};
        use Isolation::{BestEffort, Required};
        for (landlock, seccomp, wanted, unsupported) in [
            (Full, Full, Required, None),
            (Partial, Full, Required, None),
            (Missing, Full, Required, Some("Landlock")),
            (Full, Missing, Required, Some("seccomp")),
            (Missing, Missing, Required, Some("Landlock")),
            (Missing, Full, BestEffort, None),
            (Missing, Missing, BestEffort, None),
        ] {
            let protection = Protection { landlock, seccomp };
            let judged = judge(protection, wanted);
            match unsupported {
                // What is missing is reported, not hidden.
                None => assert_eq!(judged.unwrap(), protection),
                Some(what) => assert!(matches!(
                    judged,
                    Err(IsolationError::Unsupported(named)) if named == what
                )),
            }
        }
    }

    #[test]
    fn a_kernel_without_it_is_told_from_a_refusal() {
        let error = |code| std::io::Error::from_raw_os_error(code);
        for (code, missing) in [
            (libc::ENOSYS, true),
            (libc::EINVAL, true),
            (libc::EPERM, false),
            (libc::EACCES, false),
        ] {
            let judged = enforcement_of(Err(seccompiler::Error::Seccomp(error(code))));
            assert_eq!(judged.is_ok(), missing, "{code}");
        }
    }
}
