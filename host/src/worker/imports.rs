//! What a guest may call, turned into messages to the host. Nothing is decided here: the host checks the grant
//! again and knows on whose behalf the call runs.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_bytes::ByteBuf;
use tokio::sync::oneshot;
use wasmtime::Result;
use wasmtime::component::{Resource, ResourceTable};

use super::bindings::imports::bailiwick::env::device;
use super::bindings::imports::bailiwick::host::{
    accounts, applications, call_context, certificates, config, logging, net, notify, os, session,
    storage,
};
use super::bindings::imports::bailiwick::types::types;
use super::convert::{
    bearer_out, certificate_out, error_out, grant_out, identity_out, principal_in, rights_in,
    role_in,
};
use super::limits::Limiter;
use crate::plugins::AlertRequest;
use crate::plugins::budget::Budget;
use crate::plugins::messages::{
    ApplicationGrant, Bearer, Candidate, FromWorker, ImportReply, ImportRequest, PluginError,
    SandboxSpec, Slot, ToWorker,
};
use crate::wire::Wire;

/// The socket to the host, and the imports that wait for an answer.
pub(super) struct Conversation {
    pub(super) wire: Wire<ToWorker, FromWorker>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<ImportReply, PluginError>>>>,
    next: AtomicU64,
}

impl Conversation {
    pub(super) fn new(socket: UnixStream, message_bytes: usize) -> std::io::Result<Self> {
        Ok(Self {
            wire: Wire::new(socket, message_bytes)?,
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
        })
    }

    /// Hands an answer to the import that waits for it, if it still does.
    pub(super) fn answer(&self, import: u64, result: Result<ImportReply, PluginError>) {
        if let Some(waiting) = self.waiting().remove(&import) {
            let _ = waiting.send(result);
        }
    }

    async fn ask(
        &self,
        call: u64,
        initializing: bool,
        request: ImportRequest,
    ) -> Result<Result<ImportReply, PluginError>> {
        let import = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, waiting) = oneshot::channel();
        self.waiting().insert(import, answer);
        let _forget = Forget(self, import);
        self.wire.send(
            &FromWorker::Import {
                import,
                call,
                initializing,
                request,
            },
            None,
        )?;
        Ok(waiting.await?)
    }

    fn waiting(
        &self,
    ) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<ImportReply, PluginError>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest that is dropped while it waits leaves nothing behind.
struct Forget<'a>(&'a Conversation, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

/// What the engine keeps for a sandbox.
pub(super) struct State {
    pub(super) conversation: Arc<Conversation>,
    pub(super) spec: Arc<SandboxSpec>,
    pub(super) slot: Slot,
    pub(super) limits: Limiter,
    pub(super) table: ResourceTable,
    pub(super) log: Budget,
    /// The call being served.
    pub(super) call: u64,
    /// `init` runs, on the way to that call.
    pub(super) initializing: bool,
    pub(super) deadline: Instant,
    pub(super) bearer: Option<Bearer>,
}

/// An open connection that the host holds.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Connection {
    /// The host's number of it.
    pub(super) number: u32,
    peer: String,
}

/// The two ends of a wire are one executable, so this is a bug of ours.
#[derive(Debug, thiserror::Error)]
#[error("the host answered an import with something else than was asked for")]
struct WrongReply;

impl State {
    async fn ask(&mut self, request: ImportRequest) -> Result<Result<ImportReply, types::Error>> {
        Ok(self
            .conversation
            .ask(self.call, self.initializing, request)
            .await?
            .map_err(error_out))
    }
}

/// Asks the host and takes the one variant that fits out of its answer.
macro_rules! ask {
    ($state:expr, $request:expr, $pattern:pat => $value:expr) => {
        match $state.ask($request).await? {
            Ok($pattern) => Ok(Ok($value)),
            Ok(_) => Err(WrongReply.into()),
            Err(error) => Ok(Err(error)),
        }
    };
}

impl types::Host for State {}

