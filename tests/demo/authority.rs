//! North, the authority: its CA and server, what it has a card maker put on a card, and its applications.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use bailiwick_authority::pki::{CertificateRequest, Validity};
use bailiwick_authority::{Authority, DeviceId, Enroll, Entry, Init, Server, ServerOptions};
use bailiwick_protocol::{BootstrapDocument, Command};
use bailiwick_tests::device::DEVICE_ID;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// What North manages.
pub(crate) const METER: &str = "urn:oma:mo:x-foreign-sensor:1.0";
const TYPE: &str = "urn:oma:mo:x-bailiwick-mo-type:1.0";
const GRANT: &str = "urn:oma:mo:x-bailiwick-app-grant:1.0";
const CERT: &str = "urn:oma:mo:x-bailiwick-cert:1.0";
const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2";

pub(crate) struct North {
    authority: Authority,
    device: DeviceId,
    uri: String,
    account: BootstrapDocument,
    server: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// A local application: its certificate and key.
pub(crate) struct Application {
    pub(crate) name: &'static str,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl North {
    /// Its CA, its server, and a record of the device.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let init = Init {
            name: "North".into(),
            srv_id: Some("north".into()),
            ..Init::default()
        };
        let authority = Authority::init(&directory.join("north"), init)?;
        fs::write(
            directory.join("north.pem"),
            authority.ca()?.certificate_pem(),
        )?;
        let (port, stop, thread) = serve(authority.clone())?;
        let uri = format!("https://127.0.0.1:{port}");
        let device: DeviceId = DEVICE_ID.parse()?;
        let enroll = Enroll {
            moids: [METER, TYPE, GRANT, CERT, DEVINFO]
                .map(str::to_owned)
                .to_vec(),
            uri: Some(format!("{uri}/dm")),
            ..Enroll::default()
        };
        let mut account = authority.enroll(&device, enroll)?.bootstrap;
        for account in &mut account.accounts {
            // The card has both: the certificate of its key, and the CA among its trusted certificates.
            account.auth.trsp = None;
            account.auth.anchors_der.clear();
            account.auth.noti = None;
        }
        Ok(Self {
            authority,
            device,
            uri,
            account,
            server: Some((stop, thread)),
        })
    }

    /// What the device trusts.
    pub(crate) fn root(&self) -> Result<Vec<u8>> {
        Ok(self.authority.ca_certificate()?.to_vec())
    }

    /// A certificate for the card's key.
    pub(crate) fn certify(&self, key: &KeyPair) -> Result<Vec<u8>> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, DEVICE_ID);
        let request = CertificateRequest::from_der(params.serialize_request(key)?.der())?;
        let certificate =
            self.authority
                .certify(&self.device, &request, None, Validity::days(365))?;
        Ok(certificate.to_vec())
    }

    /// The bootstrap document for the card.
    pub(crate) fn account(&self) -> Result<Vec<u8>> {
        Ok(self.account.to_bytes())
    }

    /// A meter is made in the first session.
    pub(crate) fn queue_meter(&self) -> Result<()> {
        let description = include_str!("../foreign/sensor.ddf");
        let kind = json!([{ "ClientURI": format!("{TYPE}//"), "MOData": { "MOType": { "MOID": METER, "DDF": description } } }]);
        let meter = json!([{
            "ClientURI": format!("{METER}//"),
            "MOData": { "Sensor": { "ID": "kitchen", "Level": 1, "Data": { "1": { "Date": "24.11.", "Value": 11 } } } },
        }]);
        self.hget("type", &kind)?;
        self.hget("meter", &meter)
    }

    /// An application gets the right to read the meter.
    pub(crate) fn queue_grant(&self, meter: &str, subject: &str) -> Result<()> {
        let grant = json!([{
            "ClientURI": format!("{GRANT}//"),
            "MOData": { "AppGrant": { "Subject": subject, "Target": format!("{METER}/{meter}/"), "Rights": 1 } },
        }]);
        self.hget("grant", &grant)
    }

    fn hget(&self, name: &str, data: &Value) -> Result<()> {
        let resource = format!("{name}.json").parse()?;
        self.authority
            .repository()
            .put_bytes(&resource, data.to_string().as_bytes())?;
        let command =
            Command::parse(&["HGET".to_owned(), format!("{}/data/{name}.json", self.uri)])?;
        self.authority.queue(&self.device)?.push(&command)?;
        Ok(())
    }

    /// The name that the device gave the meter.
    pub(crate) fn meter(&self) -> Result<String> {
        let results = self.authority.journal(&self.device)?.entries()?;
        let uris = results.into_iter().filter_map(|entry| match entry {
            Entry::Result { uris, .. } => Some(uris),
            _ => None,
        });
        let meter = uris.flatten().find(|uri| uri.starts_with(METER));
        let meter = meter.and_then(|uri| uri.split('/').nth(1).map(str::to_owned));
        meter.context("the device has made no meter")
    }

    /// What North has heard of the device, in words.
    pub(crate) fn seen(&self) -> Result<Vec<String>> {
        let entries = self.authority.journal(&self.device)?.entries()?;
        let lines = entries.into_iter().filter_map(|entry| match entry {
            Entry::Alert { package, alert, .. } => {
                let kind = alert["AlertType"].as_str().unwrap_or_default().to_owned();
                Some(format!("North has heard, in Package#{package}: {kind}"))
            }
            _ => None,
        });
        Ok(lines.collect())
    }

    /// An application with a certificate of North's.
    pub(crate) fn application(&self, directory: &Path, name: &'static str) -> Result<Application> {
        let identity = self
            .authority
            .ca()?
            .issue_client(name, Validity::days(30))?;
        application(directory, name, &identity.chain_pem(), &identity.key_pem())
    }

    /// An application with a certificate of somebody else's, in the name of one of North's.
    pub(crate) fn stranger(directory: &Path) -> Result<Application> {
        let ca = bailiwick_authority::pki::Ca::new("Somebody else", Validity::days(30))?;
        let identity = ca.issue_client("meter-reader", Validity::days(30))?;
        application(
            directory,
            "stranger",
            &identity.chain_pem(),
            &identity.key_pem(),
        )
    }
}

impl Drop for North {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.server.take() {
            drop(stop);
            let _panicked = thread.join();
        }
    }
}

fn application(directory: &Path, name: &'static str, cert: &str, key: &str) -> Result<Application> {
    let path = |end: &str| directory.join(format!("{name}.{end}"));
    fs::write(path("pem"), cert)?;
    fs::write(path("key"), key)?;
    Ok(Application {
        name,
        cert: path("pem"),
        key: path("key"),
    })
}

/// Serves on a thread of its own until it is told to stop.
fn serve(authority: Authority) -> Result<(u16, oneshot::Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        let serving = async {
            let any = (std::net::Ipv4Addr::LOCALHOST, 0).into();
            match Server::bind(authority, any, ServerOptions::default()).await {
                Ok(server) => {
                    let _heard = tell.send(Ok(server.local_addr().port()));
                    server.run(async { stopped.await.unwrap_or(()) }).await;
                }
                Err(error) => {
                    let _heard = tell.send(Err(anyhow!(error)));
                }
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(serving);
        }
    });
    let port = told.recv().context("the server did not start")??;
    Ok((port, stop, thread))
}
