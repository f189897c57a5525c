//! The host's side of what a plug-in may call, a file each; here the request finds its file.
//!
//! The grant is checked again: a worker that asks for what its plug-in was not granted is not the program we
//! started, and is ended.

pub mod net;
pub mod os;
pub mod storage;

use std::future::Future;
use std::rc::Rc;
use std::time::Instant;

use super::messages::{ImportReply, ImportRequest, Operation, Output, ToWorker};
use super::process::{Active, Worker};
use super::supervisor::Inner;
use super::{Call, CallError, PluginError};
use crate::authority::Authority;

impl Inner {
    /// Serves an import. `false`: the worker misbehaves.
    pub(super) fn serve_import(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        import: u64,
        call: u64,
        request: ImportRequest,
    ) -> bool {
        let Some(active) = worker.active(call) else {
            reply(worker, import, Err(PluginError::TimedOut));
            return true;
        };
        if !active.plugin.grants.contains(&request.interface()) {
            return false;
        }
        match request {
            ImportRequest::StorageGet { key } => {
                let value = active.namespace.get(&active.transaction, &key);
                reply(worker, import, value.map(ImportReply::Value));
            }
            ImportRequest::StorageScan { prefix } => {
                let limit = active
                    .plugin
                    .limits
                    .hostcall_bytes
                    .min(self.limits.message_bytes / 2);
                let entries = active.namespace.scan(&active.transaction, &prefix, limit);
                reply(worker, import, entries.map(ImportReply::Entries));
            }
            ImportRequest::StorageCommit { entries } => {
                let quota = active.plugin.storage_bytes;
                let done = active.namespace.commit(&active.transaction, entries, quota);
                reply(worker, import, done.map(|()| ImportReply::Done));
            }
            ImportRequest::RaiseAlert(alert) => {
                let done = self
                    .services
                    .raise_alert(&active.transaction, &active.authority, alert);
                reply(worker, import, done.map(|()| ImportReply::Done));
            }
            ImportRequest::Accounts => {
                let accounts = self.services.accounts(&active.authority);
                reply(worker, import, accounts.map(ImportReply::Accounts));
            }
            ImportRequest::Close { connection } => {
                self.connections.close(active.number, connection);
                reply(worker, import, Ok(ImportReply::Done));
            }
            ImportRequest::Interfaces => {
                reply(
                    worker,
                    import,
                    net::interfaces().map(ImportReply::Interfaces),
                );
            }
            ImportRequest::Identity => {
                let inner = Rc::clone(self);
                later(worker, import, async move {
                    inner.ask_environment(&active, Operation::Identity).await
                });
            }
            ImportRequest::Facts { names } => {
                let inner = Rc::clone(self);
                let ask = Operation::Facts { names };
                later(worker, import, async move {
                    inner.ask_environment(&active, ask).await
                });
            }
            ImportRequest::Resolve { host } => {
                later(worker, import, async move {
                    let target = active.target.as_ref().ok_or(PluginError::NotPermitted)?;
                    target.resolve(&host).await.map(ImportReply::Addresses)
                });
            }
            ImportRequest::Connect {
                candidates,
                stagger_ms,
            } => {
                let inner = Rc::clone(self);
                later(worker, import, async move {
                    let target = active.target.as_ref().ok_or(PluginError::NotPermitted)?;
                    let connect = target.connect(&candidates, stagger_ms);
                    let connected = tokio::time::timeout_at(active.deadline.into(), connect).await;
                    let (stream, peer) = connected.unwrap_or(Err(PluginError::TimedOut))?;
                    let number = inner.connections.keep(active.number, stream);
                    Ok(ImportReply::Connection {
                        number,
                        peer: peer.to_string(),
                    })
                });
            }
            request @ (ImportRequest::ReadFile { .. }
            | ImportRequest::ListDir { .. }
            | ImportRequest::ReadLink { .. }
            | ImportRequest::Run { .. }) => {
                later(worker, import, async move {
                    let left = active.deadline.saturating_duration_since(Instant::now());
                    os::serve(&active.plugin.os, request, left).await
                });
            }
        }
        true
    }

    /// An environment answers for the device. What led here rides along, so that no circle closes.
    async fn ask_environment(
        self: &Rc<Self>,
        active: &Active,
        operation: Operation,
    ) -> Result<ImportReply, PluginError> {
        let plugin = self.environment().ok_or(PluginError::NotSupported)?;
        let call = Call {
            plugin,
            authority: Authority::device(),
            instance: None,
            operation,
            transaction: Rc::clone(&active.transaction),
            bearer: active.bearer,
        };
        // The future is boxed: a call may contain a call.
        let outcome = Box::pin(self.call(call, active.deadline, active.chain.clone())).await;
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

fn reply(worker: &Worker, import: u64, result: Result<ImportReply, PluginError>) {
    if worker
        .wire
        .send(&ToWorker::Reply { import, result }, None)
        .is_err()
    {
        let result = Err(PluginError::TooLarge);
        if worker
            .wire
            .send(&ToWorker::Reply { import, result }, None)
            .is_err()
        {
            worker.kill();
        }
    }
}

fn later(
    worker: &Rc<Worker>,
    import: u64,
    work: impl Future<Output = Result<ImportReply, PluginError>> + 'static,
) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move { reply(&worker, import, work.await) });
}
