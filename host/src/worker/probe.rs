//! For benchmarks: what a call costs inside a worker, without the way to it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine;
use super::imports::Conversation;
use super::sandbox::{Job, Sandbox};
use super::ticker::Ticker;
use crate::plugins::messages::{Failure, Operation, Output, SandboxSpec};

/// Serves `operation` `times` times in one sandbox of this process, the very way a worker does; how long each took.
pub fn time_calls(
    code: OwnedFd,
    spec: SandboxSpec,
    operation: &Operation,
    times: usize,
) -> Result<Vec<Duration>, Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::Unusable(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| broken(&error))?;
    let engine = engine::new().map_err(|error| broken(&error))?;
    let ticker = Arc::new(Ticker::start(&engine).map_err(|error| broken(&error))?);
    runtime.block_on(async {
        let (socket, _peer) = UnixStream::pair().map_err(|error| broken(&error))?;
        let conversation = Conversation::new(socket, 1 << 20).map_err(|error| broken(&error))?;
        let conversation = Arc::new(conversation);
        let mut sandbox = Sandbox::new(&engine, &ticker, &conversation, 1, spec, Some(code));
        let mut durations = Vec::with_capacity(times);
        for call in 0..times {
            let job = Job::new(call as u64 + 1, 60_000, None, operation.clone());
            let started = Instant::now();
            let output: Output = sandbox.serve(job).await?;
            durations.push(started.elapsed());
            drop(output);
        }
        Ok(durations)
    })
}
