//! The daemon: the only place that wires the rooms together, and everything that can ever wake it.

mod notify;
mod plan;
mod renewal;
mod rooms;
mod services;
mod start;
mod status;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{sleep_until, timeout};

use crate::authority::Authority;
use crate::local::{self, FrameLimits, Held, Socket};
use crate::provisioning::Applied;
use crate::session::{Reason, Report, SessionError};

pub use start::{AgentError, compile, run};

use plan::{Plans, Urgency};
use renewal::{Outcome, Renewals};
use rooms::{Door, Rooms};

/// Connections at the admin socket. Stops a peer that opens them without end.
const CONNECTIONS: usize = 16;
/// Sessions at a time. Stops a device from running out of memory when all its servers are due at once.
const SESSIONS: usize = 4;
/// Events that wait. Whoever brings more waits too.
const EVENTS: usize = 64;

/// Everything that can ever wake the daemon, plug-ins' own messages and answers of servers apart: those wake the
/// calls and sessions that wait for them.
#[derive(Debug)]
enum Event {
    /// The system or the operator ends the daemon.
    Stop(&'static str),
    /// Somebody who may connect has connected to the admin socket.
    Connected(UnixStream),
    /// A local application has connected to its socket.
    Called(UnixStream),
    /// A connection to the admin socket has ended.
    Disconnected,
    /// Accounts are new or have changed: their servers are to be told.
    Bootstrapped(Vec<Authority>),
    /// The operator wants a session, and waits for how it ended.
    Wanted(Authority, oneshot::Sender<Held>),
    /// A session has ended.
    Ended(Authority, Ended),
    /// An identity was renewed: a session decides about it.
    Renewed(Authority),
    /// A card came or went, or the operator took something back: accounts are new, rest, or count again.
    Provisioned(Applied),
    /// The time has come for a session that has to be held.
    Due,
}

/// How a session ended.
#[derive(Debug)]
struct Ended {
    held: Held,
    worth_retrying: bool,
    /// What it says about the identity that was shown.
    outcome: Outcome,
}

/// The daemon while it runs.
struct Agent {
    rooms: Rooms,
    socket: Socket,
    /// For local applications.
    apps_socket: Option<Socket>,
    stop: [(&'static str, Signal); 2],
    events: mpsc::Receiver<Event>,
    provisioned: mpsc::Receiver<Applied>,
    /// For everybody who has something to tell.
    tell: mpsc::Sender<Event>,
    plans: Rc<RefCell<Plans>>,
    renewals: Rc<Renewals>,
    connections: usize,
}

impl Agent {
    /// Serves until it is told to stop; sessions that run then may finish what they are doing.
    async fn serve(mut self) {
        loop {
            self.start_due();
            match self.next().await {
                Event::Stop(signal) => {
                    tracing::info!(signal, "stopping");
                    break;
                }
                event => self.handle(event),
            }
        }
        notify::service_manager("STOPPING=1");
        self.finish().await;
    }

    /// Waits for whatever comes first.
    async fn next(&mut self) -> Event {
        let [(first, interrupt), (second, terminate)] = &mut self.stop;
        let due = self.plans.borrow().next_due();
        let due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        let application = async {
            match &self.apps_socket {
                Some(socket) => socket.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = interrupt.recv() => Event::Stop(first),
            _ = terminate.recv() => Event::Stop(second),
            Some(event) = self.events.recv() => event,
            Some(applied) = self.provisioned.recv() => Event::Provisioned(applied),
            stream = self.socket.accept() => Event::Connected(stream),
            () = due => Event::Due,
            stream = application => Event::Called(stream),
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Connected(stream) => self.connect(stream),
            Event::Called(stream) => {
                let apps = self.rooms.apps.clone();
                spawn_local(async move { apps.serve(stream).await });
            }
            Event::Disconnected => self.connections = self.connections.saturating_sub(1),
            Event::Bootstrapped(authorities) => {
                self.renewals.look_again();
                self.tell_servers(authorities, now);
            }
            Event::Provisioned(applied) => self.provisioned(applied, now),
            Event::Renewed(authority) => {
                let (reason, urgency) = (Reason::ClientInitiated, Urgency::UntilHeld);
                self.plans
                    .borrow_mut()
                    .want(authority, reason, urgency, now);
            }
            Event::Wanted(authority, waiting) => {
                self.plans.borrow_mut().want_now(authority, waiting, now);
            }
            Event::Ended(authority, ended) => {
                let Ended {
                    held,
                    worth_retrying,
                    outcome: _,
                } = ended;
                self.plans
                    .borrow_mut()
                    .ended(&authority, held, worth_retrying, now);
            }
            // `start_due` does the rest. `Stop` never comes here.
            Event::Due | Event::Stop(_) => {}
        }
    }

    /// Servers are told of the accounts that they have.
    fn tell_servers(&self, authorities: impl IntoIterator<Item = Authority>, now: Instant) {
        let mut plans = self.plans.borrow_mut();
        for authority in authorities {
            plans.want(
                authority,
                Reason::BootstrapComplete,
                Urgency::UntilHeld,
                now,
            );
        }
    }

    fn provisioned(&self, applied: Applied, now: Instant) {
        for authority in &applied.at_rest {
            self.plans.borrow_mut().rest(authority);
        }
        let mut told = applied.bootstrapped;
        // Those that rested before their servers had been told.
        let unreported = self.rooms.sessions.unreported_bootstraps();
        let unreported = unreported.unwrap_or_else(|error| {
            tracing::error!(%error, "servers are told of their accounts after the next start");
            Vec::new()
        });
        let awake = unreported.into_iter();
        told.extend(awake.filter(|authority| applied.awake.contains(authority)));
        self.tell_servers(told, now);
    }

    /// Starts the sessions whose time has come, as many as may run.
    fn start_due(&mut self) {
        loop {
            let started = self.plans.borrow_mut().start(SESSIONS, Instant::now());
            let Some((authority, reason)) = started else {
                return;
            };
            let (sessions, tell) = (self.rooms.sessions.clone(), self.tell.clone());
            let renewals = Rc::clone(&self.renewals);
            spawn_local(async move {
                let with = authority.clone();
                let session = spawn_local(async move { sessions.run(&with, reason).await });
                let ended = match session.await {
                    Ok(outcome) => ended(outcome),
                    // Never in a release, where a panic ends the process.
                    Err(_) => Ended {
                        held: Err("the session crashed".into()),
                        worth_retrying: false,
                        outcome: Outcome::NotReached,
                    },
                };
                renewals.session_ended(&authority, ended.outcome).await;
                // The daemon stops: nobody plans any more.
                let _stopped = tell.send(Event::Ended(authority, ended)).await;
            });
        }
    }

    fn connect(&mut self, stream: UnixStream) {
        if self.connections >= CONNECTIONS {
            tracing::warn!(
                limit = CONNECTIONS,
                "a connection to the admin socket was refused"
            );
            return local::refuse(&stream, CONNECTIONS);
        }
        // Its lock cannot keep it from sockets in the file system.
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        if peer.is_some_and(|peer| self.rooms.keys.is_process(peer)) {
            return tracing::warn!("the keys process was refused at the admin socket");
        }
        self.connections += 1;
        let limits = &self.rooms.config.limits;
        let limits = FrameLimits {
            // A bootstrap document is the largest parameter, as text with escapes.
            call_bytes: 2 * limits.package_bytes + (64 << 10),
            transfer: limits.request(),
        };
        let door = Door {
            tell: self.tell.clone(),
            plans: self.plans.clone(),
            renewals: self.renewals.clone(),
            rooms: self.rooms.clone(),
        };
        let (admin, tell) = (self.rooms.admin(door), self.tell.clone());
        spawn_local(async move {
            if let Err(error) = local::serve(stream, &admin, limits).await {
                tracing::debug!(%error, "a connection to the admin socket was closed");
            }
            let _stopped = tell.send(Event::Disconnected).await;
        });
    }

    /// Lets running sessions finish the command that they are at. What they have not committed by then never
    /// happened.
    async fn finish(self) {
        let Self {
            rooms,
            mut events,
            plans,
            socket,
            apps_socket,
            ..
        } = self;
        drop((socket, apps_socket));
        rooms.sessions.stop();
        let all_ended = async {
            while plans.borrow().is_any_running() {
                match events.recv().await {
                    Some(Event::Ended(authority, Ended { held, .. })) => {
                        plans
                            .borrow_mut()
                            .ended(&authority, held, false, Instant::now());
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        };
        // A command may make a call that times out, and one that replaces what the first left behind.
        let patience = rooms.config.limits.call() * 2;
        if timeout(patience, all_ended).await.is_err() {
            tracing::warn!("sessions were cut off; what they had not committed is undone");
        }
        // Whoever waits for one of them hears how it ended.
        tokio::task::yield_now().await;
    }
}

/// What is told about the end of a session.
fn ended(outcome: Result<Report, SessionError>) -> Ended {
    let told = |report: &Report| (report.completed, to_json(report), report.to_string());
    match outcome {
        Ok(report) => Ended {
            held: Ok(told(&report)),
            worth_retrying: false,
            outcome: Outcome::Worked,
        },
        Err(error) => Ended {
            worth_retrying: error.is_worth_retrying(),
            outcome: match error.has_reached() {
                true => Outcome::Failed,
                false => Outcome::NotReached,
            },
            held: match &error.report {
                Some(report) => Ok(told(report)),
                None => Err(error.to_string()),
            },
        },
    }
}

fn to_json(report: &Report) -> Value {
    serde_json::to_value(report).unwrap_or_else(|error| json!({ "error": error.to_string() }))
}
