//! One request: who asks, what for, and the one function from error to HTTP status.

use bailiwick_protocol::{HEADER_ACCEPT, HEADER_DEV_ID};
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use std::{io, sync::Arc};
use thiserror::Error;
use tracing::{error, warn};

use super::{
    body::{BodyError, Outgoing},
    connection::{Peer, Shared},
    data, est, packages,
};
use crate::{
    authority::AuthorityError, device::DeviceId, events::Event, pki::RequestRefused,
    repository::RepositoryError, session::SessionError,
};

/// Characters of a header value that are shown in the log. Stops a device from filling it.
const SHOWN: usize = 80;

/// Why a request is answered with an error.
#[derive(Debug, Error)]
pub(super) enum RequestError {
    #[error("the client certificate is not enrolled here, or revoked; enroll the device")]
    NotEnrolled,
    #[error("the {HEADER_DEV_ID} header is missing")]
    NoDeviceId,
    #[error(
        "the {HEADER_DEV_ID} header says {claimed}, but the client certificate belongs to another device"
    )]
    OtherDevice { claimed: String },
    #[error("nothing is here; packages go to /dm, data is below /data/")]
    NoSuchPath,
    #[error("this path takes {allowed}")]
    Method { allowed: &'static str },
    #[error("a body of type {found} is not read here; send {expected}")]
    MediaType { found: String, expected: String },
    #[error("the answer has the type {offered}, which the Accept header leaves out")]
    NotAcceptable { offered: &'static str },
    #[error("the file has {size} bytes; the range lies outside")]
    Range { size: u64 },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("cannot write the upload: {0}")]
    Write(#[from] io::Error),
    #[error("the label is not the SrvID of this authority")]
    Label,
    #[error("the body is not base64")]
    Base64,
    #[error(transparent)]
    Certificate(#[from] RequestRefused),
    #[error("cannot write the answer: {0}")]
    Encode(#[from] der::Error),
    #[error("the request was abandoned: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl RequestError {
    /// The HTTP status, chosen here alone.
    fn status(&self) -> StatusCode {
        match self {
            RequestError::NotEnrolled | RequestError::OtherDevice { .. } => StatusCode::FORBIDDEN,
            RequestError::NoDeviceId | RequestError::Base64 | RequestError::Certificate(_) => {
                StatusCode::BAD_REQUEST
            }
            RequestError::NoSuchPath | RequestError::Label => StatusCode::NOT_FOUND,
            RequestError::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            RequestError::MediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            RequestError::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            RequestError::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            RequestError::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            RequestError::Body(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            RequestError::Body(BodyError::Broken(_)) => StatusCode::BAD_REQUEST,
            RequestError::Session(error) => match error {
                SessionError::Malformed { .. } | SessionError::StatusCount { .. } => {
                    StatusCode::BAD_REQUEST
                }
                SessionError::NoSession => StatusCode::CONFLICT,
                SessionError::Policy(_) | SessionError::Authority(_) | SessionError::File(_) => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            },
            RequestError::Repository(error) => match error {
                RepositoryError::Name { .. } => StatusCode::BAD_REQUEST,
                RepositoryError::Forbidden { .. } => StatusCode::FORBIDDEN,
                RepositoryError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
                RepositoryError::File(error) if error.is_not_found() => StatusCode::NOT_FOUND,
                RepositoryError::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            RequestError::Authority(_)
            | RequestError::Write(_)
            | RequestError::Encode(_)
            | RequestError::Task(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the device is told: nothing about our files and our policy.
    fn told(&self) -> String {
        match self.status() {
            StatusCode::INTERNAL_SERVER_ERROR => {
                "the authority has a problem; try again later".into()
            }
            StatusCode::NOT_FOUND => "nothing is here".into(),
            StatusCode::FORBIDDEN if matches!(self, RequestError::Repository(_)) => {
                "not yours".into()
            }
            _ => self.to_string(),
        }
    }
}

/// Answers a request, whatever it is.
pub(super) async fn answer(
    shared: Arc<Shared>,
    peer: Peer,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let mut device = None;
    match routed(&shared, &peer, request, &mut device).await {
        Ok(response) => response,
        Err(error) => refused(&shared, &peer, device, &error),
    }
}

async fn routed(
    shared: &Arc<Shared>,
    peer: &Peer,
    request: Request<Incoming>,
    known: &mut Option<DeviceId>,
) -> Result<Response<Outgoing>, RequestError> {
    let path = request.uri().path().to_owned();
    if let Some(operation) = path.strip_prefix(est::PREFIX) {
        return est::answer(shared, peer, operation, request, known).await;
    }
    let device = identified(shared, peer).await?;
    *known = Some(device.clone());
    let claimed = claimed(request.headers(), &device)?;
    if path == "/dm" || path.starts_with("/dm/") {
        if !claimed {
            return Err(RequestError::NoDeviceId);
        }
        if request.method() != Method::POST {
            return Err(RequestError::Method { allowed: "POST" });
        }
        packages::receive(shared, device, request).await
    } else if let Some(name) = path.strip_prefix("/data/") {
        match *request.method() {
            Method::GET => data::send(shared, device, name, request.headers()).await,
            Method::PUT | Method::POST => data::receive(shared, device, name, request).await,
            _ => Err(RequestError::Method {
                allowed: "GET, PUT, POST",
            }),
        }
    } else {
        Err(RequestError::NoSuchPath)
    }
}

/// The device whose certificate this is. Looked up for every request, so that a revocation counts at once.
pub(super) async fn identified(
    shared: &Arc<Shared>,
    peer: &Peer,
) -> Result<DeviceId, RequestError> {
    let Some(fingerprint) = peer.fingerprint.clone() else {
        return Err(RequestError::NotEnrolled);
    };
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        shared
            .sessions
            .authority
            .device_of_certificate(&fingerprint)
    })
    .await??
    .ok_or(RequestError::NotEnrolled)
}

/// True if the request names its device. A name that is not the certificate's is refused, wherever it stands.
fn claimed(headers: &HeaderMap, device: &DeviceId) -> Result<bool, RequestError> {
    let mut found = false;
    for value in headers.get_all(HEADER_DEV_ID) {
        if value.as_bytes() != device.as_str().as_bytes() {
            return Err(RequestError::OtherDevice {
                claimed: shown(value),
            });
        }
        found = true;
    }
    Ok(found)
}

fn refused(
    shared: &Shared,
    peer: &Peer,
    device: Option<DeviceId>,
    problem: &RequestError,
) -> Response<Outgoing> {
    let status = problem.status();
    let who = device
        .as_ref()
        .map_or_else(|| peer.address.to_string(), DeviceId::to_string);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        error!("{who}: {}: {problem}", status.as_u16());
    } else {
        warn!("{who}: {}: {problem}", status.as_u16());
    }
    let told = problem.told();
    shared.sessions.events.send(Event::Refused {
        peer: peer.address,
        device,
        status: status.as_u16(),
        reason: told.clone(),
    });
    let mut response = text(status, told + "\n");
    let headers = response.headers_mut();
    match problem {
        RequestError::Method { allowed } => {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        RequestError::MediaType { expected, .. } => {
            if let Ok(value) = HeaderValue::from_str(expected) {
                headers.insert(
                    HeaderName::from_bytes(HEADER_ACCEPT.as_bytes()).unwrap_or(header::ACCEPT),
                    value,
                );
            }
        }
        RequestError::Range { size } => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
        }
        RequestError::Body(_) => {
            // What is left of the body is not waited for.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// A short answer.
pub(super) fn text(status: StatusCode, text: String) -> Response<Outgoing> {
    let mut response = Response::new(Either::Left(Full::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// The media type of a body, without parameters, in lower case; empty if none is given.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// True unless there are `Accept` headers and none of them lets `offered` through.
pub(super) fn accepts(headers: &HeaderMap, offered: &str) -> bool {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .peekable();
    ranges.peek().is_none() || ranges.any(|range| in_range(range, offered))
}

/// True if `range`, such as `application/*;q=0.5`, contains the media type.
pub(super) fn in_range(range: &str, media_type: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let wanted = parts.next().unwrap_or_default().to_ascii_lowercase();
    let excluded = parts.any(|parameter| {
        let weight = parameter
            .strip_prefix("q=")
            .and_then(|weight| weight.parse::<f32>().ok());
        weight.is_some_and(|weight| weight <= 0.0)
    });
    let matches = match wanted.strip_suffix('*') {
        Some("*/") => true,
        Some(prefix) if prefix.ends_with('/') => media_type.starts_with(prefix),
        _ => wanted == media_type,
    };
    matches && !excluded
}

/// A header value for people: cut, and without control characters.
pub(super) fn shown(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers() {
        let offered = "application/vnd.oma.dm.request+json";
        let rows = [
            (vec![], true),
            (vec!["application/vnd.oma.dm.request+json"], true),
            (vec!["Application/VND.oma.dm.request+json; q=0.1"], true),
            (vec!["text/html, application/*"], true),
            (vec!["text/html", "*/*;q=0.1"], true),
            (vec!["text/html"], false),
            (vec!["application/vnd.oma.dm.request+json;q=0"], false),
            (vec!["app*"], false),
        ];
        for (values, expected) in rows {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(accepts(&headers, offered), expected, "{values:?}");
        }
    }
}
