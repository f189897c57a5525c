//! What was asked, verbatim, and read as strictly as RFC 9112 writes it.

use std::io::{Error, Read, Result};

use serde_json::Value;

/// A request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Which connection it came over, counted from 0.
    pub(crate) connection: usize,
    /// Request line and fields.
    pub(crate) head: String,
    /// The method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// The content.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The value of a field; panics if it is there twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").skip(1);
        let fields = lines.filter_map(|line| line.split_once(':'));
        let mut values = fields
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim());
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice in {}", self.head);
        value
    }

    /// Whether it brings a Package#1 or #3.
    pub(crate) fn is_package(&self) -> bool {
        self.kind().is_some()
    }

    /// 1 or 3.
    pub(crate) fn kind(&self) -> Option<u8> {
        match self.field("Content-Type") {
            Some("application/vnd.oma.dm.initiation+json") => Some(1),
            Some("application/vnd.oma.dm.response+json") => Some(3),
            _ => None,
        }
    }

    /// The content as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The status codes of a Package#3.
    pub(crate) fn statuses(&self) -> Vec<u64> {
        let package = self.json();
        let statuses = package["Status"].as_array().expect("Status");
        statuses
            .iter()
            .map(|status| status["sc"].as_u64().expect("sc"))
            .collect()
    }
}

/// Reads the next request; `None`: the device has hung up. `unread` is what came with the one before.
pub(super) fn next(stream: &mut impl Read, unread: &mut Vec<u8>) -> Result<Option<Request>> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if read_more(stream, unread)? == 0 {
            return match unread.is_empty() {
                true => Ok(None),
                false => Err(Error::other("half a request")),
            };
        }
    };
    let head = String::from_utf8(unread.drain(..end + 4).collect()).map_err(Error::other)?;
    let head = head.trim_end().to_owned();
    let request_line = head.split("\r\n").next().unwrap_or_default();
    // A client that has got an answer by HTTP/1.0 may go on in it.
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = request_line.split(' ').collect::<Vec<_>>()[..]
    else {
        return Err(Error::other(format!("a request line: {request_line:?}")));
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut request = Request {
        head,
        method,
        target,
        ..Request::default()
    };
    let length = request.field("Content-Length").unwrap_or("0");
    let length: usize = length.parse().map_err(Error::other)?;
    while unread.len() < length {
        if read_more(stream, unread)? == 0 {
            return Err(Error::other("half a body"));
        }
    }
    request.body = unread.drain(..length).collect();
    Ok(Some(request))
}

fn read_more(stream: &mut impl Read, into: &mut Vec<u8>) -> Result<usize> {
    let mut chunk = [0; 16384];
    let read = stream.read(&mut chunk)?;
    into.extend_from_slice(&chunk[..read]);
    Ok(read)
}
