//! One reader and the thread that owns it. PC/SC calls block, some of them for ever when a card is mute; so whoever asks
//! watches the clock, and abandons a thread that does not come back.

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pcsc::{Context, Disposition, Protocol, Protocols, Scope, ShareMode};
use tokio::sync::oneshot;

use super::Application;
use super::apdu::{Card, Link};
use super::error::CardError;

/// Jobs that wait for one reader. Stops a queue that grows before a slow card.
const QUEUE: usize = 16;
/// Threads that wait for mute cards. Stops a reader that swallows one after the other.
const ABANDONED: usize = 8;
static ABANDONED_NOW: AtomicUsize = AtomicUsize::new(0);
/// The longest answer to a short command.
const ANSWER: usize = 258;

/// What a job works with: a card in a transaction, and the application that was found on it in an earlier job.
pub(super) struct Session<'s, 'c> {
    pub(super) card: &'s mut Card<'c>,
    pub(super) known: &'s mut Option<Box<dyn Application>>,
}

type Work = Box<dyn FnOnce(Result<Session<'_, '_>, CardError>) + Send>;

struct Job {
    number: u64,
    deadline: Instant,
    work: Work,
}

/// What the thread is at.
#[derive(Default)]
struct Progress {
    /// The job under way, and when it ends.
    job: Option<(u64, Instant)>,
    /// The call into PC/SC under way: since when, and for what.
    call: Option<(Instant, Call)>,
    /// It was given up while it waited for this.
    abandoned: Option<Call>,
}

/// What can block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Service,
    /// Somebody else may hold the reader.
    Connect,
    Card,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Progress>>);

/// The thread of a reader.
pub(super) struct Owner {
    jobs: SyncSender<Job>,
    shared: Shared,
    next: AtomicU64,
    /// One command.
    apdu: Duration,
}

impl Owner {
    /// Starts the thread. When it has been abandoned and comes back all the same, it calls `freed`.
    pub(super) fn start(
        reader: CString,
        apdu: Duration,
        freed: impl FnOnce() + Send + 'static,
    ) -> Result<Self, CardError> {
        if ABANDONED_NOW.load(Ordering::Relaxed) >= ABANDONED {
            return Err(CardError::Busy);
        }
        let (jobs, receiver) = sync_channel(QUEUE);
        let shared = Shared(Arc::default());
        let thread = shared.clone();
        std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || {
                serve(&reader, &receiver, &thread);
                if thread.lock().abandoned.is_some() {
                    ABANDONED_NOW.fetch_sub(1, Ordering::Relaxed);
                    freed();
                }
            })
            .map_err(|error| CardError::NoService(format!("no thread: {error}")))?;
        let next = AtomicU64::new(1);
        Ok(Self {
            jobs,
            shared,
            next,
            apdu,
        })
    }

    /// For what it waits, if it was given up.
    pub(super) fn abandoned(&self) -> Option<Call> {
        self.shared.lock().abandoned
    }

    /// Has the thread do something with the card, until `deadline`.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(Session<'_, '_>) -> Result<T, CardError> + Send + 'static,
    ) -> Result<T, CardError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut answer) = oneshot::channel();
        let work = Box::new(move |session: Result<Session<'_, '_>, CardError>| {
            // Nobody may wait any more.
            let _ = sender.send(session.and_then(work));
        });
        let job = Job {
            number,
            deadline,
            work,
        };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(CardError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(CardError::Mute),
        }
        loop {
            let look = self.next_look(deadline);
            tokio::select! {
                answer = &mut answer => return answer.unwrap_or(Err(CardError::Mute)),
                () = tokio::time::sleep_until(look.into()) => {}
            }
            if let Some(error) = self.look(number, deadline) {
                return Err(error);
            }
        }
    }

    /// When the call that is under way, or one that begins now, has taken too long.
    fn next_look(&self, deadline: Instant) -> Instant {
        let since = self.shared.lock().call.map(|(since, _)| since);
        deadline.min(since.unwrap_or_else(Instant::now) + self.apdu)
    }

    /// Whether a job has to be given up, and with it perhaps the thread.
    fn look(&self, number: u64, deadline: Instant) -> Option<CardError> {
        let now = Instant::now();
        let mut progress = self.shared.lock();
        let is_over = now >= deadline;
        let is_mine = progress.job.is_some_and(|(job, _)| job == number);
        if let Some(call) = progress.abandoned {
            return Some(call.error());
        }
        let Some((since, call)) = progress.call else {
            return is_over.then_some(if is_mine {
                CardError::Mute
            } else {
                CardError::Busy
            });
        };
        if now < since + self.apdu && !(is_over && is_mine) {
            return is_over.then_some(CardError::Busy);
        }
        progress.abandoned = Some(call);
        ABANDONED_NOW.fetch_add(1, Ordering::Relaxed);
        Some(call.error())
    }
}

