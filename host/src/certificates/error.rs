//! Why a server is not believed, or does not believe the device: what happened, and what to do.

use std::io;

use rustls::{AlertDescription, CertificateError as Rejected, Error as Tls};

use super::verify::NoPinFits;
use crate::keys::KeyError;

/// What is known of a connection when something about it has to be explained.
#[derive(Clone, Debug)]
pub(super) struct Situation {
    pub(super) server_name: String,
    pub(super) asked_for_identity: bool,
    pub(super) has_identity: bool,
}

/// Why there is no connection that both sides can trust.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The account has nothing that could vouch for a server.
    #[error(
        "the account has no anchors; bootstrap it again with the certificate of the authority's CA in Ext/Anchor"
    )]
    NoAnchors,
    /// More anchors than are looked at.
    #[error("the account has more than {limit} anchors; bootstrap it with the ones in use")]
    TooManyAnchors {
        /// What is allowed.
        limit: usize,
    },
    /// An anchor is not a certificate.
    #[error(
        "anchor {index} is not an X.509 certificate in DER ({reason}); correct the bootstrap document"
    )]
    Anchor {
        /// Counted from 0.
        index: usize,
        /// What the parser says.
        reason: String,
    },
    /// Pins that lock the device out, or are too many.
    #[error(
        "the account names {found} keys in Ext/Pin; none, or 2 to {limit}: one in use and one to replace it"
    )]
    Pins {
        /// Different ones.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not a revocation list that can be used.
    #[error("revocation list {index} cannot be used: {reason}; the authority must publish another")]
    Crl {
        /// Counted from 0.
        index: usize,
        /// Why.
        reason: String,
    },
    /// Revocation lists without end.
    #[error(
        "the revocation lists have {bytes} bytes, or are too many; at most {limit} bytes are read"
    )]
    CrlSize {
        /// How many.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The authority has taken the certificate back.
    #[error(
        "the certificate of {server} was revoked; its operator must replace it, or this is not the authority's server"
    )]
    Revoked {
        /// The server.
        server: String,
    },
    /// Nobody says that it was not.
    #[error(
        "the authority publishes revocation lists, and none that holds covers {server} ({reason}); it must publish a newer one"
    )]
    RevocationUnknown {
        /// The server.
        server: String,
        /// What was found.
        reason: &'static str,
    },
    /// The key of the server is not one that the account names.
    #[error(
        "{server} has a key that the account does not name (Ext/Pin); its operator must use one of those, or this is not the authority's server"
    )]
    NotPinned {
        /// The server.
        server: String,
    },
    /// The device's chain is unusable.
    #[error("the device's certificate chain is unusable: {reason}; correct the bootstrap document")]
    Chain {
        /// Why.
        reason: String,
    },
    /// The device's key is unusable.
    #[error(
        "the device's private key is not PEM or DER of a PKCS#8, SEC 1 or PKCS#1 key of a supported kind; correct the bootstrap document"
    )]
    Key,
    /// Certificate and key are not a pair.
    #[error(
        "the device's private key does not belong to its certificate; correct the bootstrap document"
    )]
    KeyMismatch,
    /// The key did not sign.
    #[error("the device cannot show who it is: {source}")]
    Signing {
        /// Why.
        source: KeyError,
    },
    /// Not a name that a certificate could carry.
    #[error("{name:?} is neither a DNS name nor an IP address; correct the address of the server")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The certificate is not valid any more.
    #[error(
        "the certificate of {server} has expired; its operator must renew it, or the device's clock is wrong"
    )]
    Expired {
        /// The server.
        server: String,
    },
    /// The certificate is not valid yet.
    #[error("the certificate of {server} is not valid yet; the device's clock is probably slow")]
    NotYetValid {
        /// The server.
        server: String,
    },
    /// Nobody whom this account trusts vouches for the server.
    #[error(
        "the certificate of {server} was not issued under an anchor of this account; the account needs its CA, or this is not the authority's server"
    )]
    UnknownIssuer {
        /// The server.
        server: String,
    },
    /// The certificate is for somebody else.
    #[error("the server called {server} has a certificate for {} instead; correct the address or the certificate", list(.presented))]
    WrongName {
        /// The name that was called.
        server: String,
        /// Names in the certificate.
        presented: Vec<String>,
    },
    /// The certificate fails for another reason.
    #[error(
        "the certificate of {server} is not acceptable: {reason}; its operator must replace it"
    )]
    Rejected {
        /// The server.
        server: String,
        /// Why.
        reason: String,
    },
    /// The server wants a certificate from a device that has none.
    #[error(
        "{server} demands a client certificate and the account has none; bootstrap the account with Auth/Trsp"
    )]
    IdentityWanted {
        /// The server.
        server: String,
    },
    /// The server does not like the device's certificate.
    #[error(
        "{server} refused the device's certificate ({alert}); the authority must accept its issuer, or issue another"
    )]
    IdentityRefused {
        /// The server.
        server: String,
        /// The alert that it sent.
        alert: String,
    },
    /// No version, cipher suite or protocol that both sides know.
    #[error(
        "{server} and the device have no TLS parameters in common ({reason}); the server must offer TLS 1.2 or 1.3 with AEAD suites, and HTTP/1.1"
    )]
    NothingInCommon {
        /// The server.
        server: String,
        /// What was said.
        reason: String,
    },
    /// What the server sends is not TLS, or broken TLS.
    #[error("{server} does not speak TLS as it should ({reason}); check address and port")]
    Protocol {
        /// The server.
        server: String,
        /// What was wrong.
        reason: String,
    },
    /// The connection ended in the middle of the handshake.
    #[error("{server} closed the connection during the TLS handshake; its log should say why")]
    Closed {
        /// The server.
        server: String,
    },
    /// The handshake took too long.
    #[error(
        "no TLS handshake within {milliseconds} ms; the server or the network is overloaded, or the port is not a TLS port"
    )]
    TimedOut {
        /// The deadline.
        milliseconds: u128,
    },
    /// The connection failed.
    #[error("the connection to {server} failed: {source}; it is tried again later")]
    Connection {
        /// The server.
        server: String,
        /// What the system said.
        source: io::Error,
    },
    /// The device itself cannot do it.
    #[error("TLS cannot be set up on this device: {reason}")]
    Device {
        /// Why.
        reason: String,
    },
}

