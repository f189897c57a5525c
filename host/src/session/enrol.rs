//! Enrolment over Secure Transport (RFC 7030), from the device's side, and revocation lists: one request over a connection of
//! its own, with the authority's anchors and the device's identity. What comes back is bounded, and believed by nobody yet.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};

use super::http::{Answer, Bounds, Outgoing};
use super::{Endpoint, EndpointError, HttpError, ReachError, Sessions};
use crate::authority::Authority;
use crate::certificates::{self, MAX_CRL_BYTES, RequestError};

/// Bytes of an answer with certificates. Stops a service that answers without end.
const ANSWER: usize = 64 << 10;
/// Characters of a refusal that are shown.
const SHOWN: usize = 200;
/// When a service does not say, or says nonsense (RFC 7030 §4.2.3), seconds.
const LATER: u64 = 60;
/// The longest that a service may put the device off, seconds. Stops one that does so for ever.
const LATEST: u64 = 86_400;

/// What is asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrol {
    /// A certificate for a device that is known by another.
    Simple,
    /// A certificate in place of the one that the device shows.
    Again,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The address is none.
    #[error("the EST service of the account is no https URI: {0}")]
    Uri(#[from] EndpointError),
    /// The service cannot be reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// It does not speak HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It will answer later.
    #[error("the service answers later; it is asked again in {seconds} s")]
    Later {
        /// When.
        seconds: u64,
    },
    /// It does not want to.
    #[error("the service refused with {status}: {reason}")]
    Refused {
        /// HTTP.
        status: u16,
        /// What it said, without control characters, shortened.
        reason: String,
    },
    /// What it says is not what was asked.
    #[error("the service answers with {found}, which is not {wanted}")]
    Answer {
        /// What came.
        found: String,
        /// What should have come.
        wanted: &'static str,
    },
    /// What it says cannot be read, or is for somebody else.
    #[error(transparent)]
    Certificates(#[from] RequestError),
}

impl Sessions {
    /// The certificates that the service at `service` (e.g. `https://dm.example/.well-known/est`) says its CA has: DER.
    pub async fn ca_certificates(
        &self,
        authority: &Authority,
        service: &str,
    ) -> Result<Vec<Vec<u8>>, EnrolError> {
        let to = below(service, "cacerts")?;
        let answer = self.ask(authority, get(to), ANSWER).await?;
        certificates_in(answer)
    }

    /// Asks for a certificate; `request` is PKCS#10, DER. All certificates of the answer, DER.
    pub async fn enrol(
        &self,
        authority: &Authority,
        service: &str,
        how: Enrol,
        request: &[u8],
    ) -> Result<Vec<Vec<u8>>, EnrolError> {
        let operation = match how {
            Enrol::Simple => "simpleenroll",
            Enrol::Again => "simplereenroll",
        };
        let outgoing = Outgoing {
            method: Method::POST,
            to: below(service, operation)?,
            fields: vec![
                (CONTENT_TYPE, HeaderValue::from_static("application/pkcs10")),
                (
                    HeaderName::from_static("content-transfer-encoding"),
                    HeaderValue::from_static("base64"),
                ),
            ],
            body: Bytes::from(BASE64.encode(request)),
        };
        certificates_in(self.ask(authority, outgoing, ANSWER).await?)
    }

    /// The revocation list at an address, as it came.
    pub async fn revocation_list(
        &self,
        authority: &Authority,
        uri: &str,
    ) -> Result<Vec<u8>, EnrolError> {
        let answer = self
            .ask(authority, get(Endpoint::parse(uri)?), MAX_CRL_BYTES)
            .await?;
        Ok(succeeded(answer)?.body.to_vec())
    }

    async fn ask(
        &self,
        authority: &Authority,
        outgoing: Outgoing,
        body: usize,
    ) -> Result<Answer, EnrolError> {
        let time = self.inner.limits.request();
        let mut reached = self.inner.reach.connect(authority, &outgoing.to).await?;
        let bounds = Bounds { body, time };
        Ok(reached.connection.exchange(outgoing, bounds).await?)
    }
}

fn below(service: &str, operation: &str) -> Result<Endpoint, EndpointError> {
    Endpoint::parse(&format!("{}/{operation}", service.trim_end_matches('/')))
}

fn get(to: Endpoint) -> Outgoing {
    Outgoing {
        method: Method::GET,
        to,
        fields: Vec::new(),
        body: Bytes::new(),
    }
}

fn succeeded(answer: Answer) -> Result<Answer, EnrolError> {
    match answer.status {
        StatusCode::OK => Ok(answer),
        StatusCode::ACCEPTED => Err(EnrolError::Later {
            seconds: retry_after(&answer),
        }),
        status => Err(EnrolError::Refused {
            status: status.as_u16(),
            reason: shown(&answer.body),
        }),
    }
}

fn certificates_in(answer: Answer) -> Result<Vec<Vec<u8>>, EnrolError> {
    let answer = succeeded(answer)?;
    let wanted = |found: String| EnrolError::Answer {
        found,
        wanted: "application/pkcs7-mime in base64",
    };
    if !answer.is_of(&["application/pkcs7-mime"]) {
        return Err(wanted(shown(answer.media_type().as_bytes())));
    }
    // Base64 whatever the head says (RFC 8951 §2.1).
    let text: Vec<u8> = answer
        .body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let der = BASE64.decode(text);
    let der = der.map_err(|_| wanted("something else".to_owned()))?;
    Ok(certificates::certs_only(&der)?)
}

/// Seconds; a date is not understood.
fn retry_after(answer: &Answer) -> u64 {
    let field = answer.headers.get(RETRY_AFTER);
    let seconds = field.and_then(|field| field.to_str().ok()?.trim().parse().ok());
    seconds.unwrap_or(LATER).clamp(1, LATEST)
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let printable = text.trim().chars().take(SHOWN);
    printable
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
