//! Varlink (<https://varlink.org>): calls and replies in JSON, each ended by a NUL, over a stream.
//!
//! Written here and not taken from `zlink` 0.8: its server runs one call at a time for all connections, so a
//! session of minutes, or a peer that does not read its reply, would stop everybody; and the size of a frame
//! (100 MB) and the number of connections cannot be limited.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Bytes of buffers that a connection keeps between calls.
const RESTING: usize = 64 << 10;

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// Bytes of one call. Stops a peer that fills memory.
    pub call_bytes: usize,
    /// From the first to the last byte of a call, and for writing a reply. Stops a peer that stays in the
    /// middle. Between calls a connection may rest as long as it likes.
    pub transfer: Duration,
}

impl FrameLimits {
    fn check(&self, bytes: usize) -> Result<(), VarlinkError> {
        match bytes > self.call_bytes {
            true => Err(VarlinkError::TooLong {
                limit: self.call_bytes,
            }),
            false => Ok(()),
        }
    }
}

/// A call as it came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Interface and method: `org.varlink.service.GetInfo`.
    pub method: String,
    /// What it is called with.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The caller wants no reply.
    #[serde(default, skip_serializing_if = "is_false")]
    pub oneway: bool,
    /// The caller would take more than one reply.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// The caller wants to speak another protocol afterwards.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrade: bool,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Name of the error, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The answer, or details of the error.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
}

/// An error reply: its name, and details of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Interface and name: `org.varlink.service.MethodNotFound`.
    pub error: String,
    /// Its members.
    pub parameters: Value,
}

/// Answers calls, one after the other on each connection.
pub trait Service {
    /// The parameters of the reply, or an error.
    fn answer(&self, call: Call) -> impl Future<Output = Result<Value, Fault>>;
}

/// Why a connection was closed by this side.
#[derive(Debug, thiserror::Error)]
pub enum VarlinkError {
    /// A call without end.
    #[error("a call is longer than {limit} bytes; send less at a time")]
    TooLong {
        /// What is read at most.
        limit: usize,
    },
    /// Not a call.
    #[error("a call is not JSON as Varlink wants it: {0}")]
    Malformed(serde_json::Error),
    /// The peer is too slow.
    #[error("the peer stopped in the middle of a message")]
    Slow,
    /// The stream ended within a call.
    #[error("the peer hung up in the middle of a message")]
    Truncated,
    /// The system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Fault {
    /// The interface is not served here.
    pub fn interface_not_found(interface: &str) -> Self {
        Self::standard("InterfaceNotFound", json!({ "interface": interface }))
    }

    /// The interface has no such method.
    pub fn method_not_found(method: &str) -> Self {
        Self::standard("MethodNotFound", json!({ "method": method }))
    }

    /// A parameter is missing, of another type, or not expected.
    pub fn invalid_parameter(parameter: &str) -> Self {
        Self::standard("InvalidParameter", json!({ "parameter": parameter }))
    }

    fn standard(name: &str, parameters: Value) -> Self {
        Self {
            error: format!("org.varlink.service.{name}"),
            parameters,
        }
    }
}

/// Serves one connection until the peer closes it, breaks the protocol, or stops in the middle.
pub async fn serve(
    mut stream: UnixStream,
    service: &impl Service,
    limits: FrameLimits,
) -> Result<(), VarlinkError> {
    let mut incoming = Incoming {
        buffer: Vec::with_capacity(1024),
        taken: 0,
        seen: 0,
    };
    let mut outgoing = Vec::with_capacity(1024);
    while let Some(frame) = incoming.next(&mut stream, limits).await? {
        let call: Call = from_frame(frame).map_err(VarlinkError::Malformed)?;
        let oneway = call.oneway;
        let reply = match service.answer(call).await {
            Ok(parameters) => Reply {
                error: None,
                parameters,
            },
            Err(fault) => Reply {
                error: Some(fault.error),
                parameters: fault.parameters,
            },
        };
        if oneway {
            continue;
        }
        outgoing.clear();
        serde_json::to_writer(&mut outgoing, &reply).map_err(std::io::Error::from)?;
        outgoing.push(0);
        tokio::time::timeout(limits.transfer, stream.write_all(&outgoing))
            .await
            .map_err(|_| VarlinkError::Slow)??;
        if outgoing.capacity() > RESTING {
            outgoing = Vec::new();
        }
    }
    Ok(())
}

/// Calls as they come out of a stream.
struct Incoming {
    buffer: Vec<u8>,
    /// Bytes at the start that belong to calls already returned.
    taken: usize,
    /// Bytes at the start that hold no end of the next call.
    seen: usize,
}