impl Call {
    /// What it means that it does not come back.
    pub(super) fn error(self) -> CardError {
        match self {
            Self::Service => CardError::NoService("it takes too long".into()),
            Self::Connect => CardError::Taken,
            Self::Card => CardError::Mute,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call that may block.
    fn call<T>(&self, kind: Call, call: impl FnOnce() -> T) -> Result<T, CardError> {
        {
            let mut progress = self.lock();
            let is_over = progress
                .job
                .is_some_and(|(_, deadline)| Instant::now() >= deadline);
            if progress.abandoned.is_some() || is_over {
                return Err(CardError::Mute);
            }
            progress.call = Some((Instant::now(), kind));
        }
        let result = call();
        self.lock().call = None;
        Ok(result)
    }
}

fn serve(reader: &CString, jobs: &Receiver<Job>, shared: &Shared) {
    let mut context = None;
    let mut known = None;
    while let Ok(job) = jobs.recv() {
        shared.lock().job = Some((job.number, job.deadline));
        let mut work = Some(job.work);
        let result = with_card(reader, &mut context, shared, &mut known, &mut work);
        if let (Err(error), Some(work)) = (result, work) {
            if matches!(error, CardError::NoService(_)) {
                context = None;
            }
            work(Err(error));
        }
        let mut progress = shared.lock();
        progress.job = None;
        if progress.abandoned.is_some() {
            return;
        }
    }
}

/// Connects, works in a transaction, and leaves the card as it was found: reset where a PIN was given to it.
fn with_card(
    reader: &CString,
    context: &mut Option<Context>,
    shared: &Shared,
    known: &mut Option<Box<dyn Application>>,
    work: &mut Option<Work>,
) -> Result<(), CardError> {
    let established = match context.take() {
        Some(established) => established,
        None => shared.call(Call::Service, || Context::establish(Scope::User))??,
    };
    let mut card = connect(reader, &established, shared)?;
    *context = Some(established);
    let transaction = shared.call(Call::Connect, || card.transaction())??;
    let protocol = shared.call(Call::Connect, || transaction.status2_owned())??;
    let must_reset = {
        let mut link = Transmit {
            transaction: &transaction,
            shared,
            is_t0: protocol.protocol2() == Some(Protocol::T0),
        };
        let mut card = Card::new(&mut link);
        if let Some(work) = work.take() {
            let card = &mut card;
            work(Ok(Session { card, known }));
        }
        // A card that has gone needs no good-bye.
        let _ = card.close_channel();
        card.must_reset()
    };
    let disposition = match must_reset {
        true => Disposition::ResetCard,
        false => Disposition::LeaveCard,
    };
    // Whether that works or not, the job is done.
    let _ = shared.call(Call::Connect, || transaction.end(disposition).is_ok());
    let _ = shared.call(Call::Connect, || {
        card.disconnect(Disposition::LeaveCard).is_ok()
    });
    Ok(())
}

fn connect(reader: &CString, context: &Context, shared: &Shared) -> Result<pcsc::Card, CardError> {
    let connect = || context.connect(reader, ShareMode::Shared, Protocols::ANY);
    match shared.call(Call::Connect, connect)? {
        // A card that has just been exchanged.
        Err(pcsc::Error::ProtoMismatch | pcsc::Error::ResetCard) => {
            Ok(shared.call(Call::Connect, connect)??)
        }
        result => Ok(result?),
    }
}

/// The way to the card through PC/SC.
struct Transmit<'a> {
    transaction: &'a pcsc::Transaction<'a>,
    shared: &'a Shared,
    is_t0: bool,
}

impl Link for Transmit<'_> {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, CardError> {
        let mut answer = [0; ANSWER];
        let transmit = || {
            let answer = self.transaction.transmit(command, &mut answer);
            answer.map(<[u8]>::to_vec)
        };
        Ok(self.shared.call(Call::Card, transmit)??)
    }

    fn is_t0(&self) -> bool {
        self.is_t0
    }
}

impl From<pcsc::Error> for CardError {
    fn from(error: pcsc::Error) -> Self {
        use pcsc::Error;
        match error {
            Error::NoService
            | Error::ServiceStopped
            | Error::CommError
            | Error::InvalidHandle
            | Error::NoReadersAvailable => Self::NoService(error.to_string()),
            Error::SharingViolation => Self::Taken,
            Error::UnresponsiveCard | Error::UnsupportedCard | Error::ProtoMismatch => Self::Mute,
            Error::InsufficientBuffer => Self::Malformed("an answer of more than 258 bytes".into()),
            // Removed, reset by others, not powered, not transacted; the reader itself has gone.
            _ => Self::Lost,
        }
    }
}
