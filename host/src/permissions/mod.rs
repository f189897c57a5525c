//! Who may do what: the door through which every command passes, and the only maker of permits.
//!
//! Default deny. A decision takes three things from the store or the configuration: the types that the account of
//! an authority permits, the owner and grants of the instance, and the device policy. The rules over them are
//! pure ([`grants`], [`changes`], [`policy`]); this file only fetches, asks and records. Local
//! applications and the operator pass through the same door.

mod account;
mod changes;
mod decision;
mod delegate;
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
pub use self::delegate::GrantTerms;
pub use self::explain::Explanation;
pub use self::grants::{Grant, InstanceRecord, UNKNOWN_TIME};
pub use self::rights::{Access, Rights};

use self::account::{Account, permitted_key};
use self::grants::Scene;
use self::policy::Policy;

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
            let instance = instance_of(&key)?;
            self.note_grants(tx, &instance.moid, &record.grants, &left.grants)?;
            if left.owner != record.owner {
                inherited.push((instance, left.owner));
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
        let Permit { instance, .. } = permit;
        let forgotten = record(tx, instance)?;
        tx.delete(Table::Instances, &record_key(instance));
        self.note_grants(tx, &instance.moid, &forgotten.grants, &[])
    }

    /// The grants that are `wanted`, each with its instance. Whether they count now is not looked at.
    pub fn grants(
        &self,
        tx: &Transaction,
        wanted: impl Fn(&Grant) -> bool,
    ) -> Result<Vec<(Instance, Grant)>, PermissionError> {
        let mut found = Vec::new();
        for (key, record) in tx.scan_json::<InstanceRecord>(Table::Instances, "")? {
            let instance = instance_of(&key)?;
            let grants = record.grants.into_iter().filter(|grant| wanted(grant));
            found.extend(grants.map(|grant| (instance.clone(), grant)));
        }
        Ok(found)
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
}

/// The record of an instance; without one the device owns it.
fn record(tx: &Transaction, instance: &Instance) -> Result<InstanceRecord, StoreError> {
    let stored = tx.get_json(Table::Instances, &record_key(instance))?;
    Ok(stored.unwrap_or_else(InstanceRecord::of_the_device))
}

fn record_key(instance: &Instance) -> String {
    tables::key(&[&instance.moid, &instance.miid])
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
