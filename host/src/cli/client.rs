//! The daemon's socket, seen from the command line: one call, one reply, no runtime.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::Common;
use crate::config::Config;
use crate::local::{Call, Reply, from_frame};

/// Bytes of a reply. Stops a socket that is not the daemon's from filling memory.
const MAX_REPLY: u64 = 256 << 20;
/// How long a reply may take that does not depend on a server.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a reply may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// As long as the device itself may take.
    Device,
    /// As long as it takes: the daemon has deadlines of its own.
    Servers,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers at {path}: {source}; start it with `bailiwick run`, or name its socket with --socket"
    )]
    Unreachable { path: PathBuf, source: io::Error },
    /// It listens, and not to this user.
    #[error(
        "you may not use {path}; be root or the daemon's user, or a member of the group that `admin-group` names"
    )]
    Forbidden { path: PathBuf },
    /// The connection broke.
    #[error("the daemon did not answer: {0}; its log should say why")]
    Broken(io::Error),
    /// Not what a daemon of this version says.
    #[error("the daemon's answer is not understood; use the command line of the same version")]
    Foreign,
    /// The daemon says no.
    #[error("{0}")]
    Refused(String),
}

/// Calls `method` of `org.bailiwick.Admin`.
pub(super) fn call(
    common: &Common,
    method: &str,
    parameters: Value,
    wait: Wait,
) -> Result<Value, super::CliError> {
    let path = match &common.socket {
        Some(path) => path.clone(),
        None => Config::read(&common.config)?.admin_socket,
    };
    Ok(call_at(&path, method, parameters, wait)?)
}

fn call_at(path: &Path, method: &str, parameters: Value, wait: Wait) -> Result<Value, ClientError> {
    let mut stream = UnixStream::connect(path).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Forbidden {
            path: path.to_owned(),
        },
        _ => ClientError::Unreachable {
            path: path.to_owned(),
            source,
        },
    })?;
    if let Wait::Device = wait {
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(ClientError::Broken)?;
    }
    let call = Call {
        method: format!("org.bailiwick.Admin.{method}"),
        parameters: match parameters {
            Value::Object(members) => members,
            _ => Map::new(),
        },
        ..Call::default()
    };
    let mut frame = serde_json::to_vec(&call).map_err(|_| ClientError::Foreign)?;
    frame.push(0);
    stream.write_all(&frame).map_err(ClientError::Broken)?;
    understand(&read_frame(&mut stream)?)
}

fn read_frame(stream: &mut UnixStream) -> Result<Vec<u8>, ClientError> {
    let mut frame = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut stream = stream.take(MAX_REPLY);
    loop {
        let read = stream.read(&mut buffer).map_err(ClientError::Broken)?;
        let piece = buffer.get(..read).unwrap_or_default();
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            frame.extend_from_slice(piece.get(..end).unwrap_or_default());
            return Ok(frame);
        }
        if read == 0 {
            return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        frame.extend_from_slice(piece);
    }
}

/// The parameters of a good reply; an error in words.
fn understand(frame: &[u8]) -> Result<Value, ClientError> {
    let reply: Reply = from_frame(frame).map_err(|_| ClientError::Foreign)?;
    let Some(error) = reply.error else {
        return Ok(reply.parameters);
    };
    let member = |name: &str| reply.parameters.get(name).and_then(Value::as_str);
    let name = error.rsplit('.').next().unwrap_or_default();
    Err(match (member("message"), member("parameter"), name) {
        (Some(message), ..) => ClientError::Refused(message.to_owned()),
        (_, Some(parameter), "InvalidParameter") => {
            ClientError::Refused(format!("the daemon does not take this for {parameter}"))
        }
        _ => ClientError::Foreign,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replies_are_understood() {
        let rows: [(&str, Result<Value, &str>); 6] = [
            (r#"{"parameters":{"a":1}}"#, Ok(json!({"a": 1}))),
            (r"{}", Ok(Value::Null)),
            (
                r#"{"error":"org.bailiwick.Admin.Failed","parameters":{"message":"no; yes"}}"#,
                Err("no; yes"),
            ),
            (
                r#"{"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"access"}}"#,
                Err("does not take this for access"),
            ),
            (
                r#"{"error":"org.varlink.service.MethodNotFound","parameters":{}}"#,
                Err("same version"),
            ),
            ("[]", Err("same version")),
        ];
        for (frame, expected) in rows {
            match (understand(frame.as_bytes()), expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value, expected),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}")
                }
                (found, expected) => panic!("{frame}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn a_daemon_that_is_not_there_is_named() {
        let path = Path::new("/nonexistent/admin.sock");
        let error = call_at(path, "Status", Value::Null, Wait::Device).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/admin.sock"),
            "{error}"
        );
        assert_eq!(super::super::CliError::from(error).exit_code(), 3);
    }
}
