//! TLS configurations made of identities and anchors: an anchor store per purpose, never the web's roots.

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use std::sync::Arc;

use super::{Identity, PkiError};

/// TLS 1.2 and 1.3 for a server that requires a client certificate which chains to one of `client_anchors`.
/// Without anchors it asks for none: for fake servers in tests only.
pub fn server_config(
    identity: &Identity,
    client_anchors: &[CertificateDer<'static>],
) -> Result<Arc<ServerConfig>, PkiError> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = if client_anchors.is_empty() {
        builder.with_no_client_auth()
    } else {
        let roots = Arc::new(root_store(client_anchors)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // No resumption: a client certificate that has expired since must not live on in a ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// TLS 1.2 and 1.3 for a client that trusts `anchors` alone and presents `identity` if asked.
pub fn client_config(
    anchors: &[CertificateDer<'static>],
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, PkiError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(root_store(anchors)?);
    let config = match identity {
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn root_store(anchors: &[CertificateDer<'static>]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone())?;
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
