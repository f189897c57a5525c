//! Packages #1, #2 and #3: the JSON documents of a session.

use crate::{
    alert::Alert,
    command::{Command, CommandError},
    limits::Limits,
    object::MoItem,
    status::StatusCode,
};
use thiserror::Error;

/// Client to server: what is there, and why the session was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Package1 {
    /// `MOS`: the objects that this server may know of.
    pub mos: Vec<MoEntry>,
    /// `Alert`: exactly one of them tells why the session was opened.
    pub alerts: Vec<Alert>,
}

/// The instances of one MOID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoEntry {
    /// `MOID`.
    pub moid: String,
    /// `MIID`.
    pub miids: Vec<String>,
    /// `DDF`: a link to the description.
    pub ddf: Option<String>,
}

/// Server to client: commands in the order of execution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package2 {
    /// One bad command never spoils its neighbours: it stands here as its error.
    pub commands: Vec<Result<Command, CommandError>>,
}

/// Client to server: one status per command, in the same order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Package3 {
    /// `Status`.
    pub statuses: Vec<Status>,
    /// `Alert`.
    pub alerts: Vec<Alert>,
}

/// The result of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// `sc`.
    pub code: StatusCode,
    /// `URI`: where an HGET without ClientURI stored its data.
    pub uris: Vec<String>,
    /// `MO`: the data of a GET.
    pub objects: Vec<MoItem>,
}

/// Why bytes are not a package.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackageError {
    /// A required member is missing or of the wrong type.
    #[error("{member}: expected {expected}")]
    Member {
        /// Which member.
        member: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
}

impl Package1 {
    /// Reads a Package#1.
    pub fn parse(_bytes: &[u8], _limits: &Limits) -> Result<Self, PackageError> {
        todo!()
    }

    /// Writes it, members in the order of the schema.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
}

impl Package2 {
    /// A package of good commands.
    pub fn new(commands: Vec<Command>) -> Self {
        Package2 {
            commands: commands.into_iter().map(Ok).collect(),
        }
    }

    /// Reads a Package#2.
    pub fn parse(_bytes: &[u8], _limits: &Limits) -> Result<Self, PackageError> {
        todo!()
    }

    /// Writes the good commands.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
}

impl Package3 {
    /// Reads a Package#3.
    pub fn parse(_bytes: &[u8], _limits: &Limits) -> Result<Self, PackageError> {
        todo!()
    }

    /// Writes it, members in the order of the schema.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
}

impl Status {
    /// A status without URI or data.
    pub fn new(code: StatusCode) -> Self {
        Status {
            code,
            uris: Vec::new(),
            objects: Vec::new(),
        }
    }
}
