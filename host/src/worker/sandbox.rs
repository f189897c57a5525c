//! One sandbox: a component of one plug-in for one authority. Calls come in a row; a trap or a passed deadline costs
//! the call, and the next one gets a fresh instance.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memmap2::Mmap;
use tokio::sync::mpsc;
use wasmtime::component::{InstancePre, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};

use super::bindings::object::exports::bailiwick::mo::handler::{NodeRef, ReadOptions};
use super::bindings::transport::exports::bailiwick::transport::dialer::Endpoint;
use super::bindings::{environment, object, transport};
use super::convert::{
    bearer_in, bearer_out, change_out, error_in, identity_in, node_in, node_out, outcome_in,
};
use super::imports::{Conversation, State};
use super::limits::Limiter;
use super::ticker::Ticker;
use super::{engine, link};
use crate::plugins::budget::Budget;
use crate::plugins::messages::{
    Bearer, Failure, FromWorker, Kind, Operation, Output, PluginError, SandboxSpec, Slot,
};

/// Live entries that one sandbox may have in the host's table of resources.
const RESOURCES: usize = 256;
/// How long after its deadline a guest that waits for the host is given up.
const GRACE: Duration = Duration::from_millis(20);
/// Longest reason that is reported for a trap, bytes.
const REASON: usize = 512;

/// A call to be made.
pub(super) struct Job {
    call: u64,
    deadline: Instant,
    bearer: Option<Bearer>,
    operation: Operation,
}

impl Job {
    pub(super) fn new(
        call: u64,
        deadline_ms: u32,
        bearer: Option<Bearer>,
        operation: Operation,
    ) -> Self {
        let deadline = Instant::now() + Duration::from_millis(deadline_ms.into());
        Self {
            call,
            deadline,
            bearer,
            operation,
        }
    }
}

/// The sandbox, with or without a live instance.
pub(super) struct Sandbox {
    ticker: Arc<Ticker>,
    conversation: Arc<Conversation>,
    slot: Slot,
    spec: Arc<SandboxSpec>,
    template: Result<Template, String>,
    live: Option<(Store<State>, Exports)>,
    trapped: bool,
    /// What `template` and `live` run; dropped after them.
    _code: Option<Mmap>,
}

/// A component, linked and checked, from which an instance takes microseconds.
enum Template {
    Object(object::ObjectPre<State>),
    Transport(transport::TransportPre<State>),
    Environment(environment::EnvironmentPre<State>),
}

enum Exports {
    Object(object::Object),
    Transport(transport::Transport),
    Environment(environment::Environment),
}

/// Ends a guest whose time is up.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
struct DeadlinePassed;

impl Sandbox {
    pub(super) fn new(
        engine: &Engine,
        ticker: &Arc<Ticker>,
        conversation: &Arc<Conversation>,
        slot: Slot,
        spec: SandboxSpec,
        code: Option<OwnedFd>,
    ) -> Self {
        let (template, code) = match template(engine, &spec, code) {
            Ok((template, code)) => (Ok(template), Some(code)),
            Err(error) => (Err(reason(&error)), None),
        };
        Self {
            ticker: Arc::clone(ticker),
            conversation: Arc::clone(conversation),
            slot,
            spec: Arc::new(spec),
            template,
            live: None,
            trapped: false,
            _code: code,
        }
    }

    /// Serves calls until the host unloads the sandbox.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        while let Some(job) = queue.recv().await {
            let call = job.call;
            let result = self.serve(job).await;
            if let Err(Failure::Trapped(_) | Failure::TimedOut { begun: true }) = result {
                self.live = None;
                self.trapped = true;
            }
            if self
                .conversation
                .wire
                .send(&FromWorker::Done { call, result }, None)
                .is_err()
            {
                let result = Err(Failure::Plugin(PluginError::TooLarge));
                let _ = self
                    .conversation
                    .wire
                    .send(&FromWorker::Done { call, result }, None);
            }
        }
    }

    pub(super) async fn serve(&mut self, job: Job) -> Result<Output, Failure> {
        if Instant::now() >= job.deadline {
            return Err(Failure::TimedOut { begun: false });
        }
        let _running = self.ticker.guest_runs();
        let deadline = job.deadline;
        let work = async {
            if self.live.is_none() {
                let live = start(
                    &self.template,
                    &self.conversation,
                    self.slot,
                    &self.spec,
                    self.trapped,
                    &job,
                );
                self.live = Some(live.await?);
            }
            let Some((store, exports)) = &mut self.live else {
                return Err(Failure::Unusable("no instance".into()));
            };
            let state = store.data_mut();
            (state.call, state.deadline, state.bearer) = (job.call, job.deadline, job.bearer);
            state.initializing = false;
            store.set_epoch_deadline(1);
            exports
                .call(store, job.operation, self.spec.limits.nodes)
                .await
        };
        match tokio::time::timeout_at((deadline + GRACE).into(), work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::TimedOut { begun: true }),
        }
    }
}

