//! Renewal over EST, from end to end: the real daemon with the authority of this project.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant, SystemTime};

use bailiwick_authority::{
    Authority, DeviceId, Enroll, Enrollment, Entry, Init, RunningServer, Server, ServerOptions,
    pki::{self, Validity},
};
use bailiwick_tests::daemon::pause;
use bailiwick_tests::device::{DEVICE_ID, Device, Setup};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long something may take that the daemon does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

const RENEWED: &str = "urn:x-bailiwick:at:certificate-renewed";
const NOT_RENEWED: &str = "urn:x-bailiwick:at:certificate-not-renewed";
const EXPIRES: &str = "urn:x-bailiwick:at:certificate-expires";

/// An authority with its server.
struct Managed {
    authority: Authority,
    server: RunningServer,
    device: DeviceId,
}

impl Managed {
    fn new(runtime: &Runtime, device: &Device, name: &str, more_anchors: &[Authority]) -> Self {
        let directory = device.directory().join(name);
        let init = Init {
            name: name.to_owned(),
            srv_id: Some(name.to_owned()),
            ..Init::default()
        };
        let authority = Authority::init(&directory, init).unwrap();
        let mut anchors = vec![authority.ca_certificate().unwrap()];
        anchors.extend(
            more_anchors
                .iter()
                .map(|more| more.ca_certificate().unwrap()),
        );
        let tls = pki::server_config(&authority.server_identity().unwrap(), &anchors).unwrap();
        let options = ServerOptions {
            tls: Some(tls),
            ..ServerOptions::default()
        };
        let any = "127.0.0.1:0".parse().unwrap();
        let server = runtime.block_on(async {
            Server::bind(authority.clone(), any, options)
                .await
                .unwrap()
                .spawn()
        });
        Self {
            authority,
            server,
            device: DEVICE_ID.parse().unwrap(),
        }
    }

    fn enroll(&self, validity: Validity) -> Enrollment {
        let enroll = Enroll {
            uri: Some(format!("https://{}/dm", self.server.local_addr())),
            validity,
            ..Enroll::default()
        };
        self.authority.enroll(&self.device, enroll).unwrap()
    }

    /// How many certificates the device has been given and may use.
    fn certificates(&self) -> Vec<String> {
        self.authority.device(&self.device).unwrap().certificates
    }

    /// The data of the alerts of this type that have come, oldest first.
    fn alerts(&self, alert_type: &str) -> Vec<Value> {
        let journal = self.authority.journal(&self.device).unwrap();
        let entries = journal.entries().unwrap();
        let alerts = entries.into_iter().filter_map(|entry| match entry {
            Entry::Alert { alert, .. } if alert["AlertType"] == alert_type => Some(alert),
            _ => None,
        });
        alerts
            .map(|alert| serde_json::from_str(alert["Data"]["DM1x"].as_str().unwrap()).unwrap())
            .collect()
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Looks until it is so; whatever `device` has to say about it is shown if it never is.
fn wait_for(device: &Device, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        let log = device.log();
        let telling = |line: &&str| !line.contains("DEBUG") && !line.contains("session ended");
        let last: Vec<_> = log.lines().filter(telling).rev().take(20).collect();
        assert!(begun.elapsed() < PATIENCE, "{what} never: {last:#?}");
        pause(Duration::from_millis(20));
    }
}

/// Two hours old and good for less than one: its time for renewal has come.
fn old() -> Validity {
    let now = SystemTime::now();
    Validity {
        not_before: now - Duration::from_secs(7_200),
        not_after: now + Duration::from_secs(1_800),
    }
}

fn is_completed(report: &Value) -> bool {
    report["completed"] == true
}

#[test]
fn a_certificate_is_renewed_by_itself_and_tried_before_it_counts() {
    let runtime = runtime();
    let device = Setup::usual().start();
    let north = Managed::new(&runtime, &device, "north", &[]);
    let enrollment = north.enroll(old());
    let admin = device.admin();
    admin.bootstrap(&enrollment.bootstrap.to_bytes()).unwrap();

    wait_for(&device, "the new certificate has worked", || {
        admin.session("north").unwrap();
        !north.alerts(RENEWED).is_empty()
    });
    let told = north.alerts(RENEWED).remove(0);
    let certificates = north.certificates();
    assert_eq!(certificates.len(), 2);
    assert_eq!(certificates[0], enrollment.identity.fingerprint());
    assert!(certificates[1].starts_with(told["certificate"].as_str().unwrap()));
    assert!(certificates[0].starts_with(told["replaces"].as_str().unwrap()));
    assert!(
        !north.alerts(EXPIRES).is_empty(),
        "it had half an hour left"
    );
    assert!(north.alerts(NOT_RENEWED).is_empty());

    // Sessions show the new one alone: they work when the old one is refused, also after a restart.
    let directory = north.authority.dir().join("certificates");
    std::fs::remove_file(directory.join(&certificates[0])).unwrap();
    assert!(is_completed(&admin.session("north").unwrap()));
    let device = device.restart();
    let admin = device.admin();
    assert!(is_completed(&admin.session("north").unwrap()));
    // Fresh, it is not renewed again; that is, unless somebody asks.
    assert_eq!(north.certificates().len(), 2);
    let asked = admin.call(
        "RenewCertificate",
        json!({ "authority": "north", "id": null }),
    );
    let id = asked.unwrap()["certificate"].as_str().unwrap().to_owned();
    wait_for(&device, "that one has worked", || {
        admin.session("north").unwrap();
        north.alerts(RENEWED).len() == 2
    });
    assert_eq!(north.alerts(RENEWED)[1]["certificate"], id);
    // The key of the one between them has gone: the enrolled one's is there, and that of the document.
    let keys = std::fs::read_dir(device.directory().join("state/keys")).unwrap();
    let made = keys.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".key")
    });
    assert_eq!(made.count(), 1);
    device.stop();
}

