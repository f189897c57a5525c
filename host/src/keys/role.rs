//! The keys process itself: locks itself in, and does what the host asks for.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

use super::card::Cards;
use super::files::Files;
use super::messages::{
    Answer, CardId, CardKind, Contents, FromKeys, KeyError, KeyRef, MESSAGE_BYTES, Pin, Place,
    Reader, Request, Scheme, Setup, ToKeys,
};
use super::modules::Modules;
use super::process::problem;
use crate::config::Isolation;
use crate::isolation::{self, IsolationError, Protection};
use crate::wire::{Wire, WireError};

/// The conversation with the host. Any thread may send.
pub(super) type Host = Wire<ToKeys, FromKeys>;

/// Why the keys process ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoleError {
    #[error("standard input is not the host's socket: {0}")]
    Socket(std::io::Error),
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    #[error("the first message does not configure it")]
    Unconfigured,
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("conversation with the host: {0}")]
    Wire(#[from] WireError),
}

/// The process: `bailiwick role keys`, started by the host with the socket as standard input.
pub fn main(wanted: Isolation) -> ExitCode {
    let socket = std::io::stdin().as_fd().try_clone_to_owned();
    let ended = socket
        .map_err(RoleError::Socket)
        .and_then(|socket| run(socket.into(), |setup| lock_in(wanted, setup)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bailiwick keys: {error}");
            ExitCode::FAILURE
        }
    }
}

fn lock_in(wanted: Isolation, setup: &Setup) -> Result<Protection, IsolationError> {
    let paths = |paths: &[String]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut write = paths(&setup.write);
    write.push(PathBuf::from(&setup.directory));
    isolation::keys(wanted, paths(&setup.read), write)
}

/// Talks to the host until it goes. `lock_in` runs before there is a second thread and before anything hostile is read:
/// the setup is the host's.
pub(super) fn run(
    socket: UnixStream,
    lock_in: impl FnOnce(&Setup) -> Result<Protection, IsolationError>,
) -> Result<(), RoleError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(8)
        .build()?;
    let outcome = LocalSet::new().block_on(&runtime, async {
        let host = Arc::new(Host::new(socket, MESSAGE_BYTES)?);
        let ToKeys::Configure(setup) = host.receive().await? else {
            return Err(RoleError::Unconfigured);
        };
        let files = Files::in_directory(PathBuf::from(&setup.directory));
        let protection = lock_in(&setup)?;
        host.send(&FromKeys::Ready(protection), None)?;
        let services = Rc::new(Services::start(&setup, files, &host));
        tokio::select! {
            ended = serve(&host, &services) => Ok(ended?),
            ended = host.flush() => Ok(ended?),
        }
    });
    // A thread that a card or a module keeps does not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Takes requests from the host until it goes. The host bounds how many wait.
