//! Whom a certificate names, as rights are given to it: its subject, and each policy that its authority issued it under.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::name::Name;

use crate::authority::Authority;

/// Bytes of a subject in text. Stops names that fill logs and the store.
const SUBJECT: usize = 512;
/// Bytes of an object identifier in text.
const POLICY: usize = 128;

/// A subject or a policy, in the one form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Principal {
    /// The subject's distinguished name (RFC 4514), most specific part first: `CN=meter,O=Example`.
    Subject(String),
    /// A certificate policy (RFC 5280 §4.2.1.4): `1.3.6.1.4.1.99999.1`.
    Policy(String),
}

/// Why a text names nobody. Says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// Longer than any that is let in.
    #[error("a name of {bytes} bytes is longer than {limit}; shorten it")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Not a distinguished name.
    #[error(
        "{text:?} is not a distinguished name as in RFC 4514; write it like CN=meter,O=Example"
    )]
    NoName {
        /// As it was written.
        text: String,
    },
    /// A distinguished name in another form: it would match no certificate.
    #[error("write the subject {text:?} as {canonical:?}")]
    OtherForm {
        /// As it was written.
        text: String,
        /// As it is compared.
        canonical: String,
    },
    /// Not an object identifier.
    #[error("{text:?} is not an object identifier; write it like 1.3.6.1.4.1.99999.1")]
    NoIdentifier {
        /// As it was written.
        text: String,
    },
}

impl Principal {
    /// The subject of this text, which must be in the form that [`Self::of_subject`] gives.
    pub fn subject(text: &str) -> Result<Self, PrincipalError> {
        let bounded = within(text, SUBJECT)?;
        let no_name = || PrincipalError::NoName {
            text: text.to_owned(),
        };
        let name = Name::from_str(bounded).map_err(|_| no_name())?;
        match Self::of_subject(&name)? {
            Some(Self::Subject(canonical)) if canonical == text => Ok(Self::Subject(canonical)),
            Some(Self::Subject(canonical)) => Err(PrincipalError::OtherForm {
                text: text.to_owned(),
                canonical,
            }),
            _ => Err(no_name()),
        }
    }

    /// The policy of this object identifier.
    pub fn policy(text: &str) -> Result<Self, PrincipalError> {
        let bounded = within(text, POLICY)?;
        let identifier = ObjectIdentifier::new(bounded).map(|oid| oid.to_string());
        match identifier {
            Ok(identifier) if identifier == text => Ok(Self::Policy(identifier)),
            _ => Err(PrincipalError::NoIdentifier {
                text: text.to_owned(),
            }),
        }
    }

    /// The subject of a certificate; `None` if it is empty.
    pub(super) fn of_subject(name: &Name) -> Result<Option<Self>, PrincipalError> {
        if name.is_empty() {
            return Ok(None);
        }
        let text = name.to_string();
        within(&text, SUBJECT)?;
        Ok(Some(Self::Subject(text)))
    }

    /// What rights are given to: the principal as `authority` certifies it, and nobody else's of the same name.
    ///
    /// `local:<SrvID>/subject=<DN>` or `local:<SrvID>/policy=<OID>`. In the SrvID `/` and `%` are percent-encoded, so that
    /// its end is where it seems to be, and no two authorities share a principal.
    pub fn of(&self, authority: &Authority) -> Authority {
        let (kind, name) = match self {
            Self::Subject(name) => ("subject", name),
            Self::Policy(name) => ("policy", name),
        };
        Authority::local(&format!("{}{kind}={name}", Self::realm(authority)))
    }

    /// What the names of all principals of one authority begin with, after `local:`.
    pub fn realm(authority: &Authority) -> String {
        let escaped = authority.as_str().replace('%', "%25").replace('/', "%2F");
        format!("{escaped}/")
    }
}

fn within(text: &str, limit: usize) -> Result<&str, PrincipalError> {
    match text.len() {
        bytes if bytes > limit => Err(PrincipalError::TooLong { bytes, limit }),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_one_form() {
        for text in [
            "CN=meter",
            "CN=meter,O=Example",
            "CN=a/b\\, c,OU=1+OU=2,DC=example",
            "CN=\\ padded\\ ",
            "CN=\\#hash",
            "1.2.3.4=#0c0161",
            "CN=Grüße",
        ] {
            assert_eq!(
                Principal::subject(text),
                Ok(Principal::Subject(text.into())),
                "{text}"
            );
        }
        for text in ["cn=meter", "2.5.4.3=meter", "CN=me\\74er", "CN=#0c0161"] {
            let refused = Principal::subject(text);
            assert!(
                matches!(refused, Err(PrincipalError::OtherForm { .. })),
                "{text}: {refused:?}"
            );
        }
        for text in ["", "meter", "CN", "XX=1", "CN=a,"] {
            let refused = Principal::subject(text);
            assert!(
                matches!(refused, Err(PrincipalError::NoName { .. })),
                "{text}: {refused:?}"
            );
        }
        let long = format!("CN={}", "x".repeat(SUBJECT));
        assert!(matches!(
            Principal::subject(&long),
            Err(PrincipalError::TooLong { .. })
        ));
    }

    #[test]
    fn a_policy_is_an_object_identifier() {
        assert_eq!(
            Principal::policy("1.3.6.1.4.1.9.1"),
            Ok(Principal::Policy("1.3.6.1.4.1.9.1".into()))
        );
        for text in ["", "1", "anyPolicy", "1.3.06", "1.3.6.1 ", "9.9.9"] {
            assert!(Principal::policy(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_two_principals_share_a_name() {
        let subject = |text: &str| Principal::Subject(text.into());
        let all = [
            subject("CN=a").of(&Authority::server("m")),
            subject("CN=a").of(&Authority::server("m/subject=CN=b")),
            subject("CN=b/subject=CN=a").of(&Authority::server("m")),
            subject("CN=a").of(&Authority::server("m%2Fsubject=CN=b")),
            subject("CN=a").of(&Authority::server("local:m")),
            Principal::Policy("1.2.3".into()).of(&Authority::server("m")),
            subject("1.2.3").of(&Authority::server("m")),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(one.is_local());
            assert!(
                all.iter().skip(index + 1).all(|other| other != one),
                "{one}"
            );
        }
        assert_eq!(all[0].as_str(), "local:m/subject=CN=a");
    }
}
