//! From a configuration to a daemon that serves: what it has to read, then the lock-in, then the rooms from the
//! bottom up. Nothing is compiled, connected or started before it is needed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::plan::{Plans, Urgency};
use super::renewal::Renewals;
use super::rooms::{NoServices, Rooms};
use super::{Agent, EVENTS, notify};
use crate::accounts::AccountError;
use crate::authority::Authority;
use crate::config::Config;
use crate::isolation::{self, IsolationError, Protection};
use crate::local::{Admission, Socket, SocketError};
use crate::permissions::PermissionError;
use crate::plugins::{Manifests, Plugins, PluginsError};
use crate::provisioning::{Policy, PolicyError};
use crate::session::Reason;
use crate::store::StoreError;

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its state directory.
    #[error("state directory {path}: {problem}")]
    State {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The plug-ins.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// The process cannot lock itself in.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device policy.
    #[error(transparent)]
    Permissions(#[from] PermissionError),
    /// The accounts.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The `[[card]]` lines.
    #[error(transparent)]
    Cards(#[from] PolicyError),
    /// The system.
    #[error("the system refuses to {attempt}: {source}")]
    System {
        /// What was tried.
        attempt: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// Runs the daemon until a signal ends it.
pub fn run(config: Config) -> Result<(), AgentError> {
    let began = Instant::now();
    let policy = Policy::read(&config.card)?;
    let (manifests, protection) = lock_in(&config)?;
    on_one_thread(async {
        let agent = Agent::start(config, manifests, policy, protection).await?;
        notify::service_manager("READY=1");
        tracing::info!(milliseconds = milliseconds(began), "ready");
        agent.serve().await;
        Ok(())
    })?;
    tracing::info!("stopped");
    Ok(())
}

/// Compiles every plug-in whose code is not in the cache yet: name, and what went wrong.
#[expect(
    clippy::type_complexity,
    reason = "a list of pairs, printed by the only caller"
)]
pub fn compile(config: &Config) -> Result<Vec<(String, Result<(), String>)>, AgentError> {
    let (manifests, _) = lock_in(config)?;
    on_one_thread(async {
        let plugins = Plugins::start(config, manifests, Rc::new(NoServices))?;
        Ok(plugins.compile_all().await)
    })
}

/// Reads what must be read before, and locks the process in.
fn lock_in(config: &Config) -> Result<(Manifests, Protection), AgentError> {
    make_state_directory(&config.state)?;
    let manifests = Manifests::read(config)?;
    let protection = isolation::host(config, &manifests.readable(), &manifests.executable())?;
    Ok((manifests, protection))
}

/// One thread for everything; dropping it all before this returns closes the store.
fn on_one_thread<T>(work: impl Future<Output = Result<T, AgentError>>) -> Result<T, AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .map_err(|source| AgentError::System {
            attempt: "start the runtime",
            source,
        })?;
    let tasks = LocalSet::new();
    let outcome = tasks.block_on(&runtime, work);
    drop(tasks);
    outcome
}

impl Agent {
    pub(super) async fn start(
        config: Config,
        manifests: Manifests,
        policy: Policy,
        protection: Protection,
    ) -> Result<Self, AgentError> {
        let hear =
            |attempt, kind| signal(kind).map_err(|source| AgentError::System { attempt, source });
        let stop = [
            ("SIGINT", hear("handle SIGINT", SignalKind::interrupt())?),
            ("SIGTERM", hear("handle SIGTERM", SignalKind::terminate())?),
        ];
        let (applied, provisioned) = mpsc::channel(EVENTS);
        let rooms = Rooms::open(config, manifests, policy, protection, applied)?;
        let group = rooms.config.admin_group.as_deref();
        let socket = Socket::bind(&rooms.config.admin_socket, Admission::Operator { group })?;
        let apps_path = rooms.config.apps_socket.as_deref();
        let apps_socket = apps_path.map(|path| Socket::bind(path, Admission::Everybody));
        let apps_socket = apps_socket.transpose()?;
        let (tell, events) = mpsc::channel(EVENTS);
        let mut plans = Plans::new(&rooms.config.limits, random);
        recover(&rooms, &mut plans).await?;
        let plans = Rc::new(plans.into());
        let renewals = Renewals::start(rooms.clone(), tell.clone());
        spawn_local(rooms.cards.clone().watch());
        Ok(Self {
            renewals,
            rooms,
            socket,
            apps_socket,
            stop,
            events,
            provisioned,
            tell,
            plans,
            connections: 0,
        })
    }
}

/// Plans what a restart interrupted, and what servers have not been told yet.
async fn recover(rooms: &Rooms, plans: &mut Plans) -> Result<(), AgentError> {
    let now = Instant::now();
    for interrupted in rooms.sessions.recover().await? {
        let authority = interrupted.authority;
        if is_there_and_awake(rooms, &authority)? {
            tracing::info!(%authority, "a restart interrupted a session; it is held again");
            plans.want(authority, Reason::ClientInitiated, Urgency::UntilHeld, now);
        }
    }
    for authority in rooms.sessions.unreported_bootstraps()? {
        if !is_there_and_awake(rooms, &authority)? {
            continue;
        }
        plans.want(
            authority,
            Reason::BootstrapComplete,
            Urgency::UntilHeld,
            now,
        );
    }
    Ok(())
}

/// The account may have gone with a session, or its card before the stop.
fn is_there_and_awake(rooms: &Rooms, authority: &Authority) -> Result<bool, AgentError> {
    let account = rooms.accounts.get(authority)?;
    Ok(account.is_some_and(|account| account.suspended.is_none()))
}

/// Before the lock-in, which leaves no right to make it. The parent must exist: a mistyped path is not to be obeyed.
fn make_state_directory(path: &Path) -> Result<(), AgentError> {
    let problem = |problem: String| AgentError::State {
        path: path.to_owned(),
        problem,
    };
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let parent = fs::File::open(parent.unwrap_or(Path::new(".")));
            parent
                .and_then(|parent| parent.sync_all())
                .map_err(|e| problem(e.to_string()))
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::metadata(path).map_err(|e| problem(e.to_string()))?;
            match found.uid() == rustix::process::geteuid().as_raw() {
                true => Ok(()),
                false => Err(problem(format!(
                    "it belongs to user {}; run bailiwick as that user, or change its owner",
                    found.uid()
                ))),
            }
        }
        Err(e) => Err(problem(format!(
            "it cannot be made: {e}; its parent must exist"
        ))),
    }
}

/// A number between 0 and 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_made_private_and_its_parent_is_not() {
        let path = std::env::temp_dir().join(format!("bw-state-{}", std::process::id()));
        let _old = fs::remove_dir_all(&path);
        make_state_directory(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        make_state_directory(&path).unwrap();
        fs::remove_dir(&path).unwrap();
        let error = make_state_directory(&path.join("below"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("its parent must exist"), "{error}");
    }

    #[test]
    fn random_numbers_differ_and_stay_in_range() {
        let numbers: Vec<_> = (0..8).map(|_| random()).collect();
        assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
        assert!(numbers.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
