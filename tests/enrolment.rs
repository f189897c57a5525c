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
    let other = Managed::new(
        &runtime,
        &device,
        "other",
        std::slice::from_ref(&north.authority),
    );
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

/// Runs the program as the operator of a device; what it prints.
fn operator(device: &Device, arguments: &[&str]) -> Result<String, String> {
    let output = std::process::Command::new(bailiwick_tests::executable("bailiwick"))
        .current_dir(device.directory())
        .args(["--config", "bailiwick.toml"])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

#[test]
fn certificates_and_keys_are_imported_from_files() {
    let runtime = runtime();
    let device = Setup::usual().start();
    let north = Managed::new(&runtime, &device, "north", &[]);
    let enrollment = north.enroll(Validity::days(300));
    let admin = device.admin();
    admin.bootstrap(&enrollment.bootstrap.to_bytes()).unwrap();
    assert!(is_completed(&admin.session("north").unwrap()));

    // Another identity, in PEM with its chain; sessions show it, and nothing else is accepted any more.
    let renewed = Enroll {
        uri: Some(format!("https://{}/dm", north.server.local_addr())),
        renew: true,
        ..Enroll::default()
    };
    let identity = north
        .authority
        .enroll(&north.device, renewed)
        .unwrap()
        .identity;
    let write = |name: &str, text: String| {
        std::fs::write(device.directory().join(name), text).unwrap();
    };
    write("both.pem", identity.key_pem() + &identity.chain_pem());
    let import = |file: &str, more: &[&str]| {
        let arguments = [&["certs", "import", file, "--authority", "north"], more].concat();
        operator(&device, &arguments)
    };
    let told = import("both.pem", &[]).unwrap();
    let id = identity.fingerprint()[..16].to_owned();
    assert_eq!(told, format!("imported {id}\n"));
    let known = north.authority.dir().join("certificates");
    std::fs::remove_file(known.join(enrollment.identity.fingerprint())).unwrap();
    assert!(is_completed(&admin.session("north").unwrap()));
    let device = device.restart();
    assert!(is_completed(&device.admin().session("north").unwrap()));

    // An anchor, for applications alone.
    let anchor = std::fs::read_to_string(north.authority.dir().join("ca.pem")).unwrap();
    std::fs::write(device.directory().join("ca.pem"), anchor).unwrap();
    let import = |file: &str, more: &[&str]| {
        let arguments = [&["certs", "import", file, "--authority", "north"], more].concat();
        operator(&device, &arguments)
    };
    import("ca.pem", &["--purpose", "applications"]).unwrap();
    let refused = [
        (&["--purpose", "se ssions"][..], "no purpose"),
        (&["--authority-of-nobody"][..], "unexpected argument"),
    ];
    for (more, why) in refused {
        let said = import("ca.pem", more).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    // A certificate of the device is no anchor, and somebody else's key is no pair.
    std::fs::write(device.directory().join("leaf.pem"), identity.chain_pem()).unwrap();
    let said = import("leaf.pem", &[]).unwrap_err();
    assert!(said.contains("not the certificate of a CA"), "{said}");
    let other = enrollment.identity.key_pem() + &identity.chain_pem();
    std::fs::write(device.directory().join("other.pem"), other).unwrap();
    let said = import("other.pem", &[]).unwrap_err();
    assert!(said.contains("belongs to none"), "{said}");
    let keys: Vec<_> = std::fs::read_dir(device.directory().join("state/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(keys.len() <= 3, "a refused file leaves nothing: {keys:?}");
    device.stop();
}

#[test]
fn a_pkcs_12_file_of_openssl_is_imported() {
    if bailiwick_tests::program("openssl").is_none() {
        return bailiwick_tests::cannot_run("pkcs12", "apt-get install openssl");
    }
    let runtime = runtime();
    let device = Setup::usual().start();
    let north = Managed::new(&runtime, &device, "north", &[]);
    let identity = north.enroll(Validity::days(300)).identity;
    let at = |name: &str| device.directory().join(name);
    std::fs::write(at("c.pem"), identity.chain_pem()).unwrap();
    std::fs::write(at("k.pem"), identity.key_pem()).unwrap();
    std::fs::write(at("password"), "hush hush\n").unwrap();
    std::fs::write(at("wrong"), "hush\n").unwrap();
    let exported = std::process::Command::new("openssl")
        .current_dir(device.directory())
        .args(["pkcs12", "-export", "-in", "c.pem", "-inkey", "k.pem"])
        .args(["-out", "both.p12", "-passout", "file:password"])
        .status()
        .unwrap();
    assert!(exported.success());
    let import = |more: &[&str]| {
        let arguments = ["certs", "import", "both.p12", "--authority", "north"];
        operator(&device, &[&arguments[..], more].concat())
    };
    let said = import(&[]).unwrap_err();
    assert!(said.contains("--password-file"), "{said}");
    let said = import(&["--password-file", "wrong"]).unwrap_err();
    assert!(said.contains("this password"), "{said}");
    let told = import(&["--password-file", "password"]).unwrap();
    assert_eq!(
        told,
        format!("imported {}\n", &identity.fingerprint()[..16])
    );
    assert!(!device.log().contains("hush"));
    device.stop();
}
