//! What the server answers, byte by byte.

use serde_json::{Value, json};

/// Media type of a Package#2, written down again here: the device must not agree with itself alone.
const PACKAGE: &str = "application/vnd.oma.dm.request+json";
/// One of the media types of management data.
const DATA: &str = "application/dmmo+json";

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By its length.
    Length,
    /// By a length that is wrong by so much.
    LengthOff(isize),
    /// In chunks of so many bytes.
    Chunked(usize),
    /// By the end of the connection.
    UntilClose,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The next request.
    Keep,
    /// The connection is closed in order.
    Close,
    /// TCP ends without a word from TLS.
    Cut,
    /// TCP is reset.
    Reset,
    /// Nothing, for ever.
    Stall,
    /// The answer itself comes a byte at a time.
    Trickle,
    /// These bytes, without TLS, on the same socket.
    Plain(&'static [u8]),
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    start: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
    /// Sent instead of all that.
    raw: Option<Vec<u8>>,
    /// Only so many bytes are sent.
    until: Option<usize>,
    pub(super) ending: Ending,
}

impl Reply {
    fn new(start: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            start: format!("HTTP/1.1 {start}"),
            fields: vec![("Content-Type".into(), media_type.into())],
            body: body.into(),
            framing: Framing::Length,
            raw: None,
            until: None,
            ending: Ending::Keep,
        }
    }

    /// A Package#2; each command is written as its parts between blanks.
    pub(crate) fn package(commands: &[&str]) -> Self {
        let commands: Vec<Vec<&str>> = commands
            .iter()
            .map(|command| command.split(' ').collect())
            .collect();
        Self::text(&json!({ "CMD": commands }).to_string())
    }

    /// A Package#2 as this text.
    pub(crate) fn text(body: &str) -> Self {
        Self::new("200 OK", PACKAGE, body)
    }

    /// A Package#2 as these bytes.
    pub(crate) fn body(body: impl Into<Vec<u8>>) -> Self {
        Self::new("200 OK", PACKAGE, body)
    }

    /// The last Package#2.
    pub(crate) fn end() -> Self {
        Self::package(&["END"])
    }

    /// Management data.
    pub(crate) fn data(json: &Value) -> Self {
        Self::new("200 OK", DATA, json.to_string())
    }

    /// Management data as this text.
    pub(crate) fn data_text(body: &str) -> Self {
        Self::new("200 OK", DATA, body)
    }

    /// A status and a few words.
    pub(crate) fn status(status: &str) -> Self {
        Self::new(status, "text/plain", "a few words")
    }

    /// Not HTTP as anybody writes it.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: Some(bytes.into()),
            ..Self::status("200 OK")
        }
    }

    /// Answers with another status line.
    pub(crate) fn start(mut self, start: &str) -> Self {
        start.clone_into(&mut self.start);
        self
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Takes the fields of this name away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// Says another media type.
    pub(crate) fn media_type(self, media_type: &str) -> Self {
        self.without("Content-Type")
            .with("Content-Type", media_type)
    }

    /// Tells the end of the body in another way.
    pub(crate) fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Sends only the first bytes.
    pub(crate) fn only(mut self, bytes: usize) -> Self {
        self.until = Some(bytes);
        self
    }

    /// Closes the connection afterwards, in order.
    pub(crate) fn close(mut self) -> Self {
        self.ending = Ending::Close;
        self
    }

    /// Cuts the connection afterwards: TCP ends and TLS does not say so.
    pub(crate) fn cut(mut self) -> Self {
        self.ending = Ending::Cut;
        self
    }

    /// Resets the connection afterwards.
    pub(crate) fn reset(mut self) -> Self {
        self.ending = Ending::Reset;
        self
    }

    /// Says nothing more afterwards.
    pub(crate) fn stall(mut self) -> Self {
        self.ending = Ending::Stall;
        self
    }

    /// Sends a byte at a time.
    pub(crate) fn trickle(mut self) -> Self {
        self.ending = Ending::Trickle;
        self
    }

    /// Continues without TLS on the same socket.
    pub(crate) fn then_plain(mut self, bytes: &'static [u8]) -> Self {
        self.ending = Ending::Plain(bytes);
        self
    }

    /// The same with names replaced by what they mean, in texts.
    pub(super) fn with_names(&self, names: &[(String, String)]) -> Self {
        let mut named = self.clone();
        for (_, value) in &mut named.fields {
            *value = replace(value, names);
        }
        for bytes in [Some(&mut named.body), named.raw.as_mut()]
            .into_iter()
            .flatten()
        {
            if let Ok(text) = std::str::from_utf8(bytes) {
                *bytes = replace(text, names).into_bytes();
            }
        }
        named
    }

    /// As they are sent.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.raw {
            Some(raw) => raw.clone(),
            None => self.http(),
        };
        bytes.truncate(self.until.unwrap_or(usize::MAX));
        bytes
    }

    fn http(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.start);
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        let (framing, body) = match self.framing {
            Framing::Length => self.with_length(0),
            Framing::LengthOff(by) => self.with_length(by),
            Framing::Chunked(size) => ("Transfer-Encoding: chunked\r\n".into(), self.chunks(size)),
            Framing::UntilClose => (String::new(), self.body.clone()),
        };
        head += &framing;
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }

    fn with_length(&self, off: isize) -> (String, Vec<u8>) {
        let length = self.body.len().saturating_add_signed(off);
        (format!("Content-Length: {length}\r\n"), self.body.clone())
    }

    /// With what RFC 9112 §7.1 allows besides: an extension and a trailer.
    fn chunks(&self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in self.body.chunks(size) {
            bytes.extend_from_slice(format!("{:X};note=x\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\nX-Trailer: ignored\r\n\r\n");
        bytes
    }
}

/// Replaces each name in a text by what it means.
fn replace(text: &str, names: &[(String, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (name, meaning)| {
        text.replace(name, meaning)
    })
}
