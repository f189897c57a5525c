//! The rules: who holds which rights on an instance, from whom, until when. Pure: no store, no clock.
//!
//! 1. The owner holds all rights, and nobody can take one away. So does the operator.
//! 2. The owner, or a holder of Delegate, may grant. Only the owner gives Delegate itself: a chain is owner,
//!    delegate, grantee and no longer (choice; the DACMO's rules are not in the OMA text at hand).
//! 3. A grant never exceeds what its granter holds at the moment of the decision, in rights, time and
//!    priority. If the granter's own grant has ended or lacks Delegate now, it gives nothing.
//! 4. Nobody holds anything on a type that its account does not permit, nor can it then grant anything.
//! 5. Device policy counts on instances that the device itself owns, and there alone.
//! 6. A grant counts up to and including its last second.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::decision::{Precedence, Rule};
use super::policy::Policy;
use super::rights::{Access, Rights};
use crate::authority::Authority;

/// The time where no clock can be trusted: every temporary grant has ended.
pub const UNKNOWN_TIME: u64 = u64::MAX;

/// Rights that an owner or a delegate gave an authority on an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who may.
    pub to: Authority,
    /// What.
    pub rights: Rights,
    /// Last second (Unix time) at which it counts; `None`: no end.
    pub not_after: Option<u64>,
    /// Whose commands go first on the instance; lower is more important.
    pub priority: i32,
    /// Who gave it.
    pub granted_by: Authority,
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Holds all rights.
    pub owner: Authority,
    /// The plug-in that serves it.
    pub plugin: String,
    /// Who else may do what. At most one from each granter to each authority.
    pub grants: Vec<Grant>,
}

impl InstanceRecord {
    /// An instance that a plug-in brings along: the device owns it.
    pub(super) fn of_the_device() -> Self {
        Self {
            owner: Authority::device(),
            plugin: String::new(),
            grants: Vec::new(),
        }
    }
}

/// All that a decision about one instance depends on.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) record: &'a InstanceRecord,
    /// The type of the instance.
    pub(super) moid: &'a str,
    pub(super) policy: &'a Policy,
    /// Those whose account permits the type; the operator and the device always.
    pub(super) permitted: &'a BTreeSet<Authority>,
    /// Unix time, seconds.
    pub(super) now: u64,
}

/// Rights that count now, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) rule: Rule,
    pub(super) rights: Rights,
    pub(super) not_after: Option<u64>,
    pub(super) priority: i32,
}

impl Scene<'_> {
    /// What gives `who` the access; among several, the one that goes first.
    pub(super) fn allows(&self, who: &Authority, access: Access) -> Option<(Rule, Precedence)> {
        self.holdings(who)
            .into_iter()
            .filter(|holding| holding.rights.contains(access))
            .min_by_key(|holding| holding.priority)
            .map(|Holding { rule, priority, .. }| {
                let not_owner = !matches!(rule, Rule::Owner | Rule::Operator);
                (
                    rule,
                    Precedence {
                        priority,
                        not_owner,
                    },
                )
            })
    }

    /// All rights of `who` together.
    pub(super) fn rights(&self, who: &Authority) -> Rights {
        let holdings = self.holdings(who);
        holdings
            .iter()
            .fold(Rights::NONE, |rights, holding| rights.with(holding.rights))
    }

    /// The latest grant that gave `who` the access and has ended: by whom, and its last second.
    pub(super) fn ended(&self, who: &Authority, access: Access) -> Option<(Authority, u64)> {
        let before_all = Scene { now: 0, ..*self };
        let ended = before_all.holdings(who).into_iter().filter_map(|holding| {
            match (holding.rule, holding.not_after) {
                (Rule::Grant { by }, Some(end))
                    if end < self.now && holding.rights.contains(access) =>
                {
                    Some((by, end))
                }
                _ => None,
            }
        });
        ended.max_by_key(|(_, end)| *end)
    }

    /// What `who` holds, at first hand and from delegates.
    pub(super) fn holdings(&self, who: &Authority) -> Vec<Holding> {
        let mut holdings = self.first_hand(who);
        if self.permitted.contains(who) {
            for grant in self
                .grants_to(who)
                .filter(|grant| !self.is_root(&grant.granted_by))
            {
                let delegations = self.delegations(&grant.granted_by);
                holdings.extend(delegations.map(|delegation| delegated(grant, &delegation)));
            }
        }
        holdings
    }

    /// What `who` holds without a delegate between: as owner, from the owner, by policy.
    fn first_hand(&self, who: &Authority) -> Vec<Holding> {
        let mut holdings = Vec::new();
        if !self.permitted.contains(who) {
            return holdings;
        }
        if *who == Authority::operator() {
            holdings.push(Holding::all(Rule::Operator, i32::MIN));
        }
        if *who == self.record.owner {
            holdings.push(Holding::all(Rule::Owner, 0));
        }
        let from_root = |grant: &&Grant| {
            self.is_root(&grant.granted_by) && self.permitted.contains(&grant.granted_by)
        };
        holdings.extend(self.grants_to(who).filter(from_root).map(|grant| Holding {
            rule: Rule::Grant {
                by: grant.granted_by.clone(),
            },
            rights: grant.rights,
            not_after: grant.not_after,
            priority: grant.priority,
        }));
        if self.record.owner == Authority::device() {
            holdings.extend(self.policy.lines(who, self.moid).map(|line| Holding {
                rule: Rule::Policy {
                    number: line.number,
                    line: line.text(),
                },
                rights: line.rights,
                not_after: None,
                priority: 0,
            }));
        }
        holdings
    }

    /// What `who` may pass on though it is neither owner nor operator.
    pub(super) fn delegations(&self, who: &Authority) -> impl Iterator<Item = Holding> + use<> {
        let mut holdings = self.first_hand(who);
        holdings.retain(|holding| holding.rights.contains(Access::Delegate));
        holdings.into_iter()
    }

    /// Whether grants of `who` need no leave of anybody: the owner, and the operator.
    pub(super) fn is_root(&self, who: &Authority) -> bool {
        *who == self.record.owner || *who == Authority::operator()
    }

    /// Grants to `who` that have not ended.
    fn grants_to(&self, who: &Authority) -> impl Iterator<Item = &Grant> {
        self.record
            .grants
            .iter()
            .filter(move |grant| grant.to == *who && self.is_live(grant))
    }

    /// Whether a grant has not ended.
    pub(super) fn is_live(&self, grant: &Grant) -> bool {
        grant.not_after.is_none_or(|end| self.now <= end)
    }
}

impl Holding {
    fn all(rule: Rule, priority: i32) -> Self {
        Self {
            rule,
            rights: Rights::ALL,
            not_after: None,
            priority,
        }
    }
}

/// A delegate's grant, cut to what the delegate holds itself.
fn delegated(grant: &Grant, delegation: &Holding) -> Holding {
    Holding {
        rule: Rule::Grant {
            by: grant.granted_by.clone(),
        },
        rights: grant
            .rights
            .and(delegation.rights)
            .without(Access::Delegate),
        not_after: earlier(grant.not_after, delegation.not_after),
        priority: grant.priority.max(delegation.priority),
    }
}

/// The earlier of two ends, where `None` is no end.
fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (end, None) | (None, end) => end,
    }
}

#[cfg(test)]
mod tests;
