//! Certificates: a small CA, the identities that it issues, and the TLS configurations made of them.
//!
//! Enough for an authority of its own and for the fake servers of a test suite. Keys are ECDSA P-256; certificates carry
//! what strict verifiers look for: extended key usage, alternative names, both key identifiers, at most 398 days.

use aws_lc_rs::{digest, rand};
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};
use thiserror::Error;

use crate::clock;

mod request;
mod tls;

pub use request::{CertificateRequest, RequestRefused};
pub use tls::{client_config, server_config};

/// The longest common name (RFC 5280 `ub-common-name`), in characters.
const COMMON_NAME: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);

/// What went wrong with a certificate or key. Never shows the key.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A name that does not fit into a certificate.
    #[error(
        "{name:?} cannot be the name in a certificate; use 1 to {COMMON_NAME} printable characters"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A host that is neither an IP address nor a DNS name.
    #[error(
        "{host:?} is neither a host name nor an IP address; use something like dm.example.org or 192.0.2.7"
    )]
    Host {
        /// The host.
        host: String,
    },
    /// PEM text that does not hold what it should.
    #[error("not a {what} in PEM form")]
    Pem {
        /// What was expected.
        what: &'static str,
    },
    /// A key and a certificate that do not belong together.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// No random numbers.
    #[error("the operating system has no random numbers")]
    Random,
    /// The certificate generator refused.
    #[error("cannot make the certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// The TLS library refused.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The TLS library found no use for the client anchors.
    #[error("cannot verify clients: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// From when until when a certificate holds. Whole seconds count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// From five minutes ago, for clocks that lag, until so many days from now.
    pub fn days(days: u32) -> Self {
        let now = SystemTime::now();
        Validity {
            not_before: now - Duration::from_secs(300),
            not_after: now + DAY * days,
        }
    }

    /// Ended an hour ago; for tests.
    pub fn expired() -> Self {
        let now = SystemTime::now();
        Validity {
            not_before: now - DAY * 2,
            not_after: now - Duration::from_secs(3600),
        }
    }

    /// Begins tomorrow; for tests.
    pub fn not_yet() -> Self {
        let now = SystemTime::now();
        Validity {
            not_before: now + DAY,
            not_after: now + DAY * 2,
        }
    }
}

/// A certification authority: a self-signed certificate and its key.
pub struct Ca {
    name: String,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Ca {
    /// Makes a key and a certificate for the CA `name` (1 to 64 characters).
    pub fn new(name: &str, validity: Validity) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = params(name, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Ca {
            name: name.to_owned(),
            certificate,
            key,
        })
    }

