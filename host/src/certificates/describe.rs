//! What a certificate says of itself: for people, and for the checks before it is kept. Whether its signature holds is
//! checked elsewhere ([`super::chain()`]).

use serde::Serialize;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

use super::credentials::{fingerprint, hexadecimal};

/// Bytes of a certificate. Stops one that fills memory; real ones have 0.5 to 3 KiB.
pub const MAX_CERTIFICATE: usize = 16 << 10;
/// Characters of a name that are shown. Stops a name that fills a screen.
const NAME: usize = 200;
/// Seconds of a day.
const DAY: i64 = 86_400;
/// Days after which a certificate should have been renewed (CA/Browser Forum Baseline Requirements §6.3.2).
const LONG_DAYS: i64 = 398;

/// A certificate in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// Whose it is, as RFC 4514 writes it, without control characters.
    pub subject: String,
    /// Who has issued it.
    pub issuer: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// From when, Unix time in seconds.
    pub not_before: i64,
    /// Until when, Unix time in seconds.
    pub not_after: i64,
    /// Whether it may issue others.
    pub is_ca: bool,
    /// Kind and size of the key, e.g. `RSA 2048`, `EC P-256`.
    pub key: String,
    /// SHA-256 of the DER form, hexadecimal.
    pub fingerprint: String,
}

/// What a certificate is to be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Others are believed because of it.
    Anchor,
    /// The device shows it.
    Identity,
    /// It completes chains.
    Intermediate,
}

/// Why a certificate is not taken: what TLS could not use, or should not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Larger than is looked at.
    #[error("it has {bytes} bytes; at most {MAX_CERTIFICATE} are looked at")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Not a certificate.
    #[error("it is not one X.509 certificate in DER")]
    NotX509,
    /// An old form.
    #[error("it is X.509 version {version}; version 3 is needed")]
    Version {
        /// Which.
        version: u32,
    },
    /// Its time is over.
    #[error(
        "it has expired (at {at}, Unix time); its issuer must renew it, or the device's clock is wrong"
    )]
    Expired {
        /// When.
        at: i64,
    },
    /// Its time has not begun.
    #[error("it is not valid yet (from {from}, Unix time); the device's clock may be wrong")]
    NotYetValid {
        /// From when.
        from: i64,
    },
    /// The device does not know the time.
    #[error(
        "the device does not know the time, so nobody can say whether it is valid; set the clock"
    )]
    NoClock,
    /// A CA where an end entity is needed.
    #[error("it is the certificate of a CA, and no CA is the identity of a device")]
    IsCa,
    /// An end entity where a CA is needed.
    #[error("it is not the certificate of a CA (basicConstraints, RFC 5280 §4.2.1.9)")]
    NotCa,
    /// The key usage excludes what it is for.
    #[error("its key usage lacks {lacks} (RFC 5280 §4.2.1.3, §4.2.1.12)")]
    KeyUsage {
        /// What is missing.
        lacks: &'static str,
    },
    /// A key that TLS does not use here.
    #[error("its key is {found}; RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 are used")]
    Key {
        /// What it is.
        found: String,
    },
    /// An extension that must be understood and is not.
    #[error("its critical extension {oid} is not understood")]
    CriticalExtension {
        /// Which.
        oid: String,
    },
    /// An extension that cannot be read, or is there twice.
    #[error("its extensions are damaged")]
    Extensions,
}

impl Description {
    /// Reads a certificate, DER.
    pub fn of(der: &[u8]) -> Result<Self, Unfit> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        Ok(Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            serial: hexadecimal(certificate.raw_serial()),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            is_ca: certificate.is_ca(),
            key: key_of(&certificate).unwrap_or_else(|found| found),
            fingerprint: fingerprint(der),
        })
    }
}

/// Checks that a certificate can be what it is to be at the Unix time `now` (seconds); returns what is unusual about
/// it and no reason to refuse it.
///
/// choice: an anchor that has expired is refused here, though RFC 5280 §6.1.1 d does not count an anchor's own dates:
/// what is provisioned is to be good for something.
pub fn lint(der: &[u8], part: Part, now: u64) -> Result<Vec<String>, Unfit> {
    let certificate = parse(der)?;
    if certificate.version() != X509Version::V3 {
        return Err(Unfit::Version {
            version: certificate.version().0.saturating_add(1),
        });
    }
    check_extensions(&certificate)?;
    check_validity(&certificate, now)?;
    key_of(&certificate).map_err(|found| Unfit::Key { found })?;
    check_use(&certificate, part)?;
    Ok(warnings(&certificate, part))
}

