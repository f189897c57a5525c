//! Signing for whoever cannot wait asynchronously: the TLS handshake, on a thread of its own.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::messages::{KeyError, KeyRef, Scheme};

/// How much longer than its deadline an answer is waited for: by then the process has been ended.
const GRACE: Duration = Duration::from_secs(1);

/// Asks the keys process for signatures from any thread; a cheap handle.
#[derive(Clone, Debug)]
pub struct Signer {
    jobs: mpsc::Sender<Job>,
}

/// A signature that somebody waits for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: KeyRef,
    pub(super) scheme: Scheme,
    pub(super) message: Vec<u8>,
    pub(super) deadline: Instant,
    pub(super) reply: SyncSender<Result<Vec<u8>, KeyError>>,
}

impl Signer {
    /// With room for so many jobs, which whoever has the other end does.
    pub(super) fn new(room: usize) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, queue) = mpsc::channel(room);
        (Self { jobs }, queue)
    }

    /// A signature over `message`, in the form that TLS wants. Blocks the thread, at the longest until `deadline` and a
    /// second more; never call it on the host's one runtime thread, which has to do the work.
    pub fn sign(
        &self,
        key: &KeyRef,
        scheme: Scheme,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, KeyError> {
        let (reply, answer) = sync_channel(1);
        let job = Job {
            key: key.clone(),
            scheme,
            message: message.to_vec(),
            deadline,
            reply,
        };
        let stopped = || KeyError::Process {
            problem: "is not asked any more, because the daemon stops".into(),
        };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => KeyError::Busy,
            TrySendError::Closed(_) => stopped(),
        })?;
        let left = deadline.saturating_duration_since(Instant::now());
        match answer.recv_timeout(left + GRACE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(stopped()),
            Err(RecvTimeoutError::Timeout) => Err(KeyError::Process {
                problem: "did not sign in time".into(),
            }),
        }
    }
}
