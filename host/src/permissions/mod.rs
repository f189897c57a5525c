//! Who may do what: the door through which every command passes, and the only maker of permits.
//!
//! Default deny. A decision takes three things from the store or the configuration: the types that the account of
//! an authority permits, the owner and grants of the instance, and the device policy. The rules over them are
//! pure ([`grants`], [`changes`], [`policy`]); this file only fetches, asks and records. Local
//! applications and the operator pass through the same door.

mod changes;
mod decision;
mod explain;
mod grants;
mod policy;
mod rights;

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::authority::{Authority, Instance};
use crate::config::PolicyRule;
use crate::store::{Store, StoreError, Table, Transaction, tables};

pub use self::changes::GrantRefused;
pub use self::decision::{CreatePermit, Denied, Permit, Precedence, Rule};
pub use self::explain::Explanation;
pub use self::grants::{Grant, InstanceRecord, UNKNOWN_TIME};
pub use self::rights::{Access, Rights};

use self::grants::Scene;
use self::policy::Policy;

/// First part of the keys in [`Table::Grants`] under which the types of an account are kept.
const PERMITTED: &str = "permitted";

/// The rules over what is stored; a cheap handle.
#[derive(Clone)]
pub struct Permissions {
    inner: Rc<Inner>,
}

struct Inner {
    store: Store,
    policy: Policy,
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
    /// A grant was not given or taken away.
    #[error(transparent)]
    Grant(#[from] GrantRefused),
}

/// What the account of an authority permits.
enum Account {
    /// There is none.
    Unknown,
    /// The operator and the device: every type.
    Every,
    /// These types.
    Types(BTreeSet<String>),
}

impl Permissions {
    /// The door over this store, with the device's standing rules.
    pub fn new(store: Store, policy: &[PolicyRule]) -> Result<Self, PermissionError> {
        let policy = Policy::new(policy)?;
        Ok(Self {
            inner: Rc::new(Inner { store, policy }),
        })
    }

    /// Checks one access to one instance at the Unix time `now`, in seconds; [`UNKNOWN_TIME`] where the clock
    /// cannot be trusted.
    pub fn permit(
        &self,
        tx: &Transaction,
        who: &Authority,
        access: Access,
        instance: &Instance,
        now: u64,
    ) -> Result<Permit, Denied> {
        self.check_account(tx, who, &instance.moid)?;
        let record = record(tx, instance)?;
        let permitted = self.permitted(tx, who, &record, &instance.moid)?;
        let scene = self.scene(&record, &instance.moid, &permitted, now);
        if let Some((rule, precedence)) = scene.allows(who, access) {
            let (authority, instance) = (who.clone(), instance.clone());
            return Ok(Permit {
                authority,
                access,
                instance,
                rule,
                precedence,
            });
        }
        let (authority, instance) = (who.clone(), instance.clone());
        let has = scene.rights(who);
        Err(match scene.ended(who, access) {
            Some((by, ended)) => Denied::Expired {
                authority,
                instance,
                access,
                by,
                ended,
                has,
            },
            None if has.is_empty() => Denied::NoRight {
                authority,
                instance,
            },
            None => Denied::LacksRight {
                authority,
                instance,
                access,
                has,
            },
        })
    }

    /// Whether the authority may make an instance of the type. The maker becomes the owner.
    pub fn may_create(
        &self,
        tx: &Transaction,
        who: &Authority,
        moid: &str,
    ) -> Result<CreatePermit, Denied> {
        let (owner, moid) = (who.clone(), moid.to_owned());
        let rule = match self.account(tx, who)? {
            Account::Every if *who == Authority::operator() => Rule::Operator,
            Account::Every => Rule::Device,
            Account::Unknown => return Err(Denied::UnknownAuthority { authority: owner }),
            Account::Types(types) if types.contains(&moid) && self.may_own(tx, who, &moid)? => {
                Rule::Account {
                    authority: who.clone(),
                }
            }
            Account::Types(_) => {
                return Err(Denied::MoidNotPermitted {
                    authority: owner,
                    moid,
                });
            }
        };
        Ok(CreatePermit { owner, moid, rule })
    }

