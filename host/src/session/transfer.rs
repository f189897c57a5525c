//! HGET, HPUT, HPOST: data between the device and a repository (OMA DM 2.0 §5.1.4). A repository may be any https
//! server that the account's own anchors vouch for. Each transfer is a connection of its own, without cookies and
//! without the device's identifier.

use bailiwick_protocol::object::ACCEPTED_MEDIA_TYPES;
use bailiwick_protocol::{MoItem, ObjectError, StatusCode};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};

use super::http::{Answer, Bounds, Outgoing};
use super::talk::Talk;
use super::{Endpoint, EndpointError, HttpError, ReachError};

/// Bytes of the body of an answer to PUT or POST, which says nothing that is asked for.
const RECEIPT: usize = 64 << 10;

/// Why data did not get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    /// The ServerURI cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// There is no connection.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// There is no answer.
    #[error("the repository {server}: {source}")]
    Http {
        /// Which.
        server: Endpoint,
        /// Why.
        source: HttpError,
    },
    /// It answered with an error, a redirect, or something else that is no success.
    #[error("the repository {server} answered HTTP {status}")]
    Refused {
        /// Which.
        server: Endpoint,
        /// The HTTP status.
        status: u16,
    },
    /// Data of a media type that is not read.
    #[error("the repository {server} sent {found:?}; it must be one of {}", ACCEPTED_MEDIA_TYPES.join(", "))]
    MediaType {
        /// Which.
        server: Endpoint,
        /// What it sent, shortened.
        found: String,
    },
    /// Data that are no MO serialization.
    #[error("the data of the repository {server}: {source}")]
    Data {
        /// Which.
        server: Endpoint,
        /// What is wrong with them.
        source: ObjectError,
    },
    /// No data.
    #[error("the repository {server} sent no item")]
    Nothing {
        /// Which.
        server: Endpoint,
    },
    /// More items than one place can take.
    #[error("{found} items for one ClientURI; leave it out, and name a place in each item")]
    SeveralItems {
        /// How many.
        found: usize,
    },
    /// More data than are sent.
    #[error("{bytes} bytes, at most {limit} are sent; name fewer nodes")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The server wants no media type that the device writes.
    #[error("OMADM-Accept names none of {}", ACCEPTED_MEDIA_TYPES.join(", "))]
    NotAcceptable,
}

impl TransferError {
    /// The status of the command (OMA DM 2.0 §5.1).
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Endpoint(_) | Self::Data { .. } | Self::Nothing { .. } => StatusCode::BAD_REQUEST,
            Self::SeveralItems { .. } => StatusCode::BAD_REQUEST,
            Self::Reach(ReachError::Http(source)) | Self::Http { source, .. } => match source {
                HttpError::TimedOut { .. } => StatusCode::TIMEOUT,
                HttpError::TooLarge { .. } => StatusCode::TOO_LARGE,
                HttpError::Encoded { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                HttpError::NotSent | HttpError::Broken { .. } => StatusCode::BAD_GATEWAY,
                HttpError::Request(_) => StatusCode::BAD_REQUEST,
            },
            Self::Reach(_) => StatusCode::UNAVAILABLE,
            Self::Refused { .. } => StatusCode::BAD_GATEWAY,
            Self::MediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::TOO_LARGE,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        }
    }
}

impl Talk {
    /// GETs an MO serialization; how many bytes it had.
    pub(super) async fn fetch(
        &self,
        server_uri: &str,
    ) -> Result<(Vec<MoItem>, usize), TransferError> {
        let server = Endpoint::parse(server_uri)?;
        let accept = HeaderValue::from_str(&ACCEPTED_MEDIA_TYPES.join(", "));
        let fields = accept
            .ok()
            .map(|accept| (ACCEPT, accept))
            .into_iter()
            .collect();
        let limits = &self.inner.wire;
        let limit = limits.object_bytes;
        let answer = self
            .exchange(Method::GET, &server, fields, Bytes::new(), limit)
            .await?;
        if !answer.is_of(ACCEPTED_MEDIA_TYPES) {
            let found = answer.media_type().chars().take(80).collect();
            return Err(TransferError::MediaType { server, found });
        }
        match MoItem::parse_all(&answer.body, limits) {
            Ok(items) if items.is_empty() => Err(TransferError::Nothing { server }),
            Ok(items) => Ok((items, answer.body.len())),
            Err(source) => Err(TransferError::Data { server, source }),
        }
    }

    /// PUTs or POSTs a body.
    pub(super) async fn send(
        &self,
        method: Method,
        server_uri: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<(), TransferError> {
        let server = Endpoint::parse(server_uri)?;
        let limit = self.inner.limits.object_bytes;
        if body.len() > limit {
            return Err(TransferError::TooLarge {
                bytes: body.len(),
                limit,
            });
        }
        let fields = vec![(CONTENT_TYPE, HeaderValue::from_static(media_type))];
        self.exchange(method, &server, fields, body.into(), RECEIPT)
            .await
            .map(drop)
    }

    async fn exchange(
        &self,
        method: Method,
        server: &Endpoint,
        fields: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
        limit: usize,
    ) -> Result<Answer, TransferError> {
        let mut reached = self.inner.reach.connect(&self.authority, server).await?;
        let outgoing = Outgoing {
            method,
            to: server.clone(),
            fields,
            body,
        };
        let bounds = Bounds {
            body: limit,
            time: self.inner.limits.request(),
        };
        let answer = reached.connection.exchange(outgoing, bounds).await;
        let answer = answer.map_err(|source| TransferError::Http {
            server: server.clone(),
            source,
        })?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(TransferError::Refused {
                server: server.clone(),
                status: answer.status.as_u16(),
            }),
        }
    }
}
