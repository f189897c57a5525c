//! Which local application is it: a chain to an anchor that its authority gave the purpose, and a signature by the key of
//! the chain's end.
//!
//! The anchors of one authority let in what that authority has issued, and act for that authority alone.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::{rfc5280, rfc5912, rfc8410};
use x509_cert::ext::pkix::{CertificatePolicies, ExtendedKeyUsage, KeyUsage};

use super::credentials::{Credential, Purpose, Role, State};
use super::principals::{Principal, PrincipalError};
use super::proof;
use super::rules::Rules;
use crate::authority::Authority;
use crate::keys::Scheme;

/// Certificates of a chain. Stops a path search that never ends.
const CHAIN: usize = 6;
/// Bytes of one certificate. Stops a parser that is fed for its memory.
const CERTIFICATE: usize = 8 << 10;
/// Policies of a certificate. Stops an application that acts as thousands.
const POLICIES: usize = 16;
/// Bytes of a nonce.
pub const NONCE: usize = 32;
/// Bytes of a signature: RSA of 8192 bits.
const SIGNATURE: usize = 1024;
/// What is signed begins with this, so that the signature serves nothing else.
const CONTEXT: &[u8] = b"bailiwick local application 1\0";

/// A local application whose certificate counts. Whether it holds the key is for [`Applicant::check`] to say.
#[derive(Clone, Debug)]
pub struct Applicant {
    authority: Authority,
    chain_der: Vec<Vec<u8>>,
    scheme: Scheme,
    principals: Vec<Principal>,
    not_after: u64,
    /// The anchors that it was held against, DER.
    anchors: Vec<Vec<u8>>,
}

/// Why an application is not let in. For the application and the operator: what happened, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationError {
    /// Nothing of the authority lets applications in.
    #[error(
        "no anchor of {authority} that counts now has the purpose `applications`; the authority has to provide one"
    )]
    NoAnchor {
        /// Which.
        authority: Authority,
    },
    /// The chain has a wrong size.
    #[error(
        "{what}; give the application's certificate first, then what its anchor has not signed itself"
    )]
    Size {
        /// What is wrong.
        what: String,
    },
    /// A certificate is damaged, or not what is wanted.
    #[error("certificate {index} of the chain {problem}")]
    Certificate {
        /// From 0.
        index: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The chain does not lead to an anchor of the authority.
    #[error(
        "the certificate does not count for {authority}: {reason}; the authority has to issue another"
    )]
    Rejected {
        /// For whom.
        authority: Authority,
        /// What the verifier says.
        reason: String,
    },
    /// The certificate names nobody.
    #[error(
        "the certificate has neither a subject nor a policy that rights could be given to; the authority has to issue another"
    )]
    Nobody,
    /// The subject cannot be a name.
    #[error("the certificate's subject: {0}")]
    Subject(#[from] PrincipalError),
    /// The signature is not by the key of the certificate, or not over what was to be signed.
    #[error(
        "the signature does not prove the certificate's key: sign what the daemon asks for, on the connection that it asks on, \
         in the process that it sees"
    )]
    NoProof,
}

impl Applicant {
    /// Verifies a chain, DER, the application's certificate first, against what `authority` was provisioned with, by the
    /// authority's revocation lists and the clock of `rules`.
    pub fn verify(
        authority: &Authority,
        chain_der: Vec<Vec<u8>>,
        credentials: &[Credential],
        rules: &Rules,
    ) -> Result<Self, ApplicationError> {
        check_size(&chain_der)?;
        let anchors = anchors(authority, credentials)?;
        let chain = chain_der
            .iter()
            .enumerate()
            .map(|(index, der)| Certificate::from_der(der).map_err(|error| damaged(index, error)));
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let (leaf, issuers) = chain
            .split_first()
            .ok_or_else(|| size("the chain is empty".into()))?;
        check_path(authority, &chain_der, &anchors, rules)?;
        check_usage(leaf)?;
        let mut principals = Vec::new();
        principals.extend(Principal::of_subject(&leaf.tbs_certificate.subject)?);
        principals.extend(policies(leaf, issuers)?);
        if principals.is_empty() {
            return Err(ApplicationError::Nobody);
        }
        Ok(Self {
            authority: authority.clone(),
            scheme: scheme(leaf)?,
            not_after: ends(&chain),
            principals,
            chain_der,
            anchors,
        })
    }

