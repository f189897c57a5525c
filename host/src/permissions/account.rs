//! What an account permits its authority: the types that it may ever manage, kept at bootstrap.

use std::collections::BTreeSet;

use super::decision::Denied;
use super::grants::{Grant, InstanceRecord};
use super::rights::Access;
use super::{PermissionError, Permissions};
use crate::authority::Authority;
use crate::store::{StoreError, Table, Transaction, tables};

/// First part of the keys in [`Table::Grants`] under which the types of an account are kept.
const PERMITTED: &str = "permitted";
/// First part of the keys in [`Table::Grants`] under which the types are kept of which a local application was granted
/// instances.
const GRANTED: &str = "granted";

/// What the account of an authority permits.
pub(super) enum Account {
    /// There is none.
    Unknown,
    /// The operator and the device: every type.
    Every,
    /// These types.
    Types(BTreeSet<String>),
}

impl Permissions {
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

    pub(super) fn check_account(
        &self,
        tx: &Transaction,
        who: &Authority,
        moid: &str,
    ) -> Result<(), Denied> {
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

    /// A local application has no DM account: the lines of the device policy that name it stand for one, and what it was
    /// granted.
    pub(super) fn account(&self, tx: &Transaction, who: &Authority) -> Result<Account, StoreError> {
        if *who == Authority::operator() || *who == Authority::device() {
            return Ok(Account::Every);
        }
        let stored: Option<BTreeSet<String>> = tx.get_json(Table::Grants, &permitted_key(who))?;
        if !who.is_local() {
            return Ok(stored.map_or(Account::Unknown, Account::Types));
        }
        let named = self.inner.policy.naming(who).map(|line| line.moid.clone());
        let mut types: BTreeSet<String> = named.collect();
        types.extend(granted(tx, who)?);
        Ok(match stored {
            Some(stored) => Account::Types(&stored | &types),
            None if types.is_empty() => Account::Unknown,
            None => Account::Types(types),
        })
    }

    /// Whether what stands for the account of a local application lets it make instances too, not only use
    /// those of the device.
    pub(super) fn may_own(
        &self,
        tx: &Transaction,
        who: &Authority,
        moid: &str,
    ) -> Result<bool, StoreError> {
        if !who.is_local() {
            return Ok(true);
        }
        let stored: Option<BTreeSet<String>> = tx.get_json(Table::Grants, &permitted_key(who))?;
        let mut lines = self.inner.policy.lines(who, moid);
        Ok(stored.is_some_and(|types| types.contains(moid))
            || lines.any(|line| line.rights.contains(Access::Write)))
    }

    /// Keeps the types of which local applications were granted instances, when the grants on an instance of `moid` have
    /// changed. Such a type lets an application use what it was granted, and make nothing.
    pub(super) fn note_grants(
        &self,
        tx: &Transaction,
        moid: &str,
        before: &[Grant],
        after: &[Grant],
    ) -> Result<(), PermissionError> {
        let applications = |grants: &[Grant]| -> BTreeSet<Authority> {
            let to = grants.iter().map(|grant| &grant.to);
            to.filter(|to| to.is_local()).cloned().collect()
        };
        let (before, after) = (applications(before), applications(after));
        for gained in after.difference(&before) {
            let mut types = granted(tx, gained)?;
            if types.insert(moid.to_owned()) {
                tx.put_json(Table::Grants, &granted_key(gained), &types)?;
            }
        }
        for lost in before.difference(&after) {
            let records = self.instances_of(tx, moid)?;
            let mut grants = records.iter().flat_map(|(_, record)| &record.grants);
            if grants.any(|grant| grant.to == *lost) {
                continue;
            }
            let mut types = granted(tx, lost)?;
            types.remove(moid);
            match types.is_empty() {
                true => tx.delete(Table::Grants, &granted_key(lost)),
                false => tx.put_json(Table::Grants, &granted_key(lost), &types)?,
            }
        }
        Ok(())
    }

    /// Who may manage the type, among all whom a decision about `who` and this record can depend on.
    pub(super) fn permitted(
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

fn granted(tx: &Transaction, who: &Authority) -> Result<BTreeSet<String>, StoreError> {
    let types: Option<BTreeSet<String>> = tx.get_json(Table::Grants, &granted_key(who))?;
    Ok(types.unwrap_or_default())
}

fn granted_key(who: &Authority) -> String {
    tables::key(&[GRANTED, who.as_str()])
}

pub(super) fn permitted_key(who: &Authority) -> String {
    tables::key(&[PERMITTED, who.as_str()])
}