    /// The CA that [`Ca::new`] made under the same `name`.
    pub fn from_pem(name: &str, certificate: &str, key: &str) -> Result<Self, PkiError> {
        let certificate =
            CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| PkiError::Pem {
                what: "certificate",
            })?;
        let key = KeyPair::from_pem(key).map_err(|_| PkiError::Pem {
            what: "private key",
        })?;
        let public = key.public_key_raw();
        if !certificate
            .windows(public.len())
            .any(|window| window == public)
        {
            return Err(PkiError::KeyMismatch);
        }
        Ok(Ca {
            name: name.to_owned(),
            certificate,
            key,
        })
    }

    /// The trust anchor, DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The trust anchor, PEM.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// The private key, PKCS#8 PEM. Whoever has it can be any device and any server of this CA.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A server identity for these hosts (DNS names or IP addresses).
    pub fn issue_server(&self, hosts: &[String], validity: Validity) -> Result<Identity, PkiError> {
        let name = hosts.first().map_or("", String::as_str);
        // A long host name is complete among the alternative names, which is where verifiers look.
        let name: String = name.chars().take(COMMON_NAME).collect();
        let mut names = Vec::new();
        for host in hosts {
            names.push(alternative_name(host)?);
        }
        self.issue(&name, names, ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    /// A client identity whose common name is `device` (1 to 64 characters).
    pub fn issue_client(&self, device: &str, validity: Validity) -> Result<Identity, PkiError> {
        let names = vec![SanType::URI(device_urn(device).try_into()?)];
        self.issue(device, names, ExtendedKeyUsagePurpose::ClientAuth, validity)
    }

    /// The same for the key of a request, which its requester has proved to hold.
    pub fn certify_client(
        &self,
        device: &str,
        request: &CertificateRequest,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, PkiError> {
        let names = vec![SanType::URI(device_urn(device).try_into()?)];
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.sign(device, names, usage, validity, request.key())
    }

    fn issue(
        &self,
        common_name: &str,
        alternative_names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> Result<Identity, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = self.sign(common_name, alternative_names, usage, validity, &key)?;
        Ok(Identity {
            chain: vec![certificate],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    fn sign(
        &self,
        common_name: &str,
        alternative_names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, PkiError> {
        let mut params = params(common_name, validity)?;
        params.subject_alt_names = alternative_names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;

        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = distinguished_name(&self.name)?;
        issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.signed_by(key, &Issuer::from_params(&issuer, &self.key))?;
        Ok(certificate.der().clone())
    }
}

/// The alternative name of a device's certificate.
// choice: a URN of our own; OMA does not say how a certificate names a device.
fn device_urn(device: &str) -> String {
    let mut urn = String::from("urn:x-bailiwick:device:");
    for byte in device.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':' => {
                urn.push(char::from(byte));
            }
            _ => urn.push_str(&format!("%{byte:02X}")),
        }
    }
    urn
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A certificate chain, end entity first, and its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads a PEM chain and a PEM key.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, PkiError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| PkiError::Pem {
                what: "certificate",
            })?;
        if chain.is_empty() {
            return Err(PkiError::Pem {
                what: "certificate",
            });
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| PkiError::Pem {
            what: "private key",
        })?;
        Ok(Identity { chain, key })
    }

    /// The chain, end entity first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The end entity's certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        self.chain
            .first()
            .map_or(&[], |certificate| certificate.as_ref())
    }

    /// The chain, PEM.
    pub fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|certificate| pem("CERTIFICATE", certificate))
            .collect()
    }

    /// The private key, for a TLS configuration.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// The private key, PKCS#8 DER.
    pub fn key_der(&self) -> &[u8] {
        self.key.secret_der()
    }

    /// The private key, PKCS#8 PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", self.key.secret_der())
    }

    /// [`fingerprint`] of the end entity's certificate.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.certificate_der())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// So many random bytes, as lower-case hexadecimal digits.
pub(crate) fn random_hex(bytes: usize) -> Result<String, PkiError> {
    let mut random = vec![0; bytes];
    rand::fill(&mut random).map_err(|_| PkiError::Random)?;
    Ok(hex(&random))
}

/// A random number.
pub(crate) fn random_u16() -> Result<u16, PkiError> {
    let mut random = [0; 2];
    rand::fill(&mut random).map_err(|_| PkiError::Random)?;
    Ok(u16::from_ne_bytes(random))
}

/// SHA-256 of a DER certificate, 64 lower-case hexadecimal digits.
pub fn fingerprint(certificate: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, certificate).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn params(common_name: &str, validity: Validity) -> Result<CertificateParams, PkiError> {
    let at = |time| date_time_ymd(1970, 1, 1) + Duration::from_secs(clock::unix_seconds(time));
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(common_name)?;
    params.not_before = at(validity.not_before);
    params.not_after = at(validity.not_after);
    Ok(params)
}

fn distinguished_name(common_name: &str) -> Result<DistinguishedName, PkiError> {
    let length = common_name.chars().count();
    if !(1..=COMMON_NAME).contains(&length) || common_name.chars().any(char::is_control) {
        return Err(PkiError::Name {
            name: common_name.chars().take(COMMON_NAME).collect(),
        });
    }
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    Ok(name)
}

fn alternative_name(host: &str) -> Result<SanType, PkiError> {
    let refused = || PkiError::Host {
        host: host.to_owned(),
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    rustls::pki_types::DnsName::try_from(host.strip_prefix("*.").unwrap_or(host))
        .map_err(|_| refused())?;
    Ok(SanType::DnsName(host.try_into().map_err(|_| refused())?))
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, character) in BASE64_STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests;
