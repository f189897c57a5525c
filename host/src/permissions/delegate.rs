//! Giving rights on an instance to others, and taking them back: [`super::changes`] on what is stored.

use super::changes::{self, GrantRefused};
use super::decision::Permit;
use super::grants::{Grant, Scene};
use super::rights::{Access, Rights};
use super::{PermissionError, Permissions, record, record_key, require};
use crate::authority::Authority;
use crate::store::{Table, Transaction};

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

impl Permissions {
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
        let grants = change(&self.scene(&record, &instance.moid, &permitted, now))?;
        let before = std::mem::replace(&mut record.grants, grants);
        tx.put_json(Table::Instances, &record_key(instance), &record)?;
        self.note_grants(tx, &instance.moid, &before, &record.grants)
    }
}