/// The names of the subject and of the issuer, DER: what chains are built by.
pub(super) fn names(der: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Unfit> {
    let certificate = parse(der)?;
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    Ok((subject.as_raw().to_vec(), issuer.as_raw().to_vec()))
}

/// Whether `issuer` has signed `certificate`, both DER.
pub(super) fn has_signed(issuer: &[u8], certificate: &[u8]) -> bool {
    let (Ok(issuer), Ok(certificate)) = (parse(issuer), parse(certificate)) else {
        return false;
    };
    issuer.subject().as_raw() == certificate.issuer().as_raw()
        && certificate
            .verify_signature(Some(issuer.public_key()))
            .is_ok()
}

/// The public key: SubjectPublicKeyInfo in DER, and the key alone as signatures are verified with it.
pub(super) fn public_key(der: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Unfit> {
    let certificate = parse(der)?;
    let spki = certificate.public_key();
    Ok((spki.raw.to_vec(), spki.subject_public_key.data.to_vec()))
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Unfit> {
    if der.len() > MAX_CERTIFICATE {
        return Err(Unfit::TooLarge { bytes: der.len() });
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Unfit::NotX509),
    }
}

/// Every extension readable and there once; critical ones among those that rustls understands.
fn check_extensions(certificate: &X509Certificate<'_>) -> Result<(), Unfit> {
    certificate
        .extensions_map()
        .map_err(|_| Unfit::Extensions)?;
    for extension in certificate.iter_extensions() {
        let understood = match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return Err(Unfit::Extensions),
            ParsedExtension::KeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::BasicConstraints(_)
            | ParsedExtension::NameConstraints(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::CRLDistributionPoints(_) => true,
            _ => false,
        };
        if extension.critical && !understood {
            return Err(Unfit::CriticalExtension {
                oid: extension.oid.to_id_string(),
            });
        }
    }
    Ok(())
}

fn check_validity(certificate: &X509Certificate<'_>, now: u64) -> Result<(), Unfit> {
    let now = i64::try_from(now).map_err(|_| Unfit::NoClock)?;
    let validity = certificate.validity();
    let (from, at) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    if now < from {
        return Err(Unfit::NotYetValid { from });
    }
    match now > at {
        true => Err(Unfit::Expired { at }),
        false => Ok(()),
    }
}

fn check_use(certificate: &X509Certificate<'_>, part: Part) -> Result<(), Unfit> {
    let usage = certificate.key_usage().map_err(|_| Unfit::Extensions)?;
    let usage = usage.map(|usage| usage.value);
    match part {
        Part::Anchor | Part::Intermediate => {
            if !certificate.is_ca() {
                return Err(Unfit::NotCa);
            }
            if usage.is_some_and(|usage| !usage.key_cert_sign()) {
                return Err(Unfit::KeyUsage {
                    lacks: "keyCertSign",
                });
            }
        }
        Part::Identity => {
            if certificate.is_ca() {
                return Err(Unfit::IsCa);
            }
            if usage.is_some_and(|usage| !usage.digital_signature()) {
                return Err(Unfit::KeyUsage {
                    lacks: "digitalSignature",
                });
            }
            let extended = certificate
                .extended_key_usage()
                .map_err(|_| Unfit::Extensions)?;
            // rustls wants clientAuth itself wherever the extension is there; `any` is not enough for it.
            if extended.is_some_and(|usage| !usage.value.client_auth) {
                return Err(Unfit::KeyUsage {
                    lacks: "clientAuth",
                });
            }
        }
    }
    Ok(())
}

/// Kind and size, if TLS uses such keys here; else what it is.
fn key_of(certificate: &X509Certificate<'_>) -> Result<String, String> {
    let spki = certificate.public_key();
    let algorithm = spki.algorithm.algorithm.to_id_string();
    if algorithm == "1.3.101.112" {
        return Ok("Ed25519".to_owned());
    }
    let parameters = spki.algorithm.parameters.as_ref();
    let curve = parameters
        .and_then(|parameters| parameters.as_oid().ok())
        .map(|oid| oid.to_id_string());
    match (spki.parsed(), curve.as_deref()) {
        (Ok(PublicKey::RSA(key)), _) => match key.key_size() {
            bits @ 2048..=8192 => Ok(format!("RSA {bits}")),
            bits => Err(format!("RSA {bits}")),
        },
        (Ok(PublicKey::EC(_)), Some("1.2.840.10045.3.1.7")) => Ok("EC P-256".to_owned()),
        (Ok(PublicKey::EC(_)), Some("1.3.132.0.34")) => Ok("EC P-384".to_owned()),
        (Ok(PublicKey::EC(_)), Some(curve)) => Err(format!("EC on {curve}")),
        _ => Err(format!("of algorithm {algorithm}")),
    }
}

/// What a good issuer does otherwise.
fn warnings(certificate: &X509Certificate<'_>, part: Part) -> Vec<String> {
    let has = |wanted: fn(&ParsedExtension<'_>) -> bool| {
        certificate
            .iter_extensions()
            .any(|extension| wanted(extension.parsed_extension()))
    };
    let validity = certificate.validity();
    let lasts = validity.not_after.timestamp() - validity.not_before.timestamp();
    let mut warnings = Vec::new();
    if part == Part::Identity && lasts > LONG_DAYS * DAY {
        warnings.push(format!(
            "it is valid for {} days; {LONG_DAYS} are enough",
            lasts / DAY
        ));
    }
    if part == Part::Identity && !has(|e| matches!(e, ParsedExtension::AuthorityKeyIdentifier(_))) {
        warnings.push(
            "it does not say which key of its issuer has signed it (authorityKeyIdentifier)".into(),
        );
    }
    if part != Part::Identity && !has(|e| matches!(e, ParsedExtension::SubjectKeyIdentifier(_))) {
        warnings.push("it does not identify its key (subjectKeyIdentifier)".into());
    }
    let serial = certificate.raw_serial();
    if serial.len() > 20 || serial.iter().all(|byte| *byte == 0) {
        warnings.push("its serial number is not what RFC 5280 §4.1.2.2 wants".into());
    }
    warnings
}

/// A certificate (DER) in PEM (RFC 7468).
pub fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

/// The day of a moment in Unix time, seconds: `2026-11-24`.
pub fn day(moment: i64) -> String {
    let time = x509_parser::time::ASN1Time::from_timestamp(moment);
    time.map_or_else(
        |_| moment.to_string(),
        |time| time.to_datetime().date().to_string(),
    )
}

/// What comes from a card or a certificate is shown on terminals: no control characters, and not more than fits.
pub fn printable(text: &str) -> String {
    text.chars()
        .take(NAME)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyUsagePurpose};

    use super::super::testing::{Ca, validity};
    use super::*;

    /// 2026-01-01.
    const NOW: u64 = 1_767_225_600;

    fn issued(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let issued = Ca::new("CA").issue("device", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            validity(params, 2025, 2027);
            change(params);
        });
        issued.chain_der.into_iter().next().unwrap()
    }

    #[test]
    fn a_certificate_in_words() {
        let der = issued(|_| {});
        let described = Description::of(&der).unwrap();
        assert_eq!(described.subject, "CN=device");
        assert_eq!(described.issuer, "CN=CA");
        assert_eq!(described.key, "EC P-256");
        assert_eq!(described.not_after, 1_798_761_600);
        assert!(!described.is_ca);
        assert_eq!(described.fingerprint.len(), 64);
        assert_eq!(day(described.not_after), "2027-01-01");
        assert_eq!(
            super::super::certificates(pem(&der).as_bytes()).unwrap(),
            [der]
        );
        let hostile = issued(|params| {
            params.distinguished_name.push(
                rcgen::DnType::OrganizationName,
                format!("\u{1b}[2J{}", "x".repeat(500)),
            );
        });
        let subject = Description::of(&hostile).unwrap().subject;
        assert!(
            subject.chars().count() <= NAME && !subject.contains('\u{1b}'),
            "{subject}"
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        let ca = Ca::new("CA").der();
        let good = issued(|_| {});
        let mut trailing = good.clone();
        trailing.push(0);
        let unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        let critical = |mut extension: CustomExtension| {
            extension.set_criticality(true);
            extension
        };
        let rows: Vec<(Vec<u8>, Part, &str)> = vec![
            (good.clone(), Part::Identity, ""),
            (ca.clone(), Part::Anchor, ""),
            (ca.clone(), Part::Intermediate, ""),
            (ca, Part::Identity, "certificate of a CA"),
            (good.clone(), Part::Anchor, "not the certificate of a CA"),
            (good, Part::Intermediate, "not the certificate of a CA"),
            (trailing, Part::Identity, "not one X.509"),
            (b"?".to_vec(), Part::Anchor, "not one X.509"),
            (
                vec![0x30; MAX_CERTIFICATE + 1],
                Part::Anchor,
                "at most 16384",
            ),
            (
                issued(|p| validity(p, 2020, 2025)),
                Part::Identity,
                "has expired",
            ),
            (issued(|p| validity(p, 2026, 2028)), Part::Identity, ""),
            (
                issued(|p| validity(p, 2027, 2028)),
                Part::Identity,
                "not valid yet",
            ),
            (
                issued(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
                Part::Identity,
                "clientAuth",
            ),
            (
                issued(|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
                Part::Identity,
                "digitalSignature",
            ),
            (
                issued(|p| p.custom_extensions = vec![unknown.clone()]),
                Part::Identity,
                "",
            ),
            (
                issued(|p| p.custom_extensions = vec![critical(unknown.clone())]),
                Part::Identity,
                "1.2.3.4 is not understood",
            ),
        ];
        for (der, part, expected) in rows {
            match (lint(&der, part, NOW), expected) {
                (Ok(_), "") => {}
                (Err(unfit), expected) if !expected.is_empty() => {
                    assert!(unfit.to_string().contains(expected), "{expected}: {unfit}");
                }
                (found, expected) => panic!("{expected:?}: {found:?}"),
            }
        }
        assert_eq!(
            lint(&issued(|_| {}), Part::Identity, u64::MAX),
            Err(Unfit::NoClock)
        );
        let long = lint(&issued(|p| validity(p, 2025, 2035)), Part::Identity, NOW).unwrap();
        assert!(
            long.iter().any(|warning| warning.contains("3652 days")),
            "{long:?}"
        );
    }
}
