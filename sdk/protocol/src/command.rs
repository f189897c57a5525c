//! The twelve commands of Package#2, each an array of strings: name, then parameters (OMA DM 2.0, Package#2).

use crate::{
    client_uri::{ClientUri, UriError, is_name},
    limits::{Limits, excerpt},
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
    /// Not an array of strings that starts with a name.
    #[error("a command must be an array of strings: its name, then its parameters")]
    Malformed,
    /// A name that DM 2.0 does not know.
    #[error("unknown command {name:?}")]
    Unknown {
        /// The name, shortened.
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
    /// More parameters than `Limits::parameters`.
    #[error("{command} has more than {limit} parameters; send several commands")]
    TooMany {
        /// The command.
        command: &'static str,
        /// What is allowed.
        limit: usize,
    },
    /// A parameter that is neither an http or https URI nor a ClientURI.
    #[error("{command}: {source}")]
    Uri {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        source: UriError,
    },
    /// An http or https URI that is too long, without a host, or with blanks in it.
    #[error(
        "{command}: a ServerURI has a host, no blanks, and at most {limit} bytes; this one has {bytes}"
    )]
    ServerUri {
        /// The command.
        command: &'static str,
        /// What was found.
        bytes: usize,
        /// `Limits::uri_bytes`.
        limit: usize,
    },
    /// A MOID that is none.
    #[error("{command}: {moid:?} is no MOID; write one such as urn:oma:mo:oma-dm-devinfo:1.2")]
    Moid {
        /// The command.
        command: &'static str,
        /// What stands there, shortened.
        moid: String,
    },
    /// `*` in a command that writes to one place.
    #[error("{command} acts on one node; replace the wildcard by names")]
    Wildcard {
        /// The command.
        command: &'static str,
    },
}

impl Command {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Command::HGet { .. } => "HGET",
            Command::HPut { .. } => "HPUT",
            Command::HPost { .. } => "HPOST",
            Command::Delete { .. } => "DELETE",
            Command::Exec { .. } => "EXEC",
            Command::Get { .. } => "GET",
            Command::Show { .. } => "SHOW",
            Command::Cont { .. } => "CONT",
            Command::End => "END",
            Command::Default { .. } => "DEFAULT",
            Command::Sub { .. } => "SUB",
            Command::Unsub { .. } => "UNSUB",
        }
    }

    /// Reads name and parameters within [`Limits::DEFAULT`].
    pub fn parse(parts: &[String]) -> Result<Command, CommandError> {
        Self::parse_within(parts, &Limits::DEFAULT)
    }

    /// Reads name and parameters within given limits.
    // choice: the order of parameters is not known for every command, so the scheme tells a ServerURI from a ClientURI.
    pub fn parse_within(parts: &[String], limits: &Limits) -> Result<Command, CommandError> {
        let (name, parameters) = parts.split_first().ok_or(CommandError::Malformed)?;
        let (command, expected) = *COMMANDS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .ok_or_else(|| CommandError::Unknown {
                name: excerpt(name),
            })?;
        if parameters.len() > limits.parameters {
            return Err(CommandError::TooMany {
                command,
                limit: limits.parameters,
            });
        }
        let (servers, others): (Vec<&str>, Vec<&str>) = parameters
            .iter()
            .map(String::as_str)
            .partition(|text| has_server_scheme(text));
        let read = Reader { command, limits };
        Ok(match (command, servers.as_slice(), others.as_slice()) {
            ("HGET", [server], []) => Command::HGet {
                server_uri: read.server(server)?,
                client_uri: None,
            },
            ("HGET", [server], [node]) => Command::HGet {
                server_uri: read.server(server)?,
                client_uri: Some(read.one_node(node)?),
            },
            ("HPUT", [server], [_, ..]) => Command::HPut {
                server_uri: read.server(server)?,
                client_uris: read.nodes(&others)?,
            },
            ("HPOST", [server], [_, ..]) => Command::HPost {
                server_uri: read.server(server)?,
                client_uris: read.nodes(&others)?,
            },
            ("DELETE", [], [node]) => Command::Delete {
                client_uri: read.node(node)?,
            },
            ("EXEC", [], [node]) => Command::Exec {
                client_uri: read.one_node(node)?,
                server_uri: None,
            },
            ("EXEC", [server], [node]) => Command::Exec {
                client_uri: read.one_node(node)?,
                server_uri: Some(read.server(server)?),
            },
            ("GET", [], [_, ..]) => Command::Get {
                client_uris: read.nodes(&others)?,
            },
            ("SHOW", [server], []) => Command::Show {
                server_uri: read.server(server)?,
            },
            ("CONT", [server], []) => Command::Cont {
                server_uri: read.server(server)?,
            },
            ("END", [], []) => Command::End,
            ("DEFAULT", [server], [moid]) => Command::Default {
                server_uri: read.server(server)?,
                moid: read.moid(moid)?,
            },
            ("SUB", [server], [node]) => Command::Sub {
                server_uri: read.server(server)?,
                client_uri: read.node(node)?,
            },
            ("UNSUB", [], [node]) => Command::Unsub {
                client_uri: read.node(node)?,
            },
            _ => return Err(CommandError::Parameters { command, expected }),
        })
    }

    /// The array of name and parameters, in the order of the fields.
    pub fn to_parts(&self) -> Vec<String> {
        let mut parts = vec![self.name().to_owned()];
        match self {
            Command::HGet {
                server_uri,
                client_uri,
            } => {
                parts.push(server_uri.clone());
                parts.extend(client_uri.iter().map(ClientUri::to_string));
            }
            Command::HPut {
                server_uri,
                client_uris,
            }
            | Command::HPost {
                server_uri,
                client_uris,
            } => {
                parts.push(server_uri.clone());
                parts.extend(client_uris.iter().map(ClientUri::to_string));
            }
            Command::Exec {
                client_uri,
                server_uri,
            } => {
                parts.push(client_uri.to_string());
                parts.extend(server_uri.clone());
            }
            Command::Get { client_uris } => {
                parts.extend(client_uris.iter().map(ClientUri::to_string))
            }
            Command::Delete { client_uri } | Command::Unsub { client_uri } => {
                parts.push(client_uri.to_string())
            }
            Command::Show { server_uri } | Command::Cont { server_uri } => {
                parts.push(server_uri.clone())
            }
            Command::Default { server_uri, moid } => {
                parts.extend([server_uri.clone(), moid.clone()])
            }
            Command::Sub {
                server_uri,
                client_uri,
            } => {
                parts.extend([server_uri.clone(), client_uri.to_string()]);
            }
            Command::End => {}
        }
        parts
    }
}

