//! Sessions of the real daemon with the authority of this project: what one authority can do, what two cannot do to
//! each other, and what stays.
//!
//! ```text
//! world      a device, two authorities, and how commands are run
//! whole      everything in a few sessions
//! types      a type of objects that is added without code
//! rights     allowed and denied, in pairs
//! isolation  two authorities on one device
//! faults     plug-ins that fail in the middle
//! keys       the process that holds the private keys: who reads them, and what happens when it crashes or hangs
//! applications  who is let in by a certificate of an authority, and what for
//! ```

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod session {
    pub(crate) mod applications;
    pub(crate) mod faults;
    pub(crate) mod isolation;
    pub(crate) mod keys;
    pub(crate) mod rights;
    pub(crate) mod types;
    pub(crate) mod whole;
    pub(crate) mod world;
}
