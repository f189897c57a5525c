//! A grant: an instance holds what was given to whom, and takes it back when it is deleted.

use bailiwick_plugin::applications::{self, Grant, Principal, Rights};
use bailiwick_plugin::storage::{self, Entry};
use bailiwick_plugin::{Error, LeafValue, Node, Result, Tree, call};

use crate::time::unix;
use crate::{not_to_be_set, text};

/// The type.
pub(crate) const MOID: &str = "urn:oma:mo:x-bailiwick-app-grant:1.0";

/// Leaves that are kept as they were given.
const KEPT: [&str; 5] = ["Subject", "Policy", "Target", "Rights", "NotAfter"];
/// Where an instance keeps who gave the rights.
const BY: &str = "by";

/// Gives the rights.
pub(crate) fn create(initial: &[Node]) -> Result<()> {
    let mut entries = vec![Entry::put(BY, giver()?)];
    for node in initial.iter().filter(|node| node.value.is_some()) {
        let known = KEPT.into_iter().find(|known| node.path == [*known]);
        let name = known.ok_or_else(|| not_to_be_set(node))?;
        let value = match &node.value {
            Some(LeafValue::Integer(number)) if name == "Rights" => number.to_string(),
            _ => text(node)?.to_owned(),
        };
        entries.push(Entry::put(name, value));
    }
    storage::commit(&entries)?;
    let kept = Kept::load()?;
    applications::give(&kept.to()?, &kept.target, kept.rights()?, kept.not_after()?)
}

/// Takes them back. What has gone meanwhile, with its instance or with the right to grant, is no hindrance.
pub(crate) fn delete() -> Result<()> {
    let kept = Kept::load()?;
    if kept.by != giver()? {
        // Only in its own name can an authority take back: for anybody else the rights would outlive the instance.
        return Err(Error::NotPermitted);
    }
    match applications::take(&kept.to()?, &kept.target) {
        Err(Error::NotFound | Error::NotPermitted) => Ok(()),
        outcome => outcome,
    }
}

/// What is shown.
pub(crate) fn tree() -> Result<Tree> {
    let kept = Kept::load()?;
    let state = match applications::list()?.iter().any(|grant| kept.is(grant)) {
        true => "active",
        false => "void",
    };
    let rights = i64::from(kept.rights()?.bits());
    Ok(Tree::new()
        .optional("Subject", kept.subject)
        .optional("Policy", kept.policy)
        .leaf("Target", kept.target)
        .leaf("Rights", rights)
        .optional("NotAfter", kept.not_after)
        .leaf("State", state))
}

/// What an instance keeps.
struct Kept {
    subject: Option<String>,
    policy: Option<String>,
    target: String,
    rights: String,
    not_after: Option<String>,
    by: String,
}

impl Kept {
    fn load() -> Result<Self> {
        let get = |name: &str| {
            let value = storage::get(name)?.map(String::from_utf8).transpose();
            value.map_err(|_| Error::other("the instance is damaged"))
        };
        let required = |name: &str| get(name)?.ok_or(Error::NotFound);
        Ok(Self {
            subject: get("Subject")?,
            policy: get("Policy")?,
            target: required("Target")?,
            rights: required("Rights")?,
            not_after: get("NotAfter")?,
            by: required(BY)?,
        })
    }

    fn to(&self) -> Result<Principal> {
        match (&self.subject, &self.policy) {
            (Some(subject), None) => Ok(Principal::Subject(subject.clone())),
            (None, Some(policy)) => Ok(Principal::Policy(policy.clone())),
            _ => Err(Error::invalid_argument("give either Subject or Policy")),
        }
    }

    fn rights(&self) -> Result<Rights> {
        let bits = self
            .rights
            .parse()
            .ok()
            .filter(|bits| (1..=7).contains(bits));
        bits.map(Rights::from_bits_retain).ok_or_else(|| {
            Error::invalid_argument("Rights is the sum of 1 read, 2 write, 4 execute")
        })
    }

    fn not_after(&self) -> Result<Option<u64>> {
        let parse = |text: &String| {
            unix(text)
                .ok_or_else(|| Error::invalid_argument("NotAfter is like 2026-11-24T09:40:12Z"))
        };
        self.not_after.as_ref().map(parse).transpose()
    }

    /// Whether that is what the host keeps. Its names begin with the authority, which has no `/` there.
    fn is(&self, grant: &Grant) -> bool {
        let named = match (&self.subject, &self.policy) {
            (Some(subject), _) => format!("subject={subject}"),
            (None, Some(policy)) => format!("policy={policy}"),
            (None, None) => return false,
        };
        let to = grant.to.split_once('/').map_or("", |(_, to)| to);
        (to, &*grant.on) == (&*named, &*self.target)
    }
}

fn giver() -> Result<String> {
    call::current().authority.ok_or(Error::NotPermitted)
}
