//! For tests: the keys process as a thread, since the executable of a test has no roles; and signers without either.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use super::Signer;
use super::files::Files;
use super::messages::{KeyError, KeyRef};
use super::role;
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

#[expect(dead_code, reason = "for the tests of the handshake")]
/// A signer over the files in a directory.
pub(crate) fn signer(directory: &Path) -> Signer {
    let files = Files::open(directory.to_owned()).unwrap();
    let (signer, mut queue) = Signer::new(4);
    std::thread::spawn(move || {
        while let Some(job) = queue.blocking_recv() {
            let signed = match &job.key {
                KeyRef::File(name) => files.sign(name, job.scheme, &job.message),
                KeyRef::Card { card, .. } => Err(KeyError::Gone {
                    what: format!("card {}", card.serial),
                }),
            };
            let _given_up = job.reply.send(signed);
        }
    });
    signer
}

#[expect(dead_code, reason = "for the tests of the handshake")]
/// SubjectPublicKeyInfo of a key in a directory.
pub(crate) fn public_key(directory: &Path, name: &str) -> Vec<u8> {
    let files = Files::open(directory.to_owned()).unwrap();
    files.public_key(name).unwrap()
}