    /// As [`Self::may_create`], but `owner` becomes the owner. Only the device itself and the operator make
    /// instances for others (such as the DM Account of an authority).
    pub fn may_create_for(
        &self,
        tx: &Transaction,
        who: &Authority,
        owner: &Authority,
        moid: &str,
    ) -> Result<CreatePermit, Denied> {
        if who != owner && *who != Authority::device() && *who != Authority::operator() {
            return Err(Denied::NotForOthers {
                authority: who.clone(),
                owner: owner.clone(),
            });
        }
        Ok(CreatePermit {
            owner: owner.clone(),
            ..self.may_create(tx, who, moid)?
        })
    }

    /// Those of the candidates of this type on which `who` has any right.
    pub fn visible(
        &self,
        tx: &Transaction,
        who: &Authority,
        moid: &str,
        candidates: impl Iterator<Item = Instance>,
        now: u64,
    ) -> Result<Vec<Instance>, PermissionError> {
        if !self.may_manage(tx, who, moid)? {
            return Ok(Vec::new());
        }
        let mut seen = Vec::new();
        for instance in candidates.filter(|instance| instance.moid == moid) {
            let record = record(tx, &instance)?;
            let permitted = self.permitted(tx, who, &record, moid)?;
            if !self
                .scene(&record, moid, &permitted, now)
                .rights(who)
                .is_empty()
            {
                seen.push(instance);
            }
        }
        Ok(seen)
    }

    /// Whether the account of `who` permits the type; the operator and the device may manage every type.
    pub fn may_manage(
        &self,
        tx: &Transaction,
        who: &Authority,
        moid: &str,
    ) -> Result<bool, PermissionError> {
        Ok(match self.account(tx, who)? {
            Account::Unknown => false,
            Account::Every => true,
            Account::Types(types) => types.contains(moid),
        })
    }

    /// The types that the account of `who` permits, sorted. Empty for the operator and the device, which may
    /// manage every type.
    pub fn permitted_moids(
        &self,
        tx: &Transaction,
        who: &Authority,
    ) -> Result<Vec<String>, PermissionError> {
        Ok(match self.account(tx, who)? {
            Account::Unknown | Account::Every => Vec::new(),
            Account::Types(types) => types.into_iter().collect(),
        })
    }

    /// Sets the types that the account of `who` permits. This makes the authority known, even with no type.
    pub fn set_permitted(
        &self,
        tx: &Transaction,
        who: &Authority,
        moids: &[String],
    ) -> Result<(), PermissionError> {
        let moids: BTreeSet<&String> = moids.iter().collect();
        Ok(tx.put_json(Table::Grants, &permitted_key(who), &moids)?)
    }

    /// Forgets an authority: what its account permits, the grants to it and by it. What it owned is returned with
    /// its new owner: its most trusted delegate, or the operator.
    pub fn remove_authority(
        &self,
        tx: &Transaction,
        who: &Authority,
    ) -> Result<Vec<(Instance, Authority)>, PermissionError> {
        let mut inherited = Vec::new();
        for (key, record) in tx.scan_json::<InstanceRecord>(Table::Instances, "")? {
            let Some(left) = changes::without(&record, who) else {
                continue;
            };
            tx.put_json(Table::Instances, &key, &left)?;
            if left.owner != record.owner {
                inherited.push((instance_of(&key)?, left.owner));
            }
        }
        tx.delete(Table::Grants, &permitted_key(who));
        Ok(inherited)
    }

