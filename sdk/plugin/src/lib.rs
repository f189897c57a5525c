//! Plug-ins for Bailiwick, in Rust: **one trait, one macro, tests that run natively**.
//!
//! A plug-in is a WebAssembly component. Pick the trait of its kind, implement what differs from the
//! defaults, and export the type:
//!
//! | kind | trait | export |
//! |---|---|---|
//! | a Management Object type | [`ManagementObject`] | `export!(object MyObject);` |
//! | a way to reach a server | [`Transport`] | `export!(transport MyTransport);` |
//! | an operating system | [`Environment`] | `export!(environment MyEnvironment);` |
//!
//! # A whole plug-in
//!
//! `src/lib.rs` of a read-only object that shows how often it was asked:
//!
//! ```
//! use bailiwick_plugin::{ManagementObject, Node, NodeRef, ReadOptions, Result, Tree, storage};
//!
//! #[derive(Default)]
//! struct Counter;
//!
//! impl ManagementObject for Counter {
//!     fn read(&mut self, target: &NodeRef, options: ReadOptions) -> Result<Vec<Node>> {
//!         let count = storage::get("count")?.map_or(0, |bytes| bytes[0]) + 1;
//!         storage::put("count", &[count])?;
//!         Tree::new().leaf("Reads", i64::from(count)).subtree(&target.path, options)
//!     }
//! }
//!
//! bailiwick_plugin::export!(object Counter);
//!
//! // Tests run natively; this one is a doc test and has its own `main`.
//! let harness = bailiwick_plugin::testing::Harness::new();
//! let mut counter = harness.object::<Counter>();
//! counter.read("urn:oma:mo:x-example:1.0", "1", "Reads").unwrap();
//! assert_eq!(counter.values("urn:oma:mo:x-example:1.0", "1"), [("Reads".into(), "2".into())]);
//! ```
//!
//! Beside it lie `Cargo.toml` (`crate-type = ["cdylib", "rlib"]`; the package's name and version are the
//! plug-in's), `plugin.toml` (what it serves and which imports it wants) and, for an object, its DDF.
//! `cargo build --release --target wasm32-wasip2` writes the component. Under the workspace's `plugins/`
//! are seven plug-ins to copy from; `devinfo` is the smallest.
//!
//! # What to know
//!
//! * **A plug-in sees only what has been permitted.** ClientURIs, rights, validation against the DDF and
//!   transactions are the host's. An error from a call undoes what the call wrote.
//! * **Memory is not storage.** A sandbox serves one authority, is dropped when idle and after a trap. Fields of
//!   the plug-in may cache; what must last goes to [`storage`], whose namespace the host picks for each call.
//! * **There is no WASI.** The host links no clock, environment variable, random number, file or standard output; a
//!   guest that reaches for one traps. So no `println!`, no `std::time`, no `HashMap` (its seed is random): take
//!   [`log`] and `BTreeMap`. A panic is written to the log, ends the sandbox and fails the call.
//! * **Say what to do.** Refuse bad input with [`Error::invalid_argument`] and a text for the one who can mend it.

pub mod environment;
pub mod object;
pub mod transport;

mod imports;
mod tree;
mod types;

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod export;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use environment::Environment;
pub use imports::{
    accounts, applications, call, certificates, config, device, log, net, notify, os, session,
    storage,
};
pub use object::{Change, ExecOutcome, ManagementObject, MoClass, ReadOptions};
pub use session::Bearer;
pub use transport::{Connection, Endpoint, Transport};
pub use tree::Tree;
pub use types::{Error, Identity, LeafValue, Node, NodeRef, Result, StartReason};
