//! `POST /dm`: Packages #1 and #3 in, Package#2 out. `/dm/…` is the same, for CONT.

use bailiwick_protocol::{MEDIA_INITIATION, MEDIA_REQUEST, MEDIA_RESPONSE};
use http_body_util::{Either, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
};
use std::sync::Arc;

use super::{
    body::{Outgoing, Reader},
    connection::Shared,
    request::{self, RequestError},
};
use crate::{device::DeviceId, session};

pub(super) async fn receive(
    shared: &Arc<Shared>,
    device: DeviceId,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, RequestError> {
    let limits = &shared.sessions.limits;
    let media_type = request::media_type(request.headers());
    let package = match media_type.as_str() {
        MEDIA_INITIATION => session::Incoming::First as fn(Vec<u8>) -> _,
        MEDIA_RESPONSE => session::Incoming::Third,
        _ => {
            return Err(RequestError::MediaType {
                found: request
                    .headers()
                    .get(header::CONTENT_TYPE)
                    .map_or("nothing".into(), request::shown),
                expected: format!("{MEDIA_INITIATION}, {MEDIA_RESPONSE}"),
            });
        }
    };
    if !request::accepts(request.headers(), MEDIA_REQUEST) {
        return Err(RequestError::NotAcceptable {
            offered: MEDIA_REQUEST,
        });
    }
    let limit = limits.protocol.package_bytes as u64;
    let bytes = Reader::new(request.into_body(), limit, limits.stall, limits.package)
        .collect()
        .await?;

    // On a thread of its own, and to its end even if the device hangs up: no half step.
    let working = Arc::clone(shared);
    let answer =
        tokio::task::spawn_blocking(move || working.sessions.receive(&device, package(bytes)))
            .await??;
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(answer.to_bytes()))));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(MEDIA_REQUEST),
    );
    Ok(response)
}