fn template(
    engine: &Engine,
    spec: &SandboxSpec,
    code: Option<OwnedFd>,
) -> wasmtime::Result<(Template, Mmap)> {
    let code = code.ok_or_else(|| wasmtime::Error::msg("no compiled code came along"))?;
    // SAFETY: the descriptor came from the host, which hands over sealed and authenticated code only.
    #[allow(unsafe_code, reason = "the one caller of the one unsafe function")]
    let (code, component) = unsafe { engine::load(engine, code) }?;
    let linker = link::linker(engine, &component, &spec.grants)?;
    let instance: InstancePre<State> = linker.instantiate_pre(&component)?;
    let template = match spec.kind {
        Kind::Object => Template::Object(object::ObjectPre::new(instance)?),
        Kind::Transport => Template::Transport(transport::TransportPre::new(instance)?),
        Kind::Environment => Template::Environment(environment::EnvironmentPre::new(instance)?),
    };
    Ok((template, code))
}

/// A fresh instance, initialized within the time of the call that needs it.
async fn start(
    template: &Result<Template, String>,
    conversation: &Arc<Conversation>,
    slot: Slot,
    spec: &Arc<SandboxSpec>,
    trapped: bool,
    job: &Job,
) -> Result<(Store<State>, Exports), Failure> {
    let template = template
        .as_ref()
        .map_err(|error| Failure::Unusable(error.clone()))?;
    let limits = &spec.limits;
    let mut table = ResourceTable::new();
    table.set_max_capacity(RESOURCES);
    let state = State {
        conversation: Arc::clone(conversation),
        spec: Arc::clone(spec),
        slot,
        limits: Limiter::new(limits),
        table,
        log: Budget::new(limits.log_bytes_per_second),
        call: job.call,
        initializing: true,
        deadline: job.deadline,
        bearer: job.bearer,
    };
    let mut store = match template {
        Template::Object(pre) => Store::new(pre.engine(), state),
        Template::Transport(pre) => Store::new(pre.engine(), state),
        Template::Environment(pre) => Store::new(pre.engine(), state),
    };
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(limits.hostcall_bytes);
    store.set_max_component_handles(limits.handles);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        if Instant::now() >= store.data().deadline {
            return Err(DeadlinePassed.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    let exports = match template {
        Template::Object(pre) => pre.instantiate_async(&mut store).await.map(Exports::Object),
        Template::Transport(pre) => pre
            .instantiate_async(&mut store)
            .await
            .map(Exports::Transport),
        Template::Environment(pre) => pre
            .instantiate_async(&mut store)
            .await
            .map(Exports::Environment),
    }
    .map_err(|error| trapped_by(&error))?;
    let (name, version) = exports.init(&mut store, trapped).await?;
    if (&name, &version) != (&spec.name, &spec.version) {
        return Err(Failure::Unusable(format!(
            "the component calls itself {name} {version}, the manifest {} {}",
            spec.name, spec.version
        )));
    }
    Ok((store, exports))
}

/// Runs an exported function: its error arm is the plug-in's, anything else a trap.
async fn answer<T, E>(
    call: impl Future<Output = wasmtime::Result<Result<T, E>>>,
    error: impl FnOnce(E) -> PluginError,
) -> Result<T, Failure> {
    match call.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(refusal)) => Err(Failure::Plugin(error(refusal))),
        Err(trap) => Err(trapped_by(&trap)),
    }
}

impl Exports {
    async fn init(
        &self,
        store: &mut Store<State>,
        trapped: bool,
    ) -> Result<(String, String), Failure> {
        macro_rules! init {
            ($exports:expr, $module:ident) => {{
                use $module::exports::bailiwick::lifecycle::plugin::StartReason;
                let why = if trapped {
                    StartReason::AfterTrap
                } else {
                    StartReason::FirstUse
                };
                let info = answer(
                    $exports
                        .bailiwick_lifecycle_plugin()
                        .call_init(&mut *store, why),
                    error_in,
                );
                info.await.map(|info| (info.name, info.version))
            }};
        }
        match self {
            Self::Object(exports) => init!(exports, object),
            Self::Transport(exports) => init!(exports, transport),
            Self::Environment(exports) => init!(exports, environment),
        }
    }

    async fn call(
        &self,
        store: &mut Store<State>,
        operation: Operation,
        max_nodes: u32,
    ) -> Result<Output, Failure> {
        match (self, operation) {
            (Self::Object(exports), Operation::Health) => {
                answer(
                    exports.bailiwick_lifecycle_plugin().call_health(store),
                    error_in,
                )
                .await?;
                Ok(Output::Done)
            }
            (Self::Transport(exports), Operation::Health) => {
                answer(
                    exports.bailiwick_lifecycle_plugin().call_health(store),
                    error_in,
                )
                .await?;
                Ok(Output::Done)
            }
            (Self::Environment(exports), Operation::Health) => {
                answer(
                    exports.bailiwick_lifecycle_plugin().call_health(store),
                    error_in,
                )
                .await?;
                Ok(Output::Done)
            }
            (Self::Object(exports), operation) => {
                object_call(exports, store, operation, max_nodes).await
            }
            (Self::Transport(exports), operation) => {
                transport_call(exports, store, operation).await
            }
            (Self::Environment(exports), operation) => {
                environment_call(exports, store, operation).await
            }
        }
    }
}