impl logging::Host for State {
    async fn log(
        &mut self,
        level: logging::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> Result<()> {
        let mut line = message;
        for (key, value) in fields {
            line.push_str(&format!(" {key}={value}"));
        }
        if let Some(message) = self.log.admit(&line) {
            let level = match level {
                logging::Level::Trace => 0,
                logging::Level::Debug => 1,
                logging::Level::Info => 2,
                logging::Level::Warn => 3,
                logging::Level::Error => 4,
            };
            self.conversation.wire.send(
                &FromWorker::Log {
                    slot: self.slot,
                    level,
                    message,
                },
                None,
            )?;
        }
        Ok(())
    }
}

impl call_context::Host for State {
    async fn current(&mut self) -> Result<call_context::CallInfo> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        Ok(call_context::CallInfo {
            id: if self.initializing { 0 } else { self.call },
            authority: self.spec.authority.clone(),
            remaining_ms: u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX),
        })
    }
}

impl config::Host for State {
    async fn get(&mut self, key: String) -> Result<Option<String>> {
        Ok(self
            .spec
            .config
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.clone()))
    }

    async fn get_all(&mut self) -> Result<Vec<(String, String)>> {
        Ok(self.spec.config.clone())
    }
}

impl storage::Host for State {
    async fn get(&mut self, key: String) -> Result<Result<Option<Vec<u8>>, types::Error>> {
        ask!(self, ImportRequest::StorageGet { key }, ImportReply::Value(value) => value.map(ByteBuf::into_vec))
    }

    async fn scan(
        &mut self,
        prefix: String,
    ) -> Result<Result<Vec<(String, Vec<u8>)>, types::Error>> {
        ask!(self, ImportRequest::StorageScan { prefix }, ImportReply::Entries(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, value.into_vec()))
            .collect())
    }

    async fn commit(&mut self, entries: Vec<storage::Entry>) -> Result<Result<(), types::Error>> {
        let entries = entries
            .into_iter()
            .map(|entry| (entry.key, entry.value.map(ByteBuf::from)))
            .collect();
        ask!(self, ImportRequest::StorageCommit { entries }, ImportReply::Done => ())
    }
}

impl notify::Host for State {
    async fn raise_alert(&mut self, alert: notify::Alert) -> Result<Result<(), types::Error>> {
        let alert = AlertRequest {
            alert_type: alert.alert_type,
            source: alert
                .source
                .map(|source| (source.mo, source.instance, source.path)),
            mark: alert.mark,
            data: alert.data,
        };
        ask!(self, ImportRequest::RaiseAlert(alert), ImportReply::Done => ())
    }
}

impl session::Host for State {
    async fn current_bearer(&mut self) -> Result<Option<session::Bearer>> {
        Ok(self.bearer.map(bearer_out))
    }
}

impl accounts::Host for State {
    async fn list(&mut self) -> Result<Result<Vec<accounts::Account>, types::Error>> {
        ask!(self, ImportRequest::Accounts, ImportReply::Accounts(accounts) => accounts
            .into_iter()
            .map(|account| accounts::Account {
                instance: account.miid,
                srv_id: account.srv_id,
                srv_uri: account.srv_uri,
                name: account.name,
                client_certificate: account.client_certificate,
            })
            .collect())
    }
}

impl certificates::Host for State {
    async fn list(&mut self) -> Result<Result<Vec<certificates::Certificate>, types::Error>> {
        ask!(self, ImportRequest::Certificates, ImportReply::Certificates(all) => all
            .into_iter()
            .map(certificate_out)
            .collect())
    }

    async fn add(
        &mut self,
        role: certificates::Role,
        der: Vec<u8>,
        purposes: Vec<String>,
    ) -> Result<Result<String, types::Error>> {
        let request = ImportRequest::AddCertificate {
            role: role_in(role),
            der: der.into(),
            purposes,
        };
        ask!(self, request, ImportReply::Text(id) => id)
    }

    async fn remove(
        &mut self,
        id: String,
        role: certificates::Role,
    ) -> Result<Result<(), types::Error>> {
        let role = role_in(role);
        ask!(self, ImportRequest::RemoveCertificate { id, role }, ImportReply::Done => ())
    }
}