async fn serve(host: &Arc<Host>, services: &Rc<Services>) -> Result<(), WireError> {
    loop {
        match host.receive().await {
            Ok(ToKeys::Ask {
                ask,
                deadline_ms,
                request,
            }) => {
                let deadline = Instant::now() + Duration::from_millis(deadline_ms.into());
                let (host, services) = (Arc::clone(host), Rc::clone(services));
                spawn_local(async move {
                    let answer = services.answer(request, deadline);
                    let result = match tokio::time::timeout_at(deadline.into(), answer).await {
                        Ok(result) => result,
                        Err(_) => Err(problem("did not answer in time")),
                    };
                    tell(&host, ask, result);
                });
            }
            // Once is enough.
            Ok(ToKeys::Configure(_)) => {}
            Err(WireError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn tell(host: &Host, ask: u64, result: Result<Answer, KeyError>) {
    let told = host.send(&FromKeys::Answer { ask, result }, None);
    if let Err(WireError::TooLarge { .. }) = told {
        let result = Err(problem("has an answer that is larger than a message"));
        // If the host has gone, receiving ends too.
        let _gone = host.send(&FromKeys::Answer { ask, result }, None);
    }
}

/// Readers and tokens as they were last told.
type Places = Mutex<Both>;

#[derive(Default)]
struct Both {
    cards: Vec<Reader>,
    tokens: Vec<Reader>,
}

/// Who holds keys.
struct Services {
    files: Files,
    cards: Cards,
    modules: Modules,
}

impl Services {
    fn start(setup: &Setup, files: Files, host: &Arc<Host>) -> Self {
        let places = Arc::new(Places::default());
        let tell = |half: fn(&mut Both) -> &mut Vec<Reader>| {
            let (places, host) = (Arc::clone(&places), Arc::clone(host));
            move |readers| {
                let mut both = places.lock().unwrap_or_else(PoisonError::into_inner);
                *half(&mut both) = readers;
                let all = both.cards.iter().chain(&both.tokens).cloned().collect();
                // Told while it is held, so that the last to be told is the latest. If the host has gone, receiving ends too.
                let _gone = host.send(&FromKeys::Readers(all), None);
            }
        };
        Self {
            files,
            cards: Cards::start(setup, tell(|both| &mut both.cards)),
            modules: Modules::start(setup, tell(|both| &mut both.tokens)),
        }
    }

    async fn answer(&self, request: Request, deadline: Instant) -> Result<Answer, KeyError> {
        match request {
            Request::Read(place) => {
                let contents = self.read(&place, deadline).await?;
                Ok(Answer::Contents(Box::new(contents)))
            }
            Request::Sign {
                key,
                scheme,
                message,
            } => {
                let signature = self.sign(key, scheme, message.into_vec(), deadline);
                Ok(Answer::Signature(ByteBuf::from(signature.await?)))
            }
            Request::PublicKey(key) => {
                let public = self.public_key(key, deadline).await?;
                Ok(Answer::PublicKey(ByteBuf::from(public)))
            }
            Request::Generate(kind) => {
                let made = self.with_files(move |files| files.generate(kind));
                let (key, public) = made.await?;
                Ok(Answer::Made(key, ByteBuf::from(public)))
            }
            Request::Forget(KeyRef::File(name)) => {
                self.with_files(move |files| files.forget(&name)).await?;
                Ok(Answer::Done)
            }
            Request::Forget(KeyRef::Card { key, .. }) => Err(KeyError::NoKey { key }),
            Request::Unlock { card, pin } => {
                self.unlock(&card, &pin, deadline).await?;
                Ok(Answer::Done)
            }
        }
    }

    async fn read(&self, place: &Place, deadline: Instant) -> Result<Contents, KeyError> {
        match place {
            Place::Reader(reader) => self.cards.read(reader, deadline).await,
            Place::Module { path, token } => self.modules.read(path, token, deadline).await,
        }
    }

    async fn sign(
        &self,
        key: KeyRef,
        scheme: Scheme,
        message: Vec<u8>,
        deadline: Instant,
    ) -> Result<Vec<u8>, KeyError> {
        match key {
            KeyRef::File(name) => {
                self.with_files(move |files| files.sign(&name, scheme, &message))
                    .await
            }
            KeyRef::Card { card, key } => match card.kind {
                CardKind::Pkcs15 | CardKind::Piv => {
                    let signing = self.cards.sign(&card, &key, scheme, &message, deadline);
                    signing.await
                }
                CardKind::Pkcs11 => {
                    let signing = self.modules.sign(&card, &key, scheme, &message, deadline);
                    signing.await
                }
            },
        }
    }

    async fn public_key(&self, key: KeyRef, deadline: Instant) -> Result<Vec<u8>, KeyError> {
        match key {
            KeyRef::File(name) => self.with_files(move |files| files.public_key(&name)).await,
            KeyRef::Card { card, key } => match card.kind {
                CardKind::Pkcs15 | CardKind::Piv => {
                    self.cards.public_key(&card, &key, deadline).await
                }
                CardKind::Pkcs11 => self.modules.public_key(&card, &key, deadline).await,
            },
        }
    }

    async fn unlock(&self, card: &CardId, pin: &Pin, deadline: Instant) -> Result<(), KeyError> {
        match card.kind {
            CardKind::Pkcs15 | CardKind::Piv => self.cards.unlock(card, pin, deadline).await,
            CardKind::Pkcs11 => self.modules.unlock(card, pin, deadline).await,
        }
    }

    /// Files take a thread, for the time that a disk takes.
    async fn with_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(Files) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let files = self.files.clone();
        let done = spawn_blocking(move || work(files)).await;
        done.unwrap_or_else(|_| Err(problem("crashed over a file")))
    }
}
