//! How the server talks: Package#1 in, Package#2 out, Package#3 in, and so on until END. Blocking; knows no HTTP.
//!
//! There is no session number on the wire, so a session belongs to a device (its certificate, and the same `OMADM-DevID`):
//! a device has one, whatever connections it uses, and a new Package#1 restarts it.

use bailiwick_protocol::{Alert, Command, Package1, Package2, Package3, PackageError, alert};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    authority::{Authority, AuthorityError},
    clock,
    device::DeviceId,
    events::{Event, Events},
    files::FileError,
    journal::Entry,
    limits::Limits,
    policy::{CommandResult, Order, Policy, PolicyError},
};

/// A package from a device, as bytes.
#[derive(Debug)]
pub(crate) enum Incoming {
    First(Vec<u8>),
    Third(Vec<u8>),
}

/// Why a package gets no Package#2.
#[derive(Debug, Error)]
pub(crate) enum SessionError {
    #[error("malformed Package#{number}: {source}")]
    Malformed { number: u8, source: PackageError },
    #[error("no session is open; begin with Package#1")]
    NoSession,
    #[error(
        "Package#3 has {statuses} statuses for {commands} commands; send one status per command, in order"
    )]
    StatusCount { statuses: usize, commands: usize },
    #[error("the policy failed: {0}")]
    Policy(#[source] PolicyError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// The sessions of all devices.
pub(crate) struct Sessions {
    pub(crate) authority: Authority,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) limits: Limits,
    pub(crate) events: Events,
    open: Mutex<HashMap<DeviceId, Slot>>,
}

/// Locked while a package of the device is worked on. Empty between sessions.
type Slot = Arc<Mutex<Option<Session>>>;

struct Session {
    opened: Arc<Package1>,
    /// Sent, status not yet there.
    awaiting: Vec<Order>,
    /// Decided, not yet sent.
    pending: VecDeque<Order>,
    /// Packages from the device so far.
    packages: usize,
}

impl Sessions {
    pub(crate) fn new(
        authority: Authority,
        policy: Arc<dyn Policy>,
        limits: Limits,
        events: Events,
    ) -> Self {
        Sessions {
            authority,
            policy,
            limits,
            events,
            open: Mutex::default(),
        }
    }

    /// Takes a package of `device` and returns what to answer. After an error the session is over; what was sent and not
    /// answered stays with the policy.
    pub(crate) fn receive(
        &self,
        device: &DeviceId,
        package: Incoming,
    ) -> Result<Package2, SessionError> {
        let slot = Arc::clone(locked(&self.open).entry(device.clone()).or_default());
        let mut slot = locked(&slot);
        let earlier = slot.take();
        let mut session = match package {
            Incoming::First(bytes) => self.open(device, &bytes)?,
            Incoming::Third(bytes) => {
                let mut session = earlier.ok_or(SessionError::NoSession)?;
                self.answered(device, &mut session, &bytes)?;
                session
            }
        };
        let orders = self.next(device, &mut session)?;
        let ends = orders
            .last()
            .is_none_or(|order| order.command == Command::End);
        let mut commands: Vec<Command> = orders.iter().map(|order| order.command.clone()).collect();
        if orders.is_empty() {
            commands.push(Command::End);
        } else {
            self.policy
                .sending(device, &orders)
                .map_err(SessionError::Policy)?;
            self.events.send(Event::Sent {
                device: device.clone(),
                orders: orders.clone(),
            });
        }
        info!("{device}: <- Package#2: {}", described(&commands));
        if ends {
            let unanswered = orders.into_iter().map(|order| CommandResult {
                order,
                status: None,
            });
            self.done(device, unanswered.collect(), &[], 2)?;
            self.events.send(Event::Ended {
                device: device.clone(),
            });
        } else {
            session.awaiting = orders;
            *slot = Some(session);
        }
        Ok(Package2::new(commands))
    }