#[test]
fn a_certificate_that_does_not_work_goes_and_the_old_one_is_used() {
    let runtime = runtime();
    let device = Setup::usual().start();
    let north = Managed::new(&runtime, &device, "north", &[]);
    // Its certificates are those of another CA, which north's server does not know.
    let other = Managed::new(&runtime, &device, "other", &[north.authority.clone()]);
    other.enroll(Validity::days(1));
    let mut enrollment = north.enroll(Validity::days(300));
    let known = other.authority.dir().join("certificates");
    std::fs::write(known.join(enrollment.identity.fingerprint()), DEVICE_ID).unwrap();
    let account = &mut enrollment.bootstrap.accounts[0];
    let anchor = other.authority.ca_certificate().unwrap();
    account.auth.anchors_der.push(anchor.to_vec());
    account.est_uri = Some(format!(
        "https://{}/.well-known/est",
        other.server.local_addr()
    ));
    let admin = device.admin();
    admin.bootstrap(&enrollment.bootstrap.to_bytes()).unwrap();
    assert!(is_completed(&admin.session("north").unwrap()));

    let asked = admin.call(
        "RenewCertificate",
        json!({ "authority": "north", "id": null }),
    );
    let id = asked.unwrap()["certificate"].clone();
    wait_for(&device, "the new certificate has gone", || {
        admin.session("north").unwrap();
        !north.alerts(NOT_RENEWED).is_empty()
    });
    assert_eq!(north.alerts(NOT_RENEWED)[0]["certificate"], id);
    assert!(north.alerts(RENEWED).is_empty());
    assert!(is_completed(&admin.session("north").unwrap()));
    device.stop();
}

#[test]
fn a_service_that_refuses_costs_no_session() {
    let runtime = runtime();
    let device = Setup::usual().start();
    let north = Managed::new(&runtime, &device, "north", &[]);
    let mut enrollment = north.enroll(old());
    let account = &mut enrollment.bootstrap.accounts[0];
    let service = account.est_uri.clone().unwrap();
    account.est_uri = Some(format!("{service}/nobodys-label"));
    let admin = device.admin();
    admin.bootstrap(&enrollment.bootstrap.to_bytes()).unwrap();
    wait_for(&device, "the authority is told", || {
        assert!(is_completed(&admin.session("north").unwrap()));
        !north.alerts(NOT_RENEWED).is_empty()
    });
    let reason = north.alerts(NOT_RENEWED)[0]["reason"].to_string();
    assert!(reason.contains("404"), "{reason}");
    let refused = admin.call(
        "RenewCertificate",
        json!({ "authority": "nobody", "id": null }),
    );
    assert!(refused.unwrap_err().to_string().contains("account"));
    let refused = admin.call(
        "RenewCertificate",
        json!({ "authority": "north", "id": "ffff" }),
    );
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("no such identity")
    );
    device.stop();
}
