//! OMA Device Management 2.0 on the wire: bytes in, types out. No I/O, no clock, no async.
//!
//! Readers are liberal, writers strict. Every byte is taken for hostile: [`Limits`] are applied before a parser builds
//! anything. Where the specification is silent a `choice:` comment marks the rule as ours.
#![deny(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod limits;

pub mod alert;
pub mod command;
pub mod package;
pub mod status;

pub mod client_uri;
pub mod ddf;
pub mod object;
pub mod value;

pub mod bootstrap;
pub mod notification;

pub mod header;
pub mod media;

mod json;

pub use alert::{Alert, Mark};
pub use bootstrap::{
    Account, AccountAuth, BootstrapDocument, BootstrapError, DACMO_MOID, DEVINFO_MOID, DMACC_MOID,
    SESSION_INFO_MOID, Secret,
};
pub use client_uri::{
    ClientUri, InstanceId, InstanceSelector, NodeValue, Query, Segment, UriError,
};
pub use command::{Command, CommandError};
pub use ddf::{AccessTypes, Ddf, DdfError, DdfNode, Occurrence, Scope};
pub use header::{HEADER_ACCEPT, HEADER_DEV_ID};
pub use json::JsonError;
pub use limits::Limits;
pub use media::{MEDIA_DDF, MEDIA_INITIATION, MEDIA_NOTIFICATION, MEDIA_REQUEST, MEDIA_RESPONSE};
pub use notification::{Bearer, Notification, NotificationError};
pub use object::{MoItem, Node, ObjectError, Path};
pub use package::{MoEntry, Package1, Package2, Package3, PackageError, Status};
pub use status::StatusCode;
pub use value::{Format, Value, ValueError};
