//! Certificates, keys and TLS configurations: of an authority, of its servers, and of a device.

use std::sync::Arc;

use bailiwick_authority::pki::{self, Ca, Identity, Validity};
use bailiwick_protocol::bootstrap::TrspAuth;
use bailiwick_protocol::{Account, AccountAuth, BootstrapDocument};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// Days that certificates hold: so many that the device does not warn of their end.
const DAYS: u32 = 90;

/// The versions of TLS that are good enough.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

/// An authority: its CA, and what it gave the device.
pub(crate) struct Trust {
    pub(crate) ca: Ca,
    /// What the device shows.
    pub(crate) device: Identity,
}

impl Trust {
    /// A CA of this name.
    pub(crate) fn new(name: &str) -> Self {
        let ca = Ca::new(name, Validity::days(DAYS)).unwrap();
        let device = ca.issue_client("the device", Validity::days(DAYS)).unwrap();
        Self { ca, device }
    }

    /// A certificate for these names and addresses.
    pub(crate) fn server(&self, hosts: &[&str]) -> Identity {
        self.server_for(hosts, Validity::days(DAYS))
    }

    /// The same, for another time.
    pub(crate) fn server_for(&self, hosts: &[&str], validity: Validity) -> Identity {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.ca.issue_server(&hosts, validity).unwrap()
    }

    /// What the usual server of this authority does: it demands the device's certificate.
    pub(crate) fn usual(&self) -> Arc<ServerConfig> {
        config(
            &self.server(&["127.0.0.1", "::1", "localhost"]),
            Some(&self.ca),
        )
    }
}

/// Shows `identity` and demands certificates of `clients`, if given.
pub(crate) fn config(identity: &Identity, clients: Option<&Ca>) -> Arc<ServerConfig> {
    let anchors: Vec<_> = clients
        .iter()
        .map(|ca| ca.certificate_der().clone())
        .collect();
    pki::server_config(identity, &anchors).unwrap()
}

/// The same with one version of TLS.
pub(crate) fn only(
    version: &'static SupportedProtocolVersion,
    identity: &Identity,
    clients: Option<&Ca>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.certificate_der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder.with_single_cert(identity.chain().to_vec(), identity.key());
    Arc::new(config.unwrap())
}

/// An account whose server is at this URI.
pub(crate) fn account(trust: &Trust, srv_id: &str, srv_uri: &str, moids: &[&str]) -> Account {
    Account {
        srv_id: srv_id.to_owned(),
        srv_uri: srv_uri.to_owned(),
        name: format!("The authority {srv_id}"),
        permitted_moids: moids.iter().map(|moid| (*moid).to_owned()).collect(),
        auth: AccountAuth {
            anchors_der: vec![trust.ca.certificate_der().to_vec()],
            trsp: Some(TrspAuth {
                data: trust.device.certificate_der().to_vec(),
                secret: trust.device.key_der().to_vec().into(),
            }),
            ..AccountAuth::default()
        },
        ..Account::default()
    }
}

/// A bootstrap document with these accounts.
pub(crate) fn document(accounts: Vec<Account>) -> Vec<u8> {
    let document = BootstrapDocument {
        accounts,
        ..BootstrapDocument::default()
    };
    document.to_bytes()
}
