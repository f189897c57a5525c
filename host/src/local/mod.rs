//! Who else is here: the operator at the admin socket, through the interface `org.bailiwick.Admin`, and local
//! applications at theirs, through `org.bailiwick.Apps`.
//!
//! ```text
//!  socket   who may connect     varlink   calls and replies     admin, apps   a function a method
//! ```

mod admin;
mod apps;
mod cards;
mod import;
mod introspection;
mod socket;
mod status;
mod varlink;

#[cfg(test)]
mod idl;
#[cfg(test)]
mod tests;

pub(crate) use varlink::from_frame;

pub use admin::{Admin, Daemon, Held, INTERFACE, now, refuse};
pub use apps::{APPS_INTERFACE, Apps};
pub use socket::{Admission, Socket, SocketError};
pub use status::{AccountStatus, LastSession, Protected, SessionStatus, Status, Worker};
pub use varlink::{Call, Fault, FrameLimits, Reply, Service, VarlinkError, serve};
