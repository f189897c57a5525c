//! Why a decision is as it is: every account, grant and policy line that was looked at, in words.

use serde::Serialize;

use super::account::Account;
use super::grants::{Grant, Scene};
use super::{Access, PermissionError, Permissions, Rights, record};
use crate::authority::{Authority, Instance};

/// What `bailiwick explain` shows. For the operator: a server never sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The decision.
    pub allowed: bool,
    /// The status of a command that needs this right; 200 if it would go on.
    pub status: u16,
    /// The rule that decided, in a sentence.
    pub rule: String,
    /// What was looked at, one sentence each.
    pub considered: Vec<String>,
}

impl Permissions {
    /// What [`Permissions::permit`] would decide now, on what is committed, and why.
    pub fn explain(
        &self,
        who: &Authority,
        access: Access,
        instance: &Instance,
        now: u64,
    ) -> Result<Explanation, PermissionError> {
        let tx = self.inner.store.begin();
        let (allowed, status, rule) = match self.permit(&tx, who, access, instance, now) {
            Ok(permit) => (true, 200, permit.rule.to_string()),
            Err(denied) => (false, denied.status().0, denied.rule()),
        };
        let moid = &instance.moid;
        let record = record(&tx, instance)?;
        let permitted = self.permitted(&tx, who, &record, moid)?;
        let scene = self.scene(&record, moid, &permitted, now);
        let mut considered = vec![
            match self.account(&tx, who)? {
                Account::Unknown => format!("there is no account of {who}"),
                Account::Every => format!("{who} may manage every type"),
                Account::Types(types) if types.contains(moid) => {
                    format!("the account of {who} permits {moid}")
                }
                Account::Types(types) => {
                    format!(
                        "the account of {who} permits {} types, not {moid}",
                        types.len()
                    )
                }
            },
            format!("the instance belongs to {}", record.owner),
        ];
        let grants = record.grants.iter().filter(|grant| grant.to == *who);
        considered.extend(grants.map(|grant| scene.describe(grant)));
        considered.extend(self.inner.policy.about(moid).map(|line| {
            let text = format!("device policy {}: {}", line.number, line.text());
            if record.owner == Authority::device() {
                text
            } else {
                format!("{text}; does not count, the instance is not the device's")
            }
        }));
        Ok(Explanation {
            allowed,
            status,
            rule,
            considered,
        })
    }
}

impl Scene<'_> {
    /// A grant and what it is worth now.
    fn describe(&self, grant: &Grant) -> String {
        let Grant {
            to,
            rights,
            not_after,
            granted_by,
            ..
        } = grant;
        let until = not_after.map_or_else(String::new, |end| format!(" until {end} (Unix time)"));
        let text = format!("grant of {rights} by {granted_by} to {to}{until}");
        if !self.is_live(grant) {
            return format!("{text}; has ended");
        }
        if self.is_root(granted_by) && self.permitted.contains(granted_by) {
            return text;
        }
        let delegations = self.delegations(granted_by);
        let passes = delegations.fold(Rights::NONE, |all, holding| all.with(holding.rights));
        if passes.is_empty() {
            return format!("{text}; gives nothing, {granted_by} does not hold delegate now");
        }
        let gives = rights.and(passes).without(Access::Delegate);
        format!("{text}; gives {gives}, as {granted_by} itself holds {passes}")
    }
}
