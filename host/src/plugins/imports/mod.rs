//! The host's side of what a plug-in may call, a file each; here the request finds its file.
//!
//! The grant is checked again: a worker that asks for what its plug-in was not granted is not the program we
//! started, and is ended.

mod authorities;
pub mod net;
pub mod os;
pub mod storage;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;

use super::messages::{ImportReply, ImportRequest, Operation, Output, ToWorker};
use super::process::{Active, Worker};
use super::supervisor::Inner;
use super::{Call, CallError, PluginError};
use crate::authority::Authority;
use storage::Namespace;

/// How long one import may keep the host's thread before others have their turn.
const SLICE: Duration = Duration::from_micros(200);
/// What a write costs in memory beside its key and value, bytes.
const WRITE: usize = 128;

impl Inner {
    /// Serves an import. `false`: the worker misbehaves.
    pub(super) fn serve_import(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        import: u64,
        call: u64,
        initializing: bool,
        request: ImportRequest,
    ) -> bool {
        let Some(active) = worker.active(call) else {
            send(worker, import, Err(PluginError::TimedOut));
            return true;
        };
        if !active.plugin.grants.contains(&request.interface()) || active.importing.replace(true) {
            return false;
        }
        match self.at_once(worker, &active, initializing, request) {
            Served::Now(result) => reply(worker, &active, import, result),
            Served::Later(work) => {
                let worker = Rc::clone(worker);
                tokio::task::spawn_local(async move {
                    let result = work.await;
                    let began = Instant::now();
                    reply(&worker, &active, import, result);
                    worker.spend(began.elapsed());
                });
            }
        }
        true
    }

    /// What needs no waiting is done here.
    fn at_once(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        active: &Rc<Active>,
        initializing: bool,
        request: ImportRequest,
    ) -> Served {
        let transaction = &*active.transaction;
        let namespace = if initializing {
            &Namespace::own(&active.plugin.name, &active.authority)
        } else {
            &active.namespace
        };
        Served::Now(match request {
            ImportRequest::StorageGet { key } => namespace
                .get(transaction, &key)
                .map(|value| ImportReply::Value(value.map(ByteBuf::from))),
            ImportRequest::StorageScan { prefix } => {
                let answer = active.plugin.limits.hostcall_bytes;
                let limit = answer.min(self.limits.message_bytes / 2);
                namespace.scan(transaction, &prefix, limit).map(|entries| {
                    let entries = entries.into_iter();
                    ImportReply::Entries(entries.map(|(key, value)| (key, value.into())).collect())
                })
            }
            ImportRequest::RaiseAlert(alert) => {
                if active.may_write(WRITE + alert.bytes()) {
                    self.services
                        .raise_alert(transaction, &active.authority, alert)
                        .map(|()| ImportReply::Done)
                } else {
                    Err(PluginError::TooLarge)
                }
            }
            ImportRequest::Accounts => self
                .services
                .accounts(&active.authority)
                .map(ImportReply::Accounts),
            ImportRequest::Certificates
            | ImportRequest::AddCertificate { .. }
            | ImportRequest::RemoveCertificate { .. }
            | ImportRequest::GiveRights(_)
            | ImportRequest::TakeRights { .. }
            | ImportRequest::GivenRights => authorities::serve(&*self.services, active, request),
            ImportRequest::Close { connection } => {
                self.connections.close(active.number, connection);
                Ok(ImportReply::Done)
            }
            ImportRequest::Interfaces => net::interfaces().map(ImportReply::Interfaces),
            ImportRequest::StorageCommit { entries } => {
                let bytes = entries.iter().map(|(key, value)| {
                    WRITE + key.len() + value.as_ref().map_or(0, |value| value.len())
                });
                if !active.may_write(bytes.sum()) {
                    return Served::Now(Err(PluginError::TooLarge));
                }
                let commit = commit(
                    Rc::clone(worker),
                    Rc::clone(active),
                    namespace.clone(),
                    entries,
                );
                return Served::Later(Box::pin(commit));
            }
            slow => return self.later(worker, active, slow),
        })
    }

