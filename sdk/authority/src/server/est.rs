//! Enrolment over Secure Transport (RFC 7030): `/.well-known/est/[SrvID/]cacerts | csrattrs | simpleenroll | simplereenroll`.
//!
//! A device is known by a certificate that it was enrolled with: from its bootstrap document, from a card, or from here. It gets
//! certificates in its own name and in no other. Bodies are base64 whatever `Content-Transfer-Encoding` says (RFC 8951).
//!
//! choice: no HTTP authentication and no link to the TLS session in the request (RFC 7030 §3.5): the request is signed by
//! the key, and TLS 1.3 has no `tls-unique`. `cacerts` is answered to whoever this CA has ever certified: on this port, TLS
//! itself demands that much.

use base64::{Engine, prelude::BASE64_STANDARD};
use cms::content_info::ContentInfo;
use der::{
    Any, Decode, Encode,
    asn1::{ObjectIdentifier, SetOfVec},
};
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{self, HeaderName, HeaderValue},
};
use std::{sync::Arc, time::SystemTime};
use tracing::info;
use x509_cert::{Certificate, attr::Attribute};

use super::{
    body::{Outgoing, Reader},
    connection::{Peer, Shared},
    request::{self, RequestError},
};
use crate::{
    device::DeviceId,
    pki::{CertificateRequest, RequestRefused, Validity},
};

/// Where the service is (RFC 7030 §3.2.2).
pub(super) const PREFIX: &str = "/.well-known/est/";

const PKCS10: &str = "application/pkcs10";
const CERTS_ONLY: &str = "application/pkcs7-mime; smime-type=certs-only";
const CSR_ATTRIBUTES: &str = "application/csrattrs";

/// `ecdsa-with-SHA256`, `id-ecPublicKey`, `secp256r1`: what is recommended to devices (RFC 7030 §4.5.2).
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// Characters of a base64 line (RFC 2045 §6.8).
const LINE: usize = 76;

/// Answers what stands behind [`PREFIX`].
pub(super) async fn answer(
    shared: &Arc<Shared>,
    peer: &Peer,
    operation: &str,
    request: Request<Incoming>,
    known: &mut Option<DeviceId>,
) -> Result<Response<Outgoing>, RequestError> {
    let authority = &shared.sessions.authority;
    let operation = match operation.split_once('/') {
        None => operation,
        // choice: the label (RFC 7030 §3.2.2) is the SrvID, since there is one CA.
        Some((label, operation)) if label == authority.srv_id() => operation,
        Some(_) => return Err(RequestError::Label),
    };
    match operation {
        "cacerts" | "csrattrs" if request.method() != Method::GET => {
            Err(RequestError::Method { allowed: "GET" })
        }
        "simpleenroll" | "simplereenroll" if request.method() != Method::POST => {
            Err(RequestError::Method { allowed: "POST" })
        }
        "cacerts" => {
            let anchor = authority.ca_certificate()?;
            Ok(encoded(CERTS_ONLY, &certs_only(&anchor)?))
        }
        "csrattrs" => Ok(encoded(CSR_ATTRIBUTES, &csr_attributes()?)),
        "simpleenroll" | "simplereenroll" => {
            let device = request::identified(shared, peer).await?;
            *known = Some(device.clone());
            let renewed = match operation {
                "simplereenroll" => peer.certificate.clone(),
                _ => None,
            };
            let der = received(shared, request).await?;
            let (working, shown) = (Arc::clone(shared), peer.fingerprint.clone());
            // To its end even if the device hangs up: what is issued is on record.
            tokio::task::spawn_blocking(move || {
                let request = CertificateRequest::from_der(&der)?;
                match renewed {
                    Some(certificate) => request.check_same(&certificate)?,
                    None => request.check_names(device.as_str())?,
                }
                let authority = &working.sessions.authority;
                let not_before = Validity::days(0).not_before;
                let validity = Validity {
                    not_before,
                    not_after: SystemTime::now() + working.certificate_lifetime,
                };
                let certificate =
                    authority.certify(&device, &request, shown.as_deref(), validity)?;
                info!("{device}: a certificate was issued");
                Ok(encoded(CERTS_ONLY, &certs_only(&certificate)?))
            })
            .await?
        }
        _ => Err(RequestError::NoSuchPath),
    }
}

/// The PKCS#10 of a request, DER.
async fn received(shared: &Shared, request: Request<Incoming>) -> Result<Vec<u8>, RequestError> {
    if request::media_type(request.headers()) != PKCS10 {
        let found = request.headers().get(header::CONTENT_TYPE);
        return Err(RequestError::MediaType {
            found: found.map_or("nothing".into(), request::shown),
            expected: PKCS10.into(),
        });
    }
    let limits = &shared.sessions.limits;
    let bytes = limits.certificate_request_bytes as u64;
    let body = request.into_body();
    let mut text = Reader::new(body, bytes, limits.stall, limits.package)
        .collect()
        .await?;
    text.retain(|byte| !byte.is_ascii_whitespace());
    match BASE64_STANDARD.decode(&text) {
        Ok(der) if der.is_empty() => Err(RequestRefused::Malformed.into()),
        Ok(der) => Ok(der),
        Err(_) => Err(RequestError::Base64),
    }
}

/// A PKCS#7 message that is nothing but a certificate (RFC 5272 §4.1).
fn certs_only(certificate: &[u8]) -> Result<Vec<u8>, der::Error> {
    ContentInfo::try_from(Certificate::from_der(certificate)?)?.to_der()
}

/// `CsrAttrs ::= SEQUENCE OF AttrOrOID`.
fn csr_attributes() -> Result<Vec<u8>, der::Error> {
    let key = Attribute {
        oid: EC_PUBLIC_KEY,
        values: SetOfVec::try_from(vec![Any::encode_from(&SECP256R1)?])?,
    };
    vec![
        Any::encode_from(&key)?,
        Any::encode_from(&ECDSA_WITH_SHA256)?,
    ]
    .to_der()
}

fn encoded(media_type: &'static str, der: &[u8]) -> Response<Outgoing> {
    let mut text = String::new();
    for (index, character) in BASE64_STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push_str("\r\n");
        }
        text.push(character);
    }
    text.push_str("\r\n");
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(
        HeaderName::from_static("content-transfer-encoding"),
        HeaderValue::from_static("base64"),
    );
    response
}