impl Incoming {
    /// The next call without its NUL; `None` when the peer has closed the stream between calls.
    async fn next(
        &mut self,
        stream: &mut UnixStream,
        limits: FrameLimits,
    ) -> Result<Option<&[u8]>, VarlinkError> {
        self.buffer.drain(..self.taken);
        if self.buffer.is_empty() && self.buffer.capacity() > RESTING {
            self.buffer = Vec::with_capacity(1024);
        }
        (self.taken, self.seen) = (0, 0);
        loop {
            let unseen = self.buffer.get(self.seen..).unwrap_or_default();
            if let Some(end) = unseen.iter().position(|byte| *byte == 0) {
                let end = self.seen + end;
                limits.check(end)?;
                self.taken = end + 1;
                return Ok(self.buffer.get(..end));
            }
            self.seen = self.buffer.len();
            limits.check(self.seen)?;
            let between_calls = self.buffer.is_empty();
            let reading = stream.read_buf(&mut self.buffer);
            let read = match between_calls {
                true => reading.await?,
                false => tokio::time::timeout(limits.transfer, reading)
                    .await
                    .map_err(|_| VarlinkError::Slow)??,
            };
            match (read, between_calls) {
                (0, true) => return Ok(None),
                (0, false) => return Err(VarlinkError::Truncated),
                _ => {}
            }
        }
    }
}

/// Reads a message, which is a JSON object: a derived reader would also take its members from an array.
pub(crate) fn from_frame<T: DeserializeOwned>(frame: &[u8]) -> serde_json::Result<T> {
    match frame.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(frame),
        _ => Err(serde::de::Error::custom("a message is an object")),
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits {
        call_bytes: 200,
        transfer: Duration::from_millis(100),
    };

    /// Echoes parameters; `Fail` fails.
    struct Echo;

    impl Service for Echo {
        async fn answer(&self, call: Call) -> Result<Value, Fault> {
            match call.method.as_str() {
                "Fail" => Err(Fault::method_not_found("Fail")),
                _ => Ok(Value::Object(call.parameters)),
            }
        }
    }

    /// What comes back for these pieces of input before the connection ends, and how it ends.
    async fn exchange(pieces: &[&[u8]], close: bool) -> (String, Result<(), VarlinkError>) {
        let (mut peer, served) = UnixStream::pair().unwrap();
        let talking = async {
            for piece in pieces {
                // The server may have hung up already.
                let _gone = peer.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            if close {
                peer.shutdown().await.unwrap();
            }
            let mut replies = String::new();
            peer.read_to_string(&mut replies).await.map(|_| replies)
        };
        let serving = async { serve(served, &Echo, LIMITS).await };
        let (replies, end) = tokio::join!(talking, serving);
        (replies.unwrap_or_default(), end)
    }

    #[tokio::test]
    async fn calls_are_answered_in_order() {
        let rows: [(&[&[u8]], &str); 6] = [
            (&[b"{\"method\":\"a.B\"}\0"], "{\"parameters\":{}}\0"),
            (&[b"{\"method\":\"a.B\",\"par", b"ameters\":{\"x\":1}}", b"\0"], "{\"parameters\":{\"x\":1}}\0"),
            (
                &[b"{\"method\":\"a\",\"parameters\":{\"x\":1}}\0{\"method\":\"a\",\"parameters\":{\"x\":2}}\0"],
                "{\"parameters\":{\"x\":1}}\0{\"parameters\":{\"x\":2}}\0",
            ),
            (&[b"{\"method\":\"a\",\"oneway\":true}\0{\"method\":\"a\",\"more\":true}\0"], "{\"parameters\":{}}\0"),
            (
                &[b"{\"method\":\"Fail\"}\0"],
                "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"Fail\"}}\0",
            ),
            (&[b"{\"method\":\"a\",\"unknown\":[1,{}]}\0"], "{\"parameters\":{}}\0"),
        ];
        for (pieces, expected) in rows {
            let (replies, end) = exchange(pieces, true).await;
            assert_eq!(replies, expected);
            end.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_not_varlink_ends_the_connection() {
        let long = vec![b' '; 500];
        let deep = format!(
            "{{\"method\":\"a\",\"parameters\":{{\"x\":{}",
            "[".repeat(150)
        );
        let deep = format!("{deep}\0");
        let rows: [(&[&[u8]], bool, &str); 9] = [
            (&[b"\0"], true, "not JSON"),
            (&[b"[\"a.B\"]\0"], true, "not JSON"),
            (&[b"hello\0"], true, "not JSON"),
            (&[b"{\"parameters\":{}}\0"], true, "not JSON"),
            (
                &[b"{\"method\":\"a\",\"parameters\":[]}\0"],
                true,
                "not JSON",
            ),
            (&[deep.as_bytes()], true, "not JSON"),
            (&[&long, &long], true, "longer than 200 bytes"),
            (&[b"{\"method\""], true, "hung up"),
            (&[b"{\"method\""], false, "stopped"),
        ];
        for (pieces, close, expected) in rows {
            let (replies, end) = exchange(pieces, close).await;
            assert_eq!(replies, "");
            let error = end.unwrap_err().to_string();
            assert!(error.contains(expected), "{expected:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_left() {
        let (mut peer, served) = UnixStream::pair().unwrap();
        let limits = FrameLimits {
            call_bytes: 1 << 20,
            ..LIMITS
        };
        let flood = async {
            let call = format!(
                "{{\"method\":\"a\",\"parameters\":{{\"x\":\"{}\"}}}}\0",
                "x".repeat(1 << 19)
            );
            while peer.write_all(call.as_bytes()).await.is_ok() {}
        };
        let ((), end) = tokio::join!(flood, serve(served, &Echo, limits));
        assert!(matches!(end, Err(VarlinkError::Slow)), "{end:?}");
    }
}
