//! Requests for certificates (PKCS#10, RFC 2986) and what answers them (PKCS#7 certs-only, RFC 5272 §4.1), by crates that
//! write and read strict DER. The signature is made elsewhere: the key may be on a card.

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::SignedData;
use der::asn1::{BitString, ObjectIdentifier, SetOfVec};
use der::{Any, Decode, Encode};
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::describe;
use crate::keys::Scheme;

/// Certificates that an answer may hold.
const MAX_CERTIFICATES: usize = 16;

const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// Why a request cannot be made, or its answer not be used.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// DER that cannot be read or written.
    #[error("{what} is not DER as it should be: {source}")]
    Der {
        /// What.
        what: &'static str,
        /// What the library says.
        source: der::Error,
    },
    /// No signature is known for such a key.
    #[error("keys of algorithm {algorithm} are not used here")]
    Key {
        /// Which.
        algorithm: String,
    },
    /// More certificates than are looked at.
    #[error("the answer holds more than {MAX_CERTIFICATES} certificates")]
    TooMany,
    /// The answer is for somebody else, or another key.
    #[error("the answer holds no certificate for the key of the request")]
    NotOurs,
}

/// A request that is not signed yet.
#[derive(Clone, Debug)]
pub struct Request {
    info: CertReqInfo,
    algorithm: AlgorithmIdentifierOwned,
    scheme: Scheme,
}

impl Request {
    /// A request for the key `spki` (SubjectPublicKeyInfo, DER). With `renewed` (DER of a certificate) it is for that one's subject
    /// and alternative names (RFC 7030 §4.2.2); else it names nobody, and the authority does.
    pub fn new(spki: &[u8], renewed: Option<&[u8]>) -> Result<Self, RequestError> {
        let wrong = |what| move |source| RequestError::Der { what, source };
        let public_key =
            SubjectPublicKeyInfoOwned::from_der(spki).map_err(wrong("the public key"))?;
        let (scheme, algorithm) = signature_of(&public_key)?;
        let mut subject = Name::default();
        let mut attributes = SetOfVec::new();
        if let Some(der) = renewed {
            let certificate = Certificate::from_der(der).map_err(wrong("the certificate"))?;
            subject = certificate.tbs_certificate.subject;
            let extensions = certificate.tbs_certificate.extensions.unwrap_or_default();
            let names: Vec<Extension> = extensions
                .into_iter()
                .filter(|extension| extension.extn_id == SUBJECT_ALTERNATIVE_NAME)
                .collect();
            if !names.is_empty() {
                Attribute::try_from(ExtensionReq(names))
                    .and_then(|attribute| attributes.insert(attribute).map(|_| ()))
                    .map_err(wrong("the request"))?;
            }
        }
        Ok(Self {
            info: CertReqInfo {
                version: Version::V1,
                subject,
                public_key,
                attributes,
            },
            algorithm,
            scheme,
        })
    }

    /// How it has to be signed.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What has to be signed.
    pub fn message(&self) -> Result<Vec<u8>, RequestError> {
        self.info.to_der().map_err(|source| RequestError::Der {
            what: "the request",
            source,
        })
    }

    /// The whole, DER, with a signature as TLS has it.
    pub fn signed(self, signature: &[u8]) -> Result<Vec<u8>, RequestError> {
        let whole = BitString::from_bytes(signature).and_then(|signature| {
            CertReq {
                info: self.info,
                algorithm: self.algorithm,
                signature,
            }
            .to_der()
        });
        whole.map_err(|source| RequestError::Der {
            what: "the request",
            source,
        })
    }
}

/// The certificates of a certs-only message, DER each; bounded by whoever has received it.
pub fn certs_only(der: &[u8]) -> Result<Vec<Vec<u8>>, RequestError> {
    let wrong = |source| RequestError::Der {
        what: "the answer",
        source,
    };
    let content = ContentInfo::from_der(der).map_err(wrong)?;
    let signed: SignedData = content.content.decode_as().map_err(wrong)?;
    let found = signed.certificates.map(|set| set.0).unwrap_or_default();
    if found.len() > MAX_CERTIFICATES {
        return Err(RequestError::TooMany);
    }
    let mut certificates = Vec::new();
    for choice in found.iter() {
        if let CertificateChoices::Certificate(certificate) = choice {
            certificates.push(certificate.to_der().map_err(wrong)?);
        }
    }
    Ok(certificates)
}

