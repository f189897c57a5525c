//! The twelve commands of Package#2.

use crate::{
    client_uri::{ClientUri, UriError},
    status::StatusCode,
};
use thiserror::Error;

/// A command; the order of fields is the order of parameters on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Fetch from the repository and store.
    HGet {
        /// Where the data is.
        server_uri: String,
        /// Where it goes; `None` = the device chooses and reports.
        client_uri: Option<ClientUri>,
    },
    /// Send nodes to the repository by HTTP PUT.
    HPut {
        /// Where the data goes.
        server_uri: String,
        /// What to send.
        client_uris: Vec<ClientUri>,
    },
    /// Send nodes to the repository by HTTP POST.
    HPost {
        /// Where the data goes.
        server_uri: String,
        /// What to send.
        client_uris: Vec<ClientUri>,
    },
    /// Remove a node and all below.
    Delete {
        /// What to remove.
        client_uri: ClientUri,
    },
    /// Run an executable node.
    Exec {
        /// What to run.
        client_uri: ClientUri,
        /// Where the result is reported, in a session of its own.
        server_uri: Option<String>,
    },
    /// Read nodes within the session.
    Get {
        /// What to read.
        client_uris: Vec<ClientUri>,
    },
    /// Open the device's browser.
    Show {
        /// The page.
        server_uri: String,
    },
    /// Go on at another URI for the rest of the session.
    Cont {
        /// Where later packages go.
        server_uri: String,
    },
    /// End the session; no Package#3 follows.
    End,
    /// Remember where to fetch a MOID when local software asks for it.
    Default {
        /// Where the data is.
        server_uri: String,
        /// For which type of object.
        moid: String,
    },
    /// Send a subtree whenever it changes.
    Sub {
        /// Where the data goes.
        server_uri: String,
        /// What to watch.
        client_uri: ClientUri,
    },
    /// Take back a SUB.
    Unsub {
        /// The same as in the SUB.
        client_uri: ClientUri,
    },
}

/// Why a command cannot be run; [`CommandError::status`] is its answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A name that DM 2.0 does not know.
    #[error("unknown command {name:?}")]
    Unknown {
        /// The first 32 characters of the name.
        name: String,
    },
    /// Too few, too many, or of the wrong kind.
    #[error("{command} takes {expected}")]
    Parameters {
        /// The command.
        command: &'static str,
        /// Its parameters.
        expected: &'static str,
    },
    /// A parameter that is neither a ServerURI nor a ClientURI.
    #[error("{command}: {source}")]
    Uri {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        source: UriError,
    },
}

impl Command {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        todo!()
    }

    /// Reads the array of name and parameters.
    pub fn parse(_parts: &[String]) -> Result<Command, CommandError> {
        todo!()
    }

    /// The array of name and parameters.
    pub fn to_parts(&self) -> Vec<String> {
        todo!()
    }
}

impl CommandError {
    /// 501 for an unknown command, 414 for a URI that is too long, else 400.
    pub fn status(&self) -> StatusCode {
        todo!()
    }
}