    /// What waits for somebody: another plug-in, the network, the operating system.
    fn later(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        active: &Rc<Active>,
        request: ImportRequest,
    ) -> Served {
        let (inner, worker, active) = (Rc::clone(self), Rc::clone(worker), Rc::clone(active));
        Served::Later(Box::pin(async move {
            match request {
                ImportRequest::Identity => {
                    inner.ask_environment(&active, Operation::Identity).await
                }
                ImportRequest::Facts { names } => {
                    let ask = Operation::Facts { names };
                    inner.ask_environment(&active, ask).await
                }
                ImportRequest::Resolve { host } => {
                    let target = active.target.as_ref().ok_or(PluginError::NotPermitted)?;
                    let found = in_time(&active, target.resolve(&host)).await?;
                    Ok(ImportReply::Addresses(found))
                }
                ImportRequest::Connect {
                    candidates,
                    stagger_ms,
                } => {
                    let target = active.target.as_ref().ok_or(PluginError::NotPermitted)?;
                    let connect = target.connect(&candidates, stagger_ms);
                    let (stream, peer) = in_time(&active, connect).await?;
                    // The caller may have given up meanwhile; nobody would close it then.
                    if worker.active(active.number).is_none() {
                        return Err(PluginError::TimedOut);
                    }
                    let kept = inner.connections.keep(active.number, stream);
                    Ok(ImportReply::Connection {
                        number: kept.ok_or(PluginError::TooLarge)?,
                        peer: peer.to_string(),
                    })
                }
                request => {
                    let left = active.deadline.saturating_duration_since(Instant::now());
                    os::serve(&active.plugin.os, request, left).await
                }
            }
        }))
    }

    /// An environment answers for the device. What led here rides along, so that no circle closes.
    async fn ask_environment(
        self: &Rc<Self>,
        active: &Active,
        operation: Operation,
    ) -> Result<ImportReply, PluginError> {
        let plugin = self.environment().ok_or(PluginError::NotSupported)?;
        let plugin = Rc::clone(&plugin.name);
        let call = Call {
            plugin,
            authority: Authority::device(),
            instance: None,
            operation,
            transaction: Rc::clone(&active.transaction),
            bearer: active.bearer,
        };
        // The future is boxed: a call may contain a call.
        let outcome = Box::pin(self.call(call, Some(active.deadline), active.chain.clone())).await;
        match outcome {
            Ok(Output::Identity(identity)) => Ok(ImportReply::Identity(identity)),
            Ok(Output::Facts(facts)) => Ok(ImportReply::Facts(facts)),
            Ok(_) => Err(PluginError::Other(None)),
            Err(CallError::Refused { error, .. }) => Err(error),
            Err(CallError::Busy { .. }) => Err(PluginError::Busy),
            Err(CallError::TimedOut { .. }) => Err(PluginError::TimedOut),
            Err(error) => Err(PluginError::Unavailable(Some(error.to_string()))),
        }
    }
}

/// A commit may have very many entries, each of which is looked up: others have their turn in between.
async fn commit(
    worker: Rc<Worker>,
    active: Rc<Active>,
    namespace: Namespace,
    entries: Vec<(String, Option<ByteBuf>)>,
) -> Result<ImportReply, PluginError> {
    let transaction = &*active.transaction;
    let mark = transaction.mark();
    let mut slice = Instant::now();
    let write = async {
        let mut commit = namespace.open(transaction)?;
        for (key, value) in entries {
            commit.write(&key, value.map(ByteBuf::into_vec))?;
            if slice.elapsed() >= SLICE {
                worker.spend(slice.elapsed());
                tokio::task::yield_now().await;
                slice = Instant::now();
                if worker.active(active.number).is_none() {
                    // The call has ended, and what it wrote was taken back.
                    return Ok(Err(PluginError::TimedOut));
                }
            }
        }
        commit.close(active.plugin.storage_bytes).map(Ok)
    };
    match write.await {
        Ok(ended) => ended.map(|()| ImportReply::Done),
        Err(refused) => {
            transaction.roll_back_to(mark);
            Err(refused)
        }
    }
}

/// An answer, now or when something else has answered.
enum Served {
    Now(Result<ImportReply, PluginError>),
    Later(Pin<Box<dyn Future<Output = Result<ImportReply, PluginError>>>>),
}

/// Answers the import that a call waits for.
fn reply(worker: &Worker, active: &Active, import: u64, result: Result<ImportReply, PluginError>) {
    active.importing.set(false);
    send(worker, import, result);
}

fn send(worker: &Worker, import: u64, result: Result<ImportReply, PluginError>) {
    let too_large = ToWorker::Reply {
        import,
        result: Err(PluginError::TooLarge),
    };
    let sent = worker.wire.send(&ToWorker::Reply { import, result }, None);
    if sent.is_err() && worker.wire.send(&too_large, None).is_err() {
        worker.kill();
    }
}

async fn in_time<T>(
    active: &Active,
    work: impl Future<Output = Result<T, PluginError>>,
) -> Result<T, PluginError> {
    tokio::time::timeout_at(active.deadline.into(), work)
        .await
        .unwrap_or(Err(PluginError::TimedOut))
}