async fn object_call(
    exports: &object::Object,
    store: &mut Store<State>,
    operation: Operation,
    max_nodes: u32,
) -> Result<Output, Failure> {
    let handler = exports.bailiwick_mo_handler();
    match operation {
        Operation::Classes => {
            let classes = answer(handler.call_classes(store), error_in).await?;
            Ok(Output::Classes(
                classes
                    .into_iter()
                    .map(|class| (class.id, class.ddf))
                    .collect(),
            ))
        }
        Operation::Instances { moid } => answer(handler.call_instances(store, &moid), error_in)
            .await
            .map(Output::Instances),
        Operation::Create {
            moid,
            miid,
            initial,
        } => {
            let initial: Vec<_> = initial.into_iter().map(node_out).collect();
            answer(
                handler.call_create_instance(store, &moid, &miid, &initial),
                error_in,
            )
            .await?;
            Ok(Output::Done)
        }
        Operation::DeleteInstance { moid, miid } => {
            answer(handler.call_delete_instance(store, &moid, &miid), error_in).await?;
            Ok(Output::Done)
        }
        Operation::Read {
            moid,
            miid,
            path,
            max_nodes: wanted,
            names_only,
        } => {
            let target = NodeRef {
                mo: moid,
                instance: miid,
                path,
            };
            let options = ReadOptions {
                max_nodes: wanted.min(max_nodes),
                names_only,
            };
            let nodes = answer(handler.call_read(store, &target, options), error_in).await?;
            if nodes.len() > max_nodes as usize {
                return Err(Failure::Plugin(PluginError::TooLarge));
            }
            Ok(Output::Nodes(nodes.into_iter().map(node_in).collect()))
        }
        Operation::Apply {
            moid,
            miid,
            changes,
        } => {
            let changes: Vec<_> = changes.into_iter().map(change_out).collect();
            answer(handler.call_apply(store, &moid, &miid, &changes), error_in).await?;
            Ok(Output::Done)
        }
        Operation::Execute { moid, miid, path } => {
            let target = NodeRef {
                mo: moid,
                instance: miid,
                path,
            };
            let outcome = answer(handler.call_execute(store, &target), error_in).await?;
            Ok(Output::Executed(outcome_in(outcome)))
        }
        other => Err(not_of_this_kind(&other)),
    }
}

async fn transport_call(
    exports: &transport::Transport,
    store: &mut Store<State>,
    operation: Operation,
) -> Result<Output, Failure> {
    let dialer = exports.bailiwick_transport_dialer();
    match operation {
        Operation::Bearers => {
            let bearers = answer(dialer.call_bearers(store), error_in).await?;
            Ok(Output::Bearers(
                bearers.into_iter().map(bearer_in).collect(),
            ))
        }
        Operation::Dial {
            host,
            port,
            preferred,
        } => {
            let to = Endpoint { host, port };
            let dialled = answer(
                dialer.call_dial(&mut *store, &to, bearer_out(preferred)),
                error_in,
            )
            .await?;
            let connection = store
                .data_mut()
                .table
                .delete(dialled.connection)
                .map_err(|error| Failure::Trapped(reason(&error.into())))?;
            Ok(Output::Dialled {
                connection: connection.number,
                bearer: bearer_in(dialled.bearer),
            })
        }
        other => Err(not_of_this_kind(&other)),
    }
}

async fn environment_call(
    exports: &environment::Environment,
    store: &mut Store<State>,
    operation: Operation,
) -> Result<Output, Failure> {
    let device = exports.bailiwick_env_device();
    match operation {
        Operation::Identity => {
            let identity = answer(device.call_get_identity(store), error_in).await?;
            Ok(Output::Identity(Box::new(identity_in(identity))))
        }
        Operation::Facts { names } => answer(device.call_get_facts(store, &names), error_in)
            .await
            .map(Output::Facts),
        other => Err(not_of_this_kind(&other)),
    }
}

fn not_of_this_kind(operation: &Operation) -> Failure {
    Failure::Unusable(format!(
        "a plug-in of this kind does not serve {operation:?}"
    ))
}

fn trapped_by(error: &wasmtime::Error) -> Failure {
    if error.is::<DeadlinePassed>() {
        Failure::TimedOut { begun: true }
    } else {
        Failure::Trapped(reason(error))
    }
}

/// What the engine says, the root first, without the guest's backtrace.
fn reason(error: &wasmtime::Error) -> String {
    let mut text = error
        .root_cause()
        .to_string()
        .replace(char::is_control, " ");
    let mut end = text.len().min(REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