    /// Whether what it was let in by still counts.
    pub fn recheck(
        &self,
        credentials: &[Credential],
        rules: &Rules,
    ) -> Result<(), ApplicationError> {
        let anchors = anchors(&self.authority, credentials)?;
        // Lists may end at any time. Without them, what was found valid is valid until it ends.
        if rules.crls_der.is_empty()
            && anchors == self.anchors
            && rules.clock.now() <= self.not_after
        {
            return Ok(());
        }
        check_path(&self.authority, &self.chain_der, &anchors, rules)
    }

    /// Whose certificate it is.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whom it may act as.
    pub fn principals(&self) -> &[Principal] {
        &self.principals
    }

    /// Last second (Unix time) at which its chain is valid.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// How it has to sign.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Checks the signature over [`statement`].
    pub fn check(
        &self,
        nonce: &[u8; NONCE],
        process: u32,
        signature: &[u8],
    ) -> Result<(), ApplicationError> {
        if signature.len() > SIGNATURE {
            return Err(ApplicationError::NoProof);
        }
        let message = statement(self.authority.as_str(), nonce, process);
        let certificate = self.chain_der.first().map_or(&[][..], Vec::as_slice);
        match proof::verifies(certificate, self.scheme, &message, signature) {
            true => Ok(()),
            false => Err(ApplicationError::NoProof),
        }
    }
}

/// What an application signs: for this purpose, this authority, this connection and this process, and for nothing else.
///
/// choice: a context (RFC 8446 §4.4.3 does the same), the authority with its length (32 bits, big endian), the nonce of the
/// connection, the number of the process (32 bits, big endian) by which the kernel vouches for the peer. Another process
/// that stands between application and daemon has another number, so that what it passes on proves nothing.
pub fn statement(authority: &str, nonce: &[u8; NONCE], process: u32) -> Vec<u8> {
    let length = u32::try_from(authority.len()).unwrap_or(u32::MAX);
    [
        CONTEXT,
        &length.to_be_bytes(),
        authority.as_bytes(),
        nonce,
        &process.to_be_bytes(),
    ]
    .concat()
}

fn check_size(chain_der: &[Vec<u8>]) -> Result<(), ApplicationError> {
    if chain_der.len() > CHAIN {
        return Err(size(format!(
            "a chain has at most {CHAIN} certificates, not {}",
            chain_der.len()
        )));
    }
    match chain_der.iter().find(|der| der.len() > CERTIFICATE) {
        Some(der) => Err(size(format!(
            "a certificate has at most {CERTIFICATE} bytes, not {}",
            der.len()
        ))),
        None => Ok(()),
    }
}

/// The anchors of an authority that let applications in now.
fn anchors(
    authority: &Authority,
    credentials: &[Credential],
) -> Result<Vec<Vec<u8>>, ApplicationError> {
    let lets_in = |credential: &&Credential| {
        credential.authority == *authority
            && credential.role == Role::Anchor
            && credential.state == State::Active
            && credential.purposes.contains(&Purpose::Applications)
    };
    let mut anchors: Vec<Vec<u8>> = credentials
        .iter()
        .filter(lets_in)
        .filter_map(|credential| credential.chain_der.first().cloned())
        .collect();
    anchors.sort();
    match anchors.is_empty() {
        true => Err(ApplicationError::NoAnchor {
            authority: authority.clone(),
        }),
        false => Ok(anchors),
    }
}

/// Signatures, validity, basic constraints, name constraints and extended key usage (RFC 5280 §6), by the verifier that TLS
/// servers use for their clients.
fn check_path(
    authority: &Authority,
    chain_der: &[Vec<u8>],
    anchors_der: &[Vec<u8>],
    rules: &Rules,
) -> Result<(), ApplicationError> {
    let rejected = |reason: String| ApplicationError::Rejected {
        authority: authority.clone(),
        reason,
    };
    let mut anchors = RootCertStore::empty();
    for der in anchors_der {
        // One that cannot be an anchor vouches for nobody; the others still do.
        let _unusable = anchors.add(CertificateDer::from(der.as_slice()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider);
    if !rules.crls_der.is_empty() {
        // The whole chain, and what no list covers is refused: the library's own defaults.
        verifier = verifier
            .with_crls(rules.crls())
            .enforce_revocation_expiration();
    }
    let verifier = verifier
        .build()
        .map_err(|error| rejected(error.to_string()))?;
    let mut chain = chain_der
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()));
    let leaf = chain
        .next()
        .ok_or_else(|| size("the chain is empty".into()))?;
    let issuers: Vec<_> = chain.collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(rules.clock.now()));
    match verifier.verify_client_cert(&leaf, &issuers, now) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(why)) => Err(rejected(why.to_string())),
        Err(error) => Err(rejected(error.to_string())),
    }
}

