//! Changes of who may do what on an instance: granting, revoking, and what becomes of it when its owner goes.
//! Pure: each takes a scene and returns the new grants.

use std::cmp::Reverse;

use super::grants::{Grant, InstanceRecord, Scene, UNKNOWN_TIME};
use super::rights::{Access, Rights};
use crate::authority::Authority;

/// Grants on one instance. Stops a delegate that grants without end.
const MAX_GRANTS: usize = 64;

/// Why a grant was not given or taken away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefused {
    /// The granter may not grant here.
    #[error("{by} is neither the owner nor holds delegate")]
    NotDelegate {
        /// Who wanted to grant.
        by: Authority,
    },
    /// A grant must not exceed the granter's own.
    #[error("the grant exceeds what {by} holds itself: {what}")]
    Exceeds {
        /// Who wanted to grant.
        by: Authority,
        /// Which of rights, time, priority, and the bound.
        what: String,
    },
    /// The grant would change nothing.
    #[error("the grant means nothing: {0}")]
    Pointless(&'static str),
    /// There are too many already.
    #[error("the instance has {MAX_GRANTS} grants already; revoke one first")]
    TooMany,
    /// There is no such grant, or it is not the asker's to take away.
    #[error("{by} has given {to} nothing that it could take away")]
    NothingToRevoke {
        /// Who wanted to revoke.
        by: Authority,
        /// From whom.
        to: Authority,
    },
}

/// The grants with `new` among them; an older one from the same granter to the same authority is replaced.
pub(super) fn grant(scene: &Scene<'_>, new: Grant) -> Result<Vec<Grant>, GrantRefused> {
    check_sense(scene, &new)?;
    check_within_own(scene, &new)?;
    let mut grants = scene.record.grants.clone();
    grants.retain(|old| (&old.to, &old.granted_by) != (&new.to, &new.granted_by));
    grants.push(new);
    let grants = without_orphans(scene, grants);
    if grants.len() > MAX_GRANTS {
        return Err(GrantRefused::TooMany);
    }
    Ok(grants)
}

/// The grants without those from `to` that `by` may take away, and without what hung on them. The owner and the
/// operator may take away any, a delegate its own; everybody may give up what it was given.
pub(super) fn revoke(
    scene: &Scene<'_>,
    by: &Authority,
    to: &Authority,
) -> Result<Vec<Grant>, GrantRefused> {
    let all = by == to || scene.permitted.contains(by) && scene.is_root(by);
    let goes = |grant: &Grant| grant.to == *to && (all || grant.granted_by == *by);
    if !scene.record.grants.iter().any(goes) {
        return Err(GrantRefused::NothingToRevoke {
            by: by.clone(),
            to: to.clone(),
        });
    }
    let mut grants = scene.record.grants.clone();
    grants.retain(|grant| !goes(grant));
    Ok(without_orphans(scene, grants))
}

/// The record after `leaving` has gone; `None` if it was not concerned. Its grants go, given and received.
///
/// What it owned goes to whom it trusted most: a Management Authority with a lasting grant of Delegate from it,
/// among several the one with most rights, then the most important, then by name. Failing that it goes to the
/// operator, not to the device: there a line of the device policy could open it to strangers (choice; the
/// OMA text at hand names no successor).
pub(super) fn without(record: &InstanceRecord, leaving: &Authority) -> Option<InstanceRecord> {
    let owned = record.owner == *leaving;
    let concerned = |grant: &Grant| grant.to == *leaving || grant.granted_by == *leaving;
    if !owned && !record.grants.iter().any(concerned) {
        return None;
    }
    let mut left = record.clone();
    if owned {
        left.owner = heir(record).cloned().unwrap_or_else(Authority::operator);
    }
    left.grants
        .retain(|grant| !concerned(grant) && grant.to != left.owner);
    if owned {
        // What hung on a delegate of the old owner hangs on nothing now.
        let mut granters = vec![left.owner.clone(), Authority::operator()];
        let delegates = left
            .grants
            .iter()
            .filter(|grant| grant.rights.contains(Access::Delegate));
        granters.extend(delegates.map(|grant| grant.to.clone()));
        left.grants
            .retain(|grant| granters.contains(&grant.granted_by));
    }
    Some(left)
}

