//! Sessions of the real daemon with a server of another make: what a server may do differently, what it may do
//! wrong, and what the device makes of it. A row is a name, what the server answers, and what must come of it.
//!
//! ```text
//! stage      the device, the servers, and how a row is played
//! packages   what stands in a Package#2
//! uris       which nodes a ClientURI means
//! bodies     what data look like, and where they go
//! transfers  uploads, downloads, and which repositories there are
//! http       how answers are framed, and how connections end
//! cont       where a session goes on, and where it does not
//! refusals   4xx, 5xx, redirects
//! limits     too much, too long, too slow
//! trust      whom the device talks to, and what others can see
//! access     what the session does not depend on
//! ```

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

mod foreign {
    pub(crate) mod access;
    pub(crate) mod bodies;
    pub(crate) mod cont;
    pub(crate) mod http;
    pub(crate) mod limits;
    pub(crate) mod packages;
    pub(crate) mod refusals;
    pub(crate) mod stage;
    pub(crate) mod transfers;
    pub(crate) mod trust;
    pub(crate) mod uris;
}
