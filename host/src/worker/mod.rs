//! Where plug-ins run: a process for one authority, with a sandbox for each of its plug-ins, spoken to over
//! one socket. It names wasmtime; the rest of the daemon does not (the compiler apart).

mod bindings;
mod convert;
pub mod engine;
mod imports;
mod limits;
mod link;
#[doc(hidden)]
pub mod probe;
mod sandbox;
mod ticker;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::Isolation;
use crate::isolation;
use crate::plugins::messages::{Failure, FromWorker, Slot, ToWorker};
use crate::wire::WireError;
use imports::Conversation;
pub use link::refusals;
use sandbox::{Job, Sandbox};
use ticker::Ticker;

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("standard input is not the host's socket: {0}")]
    Socket(std::io::Error),
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    #[error("cannot set up the engine: {0}")]
    Engine(wasmtime::Error),
    #[error(transparent)]
    Isolation(#[from] isolation::IsolationError),
    #[error("conversation with the host: {0}")]
    Wire(#[from] WireError),
}

/// The process: `bailiwick role worker`, started by the host with the socket as standard input.
pub fn main(wanted: Isolation, message_bytes: usize) -> ExitCode {
    match run(wanted, message_bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bailiwick worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: Isolation, message_bytes: usize) -> Result<(), WorkerError> {
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(WorkerError::Socket)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let engine = engine::new().map_err(WorkerError::Engine)?;
    let conversation = {
        // Registers the socket; nothing is read from it yet.
        let _runtime = runtime.enter();
        Arc::new(Conversation::new(UnixStream::from(socket), message_bytes)?)
    };
    let mut ticker = None;
    isolation::worker(wanted, || ticker = Ticker::start(&engine).ok())?;
    let ticker = Arc::new(ticker.ok_or_else(|| std::io::Error::other("no thread for the clock"))?);
    runtime.block_on(async {
        conversation.wire.send(&FromWorker::Ready, None)?;
        tokio::select! {
            ended = serve(&engine, &ticker, &conversation) => ended,
            ended = conversation.wire.flush() => ended,
        }
    })?;
    Ok(())
}

/// Takes messages from the host until it goes.
async fn serve(
    engine: &wasmtime::Engine,
    ticker: &Arc<Ticker>,
    conversation: &Arc<Conversation>,
) -> Result<(), WireError> {
    let mut sandboxes: HashMap<Slot, mpsc::UnboundedSender<Job>> = HashMap::new();
    loop {
        match conversation.wire.receive().await {
            Ok(ToWorker::Load { slot, sandbox }) => {
                let code = conversation.wire.take_descriptor();
                #[expect(
                    clippy::disallowed_methods,
                    reason = "bounded by the host, which counts the calls that wait for each sandbox"
                )]
                let (jobs, queue) = mpsc::unbounded_channel();
                sandboxes.insert(slot, jobs);
                let sandbox = Sandbox::new(engine, ticker, conversation, slot, *sandbox, code);
                tokio::spawn(sandbox.run(queue));
            }
            Ok(ToWorker::Call {
                call,
                slot,
                deadline_ms,
                bearer,
                operation,
            }) => {
                let job = Job::new(call, deadline_ms, bearer, operation);
                let sent = sandboxes.get(&slot).map(|jobs| jobs.send(job));
                if !matches!(sent, Some(Ok(()))) {
                    let result = Err(Failure::Unusable(format!("there is no sandbox {slot}")));
                    conversation
                        .wire
                        .send(&FromWorker::Done { call, result }, None)?;
                }
            }
            Ok(ToWorker::Reply { import, result }) => conversation.answer(import, result),
            Ok(ToWorker::Unload { slot }) => {
                sandboxes.remove(&slot);
            }
            Err(WireError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
