//! Who else is here: the operator at the admin socket, through the interface `org.bailiwick.Admin`.

mod socket;
mod varlink;

pub use socket::{AdminSocket, SocketError};
pub use varlink::{Call, Fault, FrameLimits, Reply, Service, VarlinkError, serve};
