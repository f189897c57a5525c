//! One change of what the device has: what a plan consists of, and what is done when a card goes.

use bailiwick_protocol::MoItem;
use serde::{Deserialize, Serialize};

use crate::accounts::{Account, Prepared, Suspended};
use crate::authority::Authority;
use crate::certificates::{Credential, Description, State};

/// One change, small enough to be explained in a line.
#[derive(Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every step is of the large kind"
)]
pub enum Step {
    /// A certificate: what there is, and what there will be. `None`: nothing.
    Credential {
        /// Before.
        before: Option<Credential>,
        /// After.
        after: Option<Credential>,
    },
    /// An account comes, or the one that the same card gave gets other contents.
    Account {
        /// Checked.
        prepared: Box<Prepared>,
        /// What its authority is to own.
        objects: Vec<MoItem>,
        /// Whether there is one already.
        replaces: bool,
    },
    /// An account rests, or counts again.
    Rest {
        /// The account as it is.
        account: Box<Account>,
        /// Why it is to rest; `None`: it counts.
        suspended: Option<Suspended>,
    },
    /// An account goes.
    Remove {
        /// The account as it is.
        account: Box<Account>,
    },
}

/// A step in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// For whom.
    pub authority: String,
    /// `added`, `given too`, `counts again`, `changed`, `rests`, `taken back`, `removed`, `replaced`.
    pub change: String,
    /// `anchor`, `identity`, `intermediate`, `account`.
    pub what: String,
    /// Names it: a certificate's id, an account's server.
    pub id: String,
    /// A certificate's subject, an account's name.
    pub name: String,
}

impl Step {
    /// In words.
    pub fn shown(&self) -> Shown {
        match self {
            Self::Credential { before, after } => {
                let change = change(before.as_ref(), after.as_ref());
                match after.as_ref().or(before.as_ref()) {
                    Some(credential) => of_credential(change, credential),
                    None => of_nothing(),
                }
            }
            Self::Account {
                prepared, replaces, ..
            } => {
                let change = if *replaces { "replaced" } else { "added" };
                of_account(change, prepared.account())
            }
            Self::Rest { account, suspended } => {
                let change = match suspended {
                    Some(_) => "rests",
                    None => "counts again",
                };
                of_account(change, account)
            }
            Self::Remove { account } => of_account("removed", account),
        }
    }

    /// Whom it concerns.
    pub fn authority(&self) -> Option<&Authority> {
        match self {
            Self::Credential { before, after } => {
                let credential = after.as_ref().or(before.as_ref());
                credential.map(|credential| &credential.authority)
            }
            Self::Account { prepared, .. } => Some(&prepared.account().authority),
            Self::Rest { account, .. } | Self::Remove { account } => Some(&account.authority),
        }
    }
}

fn change(before: Option<&Credential>, after: Option<&Credential>) -> &'static str {
    let (before, after) = match (before, after) {
        (None, _) => return "added",
        (_, None) => return "removed",
        (Some(before), Some(after)) => (before, after),
    };
    match (
        before.state == State::Suspended,
        after.state == State::Suspended,
    ) {
        (false, true) => return "rests",
        (true, false) => return "counts again",
        _ => {}
    }
    match after.origins.len().cmp(&before.origins.len()) {
        std::cmp::Ordering::Greater => "given too",
        std::cmp::Ordering::Less => "taken back",
        std::cmp::Ordering::Equal => "changed",
    }
}

fn of_credential(change: &str, credential: &Credential) -> Shown {
    let subject = Description::of(credential.der()).map(|described| described.subject);
    Shown {
        authority: credential.authority.to_string(),
        change: change.to_owned(),
        what: credential.role.name().to_owned(),
        id: credential.id.clone(),
        name: subject.unwrap_or_default(),
    }
}

fn of_account(change: &str, account: &Account) -> Shown {
    Shown {
        authority: account.authority.to_string(),
        change: change.to_owned(),
        what: "account".to_owned(),
        id: account.srv_uri.clone(),
        name: account.name.clone(),
    }
}

fn of_nothing() -> Shown {
    Shown {
        authority: String::new(),
        change: "changed".to_owned(),
        what: "nothing".to_owned(),
        id: String::new(),
        name: String::new(),
    }
}
