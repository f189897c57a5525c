//! Who may do what: the door through which every command passes, and the only maker of permits.
//!
//! Default deny. Each decision is a value that names the account, grant or policy line behind it.

mod grants;

use std::rc::Rc;

use bailiwick_protocol::StatusCode;

use crate::authority::{Authority, Instance};
use crate::config::PolicyRule;
use crate::store::{Store, StoreError, Transaction};

pub use self::grants::{Access, Grant, InstanceRecord, Rights};

/// The rules over what is stored; a cheap handle.
#[derive(Clone)]
pub struct Permissions {
    inner: Rc<Inner>,
}

struct Inner {
    store: Store,
    policy: Vec<PolicyRule>,
}

/// The proof that one access to one instance was checked. Made by [`Permissions::permit`] alone; not `Clone`, so
/// that one check serves one command.
#[derive(Debug)]
pub struct Permit {
    authority: Authority,
    access: Access,
    instance: Instance,
    rule: Rule,
}

/// The proof that an authority may make an instance of a type. Made by this room alone.
#[derive(Debug)]
pub struct CreatePermit {
    owner: Authority,
    moid: String,
    rule: Rule,
}

/// Why something is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The operator at the admin socket may do everything.
    Operator,
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
        /// Its text.
        line: String,
    },
    /// The account permits the type.
    Account,
}

/// Why something is refused. [`std::fmt::Display`] is one sentence for people.
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
    /// No right at all: for this authority the instance does not exist.
    #[error("{authority} has no right on {instance}")]
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
    pub fn status(&self) -> StatusCode {
        match self {
            Denied::UnknownAuthority { .. } | Denied::MoidNotPermitted { .. } => {
                StatusCode::FORBIDDEN
            }
            Denied::NoRight { .. } => StatusCode::NOT_FOUND,
            Denied::LacksRight { .. } => StatusCode::FORBIDDEN,
            Denied::Expired { has, .. } if has.is_empty() => StatusCode::NOT_FOUND,
            Denied::Expired { .. } => StatusCode::FORBIDDEN,
            Denied::Unreadable(error) if error.is_full() => StatusCode::STORAGE_FULL,
            Denied::Unreadable(_) => StatusCode::FAILED,
        }
    }

    /// One sentence that names the account, grant or policy behind the refusal.
    pub fn rule(&self) -> String {
        self.to_string()
    }
}

/// Why rights could not be kept or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A line of the device policy means nothing.
    #[error("[[policy]] number {number}: {problem}")]
    Policy {
        /// Which, from 1.
        number: usize,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// The permit is for something else.
    #[error("the permit is for {permitted}, not for {asked}")]
    WrongPermit {
        /// What was checked.
        permitted: String,
        /// What it was used for.
        asked: String,
    },
    /// There is a record of this instance already.
    #[error("{instance} exists already")]
    Exists {
        /// Which.
        instance: Instance,
    },
}

impl Permissions {
    /// The door over this store, with the device's standing rules.
    pub fn new(store: Store, policy: &[PolicyRule]) -> Result<Self, PermissionError> {
        Ok(Self {
            inner: Rc::new(Inner {
                store,
                policy: policy.to_vec(),
            }),
        })
    }

    /// Checks one access to one instance at the Unix time `now`, in seconds. Where the clock cannot be trusted,
    /// pass `u64::MAX`: every temporary grant has then ended.
    pub fn permit(
        &self,
        tx: &Transaction,
        who: &Authority,
        access: Access,
        instance: &Instance,
        now: u64,
    ) -> Result<Permit, Denied> {
        let _ = (tx, access, now, &self.inner.policy, &self.inner.store);
        Err(Denied::NoRight {
            authority: who.clone(),
            instance: instance.clone(),
        })
    }

    /// Whether the authority may make an instance of the type. The maker becomes the owner.
    pub fn may_create(
        &self,
        tx: &Transaction,
        who: &Authority,
        moid: &str,
    ) -> Result<CreatePermit, Denied> {
        self.may_create_for(tx, who, who, moid)
    }

    /// As [`Self::may_create`], but `owner` becomes the owner. Only the device itself and the operator may make
    /// instances for others (such as the DM Account of an authority).
    pub fn may_create_for(
        &self,
        tx: &Transaction,
        who: &Authority,
        owner: &Authority,
        moid: &str,
    ) -> Result<CreatePermit, Denied> {
        let _ = (tx, owner);
        Err(Denied::MoidNotPermitted {
            authority: who.clone(),
            moid: moid.to_owned(),
        })
    }

    /// Those of the candidates on which `who` has any right.
    pub fn visible(
        &self,
        tx: &Transaction,
        who: &Authority,
        moid: &str,
        candidates: impl Iterator<Item = Instance>,
        now: u64,
    ) -> Result<Vec<Instance>, PermissionError> {
        let _ = (tx, who, moid, candidates, now);
        Ok(Vec::new())
    }

    /// Whether the account of `who` permits the type; the operator and the device may manage every type.
    pub fn may_manage(
        &self,
        tx: &Transaction,
        who: &Authority,
        moid: &str,
    ) -> Result<bool, PermissionError> {
        let _ = (tx, who, moid);
        Ok(false)
    }

    /// The types that the account of `who` permits, sorted. Empty for the operator and the device, which may
    /// manage every type.
    pub fn permitted_moids(
        &self,
        tx: &Transaction,
        who: &Authority,
    ) -> Result<Vec<String>, PermissionError> {
        let _ = (tx, who);
        Ok(Vec::new())
    }

    /// Sets the types that the account of `who` permits. This makes the authority known.
    pub fn set_permitted(
        &self,
        tx: &Transaction,
        who: &Authority,
        moids: &[String],
    ) -> Result<(), PermissionError> {
        let _ = (tx, who, moids);
        Ok(())
    }

    /// Forgets an authority: what its account permits, the grants to it and by it. What it owned gets the owner
    /// that is returned with it.
    pub fn remove_authority(
        &self,
        tx: &Transaction,
        who: &Authority,
    ) -> Result<Vec<(Instance, Authority)>, PermissionError> {
        let _ = (tx, who);
        Ok(Vec::new())
    }

    /// Records a new instance; the maker of the permit owns it.
    pub fn record_instance(
        &self,
        tx: &Transaction,
        permit: &CreatePermit,
        instance: &Instance,
        plugin: &str,
    ) -> Result<(), PermissionError> {
        let _ = (tx, permit, instance, plugin);
        Ok(())
    }

    /// Forgets an instance that is being deleted, with all grants on it. The permit must be for Write.
    pub fn forget_instance(
        &self,
        tx: &Transaction,
        permit: &Permit,
    ) -> Result<(), PermissionError> {
        let _ = (tx, permit);
        Ok(())
    }

    /// The recorded instances of a type, sorted.
    pub fn instances_of(
        &self,
        tx: &Transaction,
        moid: &str,
    ) -> Result<Vec<(Instance, InstanceRecord)>, PermissionError> {
        let _ = (tx, moid);
        Ok(Vec::new())
    }
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
}

impl CreatePermit {
    /// Who will own the instance.
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
