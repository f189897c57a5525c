//! The side of a Management Authority in OMA Device Management 2.0: what a developer of one starts from.
//!
//! A DM server and a data repository on one port, over mutual TLS; the CA and the bootstrap documents behind it; a queue of
//! commands per device and a journal of what came back. In files, without a database: `ls` and `cat` show everything.
//!
//! ```no_run
//! use bailiwick_authority::{Authority, DeviceId, Enroll, Init, Server, ServerOptions};
//! use bailiwick_protocol::{ClientUri, Command};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::init("authority".as_ref(), Init { name: "Example".into(), ..Init::default() })?;
//! let server = Server::bind(authority.clone(), "127.0.0.1:0".parse()?, ServerOptions::default()).await?.spawn();
//! let device: DeviceId = "IMEI:493005100592800".parse()?;
//! let uri = format!("https://{}/dm", server.local_addr());
//! let enrollment = authority.enroll(&device, Enroll { uri: Some(uri), ..Enroll::default() })?;
//! // ... give `enrollment.bootstrap.to_bytes()` to the device, and let it connect ...
//! let mut observer = server.observe();
//! let get = Command::Get { client_uris: vec![ClientUri::parse("urn:oma:mo:oma-dm-devinfo:1.2//")?] };
//! let id = authority.queue(&device)?.push(&get)?;
//! println!("{:?}", observer.result(&device, id).await);
//! # Ok(())
//! # }
//! ```
//!
//! To decide commands by yourself, implement [`Policy`]. For fake servers in a test suite, see [`pki`].
#![deny(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod authority;
pub mod device;
pub mod notification;
pub mod pki;

pub mod server;
mod session;

pub mod policy;

pub mod journal;
pub mod queue;
pub mod repository;

pub mod events;
pub mod limits;

pub mod record;

mod clock;
pub mod files;

pub use authority::{Authority, AuthorityError, Device, Enroll, Enrollment, Init};
pub use device::DeviceId;
pub use events::{Event, Observer};
pub use journal::{Entry, Journal};
pub use limits::Limits;
pub use policy::{CommandResult, Order, Policy, PolicyError, QueuePolicy};
pub use queue::{Queue, Queued};
pub use repository::{Repository, ResourceName};
pub use server::{RunningServer, Server, ServerError, ServerOptions};
