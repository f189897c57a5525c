//! Who holds the keys: a process of its own for smart cards, PKCS#11 modules and private keys, and how the host asks it.
//!
//! ```text
//!  host     client ── messages over a socket pair ──▶ role     keys process: no network, no store, no programs
//!           process  one such process; signer: for threads that block
//!                                                     ├─ files      private keys of the device
//!                                                     ├─ card/      PC/SC: a thread a reader; APDU, PKCS#15, PIV
//!                                                     └─ modules    PKCS#11
//! ```
//!
//! Cards and vendors' modules are native code and hostile input. If that process crashes or hangs it is started again,
//! and nothing but the signature that was asked for fails.

mod card;
mod client;
mod files;
mod messages;
mod modules;
mod padding;
mod process;
mod role;
mod signer;
mod spki;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use card::probe;
pub use client::{Keys, KeysStatus};
pub use files::remove_made_but;
pub(crate) use files::{make_directory, sync, write_synced};
pub use messages::{
    Answer, CardId, CardKind, Contents, Effort, FoundCertificate, FoundKey, FoundObject, FromKeys,
    KeyError, KeyKind, KeyRef, MESSAGE_BYTES, Pin, PinKeeper, PinState, Place, Reader, ReaderState,
    Request, Scheme, Setup, Shelf, ToKeys,
};
pub use role::main;
pub use signer::Signer;
