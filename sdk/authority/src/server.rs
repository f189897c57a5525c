//! The DM server and the data repository on one port, over mutual TLS.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::{
    authority::{Authority, AuthorityError, CERTIFICATE_DAYS},
    clock,
    events::{Events, Observer},
    files::{self, FileError},
    limits::Limits,
    pki::{self, PkiError},
    policy::{Policy, QueuePolicy},
    session::Sessions,
};

mod connection;
mod stall;

mod request;

mod data;
mod est;
mod packages;

mod body;

use connection::{Connections, Shared};

/// How a server differs from the usual one.
#[derive(Default)]
pub struct ServerOptions {
    /// Upper bounds.
    pub limits: Limits,
    /// What devices are told; `None` = [`QueuePolicy`].
    pub policy: Option<Arc<dyn Policy>>,
    /// TLS; `None` = the authority's server certificate, and clients of its CA alone. For tests; whatever stands here,
    /// a client without an enrolled certificate gets 403.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Media types of uploads; others get 415 with these in `OMADM-Accept`. Empty = all.
    pub upload_types: Vec<String>,
    /// How long certificates hold that devices ask for (EST); `None` = [`CERTIFICATE_DAYS`].
    pub certificate_lifetime: Option<Duration>,
}

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address}: {source}; choose another --listen address, or port 0 for any free port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another server uses the same directory.
    #[error("another server is serving this directory; stop it first")]
    Busy,
    /// The authority's directory cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A server that has its address and does not answer yet; [`Server::run`] makes it answer.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    /// Held as long as the server lives.
    _serving: std::fs::File,
}

impl Server {
    /// Takes the address; port 0 = any free one, see [`Server::local_addr`].
    pub async fn bind(
        authority: Authority,
        listen: SocketAddr,
        options: ServerOptions,
    ) -> Result<Self, ServerError> {
        let serving =
            files::try_lock(&authority.dir().join("serve.lock"))?.ok_or(ServerError::Busy)?;
        authority.repository().remove_unfinished();
        warn_of_expiry(&authority);
        let tls = match options.tls {
            Some(tls) => tls,
            None => {
                let anchor = authority.ca_certificate()?;
                pki::server_config(&authority.server_identity()?, &[anchor])?
            }
        };
        let failed = |source| ServerError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let policy = options
            .policy
            .unwrap_or_else(|| Arc::new(QueuePolicy::new(authority.clone())));
        let events = Events::new();
        let sessions = Sessions::new(authority, policy, options.limits, events);
        Ok(Server {
            listener,
            address,
            acceptor: TlsAcceptor::from(tls),
            shared: Arc::new(Shared {
                sessions,
                upload_types: options.upload_types,
                certificate_lifetime: options
                    .certificate_lifetime
                    .unwrap_or(Duration::from_secs(u64::from(CERTIFICATE_DAYS) * 86_400)),
                connections: Connections::default(),
            }),
            _serving: serving,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Sees what happens from now on.
    pub fn observe(&self) -> Observer {
        self.shared.sessions.events.observe()
    }

    /// Answers until `shutdown` is ready; then finishes what is under way, within [`Limits::drain`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let limits = &self.shared.sessions.limits;
        // Dropping the sender tells every connection.
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((_, peer)) if connections.len() >= limits.connections => {
                        warn!("{peer}: refused, {} connections are open", connections.len());
                    }
                    Ok((stream, peer)) => {
                        let acceptor = self.acceptor.clone();
                        let shared = Arc::clone(&self.shared);
                        let stopped = stopped.clone();
                        connections.spawn(async move {
                            connection::serve(stream, peer, acceptor, shared, stopped).await;
                        });
                    }
                    Err(error) => {
                        // Out of descriptors, mostly: wait for some to come back instead of spinning.
                        warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
        drop(stop);
        info!("stopping, {} connections open", connections.len());
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(limits.drain, drained).await.is_err() {
            warn!("connections were cut, their devices were too slow");
        }
    }

    /// [`Server::run`] on a task of its own.
    pub fn spawn(self) -> RunningServer {
        let (stop, stopped) = watch::channel(());
        let address = self.address;
        let events = self.shared.sessions.events.clone();
        let authority = self.shared.sessions.authority.clone();
        let task = tokio::spawn(self.run(async move {
            let mut stopped = stopped;
            // Nothing is ever sent: an error, the sender being gone, is the signal.
            let _ = stopped.changed().await;
        }));
        RunningServer {
            address,
            authority,
            events,
            stop,
            task,
        }
    }
}

/// A server on a task of its own. Dropping it stops it as well, without waiting.
pub struct RunningServer {
    address: SocketAddr,
    authority: Authority,
    events: Events,
    stop: watch::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl RunningServer {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its authority, for queueing and reading results.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Sees what happens from now on.
    pub fn observe(&self) -> Observer {
        self.events.observe()
    }

    /// Stops it, and waits until it has stopped: the directory and the port are free.
    pub async fn stop(self) {
        drop(self.stop);
        // A panic in there has been reported by the runtime already.
        let _ = self.task.await;
    }
}

fn warn_of_expiry(authority: &Authority) {
    const MONTH: u64 = 30 * 86_400;
    let left = authority
        .server_not_after()
        .saturating_sub(clock::unix_seconds(SystemTime::now()));
    if left == 0 {
        warn!(
            "the server certificate has expired, devices will refuse it; run `bailiwick-authority renew`"
        );
    } else if left < MONTH {
        warn!(
            "the server certificate expires in {} days; run `bailiwick-authority renew`",
            left / 86_400
        );
    }
}
