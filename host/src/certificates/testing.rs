//! For tests: certificates of made-up authorities, and TLS servers that use them.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Identity;
use crate::keys::{KeyRef, testing};

/// A certification authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate of an end entity and its key.
pub(crate) struct Issued {
    /// The chain: this certificate alone.
    pub(crate) chain_der: Vec<Vec<u8>>,
    /// The key, PKCS#8 in DER.
    pub(crate) key_der: Vec<u8>,
    /// The key, PKCS#8 in PEM.
    pub(crate) key_pem: String,
    /// The certificate in PEM.
    pub(crate) certificate_pem: String,
}

impl Issued {
    /// As the device shows it. Its key signs on a thread of its own.
    pub(crate) fn identity(&self) -> Identity {
        let (signer, public) = testing::signer(&self.key_pem);
        let key = KeyRef::File("key".into());
        Identity::new(&self.chain_der, key, &public, signer).unwrap()
    }
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// A CA below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    /// A CA below this one, and more in its certificate.
    pub(crate) fn intermediate_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    /// A CA that differs.
    pub(crate) fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A revocation list with these serial numbers, from and until in years.
    pub(crate) fn crl(&self, revoked: &[u64], from: i32, until: i32) -> Vec<u8> {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(from, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(from, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().der().to_vec()
    }

    pub(crate) fn server(&self, name: &str) -> Issued {
        self.issue(name, |_| {})
    }

    pub(crate) fn client(&self, name: &str) -> Issued {
        self.issue(name, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// With a key of any kind.
    pub(crate) fn client_with(&self, name: &str, key: KeyPair) -> Issued {
        self.issue_with(name, key, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    pub(crate) fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.issue_with(name, KeyPair::generate().unwrap(), change)
    }

    fn issue_with(
        &self,
        name: &str,
        key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            chain_der: vec![certificate.der().to_vec()],
            key_der: key.serialize_der(),
            key_pem: key.serialize_pem(),
            certificate_pem: certificate.pem(),
        }
    }
}

/// From and until when, in years, both on 1 January.
pub(crate) fn validity(params: &mut CertificateParams, from: i32, until: i32) {
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
}

/// A TLS server that answers every line with `ok\n`; it demands certificates of `clients` if given.
pub(crate) async fn serve(
    issued: &Issued,
    clients: Option<&Ca>,
    versions: &[&'static SupportedProtocolVersion],
) -> SocketAddr {
    serve_with(
        rustls::crypto::aws_lc_rs::default_provider(),
        issued,
        clients,
        versions,
    )
    .await
}

/// As [`serve`], with another choice of cryptography.
pub(crate) async fn serve_with(
    provider: CryptoProvider,
    issued: &Issued,
    clients: Option<&Ca>,
    versions: &[&'static SupportedProtocolVersion],
) -> SocketAddr {
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap();
    let chain = issued
        .chain_der
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    let key = PrivateKeyDer::try_from(issued.key_der.clone()).unwrap();
    let config = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().into()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else {
                    return;
                };
                let mut line = [0; 16];
                while matches!(tls.read(&mut line).await, Ok(read) if read > 0) {
                    let _gone = tls.write_all(b"ok\n").await;
                    let _gone = tls.flush().await;
                }
            });
        }
    });
    address
}