impl CertificateError {
    /// Finds out what an error of a handshake, or of a connection after it, means.
    pub(super) fn from_io(error: io::Error, situation: &Situation) -> Self {
        let server = situation.server_name.clone();
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Tls>())
        {
            Some(tls) => Self::from_tls(tls, situation),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Self::Closed { server },
                _ => Self::Connection {
                    server,
                    source: error,
                },
            },
        }
    }

    fn from_tls(error: &Tls, situation: &Situation) -> Self {
        let server = situation.server_name.clone();
        match error {
            Tls::InvalidCertificate(why) => Self::from_rejected(why, server),
            Tls::NoCertificatesPresented => Self::Rejected {
                server,
                reason: "it presented none".into(),
            },
            Tls::InvalidCertRevocationList(_) => Self::RevocationUnknown {
                server,
                reason: "the list is not signed by it",
            },
            Tls::AlertReceived(alert) => Self::from_alert(*alert, situation),
            Tls::PeerIncompatible(why) => Self::NothingInCommon {
                server,
                reason: format!("{why:?}"),
            },
            other => Self::Protocol {
                server,
                reason: other.to_string(),
            },
        }
    }

    fn from_rejected(why: &Rejected, server: String) -> Self {
        match why {
            Rejected::Expired | Rejected::ExpiredContext { .. } => Self::Expired { server },
            Rejected::NotValidYet | Rejected::NotValidYetContext { .. } => {
                Self::NotYetValid { server }
            }
            Rejected::UnknownIssuer => Self::UnknownIssuer { server },
            Rejected::NotValidForName => Self::WrongName {
                server,
                presented: Vec::new(),
            },
            Rejected::NotValidForNameContext { presented, .. } => Self::WrongName {
                server,
                presented: presented.clone(),
            },
            Rejected::Revoked => Self::Revoked { server },
            Rejected::UnknownRevocationStatus => Self::RevocationUnknown {
                server,
                reason: "no list of its issuer",
            },
            Rejected::ExpiredRevocationList | Rejected::ExpiredRevocationListContext { .. } => {
                Self::RevocationUnknown {
                    server,
                    reason: "the list has expired",
                }
            }
            Rejected::Other(other) if other.0.is::<NoPinFits>() => Self::NotPinned { server },
            other => Self::Rejected {
                server,
                reason: other.to_string(),
            },
        }
    }

    fn from_alert(alert: AlertDescription, situation: &Situation) -> Self {
        use AlertDescription as A;
        let server = situation.server_name.clone();
        let about_identity = match alert {
            A::CertificateRequired
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::NoCertificate => true,
            // TLS 1.2 (RFC 5246 §7.4.6) has no better word for a missing client certificate.
            A::HandshakeFailure | A::DecryptError => situation.asked_for_identity,
            _ => false,
        };
        match (about_identity, situation.has_identity) {
            (true, false) => Self::IdentityWanted { server },
            (true, true) => Self::IdentityRefused {
                server,
                alert: format!("{alert:?}"),
            },
            (false, _) => match alert {
                A::HandshakeFailure
                | A::ProtocolVersion
                | A::InsufficientSecurity
                | A::NoApplicationProtocol => Self::NothingInCommon {
                    server,
                    reason: format!("{alert:?}"),
                },
                _ => Self::Protocol {
                    server,
                    reason: format!("it sent the alert {alert:?}"),
                },
            },
        }
    }
}

/// Names as people write them; the library wraps each in its kind: `DnsName("dm.example")`.
fn list(names: &[String]) -> String {
    let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    match names {
        [] => "no name at all".to_owned(),
        names => names.iter().map(bare).collect::<Vec<_>>().join(", "),
    }
}