fn heir(record: &InstanceRecord) -> Option<&Authority> {
    let entrusted = |grant: &&Grant| {
        grant.granted_by == record.owner
            && grant.not_after.is_none()
            && grant.rights.contains(Access::Delegate)
            && !grant.to.is_local()
    };
    record
        .grants
        .iter()
        .filter(entrusted)
        .min_by_key(|grant| {
            (
                Reverse(grant.rights.bits().count_ones()),
                grant.priority,
                &grant.to,
            )
        })
        .map(|grant| &grant.to)
}

fn check_sense(scene: &Scene<'_>, new: &Grant) -> Result<(), GrantRefused> {
    let pointless = |why| Err(GrantRefused::Pointless(why));
    if new.rights.is_empty() {
        return pointless("it gives no right");
    }
    if new.to == new.granted_by {
        return pointless("it is to the granter itself");
    }
    if scene.is_root(&new.to) {
        return pointless("its receiver holds all rights anyway");
    }
    if !scene.is_live(new) {
        return pointless("it has ended already, or the device does not know the time");
    }
    Ok(())
}

fn check_within_own(scene: &Scene<'_>, new: &Grant) -> Result<(), GrantRefused> {
    let by = &new.granted_by;
    if scene.is_root(by) && scene.permitted.contains(by) {
        return Ok(());
    }
    let mut refusal = GrantRefused::NotDelegate { by: by.clone() };
    for own in scene.delegations(by) {
        let may_give = own.rights.without(Access::Delegate);
        let what = if !may_give.contains_all(new.rights) {
            format!("rights, at most {may_give}")
        } else if own
            .not_after
            .is_some_and(|end| new.not_after.is_none_or(|new| new > end))
        {
            format!("time, at most until {}", own.not_after.unwrap_or_default())
        } else if new.priority < own.priority {
            format!("priority, at least {}", own.priority)
        } else {
            return Ok(());
        };
        refusal = GrantRefused::Exceeds {
            by: by.clone(),
            what,
        };
    }
    Err(refusal)
}

/// Drops what has ended, and what a granter gave that may no longer grant, and cuts the rest to what its granter
/// still holds: a right that was taken away does not come back with a later grant.
fn without_orphans(scene: &Scene<'_>, grants: Vec<Grant>) -> Vec<Grant> {
    let record = InstanceRecord {
        grants,
        ..scene.record.clone()
    };
    let after = Scene {
        record: &record,
        ..*scene
    };
    let mut left = Vec::new();
    for grant in &record.grants {
        // Without a clock nothing is known to have ended.
        if scene.now != UNKNOWN_TIME && !after.is_live(grant) {
            continue;
        }
        let granter = &grant.granted_by;
        let mut rights = grant.rights;
        if !after.is_root(granter) {
            let still = lasting_delegation(&record, &after, granter);
            rights = rights.and(still).without(Access::Delegate);
        }
        if !rights.is_empty() {
            left.push(Grant {
                rights,
                ..grant.clone()
            });
        }
    }
    left
}

/// What a delegate may pass on, whether or not its time or its account allow it at this moment.
fn lasting_delegation(record: &InstanceRecord, scene: &Scene<'_>, who: &Authority) -> Rights {
    let everybody = std::iter::once(who.clone()).chain(
        record
            .grants
            .iter()
            .flat_map(|grant| [grant.to.clone(), grant.granted_by.clone()]),
    );
    let permitted = everybody
        .chain([record.owner.clone(), Authority::operator()])
        .collect();
    let now = if scene.now == UNKNOWN_TIME {
        0
    } else {
        scene.now
    };
    let scene = Scene {
        permitted: &permitted,
        now,
        ..*scene
    };
    scene
        .delegations(who)
        .fold(Rights::NONE, |rights, holding| rights.with(holding.rights))
}

#[cfg(test)]
mod tests;
