//! Device policy: standing rules of the operator for instances that the device itself owns. Pure.

use super::PermissionError;
use super::rights::{Access, Rights};
use crate::authority::Authority;
use crate::config::PolicyRule;

/// Stands for every Management Authority with an account. Local applications are not among them.
const EVERY_ACCOUNT: &str = "*";

/// The lines of the configuration, checked.
#[derive(Debug, Default)]
pub(super) struct Policy {
    lines: Vec<Line>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// Its place in the configuration, from 1.
    pub(super) number: usize,
    /// `None`: every account.
    authority: Option<Authority>,
    pub(super) moid: String,
    pub(super) rights: Rights,
}

impl Policy {
    /// Checks every line; one that could never count is refused rather than passed over.
    pub(super) fn new(rules: &[PolicyRule]) -> Result<Self, PermissionError> {
        let lines = (1..).zip(rules).map(|(number, rule)| line(number, rule));
        Ok(Self {
            lines: lines.collect::<Result<_, _>>()?,
        })
    }

    /// The lines on `moid` that name this authority, or every account. The caller knows that it has one.
    pub(super) fn lines<'a>(
        &'a self,
        who: &'a Authority,
        moid: &'a str,
    ) -> impl Iterator<Item = &'a Line> {
        self.about(moid).filter(move |line| match &line.authority {
            Some(named) => named == who,
            None => !who.is_local(),
        })
    }

    /// All lines on `moid`.
    pub(super) fn about<'a>(&'a self, moid: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.moid == moid)
    }

    /// The lines that name this authority itself.
    pub(super) fn naming<'a>(&'a self, who: &'a Authority) -> impl Iterator<Item = &'a Line> {
        self.lines
            .iter()
            .filter(move |line| line.authority.as_ref() == Some(who))
    }
}

impl Line {
    /// `read+write for https://ma.example on urn:…`
    pub(super) fn text(&self) -> String {
        let who = self
            .authority
            .as_ref()
            .map_or(EVERY_ACCOUNT, Authority::as_str);
        format!("{} for {who} on {}", self.rights, self.moid)
    }
}

fn line(number: usize, rule: &PolicyRule) -> Result<Line, PermissionError> {
    let refuse = |problem: String| Err(PermissionError::Policy { number, problem });
    if rule.moid.is_empty() || rule.moid.contains('*') {
        return refuse(format!(
            "moid {:?} names no single type; write one line a type",
            rule.moid
        ));
    }
    if rule.authority.is_empty() {
        return refuse(format!(
            "authority is empty; write a SrvID, or {EVERY_ACCOUNT:?}"
        ));
    }
    let mut rights = Rights::NONE;
    for word in &rule.rights {
        match Access::ALL.into_iter().find(|access| access.name() == word) {
            Some(access) => rights = rights.with(access),
            None => return refuse(format!("{word:?} is no right; {}", all_rights())),
        }
    }
    if rights.is_empty() {
        return refuse(format!("rights is empty; {}", all_rights()));
    }
    let authority = match (
        rule.authority.as_str(),
        rule.authority.strip_prefix("local:"),
    ) {
        (EVERY_ACCOUNT, _) => None,
        (_, Some(application)) => Some(Authority::local(application)),
        (srv_id, None) => Some(Authority::server(srv_id)),
    };
    Ok(Line {
        number,
        authority,
        moid: rule.moid.clone(),
        rights,
    })
}

fn all_rights() -> String {
    format!("there are {}", Access::ALL.map(Access::name).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(authority: &str, moid: &str, rights: &[&str]) -> PolicyRule {
        PolicyRule {
            authority: authority.to_owned(),
            moid: moid.to_owned(),
            rights: rights.iter().map(|right| (*right).to_owned()).collect(),
        }
    }

    #[test]
    fn a_line_counts_for_whom_it_names() {
        let policy = Policy::new(&[
            rule("*", "urn:x", &["read"]),
            rule("ma-a", "urn:x", &["write", "read"]),
            rule("local:app", "urn:x", &["execute"]),
            rule("ma-a", "urn:y", &["delegate"]),
        ])
        .unwrap();
        let rows = [
            (Authority::server("ma-a"), "urn:x", vec![1, 2]),
            (Authority::server("ma-b"), "urn:x", vec![1]),
            (Authority::local("app"), "urn:x", vec![3]),
            (Authority::local("other"), "urn:x", vec![]),
            (Authority::server("ma-a"), "urn:y", vec![4]),
            (Authority::server("ma-a"), "urn:X", vec![]),
            (Authority::server("ma-"), "urn:y", vec![]),
        ];
        for (who, moid, numbers) in rows {
            let found: Vec<usize> = policy.lines(&who, moid).map(|line| line.number).collect();
            assert_eq!(found, numbers, "{who} {moid}");
        }
        assert_eq!(policy.lines[1].text(), "read+write for ma-a on urn:x");
    }

    #[test]
    fn a_line_that_could_never_count_is_refused_by_its_number() {
        let good = rule("*", "urn:x", &["read"]);
        let rows = [
            (rule("*", "", &["read"]), "no single type"),
            (rule("*", "urn:*", &["read"]), "no single type"),
            (rule("", "urn:x", &["read"]), "authority is empty"),
            (rule("*", "urn:x", &[]), "rights is empty"),
            (
                rule("*", "urn:x", &["read", "Read"]),
                "\"Read\" is no right; there are read, write",
            ),
        ];
        for (bad, expected) in rows {
            let error = Policy::new(&[good.clone(), bad]).unwrap_err().to_string();
            assert!(
                error.starts_with("[[policy]] number 2: ") && error.contains(expected),
                "{error}"
            );
        }
    }
}