/// choice: a certificate without extended key usage is for nothing in particular, and so not for this.
fn check_usage(leaf: &Certificate) -> Result<(), ApplicationError> {
    let refused = |problem: &str| ApplicationError::Certificate {
        index: 0,
        problem: problem.to_owned(),
    };
    let usage = extension::<ExtendedKeyUsage>(0, leaf)?;
    if !usage.is_some_and(|usage| usage.0.contains(&rfc5280::ID_KP_CLIENT_AUTH)) {
        return Err(refused(
            "is not for client authentication (1.3.6.1.5.5.7.3.2)",
        ));
    }
    match extension::<KeyUsage>(0, leaf)? {
        Some(usage) if !usage.digital_signature() => {
            Err(refused("may not sign (key usage digitalSignature)"))
        }
        _ => Ok(()),
    }
}

/// The policies that the whole chain asserts. A policy that an issuer was not given cannot be passed on by it (RFC 5280
/// §6.1.3 d; mappings and constraints are critical extensions that the verifier refuses).
fn policies(
    leaf: &Certificate,
    issuers: &[Certificate],
) -> Result<Vec<Principal>, ApplicationError> {
    let mut asserted = of_certificate(0, leaf)?;
    asserted.retain(|policy| *policy != rfc5280::ANY_POLICY);
    for (index, issuer) in (1..).zip(issuers) {
        let passed_on = of_certificate(index, issuer)?;
        let any = passed_on.contains(&rfc5280::ANY_POLICY);
        asserted.retain(|policy| any || passed_on.contains(policy));
    }
    Ok(asserted
        .iter()
        .map(|policy| Principal::Policy(policy.to_string()))
        .collect())
}

fn of_certificate(
    index: usize,
    certificate: &Certificate,
) -> Result<Vec<ObjectIdentifier>, ApplicationError> {
    let found = extension::<CertificatePolicies>(index, certificate)?
        .map_or(Vec::new(), |policies| policies.0);
    if found.len() > POLICIES {
        return Err(ApplicationError::Certificate {
            index,
            problem: format!("has more than {POLICIES} policies"),
        });
    }
    let mut found: Vec<_> = found
        .iter()
        .map(|policy| policy.policy_identifier)
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// How the key of the certificate signs; every kind of key in one way.
fn scheme(leaf: &Certificate) -> Result<Scheme, ApplicationError> {
    let algorithm = &leaf.tbs_certificate.subject_public_key_info.algorithm;
    let parameters = algorithm.parameters.as_ref();
    let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    Ok(match algorithm.oid {
        rfc5912::RSA_ENCRYPTION => Scheme::RsaPssSha256,
        rfc5912::ID_EC_PUBLIC_KEY if curve == Some(rfc5912::SECP_256_R_1) => {
            Scheme::EcdsaP256Sha256
        }
        rfc5912::ID_EC_PUBLIC_KEY if curve == Some(rfc5912::SECP_384_R_1) => {
            Scheme::EcdsaP384Sha384
        }
        rfc8410::ID_ED_25519 => Scheme::Ed25519,
        _ => {
            return Err(ApplicationError::Certificate {
                index: 0,
                problem: "has a key of a kind that is not known here; use RSA of 2048 bits or more, P-256, P-384 or \
                          Ed25519"
                    .to_owned(),
            });
        }
    })
}

/// When the first certificate of the chain ends.
fn ends(chain: &[Certificate]) -> u64 {
    let ends = chain.iter().map(|certificate| {
        let validity = &certificate.tbs_certificate.validity;
        validity.not_after.to_unix_duration().as_secs()
    });
    ends.min().unwrap_or_default()
}

fn extension<'a, T>(
    index: usize,
    certificate: &'a Certificate,
) -> Result<Option<T>, ApplicationError>
where
    T: Decode<'a> + x509_cert::der::oid::AssociatedOid,
{
    let found = certificate.tbs_certificate.get::<T>();
    Ok(found
        .map_err(|error| damaged(index, error))?
        .map(|(_critical, extension)| extension))
}

fn damaged(index: usize, error: x509_cert::der::Error) -> ApplicationError {
    ApplicationError::Certificate {
        index,
        problem: format!("is not X.509 in DER ({error})"),
    }
}

fn size(what: String) -> ApplicationError {
    ApplicationError::Size { what }
}

#[cfg(test)]
mod tests;