    /// Records a new instance; the owner is who the permit names.
    pub fn record_instance(
        &self,
        tx: &Transaction,
        permit: &CreatePermit,
        instance: &Instance,
        plugin: &str,
    ) -> Result<(), PermissionError> {
        if instance.moid != permit.moid {
            return Err(wrong_permit(
                format!("making {}", permit.moid),
                format!("making {instance}"),
            ));
        }
        let key = record_key(instance);
        if tx.get(Table::Instances, &key)?.is_some() {
            return Err(PermissionError::Exists {
                instance: instance.clone(),
            });
        }
        let (owner, plugin) = (permit.owner.clone(), plugin.to_owned());
        let record = InstanceRecord {
            owner,
            plugin,
            grants: Vec::new(),
        };
        Ok(tx.put_json(Table::Instances, &key, &record)?)
    }

    /// Forgets an instance that is being deleted, with all grants on it. The permit must be for Write.
    pub fn forget_instance(
        &self,
        tx: &Transaction,
        permit: &Permit,
    ) -> Result<(), PermissionError> {
        require(permit, Access::Write)?;
        tx.delete(Table::Instances, &record_key(&permit.instance));
        Ok(())
    }

    /// The recorded instances of a type, sorted.
    pub fn instances_of(
        &self,
        tx: &Transaction,
        moid: &str,
    ) -> Result<Vec<(Instance, InstanceRecord)>, PermissionError> {
        tx.scan_json(Table::Instances, &tables::prefix(&[moid]))?
            .into_iter()
            .map(|(key, record)| Ok((instance_of(&key)?, record)))
            .collect()
    }

    /// Gives rights on the instance of the permit, which must be for Delegate, in the name of its authority. An
    /// older grant from the same authority to the same one is replaced.
    pub fn grant(
        &self,
        tx: &Transaction,
        permit: &Permit,
        to: &Authority,
        what: GrantTerms,
        now: u64,
    ) -> Result<(), PermissionError> {
        require(permit, Access::Delegate)?;
        let GrantTerms {
            rights,
            not_after,
            priority,
        } = what;
        let (to, granted_by) = (to.clone(), permit.authority.clone());
        let grant = Grant {
            to,
            rights,
            not_after,
            priority,
            granted_by,
        };
        self.change(tx, permit, now, |scene| changes::grant(scene, grant))
    }

    /// Takes away what `to` was given on the instance of the permit: all of it for the owner and the operator, a
    /// delegate's own grants for the delegate. Everybody may give up its own rights, with a permit for any access.
    pub fn revoke(
        &self,
        tx: &Transaction,
        permit: &Permit,
        to: &Authority,
        now: u64,
    ) -> Result<(), PermissionError> {
        if permit.authority != *to {
            require(permit, Access::Delegate)?;
        }
        self.change(tx, permit, now, |scene| {
            changes::revoke(scene, &permit.authority, to)
        })
    }

    fn change(
        &self,
        tx: &Transaction,
        permit: &Permit,
        now: u64,
        change: impl FnOnce(&Scene<'_>) -> Result<Vec<Grant>, GrantRefused>,
    ) -> Result<(), PermissionError> {
        let Permit {
            authority,
            instance,
            ..
        } = permit;
        let mut record = record(tx, instance)?;
        let permitted = self.permitted(tx, authority, &record, &instance.moid)?;
        record.grants = change(&self.scene(&record, &instance.moid, &permitted, now))?;
        Ok(tx.put_json(Table::Instances, &record_key(instance), &record)?)
    }

    fn scene<'a>(
        &'a self,
        record: &'a InstanceRecord,
        moid: &'a str,
        permitted: &'a BTreeSet<Authority>,
        now: u64,
    ) -> Scene<'a> {
        Scene {
            record,
            moid,
            policy: &self.inner.policy,
            permitted,
            now,
        }
    }

    fn check_account(&self, tx: &Transaction, who: &Authority, moid: &str) -> Result<(), Denied> {
        let authority = who.clone();
        match self.account(tx, who)? {
            Account::Every => Ok(()),
            Account::Types(types) if types.contains(moid) => Ok(()),
            Account::Types(_) => Err(Denied::MoidNotPermitted {
                authority,
                moid: moid.to_owned(),
            }),
            Account::Unknown => Err(Denied::UnknownAuthority { authority }),
        }
    }

