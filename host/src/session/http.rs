//! HTTP/1.1 over a connection that is open already (RFC 9112): one request at a time, and what the answer may cost.
//!
//! No redirects, no compression, no proxies. A server that answers slower, longer or stranger than allowed costs its
//! own connection and nothing else.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Endpoint;

/// Bytes of the head of an answer. Stops header fields without end.
const HEAD_BYTES: usize = 32 << 10;
/// Header fields of an answer. Stops the same in small pieces.
const FIELDS: usize = 64;

/// How long the end of a connection may take, so that the server learns that it is one.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection had been closed before the request was written; nothing was sent.
    #[error("the server had closed the connection")]
    NotSent,
    /// Nothing, or not everything, within the time of a request.
    #[error("the server did not answer within {milliseconds} ms")]
    TimedOut {
        /// The limit.
        milliseconds: u128,
    },
    /// A body larger than is read.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A body in a coding that was not asked for.
    #[error("the answer is encoded as {coding:?}, which was not asked for")]
    Encoded {
        /// The coding, shortened.
        coding: String,
    },
    /// The connection ended in the middle, or what came is not HTTP/1.1.
    #[error("the answer broke off or is not HTTP/1.1: {reason}")]
    Broken {
        /// What was found.
        reason: String,
    },
    /// A request that cannot be written.
    #[error("the request cannot be written: {0}")]
    Request(String),
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) to: Endpoint,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

/// An answer, complete.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What an answer may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of the body.
    pub(super) body: usize,
    /// From the first byte out to the last byte in.
    pub(super) time: Duration,
}

/// An open connection to one server. Closed when dropped.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Its end tells the task behind the connection to say goodbye.
    _in_use: oneshot::Sender<()>,
}

impl Connection {
    /// Speaks HTTP over a stream. Needs a `LocalSet`.
    pub async fn open<T>(stream: T) -> Result<Self, HttpError>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD_BYTES)
            .max_headers(FIELDS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let (in_use, given_up) = oneshot::channel::<()>();
        tokio::task::spawn_local(async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // Whoever waits for an answer is told; nobody else needs to know.
                _ended = &mut connection => return,
                _ = given_up => {}
            }
            let _said_goodbye = timeout(GOODBYE, connection).await;
        });
        Ok(Self {
            sender,
            _in_use: in_use,
        })
    }

    /// Sends one request and reads the answer. After an error, the connection is of no more use.
    pub(super) async fn exchange(
        &mut self,
        outgoing: Outgoing,
        bounds: Bounds,
    ) -> Result<Answer, HttpError> {
        let milliseconds = bounds.time.as_millis();
        let answer = timeout(bounds.time, self.exchange_in_time(outgoing, bounds.body)).await;
        answer.map_err(|_| HttpError::TimedOut { milliseconds })?
    }

    async fn exchange_in_time(
        &mut self,
        outgoing: Outgoing,
        limit: usize,
    ) -> Result<Answer, HttpError> {
        let request = request(outgoing)?;
        self.sender.ready().await.map_err(|_| HttpError::NotSent)?;
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(error) if error.message().is_some() => return Err(HttpError::NotSent),
            Err(error) => return Err(broken(error.into_error())),
        };
        let (head, body) = response.into_parts();
        if let Some(coding) = head
            .headers
            .get(CONTENT_ENCODING)
            .filter(|c| c != &"identity")
        {
            let coding = String::from_utf8_lossy(coding.as_bytes())
                .chars()
                .take(32)
                .collect();
            return Err(HttpError::Encoded { coding });
        }
        let body = collect(body, limit).await?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}

impl Answer {
    /// Whether the body is of one of these media types, or of none that is told.
    pub(super) fn is_of(&self, media_types: &[&str]) -> bool {
        match self.headers.get(CONTENT_TYPE) {
            None => true,
            Some(_) => media_types
                .iter()
                .any(|t| t.eq_ignore_ascii_case(self.media_type())),
        }
    }

    /// `Content-Type` without parameters; empty if there is none.
    pub(super) fn media_type(&self) -> &str {
        let field = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|field| field.to_str().ok());
        field
            .and_then(|field| field.split(';').next())
            .unwrap_or_default()
            .trim()
    }
}

fn request(outgoing: Outgoing) -> Result<Request<Full<Bytes>>, HttpError> {
    let Outgoing {
        method,
        to,
        fields,
        body,
    } = outgoing;
    let mut request = Request::builder()
        .method(method)
        .uri(to.target())
        .header(HOST, to.host_field())
        .header(USER_AGENT, concat!("bailiwick/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT_ENCODING, "identity");
    for (name, value) in fields {
        request = request.header(name, value);
    }
    request
        .body(Full::new(body))
        .map_err(|error| HttpError::Request(error.to_string()))
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, HttpError> {
    let too_large = || HttpError::TooLarge { limit };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers say nothing that is asked for.
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            if collected.len() + data.len() > limit {
                return Err(too_large());
            }
            collected.extend_from_slice(&data);
        }
    }
    Ok(collected.into())
}

/// The whole chain of causes: the TLS room says in its own words why a connection ended.
fn broken(error: hyper::Error) -> HttpError {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        reason.push_str(": ");
        reason.push_str(&cause.to_string());
        source = cause.source();
    }
    HttpError::Broken { reason }
}

#[cfg(test)]
mod tests;