impl applications::Host for State {
    async fn give(
        &mut self,
        to: applications::Principal,
        on: String,
        rights: applications::Rights,
        not_after: Option<u64>,
    ) -> Result<Result<(), types::Error>> {
        let grant = ApplicationGrant {
            to: principal_in(to),
            on,
            rights: rights_in(rights),
            not_after,
        };
        ask!(self, ImportRequest::GiveRights(grant), ImportReply::Done => ())
    }

    async fn take(
        &mut self,
        to: applications::Principal,
        on: String,
    ) -> Result<Result<(), types::Error>> {
        let to = principal_in(to);
        ask!(self, ImportRequest::TakeRights { to, on }, ImportReply::Done => ())
    }

    async fn list(&mut self) -> Result<Result<Vec<applications::Grant>, types::Error>> {
        ask!(self, ImportRequest::GivenRights, ImportReply::Rights(all) => all
            .into_iter()
            .map(grant_out)
            .collect())
    }
}

impl net::Host for State {
    async fn resolve(&mut self, host: String) -> Result<Result<Vec<String>, types::Error>> {
        ask!(self, ImportRequest::Resolve { host }, ImportReply::Addresses(addresses) => addresses)
    }

    async fn connect(
        &mut self,
        candidates: Vec<net::Candidate>,
        stagger_ms: u32,
    ) -> Result<Result<Resource<Connection>, types::Error>> {
        let candidates = candidates
            .into_iter()
            .map(|candidate| Candidate {
                address: candidate.address,
                port: candidate.port,
                via: candidate.via,
            })
            .collect();
        match self
            .ask(ImportRequest::Connect {
                candidates,
                stagger_ms,
            })
            .await?
        {
            Ok(ImportReply::Connection { number, peer }) => {
                Ok(Ok(self.table.push(Connection { number, peer })?))
            }
            Ok(_) => Err(WrongReply.into()),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn interfaces(&mut self) -> Result<Result<Vec<net::NetworkInterface>, types::Error>> {
        ask!(self, ImportRequest::Interfaces, ImportReply::Interfaces(interfaces) => interfaces
            .into_iter()
            .map(|(name, kind)| net::NetworkInterface { name, kind: bearer_out(kind) })
            .collect())
    }
}

impl net::HostByteStream for State {
    async fn peer(&mut self, stream: Resource<Connection>) -> Result<String> {
        Ok(self.table.get(&stream)?.peer.clone())
    }

    async fn drop(&mut self, stream: Resource<Connection>) -> Result<()> {
        let connection = self.table.delete(stream)?.number;
        self.ask(ImportRequest::Close { connection }).await?.ok();
        Ok(())
    }
}

impl os::Host for State {
    async fn read_file(
        &mut self,
        root: String,
        path: String,
        max_len: u32,
    ) -> Result<Result<Vec<u8>, types::Error>> {
        ask!(self, ImportRequest::ReadFile { root, path, max_len }, ImportReply::Bytes(bytes) => bytes.into_vec())
    }

    async fn list_dir(
        &mut self,
        root: String,
        path: String,
    ) -> Result<Result<Vec<String>, types::Error>> {
        ask!(self, ImportRequest::ListDir { root, path }, ImportReply::Names(names) => names)
    }

    async fn read_link(
        &mut self,
        root: String,
        path: String,
    ) -> Result<Result<String, types::Error>> {
        ask!(self, ImportRequest::ReadLink { root, path }, ImportReply::Text(text) => text)
    }

    async fn run(
        &mut self,
        command: String,
        arguments: Vec<String>,
    ) -> Result<Result<os::CommandOutput, types::Error>> {
        ask!(self, ImportRequest::Run { command, arguments },
        ImportReply::Command { exit_code, stdout, stderr } => os::CommandOutput {
            exit_code,
            stdout: stdout.into_vec(),
            stderr: stderr.into_vec(),
        })
    }
}

impl device::Host for State {
    async fn get_identity(&mut self) -> Result<Result<device::Identity, types::Error>> {
        ask!(self, ImportRequest::Identity, ImportReply::Identity(identity) => identity_out(*identity))
    }

    async fn get_facts(
        &mut self,
        names: Vec<String>,
    ) -> Result<Result<Vec<(String, String)>, types::Error>> {
        ask!(self, ImportRequest::Facts { names }, ImportReply::Facts(facts) => facts)
    }
}
