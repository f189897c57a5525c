//! Local applications: an authority gives its anchor and its grants in sessions, and the daemon lets in who proves the key.

use std::path::PathBuf;
use std::process::{Command, Output};

use bailiwick_application::{Admission, Connection, Error, KeyFile, Sign, certificates};
use bailiwick_tests::device::Setup;
use bailiwick_tests::executable;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::{Value, json};

use super::world::{DEVINFO, SENSOR, TYPE, World};

const CERTIFICATE: &str = "urn:oma:mo:x-bailiwick-cert:1.0";
const GRANT: &str = "urn:oma:mo:x-bailiwick-app-grant:1.0";
/// Certificate policies with 1.3.6.1.4.1.99999.1 alone, DER.
const POLICY: &[u8] = &[
    0x30, 0x0d, 0x30, 0x0b, 0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x86, 0x8d, 0x1f, 0x01,
];

/// Who issues certificates to applications.
struct Ca(CertifiedIssuer<'static, KeyPair>);

/// An application's certificate and key, PEM.
struct App {
    certificate: String,
    key: String,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "applications");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// As an item for the certificate object.
    fn anchor(&self, purpose: &str) -> Value {
        json!([{
            "ClientURI": format!("{CERTIFICATE}//"),
            "MOData": { "Cert": {
                "Role": "anchor",
                "Certificate": STANDARD.encode(self.0.der()),
                "Purposes": { "1": purpose },
            } },
        }])
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> App {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        App {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A world in which north has an instance, and lets applications in by its CA.
struct Stage {
    world: World,
    ca: Ca,
    anchor: String,
    sensor: String,
}

impl Stage {
    fn new() -> Self {
        let setup = Setup::usual().plugin(
            "certificate",
            "grant = ['logging', 'call-context', 'storage', 'certificates', 'applications']",
        );
        let mut world = World::with(&setup, &[DEVINFO, TYPE, SENSOR, CERTIFICATE, GRANT]);
        let sensor = world.north_makes(&["a"]).remove(0);
        let ca = Ca::new();
        world.north.put("anchor", &ca.anchor("applications"));
        let held = world.north(&["HGET $R/anchor"]);
        assert_eq!(held.statuses(), [200], "{:#}", held.report);
        let anchor = held.done[0].uris[0].clone();
        Self {
            world,
            ca,
            anchor,
            sensor,
        }
    }

    /// North makes a grant; its status, and its ClientURI.
    fn grant(&mut self, terms: Value) -> (u16, Option<String>) {
        let mut held = grant(&mut self.world, true, terms);
        let done = held.done.remove(0);
        (done.status, done.uris.into_iter().next())
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.world.device.directory().join("apps.sock")).unwrap()
    }

    fn admit(&self, app: &App) -> Result<(Connection, Admission), Error> {
        admit(self.connect(), "north", app)
    }
}

fn grant(world: &mut World, north: bool, terms: Value) -> super::world::Held {
    let item = json!([{ "ClientURI": format!("{GRANT}//"), "MOData": { "AppGrant": terms } }]);
    match north {
        true => {
            world.north.put("grant", &item);
            world.north(&["HGET $R/grant"])
        }
        false => {
            world.south.put("grant", &item);
            world.south(&["HGET $R/grant"])
        }
    }
}

fn admit(
    mut connection: Connection,
    authority: &str,
    app: &App,
) -> Result<(Connection, Admission), Error> {
    let chain = certificates(app.certificate.as_bytes()).unwrap();
    let key = KeyFile::read(app.key.as_bytes()).unwrap();
    let admission = connection.admit(authority, &chain, &key)?;
    Ok((connection, admission))
}

fn status(outcome: Result<impl Sized, Error>) -> u16 {
    match outcome {
        Ok(_) => 200,
        Err(Error::Refused { status, .. }) => status,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn an_application_may_exactly_what_its_authority_granted() {
    let mut stage = Stage::new();
    let meter = stage.ca.issue("meter", |_| {});
    let level = format!("{}Level", stage.sensor);
    let (mut app, admission) = stage.admit(&meter).unwrap();
    assert_eq!(admission.principals, ["local:north/subject=CN=meter"]);
    assert_eq!(status(app.get(&level)), 403);

    let terms = json!({ "Subject": "CN=meter", "Target": stage.sensor, "Rights": 1 });
    let (made, read_only) = stage.grant(terms.clone());
    assert_eq!(made, 200);
    assert_eq!(app.get(&level).unwrap()[0]["MOData"]["Level"], 1);
    assert_eq!(status(app.put(&level, &json!({ "Level": 2 }))), 403);
    assert_eq!(app.rights().unwrap()[0]["rights"], json!(["read"]));
    // Nothing else of north's, and nothing of the device's.
    assert_eq!(status(app.get(&format!("{DEVINFO}//DevID"))), 403);
    assert_eq!(status(app.get(&stage.anchor)), 403);
    // Another certificate of the same CA gets nothing of it.
    let (mut other, _) = stage.admit(&stage.ca.issue("other", |_| {})).unwrap();
    assert_eq!(status(other.get(&level)), 403);
    // One principal has one grant on an instance; it is shown, and changed by another in its place.
    assert_eq!(stage.grant(terms).0, 409);
    let read_only = read_only.unwrap();
    let held = stage
        .world
        .north(&[&format!("GET {read_only}"), &format!("DELETE {read_only}")]);
    assert_eq!(held.statuses(), [200, 200]);
    assert_eq!(held.mo_data(0)["AppGrant"]["State"], "active");
    assert_eq!(status(app.get(&level)), 403);
    let (made, writing) =
        stage.grant(json!({ "Subject": "CN=meter", "Target": stage.sensor, "Rights": 3 }));
    assert_eq!(made, 200);
    app.put(&level, &json!({ "Level": 2 })).unwrap();
    assert_eq!(app.get(&level).unwrap()[0]["MOData"]["Level"], 2);

    // Everything is still so after the daemon has been started again, and ends with the grant.
    stage.world = stage.world.restart();
    let (mut app, _) = stage.admit(&meter).unwrap();
    app.put(&level, &json!({ "Level": 3 })).unwrap();
    let held = stage.world.north(&[
        &format!("GET {level}"),
        &format!("DELETE {}", writing.unwrap()),
    ]);
    assert_eq!(held.mo_data(0)["Level"], 3);
    assert_eq!(status(app.get(&level)), 403);
}

#[test]
fn a_policy_stands_for_all_its_certificates_and_a_grant_ends() {
    let mut stage = Stage::new();
    let level = format!("{}Level", stage.sensor);
    let policy = "1.3.6.1.4.1.99999.1";
    let certified = stage.ca.issue("certified", |params| {
        params.custom_extensions = vec![CustomExtension::from_oid_content(
            &[2, 5, 29, 32],
            POLICY.to_vec(),
        )];
    });
    let end = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 86_400;
    let rows = [
        (
            json!({ "Policy": policy, "Target": stage.sensor, "Rights": 1, "NotAfter": "2099-01-01T00:00:00Z" }),
            200,
        ),
        (
            json!({ "Policy": "no policy", "Target": stage.sensor, "Rights": 1 }),
            400,
        ),
        (
            json!({ "Subject": "meter", "Target": stage.sensor, "Rights": 1 }),
            400,
        ),
        (
            json!({ "Subject": "cn=meter", "Target": stage.sensor, "Rights": 1 }),
            400,
        ),
        (
            json!({ "Subject": "CN=x", "Policy": policy, "Target": stage.sensor, "Rights": 1 }),
            400,
        ),
        (
            json!({ "Subject": "CN=x", "Target": stage.sensor, "Rights": 9 }),
            400,
        ),
        (
            json!({ "Subject": "CN=x", "Target": level, "Rights": 1 }),
            400,
        ),
        (
            json!({ "Subject": "CN=x", "Target": format!("{SENSOR}//"), "Rights": 1 }),
            400,
        ),
        (
            json!({ "Subject": "CN=x", "Target": format!("{SENSOR}/nowhere/"), "Rights": 1 }),
            404,
        ),
        (
            json!({ "Subject": "CN=x", "Target": format!("{DEVINFO}/1/"), "Rights": 1 }),
            403,
        ),
        (
            json!({ "Subject": "CN=x", "Target": stage.sensor, "Rights": 1, "NotAfter": "2020-01-01T00:00:00Z" }),
            400,
        ),
    ];
    for (terms, expected) in rows {
        let (made, _) = stage.grant(terms.clone());
        assert_eq!(made, expected, "{terms}");
    }
    let (mut app, admission) = stage.admit(&certified).unwrap();
    let names = [
        "local:north/subject=CN=certified".to_owned(),
        format!("local:north/policy={policy}"),
    ];
    assert_eq!(admission.principals, names);
    assert!(admission.not_after > end);
    assert_eq!(app.get(&level).unwrap()[0]["MOData"]["Level"], 1);
    assert_eq!(app.rights().unwrap()[0]["to"], names[1]);
    let (mut plain, _) = stage.admit(&stage.ca.issue("plain", |_| {})).unwrap();
    assert_eq!(status(plain.get(&level)), 403);
}

#[test]
fn one_authority_gives_nothing_of_another() {
    let mut stage = Stage::new();
    let level = format!("{}Level", stage.sensor);
    let meter = stage.ca.issue("meter", |_| {});
    assert_eq!(
        stage
            .grant(json!({ "Subject": "CN=meter", "Target": stage.sensor, "Rights": 1 }))
            .0,
        200
    );
    // South has no anchor; then one of its own, whose application has the same name.
    assert!(matches!(
        admit(stage.connect(), "south", &meter),
        Err(Error::NotAdmitted(_))
    ));
    let of_south = Ca::new();
    stage
        .world
        .south
        .put("anchor", &of_south.anchor("applications"));
    assert_eq!(stage.world.south(&["HGET $R/anchor"]).statuses(), [200]);
    assert!(matches!(
        admit(stage.connect(), "south", &meter),
        Err(Error::NotAdmitted(_))
    ));
    let namesake = of_south.issue("meter", |_| {});
    assert!(matches!(stage.admit(&namesake), Err(Error::NotAdmitted(_))));
    let (mut app, admission) = admit(stage.connect(), "south", &namesake).unwrap();
    assert_eq!(admission.principals, ["local:south/subject=CN=meter"]);
    assert_eq!(status(app.get(&level)), 403);
    // South can neither grant on what is north's, nor see or take back what north gave.
    let terms = json!({ "Subject": "CN=meter", "Target": stage.sensor, "Rights": 1 });
    assert_eq!(grant(&mut stage.world, false, terms).statuses(), [404]);
    let (read, delete) = (
        format!("GET {}", stage.anchor),
        format!("DELETE {}", stage.anchor),
    );
    assert_eq!(stage.world.south(&[&read, &delete]).statuses(), [404, 404]);
    let all = stage.world.south(&[&format!("GET {CERTIFICATE}/*/Issuer")]);
    assert_eq!(all.done[0].objects.len(), 1);
    let (mut app, _) = stage.admit(&meter).unwrap();
    app.get(&level).unwrap();
}

#[test]
fn an_anchor_lets_in_for_its_purpose_and_until_it_goes() {
    let mut stage = Stage::new();
    let meter = stage.ca.issue("meter", |_| {});
    let level = format!("{}Level", stage.sensor);
    assert_eq!(
        stage
            .grant(json!({ "Subject": "CN=meter", "Target": stage.sensor, "Rights": 1 }))
            .0,
        200
    );
    let (mut app, _) = stage.admit(&meter).unwrap();
    app.get(&level).unwrap();
    // The same certificate is not given twice.
    stage
        .world
        .north
        .put("again", &stage.ca.anchor("applications"));
    assert_eq!(stage.world.north(&["HGET $R/again"]).statuses(), [409]);
    let held = stage.world.north(&[
        &format!("GET {}", stage.anchor),
        &format!("DELETE {}", stage.anchor),
    ]);
    assert_eq!(held.statuses(), [200, 200]);
    assert_eq!(held.mo_data(0)["Cert"]["Subject"], "CN=applications");
    assert!(
        matches!(app.get(&level), Err(Error::NotAdmitted(_))),
        "it ends what it let in"
    );
    assert!(matches!(stage.admit(&meter), Err(Error::NotAdmitted(_))));
    stage
        .world
        .north
        .put("other", &stage.ca.anchor("meter-reading"));
    assert_eq!(stage.world.north(&["HGET $R/other"]).statuses(), [200]);
    assert!(
        matches!(stage.admit(&meter), Err(Error::NotAdmitted(_))),
        "for another purpose"
    );
    for purpose in ["", "no purpose!"] {
        stage.world.north.put("bad", &Ca::new().anchor(purpose));
        assert_eq!(stage.world.north(&["HGET $R/bad"]).statuses(), [400]);
    }
}

/// Signs as it is told.
struct Forger<F>(F);

impl<F: Fn(&[u8]) -> Vec<u8>> Sign for Forger<F> {
    fn sign(
        &self,
        scheme: bailiwick_application::Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let _ = scheme;
        Ok((self.0)(message))
    }
}

#[test]
fn who_holds_no_key_gets_nothing_and_hinders_nobody() {
    let mut stage = Stage::new();
    let level = format!("{}Level", stage.sensor);
    assert_eq!(
        stage
            .grant(json!({ "Subject": "CN=meter", "Target": stage.sensor, "Rights": 1 }))
            .0,
        200
    );
    let (meter, thief) = (
        stage.ca.issue("meter", |_| {}),
        stage.ca.issue("thief", |_| {}),
    );
    let chain = certificates(meter.certificate.as_bytes()).unwrap();
    let foreign = KeyFile::read(thief.key.as_bytes()).unwrap();
    let mut app = stage.connect();
    assert!(matches!(
        app.admit("north", &chain, &foreign),
        Err(Error::NotAdmitted(_))
    ));
    let own = KeyFile::read(meter.key.as_bytes()).unwrap();
    let kept = std::cell::RefCell::new(Vec::new());
    let remembers = Forger(|message: &[u8]| {
        let scheme = bailiwick_application::Scheme::EcdsaP256Sha256;
        kept.replace(own.sign(scheme, message).unwrap());
        kept.borrow().clone()
    });
    stage.connect().admit("north", &chain, &remembers).unwrap();
    let replays = Forger(|_: &[u8]| kept.borrow().clone());
    assert!(matches!(
        app.admit("north", &chain, &replays),
        Err(Error::NotAdmitted(_))
    ));
    assert!(matches!(app.get(&level), Err(Error::NotAdmitted(_))));

    // A hundred connections, and everybody is served.
    let mut all: Vec<Connection> = (0..100).map(|_| stage.admit(&meter).unwrap().0).collect();
    for app in &mut all {
        assert_eq!(app.get(&level).unwrap().len(), 1);
    }
    assert_eq!(
        stage.world.north(&[&format!("GET {level}")]).statuses(),
        [200]
    );
    stage.world.device.assert_running();
}

#[test]
fn an_application_can_be_the_command_line() {
    let mut stage = Stage::new();
    assert_eq!(
        stage
            .grant(json!({ "Subject": "CN=meter", "Target": stage.sensor, "Rights": 1 }))
            .0,
        200
    );
    let directory = stage.world.device.directory().to_owned();
    let run = |app: &App, authority: &str, action: &[&str]| -> Output {
        let files: [PathBuf; 2] = ["app.crt", "app.key"].map(|name| directory.join(name));
        std::fs::write(&files[0], &app.certificate).unwrap();
        std::fs::write(&files[1], &app.key).unwrap();
        let mut command = Command::new(executable("bailiwick"));
        command
            .arg("--config")
            .arg(directory.join("bailiwick.toml"));
        command
            .args(["app", "--authority", authority, "--cert"])
            .arg(&files[0])
            .arg("--key")
            .arg(&files[1]);
        command.args(action).output().unwrap()
    };
    let (meter, other) = (
        stage.ca.issue("meter", |_| {}),
        stage.ca.issue("other", |_| {}),
    );
    let level = format!("{}Level", stage.sensor);
    let read = run(&meter, "north", &["get", &level]);
    assert!(read.status.success(), "{read:?}");
    let items: Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(items[0]["MOData"]["Level"], 1);
    for (app, authority, action) in [
        (&meter, "north", &["put", &level, "{\"Level\":2}"][..]),
        (&other, "north", &["get", &level]),
        (&meter, "south", &["get", &level]),
        (&Ca::new().issue("meter", |_| {}), "north", &["get", &level]),
    ] {
        let refused = run(app, authority, action);
        assert_eq!(refused.status.code(), Some(4), "{action:?}: {refused:?}");
        assert!(!refused.stderr.is_empty());
    }
    // And the operator is told why.
    let asked = json!({ "authority": "local:north/subject=CN=meter", "access": "write", "clientUri": stage.sensor });
    let explained = stage.world.admin.call("Explain", asked).unwrap();
    assert_eq!(explained["explanations"][0]["status"], 403);
    assert!(
        stage
            .world
            .device
            .log()
            .contains("was let in as local:north/subject=CN=meter")
    );
}
