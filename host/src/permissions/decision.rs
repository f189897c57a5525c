//! What comes out of a check: a permit, or why not. Each is a value that can be logged and explained.

use std::fmt;

use bailiwick_protocol::StatusCode;

use super::rights::{Access, Rights};
use crate::authority::{Authority, Instance};
use crate::store::StoreError;

/// The proof that one access to one instance was checked. Made by [`super::Permissions::permit`] alone; not
/// `Clone`, so that one check serves one command.
///
/// ```compile_fail,E0451
/// # use bailiwick::{authority::{Authority, Instance}, permissions::{Access, Permit, Rule}};
/// let forged = Permit {
///     authority: Authority::server("rogue"),
///     access: Access::Write,
///     instance: Instance::new("urn:x", "1"),
///     rule: Rule::Owner,
///     precedence: Default::default(),
/// };
/// ```
///
/// ```compile_fail,E0599
/// # fn twice(permit: bailiwick::permissions::Permit) {
/// let kept = permit.clone();
/// # }
/// ```
#[derive(Debug)]
pub struct Permit {
    pub(super) authority: Authority,
    pub(super) access: Access,
    pub(super) instance: Instance,
    pub(super) rule: Rule,
    pub(super) precedence: Precedence,
}

impl Permit {
    /// Who asked.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What was checked.
    pub fn access(&self) -> Access {
        self.access
    }

    /// On which instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Why it is allowed.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Who goes first on the instance.
    pub fn precedence(&self) -> Precedence {
        self.precedence
    }
}

/// The proof that an authority may make an instance of a type. Made by this room alone.
///
/// ```compile_fail,E0451
/// # use bailiwick::{authority::Authority, permissions::{CreatePermit, Rule}};
/// let forged = CreatePermit {
///     owner: Authority::server("rogue"),
///     moid: "urn:x".to_owned(),
///     rule: Rule::Account,
/// };
/// ```
#[derive(Debug)]
pub struct CreatePermit {
    pub(super) owner: Authority,
    pub(super) moid: String,
    pub(super) rule: Rule,
}

impl CreatePermit {
    /// Who will own the instance, with all rights.
    pub fn owner(&self) -> &Authority {
        &self.owner
    }

    /// The type.
    pub fn moid(&self) -> &str {
        &self.moid
    }

    /// Why it is allowed.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }
}

/// Whose commands go first on one instance: the smaller one. The operator, then by the priority that the owner
/// gave (lower is more important; its own is 0), then the owner before others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    pub(super) priority: i32,
    pub(super) not_owner: bool,
}

/// Why something is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The operator at the admin socket may do everything.
    Operator,
    /// The device itself may make instances, and owns what its plug-ins bring.
    Device,
    /// The owner holds all rights.
    Owner,
    /// A grant on the instance.
    Grant {
        /// Who gave it.
        by: Authority,
    },
    /// A line of the device policy.
    Policy {
        /// Its number in the configuration, from 1.
        number: usize,
        /// What it says.
        line: String,
    },
    /// The account permits the type.
    Account {
        /// Whose.
        authority: Authority,
    },
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Operator => f.write_str("operator of the device"),
            Rule::Device => f.write_str("the device itself"),
            Rule::Owner => f.write_str("owner of the instance"),
            Rule::Grant { by } => write!(f, "grant by {by}"),
            Rule::Policy { number, line } => write!(f, "device policy {number}: {line}"),
            Rule::Account { authority } => {
                write!(f, "type permitted by the account of {authority}")
            }
        }
    }
}

/// Why something is refused. [`fmt::Display`] is one sentence for the operator; a server gets the status alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no account of this authority.
    #[error("{authority} has no account on this device")]
    UnknownAuthority {
        /// Who asked.
        authority: Authority,
    },
    /// The account does not permit the type.
    #[error("the account of {authority} does not permit {moid}")]
    MoidNotPermitted {
        /// Who asked.
        authority: Authority,
        /// The type.
        moid: String,
    },
    /// Only the device and the operator make instances for others.
    #[error("{authority} may not make instances that {owner} owns")]
    NotForOthers {
        /// Who asked.
        authority: Authority,
        /// Who was to own the instance.
        owner: Authority,
    },
    /// No right at all: for this authority the instance does not exist.
    #[error(
        "neither ownership nor a grant nor device policy gives {authority} any right on {instance}"
    )]
    NoRight {
        /// Who asked.
        authority: Authority,
        /// For what.
        instance: Instance,
    },
    /// Some right, but not this one.
    #[error("{authority} has {has} on {instance}, and not {access}")]
    LacksRight {
        /// Who asked.
        authority: Authority,
        /// For what.
        instance: Instance,
        /// What the command needs.
        access: Access,
        /// What is there.
        has: Rights,
    },
    /// A grant gave the right, and has ended.
    #[error(
        "the grant of {access} on {instance} to {authority} by {by} ended at {ended} (Unix time)"
    )]
    Expired {
        /// Who asked.
        authority: Authority,
        /// For what.
        instance: Instance,
        /// What the command needs.
        access: Access,
        /// Who had granted it.
        by: Authority,
        /// Its last second.
        ended: u64,
        /// What is there without it.
        has: Rights,
    },
    /// The store does not answer, so nothing is allowed.
    #[error("the rights cannot be read: {0}")]
    Unreadable(#[from] StoreError),
}

impl Denied {
    /// The status of the command: the only function that chooses between 403 and 404.
    ///
    /// choice: an authority must not detect the instances of others. A type outside its account is 403
    /// always, whether or not the device has such a type or instance. Within its account an instance on which
    /// it has no right is 404, as one that does not exist. Only who sees an instance is told that a right is
    /// missing. That a grant has ended makes no difference.
    pub fn status(&self) -> StatusCode {
        match self {
            Denied::UnknownAuthority { .. }
            | Denied::MoidNotPermitted { .. }
            | Denied::NotForOthers { .. } => StatusCode::FORBIDDEN,
            Denied::NoRight { .. } => StatusCode::NOT_FOUND,
            Denied::LacksRight { has, .. } | Denied::Expired { has, .. } => {
                if has.is_empty() {
                    StatusCode::NOT_FOUND
                } else {
                    StatusCode::FORBIDDEN
                }
            }
            Denied::Unreadable(_) => StatusCode::FAILED,
        }
    }

    /// One sentence that names the account, grant or policy behind the refusal.
    pub fn rule(&self) -> String {
        self.to_string()
    }
}
