//! The commands of Package#2, a function each (OMA DM 2.0 §5.3). Each one is a transaction: durable before its
//! status is reported, gone without a trace if it fails.

use std::time::Duration;

use bailiwick_protocol::package::Status;
use bailiwick_protocol::{ClientUri, Command, CommandError, MoItem, StatusCode};
use tokio::time::timeout;
use tracing::debug;

use super::report::CommandReport;
use super::talk::Talk;
use super::transfer::TransferError;
use super::{Endpoint, EndpointError};
use crate::objects::{Journal, ObjectError, Placed, Reading, Request};
use crate::plugins::ExecOutcome;
use crate::store::StoreError;

/// Why a command failed. The server gets the status, the operator all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// Not a command.
    #[error(transparent)]
    Malformed(#[from] CommandError),
    /// A command, or a form of one, that this release does not know.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// An access to an object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The store, at the end of the command.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data repository.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// Where the session is to go on.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Too much for a package.
    #[error(
        "{bytes} bytes of data, and {room} more fit into this package; use HPUT, or GET less at once"
    )]
    TooMuch {
        /// How much there is.
        bytes: usize,
        /// How much room there is.
        room: usize,
    },
    /// The objects took too long.
    #[error("the command took more than {milliseconds} ms and was given up")]
    TooSlow {
        /// The limit.
        milliseconds: u128,
    },
}

impl Problem {
    /// The status of the command (OMA DM 2.0 §5.1).
    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(error) => error.status(),
            Self::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Object(error) => error.status(),
            Self::Store(error) if error.is_full() => StatusCode::STORAGE_FULL,
            Self::Store(_) | Self::TooSlow { .. } => StatusCode::FAILED,
            Self::Transfer(error) => error.status(),
            Self::Endpoint(_) => StatusCode::BAD_REQUEST,
            Self::TooMuch { .. } => StatusCode::TOO_LARGE,
        }
    }
}

/// What a report says of a command before it is run.
pub(super) fn describe(command: &Result<Command, CommandError>) -> CommandReport {
    let (name, parameters) = match command {
        Ok(command) => (command.name(), parameters(command)),
        Err(_) => ("", Vec::new()),
    };
    CommandReport {
        name: name.to_owned(),
        parameters,
        status: None,
        reason: None,
        error: None,
        journal: Journal::default(),
        milliseconds: 0,
        bytes: 0,
    }
}

/// Runs one command and tells what became of it. `None`: it is END, which has no status.
pub(super) async fn run(
    talk: &mut Talk,
    command: Result<Command, CommandError>,
    told: &mut CommandReport,
) -> Option<Status> {
    let outcome = match command {
        Ok(Command::End) => return None,
        Ok(command) => dispatch(talk, command, told).await,
        Err(error) => Err(error.into()),
    };
    Some(outcome.unwrap_or_else(|problem| {
        debug!(authority = %talk.authority, command = told.name, %problem, "a command failed");
        told.error = Some(problem.to_string());
        Status::new(problem.status())
    }))
}

async fn dispatch(
    talk: &mut Talk,
    command: Command,
    told: &mut CommandReport,
) -> Result<Status, Problem> {
    match command {
        Command::Get { client_uris } => get(talk, &client_uris, told).await,
        Command::HGet {
            server_uri,
            client_uri,
        } => hget(talk, &server_uri, client_uri.as_ref(), told).await,
        Command::HPut {
            server_uri,
            client_uris,
        } => send(talk, hyper::Method::PUT, &server_uri, &client_uris, told).await,
        Command::HPost {
            server_uri,
            client_uris,
        } => send(talk, hyper::Method::POST, &server_uri, &client_uris, told).await,
        Command::Delete { client_uri } => delete(talk, &client_uri, told).await,
        Command::Exec {
            client_uri,
            server_uri: None,
        } => exec(talk, &client_uri, told).await,
        Command::Exec {
            server_uri: Some(_),
            ..
        } => Err(Problem::Unsupported(
            "EXEC with a ServerURI of its own for the result",
        )),
        Command::Cont { server_uri } => Ok(cont(talk, &server_uri)?),
        // These have a form and a name: the server learns that this release does not run them.
        Command::Show { .. } => Err(Problem::Unsupported("SHOW")),
        Command::Default { .. } => Err(Problem::Unsupported("DEFAULT")),
        Command::Sub { .. } => Err(Problem::Unsupported("SUB")),
        Command::Unsub { .. } => Err(Problem::Unsupported("UNSUB")),
        Command::End => Ok(Status::new(StatusCode::OK)),
    }
}