    fn open(&self, device: &DeviceId, bytes: &[u8]) -> Result<Session, SessionError> {
        let package = Package1::parse(bytes, &self.limits.protocol)
            .map_err(|source| SessionError::Malformed { number: 1, source })?;
        let why = package
            .alerts
            .iter()
            .map(|alert| alert.alert_type.as_str())
            .find(|kind| {
                [
                    alert::CLIENT_INITIATED,
                    alert::SERVER_INITIATED,
                    alert::BOOTSTRAP_COMPLETE,
                ]
                .contains(kind)
            });
        let why = why
            .and_then(|kind| kind.rsplit(':').next())
            .unwrap_or("no session alert");
        info!(
            "{device}: -> Package#1: {why}, {} object types, {} alerts",
            package.mos.len(),
            package.alerts.len()
        );
        let opened = Arc::new(package);
        self.events.send(Event::Opened {
            device: device.clone(),
            package: Arc::clone(&opened),
        });
        self.done(device, Vec::new(), &opened.alerts, 1)?;
        Ok(Session {
            opened,
            awaiting: Vec::new(),
            pending: VecDeque::new(),
            packages: 1,
        })
    }

    fn answered(
        &self,
        device: &DeviceId,
        session: &mut Session,
        bytes: &[u8],
    ) -> Result<(), SessionError> {
        let package = Package3::parse(bytes, &self.limits.protocol)
            .map_err(|source| SessionError::Malformed { number: 3, source })?;
        let (statuses, commands) = (package.statuses.len(), session.awaiting.len());
        if statuses != commands {
            return Err(SessionError::StatusCount { statuses, commands });
        }
        session.packages += 1;
        let results: Vec<CommandResult> = std::mem::take(&mut session.awaiting)
            .into_iter()
            .zip(package.statuses)
            .map(|(order, status)| CommandResult {
                order,
                status: Some(status),
            })
            .collect();
        let codes: Vec<String> = results
            .iter()
            .filter_map(|result| {
                Some(format!(
                    "{} {}",
                    result.order.command.name(),
                    result.status.as_ref()?.code
                ))
            })
            .collect();
        info!(
            "{device}: -> Package#3: {}, {} alerts",
            codes.join("; "),
            package.alerts.len()
        );
        self.done(device, results, &package.alerts, 3)
    }

    /// The next batch; nothing = END.
    fn next(&self, device: &DeviceId, session: &mut Session) -> Result<Vec<Order>, SessionError> {
        if session.packages >= self.limits.packages_per_session {
            warn!(
                "{device}: {} packages in one session; what is left waits for the next one",
                session.packages
            );
            return Ok(Vec::new());
        }
        if session.pending.is_empty() {
            let orders = self
                .policy
                .commands(device, &session.opened)
                .map_err(SessionError::Policy)?;
            session.pending = orders.into();
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(order) = session.pending.front() {
            bytes += order
                .command
                .to_parts()
                .iter()
                .map(String::len)
                .sum::<usize>();
            if !batch.is_empty()
                && (batch.len() >= self.limits.batch_commands || bytes > self.limits.batch_bytes)
            {
                break;
            }
            let is_end = order.command == Command::End;
            batch.extend(session.pending.pop_front());
            if is_end {
                break;
            }
        }
        Ok(batch)
    }

    /// Notes results and alerts: first durably, then to the policy, then to observers.
    fn done(
        &self,
        device: &DeviceId,
        results: Vec<CommandResult>,
        alerts: &[Alert],
        package: u8,
    ) -> Result<(), SessionError> {
        let time = clock::rfc3339(SystemTime::now());
        let mut entries: Vec<Entry> = results
            .iter()
            .map(|result| Entry::result(&time, result))
            .collect();
        entries.extend(
            alerts
                .iter()
                .map(|alert| Entry::alert(&time, package, alert)),
        );
        self.authority
            .journal(device)?
            .append(&entries, self.limits.journal_bytes)?;
        if !results.is_empty() {
            self.policy
                .results(device, &results)
                .map_err(SessionError::Policy)?;
        }
        for result in results {
            self.events.send(Event::Result {
                device: device.clone(),
                result,
            });
        }
        for alert in alerts {
            self.events.send(Event::Alert {
                device: device.clone(),
                package,
                alert: alert.clone(),
            });
        }
        Ok(())
    }
}

/// For the log: names and the beginning of their parameters.
fn described(commands: &[Command]) -> String {
    let command = |command: &Command| {
        let text = command.to_parts().join(" ");
        match text.char_indices().nth(160) {
            Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
            None => text,
        }
    };
    commands.iter().map(command).collect::<Vec<_>>().join("; ")
}

/// A policy that panicked leaves a session that is not in its slot any more, which is a whole state.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
