//! A request for a certificate (PKCS#10, RFC 2986), checked: it is signed by the key that it names, and that key is of a kind
//! that is certified.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData,
    SubjectPublicKeyInfo,
};
use thiserror::Error;
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::X509Name,
};

use super::device_urn;

/// Bits of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Why no certificate is issued for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestRefused {
    /// Not PKCS#10.
    #[error("the body is not a certification request (PKCS#10)")]
    Malformed,
    /// Not signed by the key that it names: its sender need not have that key.
    #[error("the request is not signed by the key that it names")]
    Signature,
    /// A kind of key that is not certified.
    #[error(
        "keys of this kind are not certified; use P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits"
    )]
    Key,
    /// A name that is not the device's.
    #[error("the request asks for another name than the device's; leave its subject empty")]
    Name,
    /// A renewal under another name.
    #[error(
        "subject and alternative names must be those of the certificate that is renewed (RFC 7030 §4.2.2)"
    )]
    NotSame,
}

/// A request whose sender holds the key.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    der: Vec<u8>,
    key: SubjectPublicKeyInfo,
}

impl CertificateRequest {
    /// Reads and verifies it; DER.
    pub fn from_der(der: &[u8]) -> Result<Self, RequestRefused> {
        let request = parse(der)?;
        request
            .verify_signature()
            .map_err(|_| RequestRefused::Signature)?;
        let spki = &request.certification_request_info.subject_pki;
        let key = SubjectPublicKeyInfo::from_der(spki.raw).map_err(|_| RequestRefused::Key)?;
        let known = [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ED25519,
            &PKCS_RSA_SHA256,
        ];
        let is_sized = match spki.parsed() {
            Ok(PublicKey::RSA(rsa)) => RSA_BITS.contains(&rsa.key_size()),
            Ok(_) => true,
            Err(_) => false,
        };
        match known.contains(&key.algorithm()) && is_sized {
            true => Ok(Self {
                der: der.to_vec(),
                key,
            }),
            false => Err(RequestRefused::Key),
        }
    }

    /// What is certified.
    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }

    /// A first certificate: the request names nobody, or `device` as its certificates do.
    pub fn check_names(&self, device: &str) -> Result<(), RequestRefused> {
        let request = parse(&self.der)?;
        let subject = &request.certification_request_info.subject;
        let mut common_names = subject.iter_common_name();
        let is_device = common_names
            .next()
            .is_some_and(|name| name.as_str() == Ok(device));
        let attributes = subject.iter_attributes().count();
        let (names, others) = requested(&request);
        let urn = device_urn(device);
        let names_fit = names.iter().all(|name| *name == GeneralName::URI(&urn));
        match (attributes == 0 || (attributes == 1 && is_device)) && names_fit && !others {
            true => Ok(()),
            false => Err(RequestRefused::Name),
        }
    }

    /// A renewal: subject and alternative names are those of `certificate`, DER.
    pub fn check_same(&self, certificate: &[u8]) -> Result<(), RequestRefused> {
        let request = parse(&self.der)?;
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| RequestRefused::NotSame)?;
        let (names, others) = requested(&request);
        let theirs = certificate
            .subject_alternative_name()
            .map_err(|_| RequestRefused::NotSame)?;
        let theirs = theirs.map_or(&[][..], |names| &names.value.general_names);
        let subject: &X509Name<'_> = &request.certification_request_info.subject;
        let is_same = subject.as_raw() == certificate.subject().as_raw() && names == theirs;
        match is_same && !others {
            true => Ok(()),
            false => Err(RequestRefused::NotSame),
        }
    }
}

fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, RequestRefused> {
    match X509CertificationRequest::from_der(der) {
        Ok(([], request)) => Ok(request),
        _ => Err(RequestRefused::Malformed),
    }
}

/// The alternative names that are asked for, and whether anything is that the authority does not decide itself.
fn requested<'a>(request: &'a X509CertificationRequest<'_>) -> (Vec<GeneralName<'a>>, bool) {
    let mut names = Vec::new();
    let mut others = false;
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(found) => {
                names.extend(found.general_names.iter().cloned());
            }
            // Key usage is the authority's to say; what is asked for does not matter.
            ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectKeyIdentifier(_) => {}
            ParsedExtension::BasicConstraints(constraints) if !constraints.ca => {}
            _ => others = true,
        }
    }
    (names, others)
}