/// GET: the data ride in Package#3.
///
/// choice: with several ClientURIs, what cannot be read is left out, and its absence tells; if nothing can be read,
/// the status is that of the first. What has not changed (`cv`) is left out too: 304 if nothing else was asked for.
/// 204 if all that was found are leaves without a value.
async fn get(
    talk: &mut Talk,
    uris: &[ClientUri],
    told: &mut CommandReport,
) -> Result<Status, Problem> {
    let request = talk.begin();
    let collected = in_time(talk, &request, told, async {
        let mut collected = Collected::default();
        let mut first_error = None;
        for uri in uris {
            match talk.inner.objects.read_all(&request, uri).await {
                Ok(readings) => collected.add(readings),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if collected.is_empty() => Err(error.into()),
            error => Ok((collected, error)),
        }
    })
    .await?;
    let (collected, left_out) = collected;
    request.commit().await?;
    told.error = left_out.map(|error| format!("left out: {error}"));
    if collected.items.is_empty() {
        return Ok(Status::new(StatusCode::NOT_MODIFIED));
    }
    let (bytes, room) = (MoItem::to_bytes(&collected.items).len(), talk.room);
    talk.room = room
        .checked_sub(bytes)
        .ok_or(Problem::TooMuch { bytes, room })?;
    told.bytes = bytes;
    let code = if collected.has_value {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    Ok(Status {
        objects: collected.items,
        ..Status::new(code)
    })
}

/// HGET: the data come from a repository and are stored, all items or none.
///
/// They are fetched before anything is locked: a slow repository hinders nobody.
async fn hget(
    talk: &mut Talk,
    server_uri: &str,
    place: Option<&ClientUri>,
    told: &mut CommandReport,
) -> Result<Status, Problem> {
    let (items, bytes) = talk.fetch(server_uri).await?;
    told.bytes = bytes;
    if place.is_some() && items.len() > 1 {
        return Err(TransferError::SeveralItems { found: items.len() }.into());
    }
    let request = talk.begin();
    let placed = in_time(talk, &request, told, async {
        let mut placed: Vec<Placed> = Vec::new();
        for item in &items {
            placed.push(talk.inner.objects.store(&request, place, item).await?);
        }
        Ok(placed)
    })
    .await?;
    request.commit().await?;
    // What the server did not choose itself, it must be told (OMA DM 2.0, HGET).
    let chosen = placed
        .into_iter()
        .filter(|placed| place.is_none() || placed.created);
    let uris = chosen.map(|placed| placed.uri.to_string()).collect();
    Ok(Status {
        uris,
        ..Status::new(StatusCode::OK)
    })
}

/// HPUT and HPOST: the data go to a repository.
///
/// choice: unlike GET, all or nothing. A repository that replaces what it has by a part of it loses the rest.
async fn send(
    talk: &mut Talk,
    method: hyper::Method,
    server_uri: &str,
    uris: &[ClientUri],
    told: &mut CommandReport,
) -> Result<Status, Problem> {
    let media_type = talk.body_type.ok_or(TransferError::NotAcceptable)?;
    let request = talk.begin();
    let collected = in_time(talk, &request, told, async {
        let mut collected = Collected::default();
        for uri in uris {
            collected.add(talk.inner.objects.read_all(&request, uri).await?);
        }
        Ok(collected)
    })
    .await?;
    // Nothing is locked while the repository answers.
    request.commit().await?;
    if collected.items.is_empty() {
        return Ok(Status::new(StatusCode::NOT_MODIFIED));
    }
    let body = MoItem::to_bytes(&collected.items);
    told.bytes = body.len();
    talk.send(method, server_uri, media_type, body).await?;
    Ok(Status::new(StatusCode::OK))
}

/// DELETE: a node and all below it, or a whole instance.
async fn delete(
    talk: &mut Talk,
    uri: &ClientUri,
    told: &mut CommandReport,
) -> Result<Status, Problem> {
    let request = talk.begin();
    in_time(talk, &request, told, async {
        Ok(talk.inner.objects.delete_all(&request, uri).await?)
    })
    .await?;
    request.commit().await?;
    Ok(Status::new(StatusCode::OK))
}

/// EXEC: 200 if it is done, 202 if it goes on and an alert tells the end.
async fn exec(
    talk: &mut Talk,
    uri: &ClientUri,
    told: &mut CommandReport,
) -> Result<Status, Problem> {
    let request = talk.begin();
    let outcome = in_time(talk, &request, told, async {
        Ok(talk.inner.objects.execute_one(&request, uri).await?)
    })
    .await?;
    request.commit().await?;
    Ok(Status::new(match outcome {
        ExecOutcome::Completed => StatusCode::OK,
        ExecOutcome::Started => StatusCode::ACCEPTED,
    }))
}

/// CONT: from this Package#3 on, packages go to another URI. Its server must chain to the same anchors.
fn cont(talk: &mut Talk, server_uri: &str) -> Result<Status, EndpointError> {
    talk.go_on_at(Endpoint::parse(server_uri)?);
    Ok(Status::new(StatusCode::OK))
}

/// What was read for one command.
#[derive(Default)]
struct Collected {
    items: Vec<MoItem>,
    has_value: bool,
    not_modified: bool,
}

impl Collected {
    fn add(&mut self, readings: Vec<Reading>) {
        for reading in readings {
            match reading {
                Reading::NotModified => self.not_modified = true,
                Reading::Data(data) => {
                    self.has_value |= !data.is_without_value();
                    self.items.push(data.into_item());
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty() && !self.not_modified
    }
}

/// Runs the part of a command that works on objects, for as long as one request to a server may take: stops a
/// command that means thousands of slow nodes. Whatever happens, the report says what was decided.
async fn in_time<T>(
    talk: &Talk,
    request: &Request,
    told: &mut CommandReport,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let limit: Duration = talk.inner.limits.request();
    let outcome = timeout(limit, work).await;
    told.journal = request.journal();
    outcome.unwrap_or(Err(Problem::TooSlow {
        milliseconds: limit.as_millis(),
    }))
}

/// The parameters for a report: ServerURIs without their queries.
fn parameters(command: &Command) -> Vec<String> {
    let server = |uri: &String| match Endpoint::parse(uri) {
        Ok(endpoint) => endpoint.to_string(),
        Err(_) => uri.split('?').next().unwrap_or_default().to_owned(),
    };
    let with = |uri: &String, nodes: &[ClientUri]| {
        std::iter::once(server(uri))
            .chain(nodes.iter().map(ClientUri::to_string))
            .collect()
    };
    match command {
        Command::HGet {
            server_uri,
            client_uri,
        } => with(server_uri, client_uri.as_slice()),
        Command::HPut {
            server_uri,
            client_uris,
        }
        | Command::HPost {
            server_uri,
            client_uris,
        } => with(server_uri, client_uris),
        Command::Get { client_uris } => client_uris.iter().map(ClientUri::to_string).collect(),
        Command::Delete { client_uri } | Command::Unsub { client_uri } => {
            vec![client_uri.to_string()]
        }
        Command::Exec {
            client_uri,
            server_uri,
        } => std::iter::once(client_uri.to_string())
            .chain(server_uri.iter().map(server))
            .collect(),
        Command::Show { server_uri } | Command::Cont { server_uri } => vec![server(server_uri)],
        Command::Default { server_uri, moid } => vec![server(server_uri), moid.clone()],
        Command::Sub {
            server_uri,
            client_uri,
        } => vec![server(server_uri), client_uri.to_string()],
        Command::End => Vec::new(),
    }
}