/// Splits what came: the certificate for the key `spki`, and what may complete its chain.
pub fn ours(
    mut certificates: Vec<Vec<u8>>,
    spki: &[u8],
) -> Result<(Vec<u8>, Vec<Vec<u8>>), RequestError> {
    let is_ours = |der: &Vec<u8>| describe::public_key(der).is_ok_and(|(found, _)| found == spki);
    let index = certificates.iter().position(is_ours);
    let certificate = certificates.remove(index.ok_or(RequestError::NotOurs)?);
    Ok((certificate, certificates))
}

fn signature_of(
    key: &SubjectPublicKeyInfoOwned,
) -> Result<(Scheme, AlgorithmIdentifierOwned), RequestError> {
    let curve = key.algorithm.parameters.as_ref();
    let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    let with = |oid, parameters| AlgorithmIdentifierOwned { oid, parameters };
    match (key.algorithm.oid, curve) {
        (RSA_ENCRYPTION, _) => Ok((
            Scheme::RsaPkcs1Sha256,
            with(SHA256_WITH_RSA, Some(Any::null())),
        )),
        (EC_PUBLIC_KEY, Some(P256)) => Ok((Scheme::EcdsaP256Sha256, with(ECDSA_WITH_SHA256, None))),
        (EC_PUBLIC_KEY, Some(P384)) => Ok((Scheme::EcdsaP384Sha384, with(ECDSA_WITH_SHA384, None))),
        (ED25519, _) => Ok((Scheme::Ed25519, with(ED25519, None))),
        (other, _) => Err(RequestError::Key {
            algorithm: other.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::{FromDer, ParsedExtension};

    use super::super::testing::{Ca, Issued};
    use super::*;

    fn requested(issued: &Issued, renewed: Option<&[u8]>) -> Vec<u8> {
        let (spki, _) = describe::public_key(&issued.chain_der[0]).unwrap();
        let request = Request::new(&spki, renewed).unwrap();
        assert_eq!(request.scheme(), Scheme::EcdsaP256Sha256);
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &issued.key_der).unwrap();
        let signature = key.sign(&SystemRandom::new(), &request.message().unwrap());
        request.signed(signature.unwrap().as_ref()).unwrap()
    }

    fn message(certificates: &[&[u8]]) -> Vec<u8> {
        let all = certificates.iter().map(|der| Certificate::from_der(der));
        let all: Vec<_> = all.collect::<Result<_, _>>().unwrap();
        ContentInfo::try_from(all).unwrap().to_der().unwrap()
    }

    #[test]
    fn a_request_is_signed_and_names_what_it_renews() {
        let device = Ca::new("CA").client("device");
        let old = device.chain_der[0].as_slice();
        for renewed in [None, Some(old)] {
            let der = requested(&device, renewed);
            let (rest, read) = X509CertificationRequest::from_der(&der).unwrap();
            assert!(rest.is_empty());
            read.verify_signature().unwrap();
            let subject = read.certification_request_info.subject.to_string();
            assert_eq!(subject, renewed.map_or("", |_| "CN=device"));
            let names = read.requested_extensions().into_iter().flatten();
            let names = names.filter(|it| matches!(it, ParsedExtension::SubjectAlternativeName(_)));
            assert_eq!(names.count(), usize::from(renewed.is_some()));
        }
        Request::new(b"?", None).unwrap_err();
        let (spki, _) = describe::public_key(old).unwrap();
        Request::new(&spki, Some(b"?")).unwrap_err();
    }

    #[test]
    fn an_answer_holds_a_certificate_for_the_key_of_the_request() {
        let ca = Ca::new("CA");
        let (device, other) = (ca.client("device"), ca.client("other"));
        let (own, ca) = (device.chain_der[0].as_slice(), ca.der());
        let (spki, _) = describe::public_key(own).unwrap();
        let found = certs_only(&message(&[&ca, own])).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            ours(found, &spki).unwrap(),
            (own.to_vec(), vec![ca.clone()])
        );
        let found = certs_only(&message(&[&ca, &other.chain_der[0]])).unwrap();
        assert!(matches!(ours(found, &spki), Err(RequestError::NotOurs)));
        assert_eq!(certs_only(&message(&[])).unwrap(), Vec::<Vec<u8>>::new());
        let many: Vec<_> = (0..17).map(|n| Ca::new(&n.to_string()).der()).collect();
        let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
        assert!(matches!(
            certs_only(&message(&many)),
            Err(RequestError::TooMany)
        ));
    }

    #[test]
    fn damaged_answers_are_refused() {
        let whole = message(&[&Ca::new("CA").der()]);
        for length in 0..whole.len() {
            certs_only(&whole[..length]).unwrap_err();
        }
        for index in 0..whole.len() {
            let mut bent = whole.clone();
            bent[index] ^= 0x81;
            // Whatever becomes of it, nothing breaks.
            let _either = certs_only(&bent);
        }
    }
}
