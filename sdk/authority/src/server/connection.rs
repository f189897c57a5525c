//! One connection: TLS handshake, the identity of the peer, HTTP/1.1, and the deadlines of all three.

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use super::{request, stall::Stall};
use crate::{events::Event, limits::Limits, pki, session::Sessions};

/// What all connections share.
pub(super) struct Shared {
    pub(super) sessions: Sessions,
    pub(super) upload_types: Vec<String>,
    pub(super) certificate_lifetime: Duration,
    pub(super) connections: Connections,
}

/// Who is at the other end.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Of its verified certificate; `None` = it presented none.
    pub(super) fingerprint: Option<String>,
    /// The certificate itself, DER.
    pub(super) certificate: Option<CertificateDer<'static>>,
}

/// Serves one connection until either side ends it.
pub(super) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<()>,
) {
    let limits = &shared.sessions.limits;
    // Packages are small and answered at once; a failure costs milliseconds only.
    let _ = stream.set_nodelay(true);
    let handshake = timeout(limits.handshake, acceptor.accept(stream));
    let failure = tokio::select! {
        _ = stopped.changed() => return,
        tls = handshake => match tls {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("not finished after {:?}", limits.handshake)),
        }
    };
    let tls = match failure {
        Ok(tls) => tls,
        Err(reason) => {
            warn!("{address}: TLS handshake failed: {reason}");
            shared.sessions.events.send(Event::HandshakeFailed {
                peer: address,
                reason,
            });
            return;
        }
    };
    let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = Peer {
        address,
        fingerprint: certificates
            .first()
            .map(|certificate| pki::fingerprint(certificate)),
        certificate: certificates
            .first()
            .map(|certificate| certificate.clone().into_owned()),
    };
    let Some(_counted) = shared.connections.enter(&peer, limits) else {
        warn!(
            "{address}: refused, its device has {} connections open",
            limits.connections_per_device
        );
        return;
    };

    let service = service_fn(|request| {
        let (shared, peer) = (Arc::clone(&shared), peer.clone());
        async move { Ok::<_, Infallible>(request::answer(shared, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(limits.head_bytes)
        .max_headers(limits.headers)
        .serve_connection(TokioIo::new(Stall::new(tls, limits.stall)), service);
    let mut connection = pin!(connection);
    let mut lifetime = pin!(sleep(limits.connection));
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break Some(ended),
            () = lifetime.as_mut() => break None,
            _ = stopped.changed(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) if error.is_timeout() => {
            debug!("{address}: closed, no request within {:?}", limits.head);
        }
        Some(Err(error)) => info!("{address}: connection broke: {error}"),
        None => info!("{address}: closed after {:?}", limits.connection),
    }
}

/// Open connections by the fingerprint of their certificate.
#[derive(Default)]
pub(super) struct Connections(Mutex<HashMap<String, usize>>);

/// A connection that is counted.
struct Counted<'a> {
    connections: &'a Connections,
    fingerprint: String,
}

impl Connections {
    fn enter(&self, peer: &Peer, limits: &Limits) -> Option<Counted<'_>> {
        let fingerprint = peer.fingerprint.clone().unwrap_or_default();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(fingerprint.clone()).or_default();
        if *count >= limits.connections_per_device {
            return None;
        }
        *count += 1;
        Some(Counted {
            connections: self,
            fingerprint,
        })
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut counts = self
            .connections
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.fingerprint) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.fingerprint);
            }
        }
    }
}
