//! Who is it: the device's anchors and identity for one authority, and the TLS that uses them.
//!
//! The only room that names rustls. TLS 1.3 and 1.2 with AEAD suites, X25519MLKEM768 preferred. A server
//! is believed because of the anchors of the one authority it is asked to be, never because of those of
//! another authority, and never because of the web's. Nothing is resumed: no ticket outlives a certificate,
//! an identity or an authority.

mod application;
mod chain;
mod clock;
mod credentials;
mod describe;
mod error;
mod handshake;
mod identity;
mod pending;
mod principals;
mod proof;
mod request;
mod rules;
mod verify;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::authority::Authority;

pub use application::{Applicant, ApplicationError, NONCE, statement};
pub use chain::{NoChain, chain, issued_below};
pub use clock::Clock;
pub use credentials::{Credential, Origin, Purpose, Role, State, UnknownPurpose, fingerprint};
pub use describe::{Description, MAX_CERTIFICATE, Part, Unfit, day, lint, pem, printable};
pub use error::CertificateError;
pub use identity::{Identity, certificates, check_pair, private_key_pem};
pub use pending::{Asked, Pending};
pub use principals::{Principal, PrincipalError};
pub use proof::{challenge, verifies};
pub use request::{Request, RequestError, certs_only, ours};
pub use rules::{Crl, MAX_CRL_BYTES, Rules};

use error::Situation;
use handshake::Socket;
use identity::Presenter;

/// What the device needs to talk to the servers of ONE authority: the anchors that vouch for them, and
/// what the device shows them. Made once for an account, used for any number of connections.
pub struct Trust {
    authority: Authority,
    /// Everything but the presenter of the identity, which is made for each connection.
    config: ClientConfig,
    identity: Option<Arc<Identity>>,
}

impl Trust {
    /// Servers of `authority` chain to one of `anchors_der` (X.509, DER); the device shows them
    /// `identity` when they ask for it.
    pub fn new(
        authority: Authority,
        anchors_der: &[Vec<u8>],
        identity: Option<Identity>,
    ) -> Result<Self, CertificateError> {
        Self::by_rules(authority, anchors_der, &Rules::default(), identity)
    }

    /// As [`Trust::new`]; servers also keep to the `rules` of the authority.
    pub fn by_rules(
        authority: Authority,
        anchors_der: &[Vec<u8>],
        rules: &Rules,
        identity: Option<Identity>,
    ) -> Result<Self, CertificateError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = verify::by_anchors(anchors_der, rules, &provider)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| CertificateError::Device {
                reason: e.to_string(),
            })?
            .dangerous()
            // Not dangerous: it is the library's own, at a time of ours, and pins on top.
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            authority,
            config,
            identity: identity.map(Arc::new),
        })
    }

    /// Whose servers these anchors vouch for.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether the device has a certificate to show to servers of this authority.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The certificate that the device shows.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("authority", &self.authority)
            .field("identity", &self.has_identity())
            .finish_non_exhaustive()
    }
}

/// Runs the TLS handshake over `stream` with a server that must prove to be `server_name` (a DNS name, or
/// an IP address without brackets) by a chain to an anchor in `trust`. Gives up after `deadline`.
pub async fn connect(
    stream: TcpStream,
    server_name: &str,
    trust: &Trust,
    deadline: Duration,
) -> Result<Channel, CertificateError> {
    let name =
        ServerName::try_from(server_name.to_owned()).map_err(|_| CertificateError::ServerName {
            name: server_name.to_owned(),
        })?;
    let until = Instant::now() + deadline;
    let presenter = Arc::new(Presenter::new(trust.identity.clone(), until));
    let mut config = trust.config.clone();
    config.client_auth_cert_resolver = presenter.clone();

    let outcome = handshake::run(config, name, stream, until).await;
    let situation = Situation {
        server_name: server_name.to_owned(),
        asked_for_identity: presenter.was_asked(),
        has_identity: trust.has_identity(),
    };
    match outcome {
        Ok(stream) => Ok(Channel {
            authority: trust.authority.clone(),
            situation,
            stream,
        }),
        Err(error) => Err(match presenter.take_failure() {
            Some(source) => CertificateError::Signing { source },
            None if error.kind() == io::ErrorKind::TimedOut => CertificateError::TimedOut {
                milliseconds: deadline.as_millis(),
            },
            None => CertificateError::from_io(error, &situation),
        }),
    }
}

/// An encrypted connection to a server that has proved to be `authority()`.
pub struct Channel {
    authority: Authority,
    situation: Situation,
    stream: TlsStream<Socket>,
}

impl Channel {
    /// Who the server is.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether the server asked for the device's certificate and got it. OMA DM 2.0 wants both sides to
    /// be authenticated: without this, the server has to authenticate the device by other means.
    pub fn is_mutual(&self) -> bool {
        self.situation.asked_for_identity && self.situation.has_identity
    }

    /// `TLS 1.3` or `TLS 1.2`, and the cipher suite: for reports.
    pub fn description(&self) -> String {
        let (_, tls) = self.stream.get_ref();
        let version = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        };
        let group = tls
            .negotiated_key_exchange_group()
            .map(|g| format!("{:?}", g.name()));
        let suite = tls
            .negotiated_cipher_suite()
            .map(|s| format!("{:?}", s.suite()));
        [Some(version.to_owned()), group, suite]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// In TLS 1.3 a server refuses the device's certificate only after the handshake: say so in words.
    fn explain(&self, error: io::Error) -> io::Error {
        if error
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>())
        {
            let kind = error.kind();
            io::Error::new(kind, CertificateError::from_io(error, &self.situation))
        } else {
            error
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({}, {})", self.authority, self.description())
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        polled.map_err(|e| self.explain(e))
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        polled.map_err(|e| self.explain(e))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        polled.map_err(|e| self.explain(e))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        polled.map_err(|e| self.explain(e))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        polled.map_err(|e| self.explain(e))
    }
}
