//! Status codes of Package#3: the result of one command.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A status code with its HTTP meaning. Any number may arrive; an unknown 2xx is a success, an unknown 4xx or 5xx a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusCode(pub u16);

/// One row per code: constant, number, reason, documentation.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $code:literal $reason:literal;)*) => {
        impl StatusCode {
            $($(#[$doc])* pub const $name: StatusCode = StatusCode($code);)*

            /// A few words for logs; "Unknown" for a code that this crate does not name.
            pub fn reason(&self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "Unknown",
                }
            }
        }
    };
}

// choice: 400, 403, 408, 409, 413, 414, 500, 502, 503 and 507 are not known to be in OMA DM 2.0; they keep their HTTP meaning.
codes! {
    /// Done.
    OK 200 "OK";
    /// An EXEC goes on; its result follows in an alert.
    ACCEPTED 202 "Accepted";
    /// The node exists but has no valid value now.
    NO_CONTENT 204 "No Content";
    /// The cache validator still holds; no data follows.
    NOT_MODIFIED 304 "Not Modified";
    /// Malformed command, malformed or ambiguous ClientURI.
    BAD_REQUEST 400 "Bad Request";
    /// The server lacks the right.
    FORBIDDEN 403 "Forbidden";
    /// No such node; UNSUB without its SUB.
    NOT_FOUND 404 "Not Found";
    /// Never possible on this node, such as DELETE of a permanent one.
    NOT_ALLOWED 405 "Command Not Allowed";
    /// None of the requested media types is supported.
    NOT_ACCEPTABLE 406 "Not Acceptable";
    /// The data repository did not answer in time.
    TIMEOUT 408 "Timeout";
    /// The target exists and may not be replaced.
    CONFLICT 409 "Conflict";
    /// More data than the device takes.
    TOO_LARGE 413 "Too Large";
    /// A URI longer than the device takes.
    URI_TOO_LONG 414 "URI Too Long";
    /// A body of a media type that the device does not read.
    UNSUPPORTED_MEDIA_TYPE 415 "Unsupported Media Type";
    /// The command failed.
    FAILED 500 "Command Failed";
    /// The device does not know the command.
    NOT_IMPLEMENTED 501 "Not Implemented";
    /// The data repository answered with an error.
    BAD_GATEWAY 502 "Bad Gateway";
    /// No connection, no browser, or overtaken by a higher priority.
    UNAVAILABLE 503 "Unavailable";
    /// The device storage is full.
    STORAGE_FULL 507 "Storage Full";
}

impl StatusCode {
    /// 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.0)
    }

    /// 400 to 599. 304 is neither a success nor a failure.
    pub fn is_failure(&self) -> bool {
        (400..600).contains(&self.0)
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}
