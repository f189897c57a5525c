//! The four rights of OMA DM 2.0, and sets of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a command needs on the instance that it addresses (OMA DM 2.0, access rights).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// GET, HPUT, HPOST.
    Read,
    /// HGET, DELETE.
    Write,
    /// EXEC.
    Execute,
    /// Changing who else may do what.
    Delegate,
}

impl Access {
    /// All four, in the order of their bits.
    pub const ALL: [Access; 4] = [
        Access::Read,
        Access::Write,
        Access::Execute,
        Access::Delegate,
    ];

    /// The word in the configuration and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Execute => "execute",
            Access::Delegate => "delegate",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of rights: 1 read, 2 write, 4 execute, 8 delegate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Rights(u8);

impl Rights {
    /// No right.
    pub const NONE: Rights = Rights(0);
    /// All four.
    pub const ALL: Rights = Rights(15);

    /// The set with these bits, or `None` if a bit means nothing.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits <= Self::ALL.0).then_some(Self(bits))
    }

    /// The bit mask, as the DACMO shows it.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether the right is in the set.
    pub fn contains(self, access: Access) -> bool {
        self.0 & Self::from(access).0 != 0
    }

    /// Whether all of `others` are in the set.
    pub fn contains_all(self, others: Rights) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether no right is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set together with `others`.
    pub fn with(self, others: impl Into<Rights>) -> Rights {
        Rights(self.0 | others.into().0)
    }

    /// The set without `others`.
    pub fn without(self, others: impl Into<Rights>) -> Rights {
        Rights(self.0 & !others.into().0)
    }

    /// What is in both sets.
    pub fn and(self, others: Rights) -> Rights {
        Rights(self.0 & others.0)
    }
}

impl From<Access> for Rights {
    fn from(access: Access) -> Self {
        match access {
            Access::Read => Rights(1),
            Access::Write => Rights(2),
            Access::Execute => Rights(4),
            Access::Delegate => Rights(8),
        }
    }
}

impl FromIterator<Access> for Rights {
    fn from_iter<I: IntoIterator<Item = Access>>(rights: I) -> Self {
        rights.into_iter().fold(Rights::NONE, Rights::with)
    }
}

impl TryFrom<u8> for Rights {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, String> {
        Self::from_bits(bits).ok_or_else(|| format!("{bits} is not a set of rights (0 to 15)"))
    }
}

impl From<Rights> for u8 {
    fn from(rights: Rights) -> u8 {
        rights.0
    }
}

impl fmt::Display for Rights {
    /// `read+write`, or `no right`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Access::ALL
            .into_iter()
            .filter(|a| self.contains(*a))
            .map(Access::name)
            .collect();
        f.write_str(
            if names.is_empty() {
                "no right".to_owned()
            } else {
                names.join("+")
            }
            .as_str(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_rights_is_the_mask_of_the_dacmo() {
        let rows: [(&[Access], u8, &str); 5] = [
            (&[], 0, "no right"),
            (&[Access::Read], 1, "read"),
            (&[Access::Write, Access::Read], 3, "read+write"),
            (&[Access::Execute, Access::Delegate], 12, "execute+delegate"),
            (&Access::ALL, 15, "read+write+execute+delegate"),
        ];
        for (accesses, bits, text) in rows {
            let rights: Rights = accesses.iter().copied().collect();
            assert_eq!((rights.bits(), rights.to_string().as_str()), (bits, text));
            for access in Access::ALL {
                assert_eq!(rights.contains(access), accesses.contains(&access));
            }
        }
    }

    #[test]
    fn bits_that_mean_nothing_are_refused() {
        assert_eq!(Rights::from_bits(16), None);
        assert_eq!(serde_json::from_str::<Rights>("9").unwrap().bits(), 9);
        assert!(serde_json::from_str::<Rights>("16").is_err());
        assert!(serde_json::from_str::<Rights>("-1").is_err());
    }
}
