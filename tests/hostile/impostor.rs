//! A worker that is no longer ours: its engine was escaped from, and native code speaks to the host in its place. The
//! system calls that it has left are those of `tests/escape.rs`; here it uses its one socket.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use bailiwick::plugins::messages::{Failure, FromWorker, ImportRequest, ToWorker};
use bailiwick::plugins::{Bearer, Operation, Output, PluginError};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::device::{
    DEADLINE, Device, GOOD, GOOD_MOID, Ground, IDLE, Installation, good, mean, read,
};
use crate::kinds::{Expect, MOID};
use crate::measure::{Comparison, Log};
use crate::{ATTEMPTS, others};

/// What the impostor does, and what must come of the call that it should have served.
pub(crate) fn all() -> Vec<(&'static str, Expect)> {
    use Expect::{Crashed, TimedOut, Unusable};
    let reason = "the connection that it handed over is closed, or of another call";
    let stale = PluginError::Conflict(Some(reason.into()));
    vec![
        ("ends-at-once", Unusable("did not start")),
        ("speaks-out-of-turn", Unusable("spoke out of turn")),
        ("is-silent", TimedOut),
        ("closes-in-the-middle", Crashed("worker process ended")),
        ("sends-garbage", Crashed("worker process ended")),
        ("announces-4-GiB", Crashed("worker process ended")),
        ("sends-descriptors", Crashed("worker process ended")),
        ("asks-for-accounts", Crashed("worker process ended")),
        ("opens-files", Crashed("worker process ended")),
        ("asks-twice-at-a-time", Crashed("worker process ended")),
        ("answers-while-it-asks", Crashed("worker process ended")),
        ("asks-for-calls-of-others", TimedOut),
        ("ends-calls-of-others", TimedOut),
        ("floods-with-log-lines", TimedOut),
        ("floods-with-readiness", TimedOut),
        ("floods-with-answers", TimedOut),
        ("answers-another-question", Expect::Answer),
        ("dials-with-a-number", Expect::Refused(stale)),
    ]
}

/// Where the host under test says which of its next workers are impostors.
fn marker(host: u32) -> PathBuf {
    std::env::temp_dir().join(format!("bailiwick-hostile-{host}/impostor"))
}

/// While it lives, workers that are started are impostors.
struct Marked;

impl Marked {
    fn with(kind: &str) -> io::Result<Self> {
        std::fs::write(marker(std::process::id()), kind).map(|()| Self)
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(marker(std::process::id()));
    }
}

/// Plays the impostor, if this process was started as a worker and there is a marker.
pub(crate) fn play() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).take(2).collect();
    if arguments != ["role", "worker"] {
        return None;
    }
    let host = rustix::process::getppid()?.as_raw_nonzero().get();
    let kind = std::fs::read_to_string(marker(host.unsigned_abs())).ok()?;
    let _ = lie(&kind);
    Some(ExitCode::SUCCESS)
}

fn lie(kind: &str) -> io::Result<()> {
    let mut host = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    match kind {
        "ends-at-once" => return Ok(()),
        "speaks-out-of-turn" => send(&mut host, &done(1, Ok(Output::Done)))?,
        _ => send(&mut host, &FromWorker::Ready)?,
    }
    let call = loop {
        if let ToWorker::Call { call, .. } = receive(&mut host)? {
            break call;
        }
    };
    // Takes the host a while, so that what follows comes before the answer.
    let slow = || {
        let entries = (0..50_000).map(|number| (number.to_string(), Some(vec![0_u8].into())));
        ImportRequest::StorageCommit {
            entries: entries.collect(),
        }
    };
    let quick = || ImportRequest::StorageGet { key: "k".into() };
    let dialled = || Output::Dialled {
        connection: 1,
        bearer: Bearer::Wlan,
    };
    match kind {
        "closes-in-the-middle" => return Ok(()),
        "sends-garbage" => host.write_all(&[0x55; 4096])?,
        "announces-4-GiB" => host.write_all(&[0xff; 64])?,
        "sends-descriptors" => {
            for _ in 0..64 {
                send_descriptors(&host)?;
            }
        }
        "asks-for-accounts" => send(&mut host, &import(1, call, ImportRequest::Accounts))?,
        "opens-files" => {
            let file = ImportRequest::ReadFile {
                root: "etc".into(),
                path: "passwd".into(),
                max_len: 9,
            };
            send(&mut host, &import(1, call, file))?;
        }
        "asks-twice-at-a-time" => {
            send(&mut host, &import(1, call, slow()))?;
            send(&mut host, &import(2, call, quick()))?;
        }
        "answers-while-it-asks" => {
            send(&mut host, &import(1, call, slow()))?;
            send(&mut host, &done(call, Ok(Output::Done)))?;
        }
        "asks-for-calls-of-others" => {
            for other in (0..1000).filter(|other| *other != call) {
                send(&mut host, &import(other, other, quick()))?;
            }
        }
        "ends-calls-of-others" => loop {
            for other in (0..call + 1000).filter(|other| *other != call) {
                send(&mut host, &done(other, Ok(Output::Done)))?;
                send(&mut host, &done(other, Ok(dialled())))?;
            }
        },
        "floods-with-log-lines" => loop {
            let line = FromWorker::Log {
                slot: 1,
                level: 4,
                message: "flood\u{1b}[2J\n".repeat(400),
            };
            send(&mut host, &line)?;
        },
        "floods-with-readiness" => loop {
            send(&mut host, &FromWorker::Ready)?;
        },
        "floods-with-answers" => loop {
            let names = vec!["1".to_owned(); 100_000];
            send(&mut host, &done(call + 1000, Ok(Output::Instances(names))))?;
        },
        "answers-another-question" => send(&mut host, &done(call, Ok(Output::Done)))?,
        "dials-with-a-number" => send(&mut host, &done(call, Ok(dialled())))?,
        _ => {}
    }
    loop {
        receive(&mut host)?;
    }
}