    /// A local application has no DM account: the lines of the device policy that name it stand for one.
    fn account(&self, tx: &Transaction, who: &Authority) -> Result<Account, StoreError> {
        if *who == Authority::operator() || *who == Authority::device() {
            return Ok(Account::Every);
        }
        let stored: Option<BTreeSet<String>> = tx.get_json(Table::Grants, &permitted_key(who))?;
        if !who.is_local() {
            return Ok(stored.map_or(Account::Unknown, Account::Types));
        }
        let named: BTreeSet<String> = self
            .inner
            .policy
            .naming(who)
            .map(|line| line.moid.clone())
            .collect();
        Ok(match stored {
            Some(types) => Account::Types(&types | &named),
            None if named.is_empty() => Account::Unknown,
            None => Account::Types(named),
        })
    }

    /// Whether what stands for the account of a local application lets it make instances too, not only use
    /// those of the device.
    fn may_own(&self, tx: &Transaction, who: &Authority, moid: &str) -> Result<bool, StoreError> {
        if !who.is_local() {
            return Ok(true);
        }
        let stored: Option<BTreeSet<String>> = tx.get_json(Table::Grants, &permitted_key(who))?;
        let mut lines = self.inner.policy.lines(who, moid);
        Ok(stored.is_some_and(|types| types.contains(moid))
            || lines.any(|line| line.rights.contains(Access::Write)))
    }

    /// Who may manage the type, among all whom a decision about `who` and this record can depend on.
    fn permitted(
        &self,
        tx: &Transaction,
        who: &Authority,
        record: &InstanceRecord,
        moid: &str,
    ) -> Result<BTreeSet<Authority>, StoreError> {
        let granters = record.grants.iter().map(|grant| &grant.granted_by);
        let concerned: BTreeSet<&Authority> = granters.chain([who, &record.owner]).collect();
        let mut permitted = BTreeSet::new();
        for authority in concerned {
            let may = match self.account(tx, authority)? {
                Account::Unknown => false,
                Account::Every => true,
                Account::Types(types) => types.contains(moid),
            };
            if may {
                permitted.insert(authority.clone());
            }
        }
        Ok(permitted)
    }
}

/// What a grant gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantTerms {
    /// Which rights.
    pub rights: Rights,
    /// Last second (Unix time) at which it counts; `None`: no end.
    pub not_after: Option<u64>,
    /// Whose commands go first on the instance; lower is more important.
    pub priority: i32,
}

/// The record of an instance; without one the device owns it.
fn record(tx: &Transaction, instance: &Instance) -> Result<InstanceRecord, StoreError> {
    let stored = tx.get_json(Table::Instances, &record_key(instance))?;
    Ok(stored.unwrap_or_else(InstanceRecord::of_the_device))
}

fn record_key(instance: &Instance) -> String {
    tables::key(&[&instance.moid, &instance.miid])
}

fn permitted_key(who: &Authority) -> String {
    tables::key(&[PERMITTED, who.as_str()])
}

fn instance_of(key: &str) -> Result<Instance, StoreError> {
    match tables::parts(key).as_slice() {
        [moid, miid] => Ok(Instance::new(moid, miid)),
        _ => Err(StoreError::Unreadable {
            table: Table::Instances,
            detail: "its key does not name an instance".to_owned(),
        }),
    }
}

fn require(permit: &Permit, access: Access) -> Result<(), PermissionError> {
    if permit.access == access {
        return Ok(());
    }
    let of = |access| format!("{access} on {}", permit.instance);
    Err(wrong_permit(of(permit.access), of(access)))
}

fn wrong_permit(permitted: String, asked: String) -> PermissionError {
    PermissionError::WrongPermit { permitted, asked }
}

#[cfg(test)]
mod tests;
