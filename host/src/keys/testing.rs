//! For tests: the keys process as a thread, since the executable of a test has no roles; and signers without either.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use super::files::Key;
use super::messages::{KeyError, KeyRef};
use super::role;
use super::{Keys, Signer};
use crate::config::Isolation;
use crate::isolation::{Enforcement, Protection};

/// The thread; it ends when the host closes its socket.
pub(super) struct Running {
    socket: UnixStream,
    thread: JoinHandle<()>,
}

impl Running {
    pub(super) fn start(
        socket: UnixStream,
        _: Isolation,
        _: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let kept = socket.try_clone()?;
        let thread = std::thread::Builder::new().spawn(move || {
            let not_locked = Protection {
                landlock: Enforcement::Missing,
                seccomp: Enforcement::Missing,
            };
            role::run(socket, |_| Ok(not_locked)).unwrap();
        })?;
        Ok(Self {
            socket: kept,
            thread,
        })
    }

    pub(super) fn id(&self) -> u32 {
        std::process::id()
    }

    pub(super) async fn end(self) -> String {
        let _closed = self.socket.shutdown(std::net::Shutdown::Both);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        format!("thread: {}", joined.is_ok())
    }
}

/// A keys process for keys in files of this state directory.
pub(crate) fn keys(state: &Path) -> Keys {
    let config = format!("state = {state:?}\nadmin-socket = '/nowhere/admin.sock'");
    Keys::new(&toml::from_str(&config).unwrap())
}

/// A signer with this one key (PEM), and its SubjectPublicKeyInfo. It refuses what is on a card, as if that were gone.
pub(crate) fn signer(pem: &str) -> (Signer, Vec<u8>) {
    let key = Key::from_pem(pem).unwrap();
    let public = key.public_key().unwrap();
    let (signer, mut queue) = Signer::new(4);
    std::thread::spawn(move || {
        while let Some(job) = queue.blocking_recv() {
            let signed = match &job.key {
                KeyRef::File(name) => key.sign(name, job.scheme, &job.message),
                KeyRef::Card { card, .. } => Err(KeyError::Gone {
                    what: format!("card {}", card.serial),
                }),
            };
            let _given_up = job.reply.send(signed);
        }
    });
    (signer, public)
}

/// A signer that never answers.
pub(crate) fn mute() -> Signer {
    let (signer, mut queue) = Signer::new(4);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while let Some(job) = queue.blocking_recv() {
            kept.push(job);
        }
    });
    signer
}