/// A frame: its length, and the message.
fn send(host: &mut UnixStream, message: &FromWorker) -> io::Result<()> {
    let message = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    host.write_all(&[&length.to_le_bytes()[..], &message].concat())
}

fn receive(host: &mut UnixStream) -> io::Result<ToWorker> {
    let mut length = [0; 4];
    host.read_exact(&mut length)?;
    let mut message = vec![0; u32::from_le_bytes(length) as usize];
    host.read_exact(&mut message)?;
    postcard::from_bytes(&message).map_err(io::Error::other)
}

fn done(call: u64, result: Result<Output, Failure>) -> FromWorker {
    FromWorker::Done { call, result }
}

fn import(import: u64, call: u64, request: ImportRequest) -> FromWorker {
    FromWorker::Import {
        import,
        call,
        initializing: false,
        request,
    }
}

/// Four descriptors with a byte that begins a frame which never ends.
fn send_descriptors(socket: &UnixStream) -> io::Result<()> {
    let own = socket.as_fd();
    let descriptors = [own, own, own, own];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let bytes = [std::io::IoSlice::new(&[0])];
    rustix::net::sendmsg(socket, &bytes, &mut ancillary, SendFlags::empty())?;
    Ok(())
}

/// The host is not harmed by such a worker, the other authority does not notice, and the next worker is ours again.
pub(crate) async fn trial(
    ground: Rc<Ground>,
    log: Log,
    kind: &'static str,
    expect: Expect,
) -> Result<String, String> {
    let storing = Installation::built("hostile-object")
        .set("behaviour", "remember")
        .limits(&format!("call-ms = {}", DEADLINE.as_millis()));
    let device = Device::new(&ground, &[&storing], "")?;
    for _ in 0..50 {
        device.good_call(&good()).await?;
    }
    device.plugins.compile_all().await;
    let (plugin, operation): (&str, Operation) = match kind {
        // The one that may not ask for accounts or files.
        "asks-for-accounts" | "opens-files" => (GOOD, read(GOOD_MOID, "1")),
        _ => ("hostile-object", read(MOID, kind)),
    };
    let mut attempts = Vec::new();
    for _ in 0..ATTEMPTS {
        log.clear();
        let quiet = others(&device, || false).await?;
        resting(&device).await?;
        let marked = Marked::with(kind).map_err(|error| error.to_string())?;
        let ended = std::cell::Cell::new(false);
        let lied = async {
            let outcome = device.call(&mean(), plugin, operation.clone()).await;
            ended.set(true);
            outcome
        };
        let (outcome, during) = tokio::join!(lied, others(&device, || !ended.get()));
        let during = during?;
        drop(marked);
        expect.judge(&outcome)?;
        if kind == "dials-with-a-number" && device.plugins.take_connection(1).is_some() {
            return Err("there is such a connection".into());
        }
        log.check()?;
        recovered(&device).await?;
        let attempt = Comparison { quiet, during };
        attempts.push(attempt);
        if attempt.is_fine() {
            break;
        }
    }
    Comparison::best(&attempts)
}

/// The impostor goes with its authority's rest, if it was not ended; the next worker is a good one.
async fn recovered(device: &Device) -> Result<(), String> {
    resting(device).await?;
    for plugin in [GOOD, "hostile-object"] {
        device.plugins.release(plugin);
    }
    device.good_call(&mean()).await
}

/// Waits until the authority has no worker, so that its next call starts one. The other authority keeps its own.
async fn resting(device: &Device) -> Result<(), String> {
    while device
        .plugins
        .workers()
        .iter()
        .any(|(who, _)| *who == mean())
    {
        device.good_call(&good()).await?;
        tokio::time::sleep(IDLE / 10).await;
    }
    device.good_call(&good()).await
}