impl CommandError {
    /// 501 for an unknown command, 414 for a URI that is too long, else 400.
    pub fn status(&self) -> StatusCode {
        match self {
            CommandError::Unknown { .. } => StatusCode::NOT_IMPLEMENTED,
            CommandError::Uri {
                source: UriError::TooLong { .. },
                ..
            } => StatusCode::URI_TOO_LONG,
            CommandError::ServerUri { limit, bytes, .. } if bytes > limit => {
                StatusCode::URI_TOO_LONG
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Each command and its parameters, for error messages; what is accepted stands in [`Command::parse_within`].
const COMMANDS: &[(&str, &str)] = &[
    ("HGET", "a ServerURI and at most one ClientURI"),
    ("HPUT", "a ServerURI and at least one ClientURI"),
    ("HPOST", "a ServerURI and at least one ClientURI"),
    ("DELETE", "one ClientURI"),
    ("EXEC", "one ClientURI and at most one ServerURI"),
    ("GET", "at least one ClientURI"),
    ("SHOW", "one ServerURI"),
    ("CONT", "one ServerURI"),
    ("END", "no parameters"),
    ("DEFAULT", "a ServerURI and a MOID"),
    ("SUB", "a ServerURI and a ClientURI"),
    ("UNSUB", "one ClientURI"),
];

/// True if a text means to be a ServerURI: it has the scheme `http:` or `https:`.
fn has_server_scheme(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// True if a text is a ServerURI: scheme, host, no blanks, not too long.
pub(crate) fn is_server_uri(text: &str, limits: &Limits) -> bool {
    let host = text.split_once("://").map_or("", |(_, rest)| rest);
    has_server_scheme(text)
        && text.len() <= limits.uri_bytes
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && !host.is_empty()
        && !host.starts_with(['/', '?', '#', ':'])
}

/// Reads the parameters of one command.
struct Reader<'a> {
    command: &'static str,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn server(&self, text: &str) -> Result<String, CommandError> {
        match is_server_uri(text, self.limits) {
            true => Ok(text.to_owned()),
            false => Err(CommandError::ServerUri {
                command: self.command,
                bytes: text.len(),
                limit: self.limits.uri_bytes,
            }),
        }
    }

    fn node(&self, text: &str) -> Result<ClientUri, CommandError> {
        ClientUri::parse_within(text, self.limits).map_err(|source| CommandError::Uri {
            command: self.command,
            source,
        })
    }

    /// A target that must be one node.
    // choice: wildcards in a writing command are for DELETE alone.
    fn one_node(&self, text: &str) -> Result<ClientUri, CommandError> {
        let uri = self.node(text)?;
        match uri.has_wildcard() {
            true => Err(CommandError::Wildcard {
                command: self.command,
            }),
            false => Ok(uri),
        }
    }

    fn nodes(&self, texts: &[&str]) -> Result<Vec<ClientUri>, CommandError> {
        texts.iter().map(|text| self.node(text)).collect()
    }

    fn moid(&self, text: &str) -> Result<String, CommandError> {
        match is_name(text, self.limits) && !text.contains(['/', '?']) {
            true => Ok(text.to_owned()),
            false => Err(CommandError::Moid {
                command: self.command,
                moid: excerpt(text),
            }),
        }
    }
}
