//! The device, the servers, and how a row is played.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bailiwick_protocol::{BootstrapDocument, MoItem};
use bailiwick_tests::device::{Admin, DEVICE_ID, Device, Setup};
use serde_json::{Value, json};

use crate::server::{self, Reply, Request, Script, Seen, Server, Trust};

/// Device information; in rows `$D`.
pub(crate) const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2";
/// How the session is connected; in rows `$S`.
pub(crate) const SESSION: &str = "urn:oma:mo:oma-sessioninfomo:1.0";
/// Types that are served from their description.
pub(crate) const TYPE: &str = "urn:oma:mo:x-bailiwick-mo-type:1.0";
/// Such a type, that of the reference's table of ClientURIs; in rows `$M`.
pub(crate) const SENSOR: &str = "urn:oma:mo:x-foreign-sensor:1.0";

/// One row: what the server does, and what must come of it.
pub(crate) struct Case {
    name: &'static str,
    script: Script,
    there: Script,
    statuses: Vec<Vec<u64>>,
    fails: Option<&'static str>,
    check: fn(&Played),
}

/// What came of a row.
pub(crate) struct Played {
    /// At the server of the account.
    pub(crate) here: Seen,
    /// At another server of the same authority.
    pub(crate) there: Seen,
    /// At a server of another authority.
    pub(crate) alien: Seen,
    /// The daemon's report.
    pub(crate) report: Value,
}

impl Case {
    /// A server that answers Package#1 with END, unless something else is said.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            script: Script::default(),
            there: Script::default(),
            statuses: Vec::new(),
            fails: None,
            check: |_| {},
        }
    }

    /// The answers to the packages, in order; END follows them.
    pub(crate) fn answers<const N: usize>(mut self, replies: [Reply; N]) -> Self {
        self.script.packages = replies.into();
        self
    }

    /// The answer to each further package.
    pub(crate) fn forever(mut self, reply: Reply) -> Self {
        self.script.afterwards = Some(reply);
        self
    }

    /// The answer of the repository at this path.
    pub(crate) fn data(mut self, path: &'static str, reply: Reply) -> Self {
        self.script.data.push((path, reply));
        self
    }

    /// How connections begin, in order.
    pub(crate) fn greetings<const N: usize>(mut self, greetings: [server::Greeting; N]) -> Self {
        self.script.greetings = greetings.into();
        self
    }

    /// The answers of another server of the same authority, in order; END follows them.
    pub(crate) fn there<const N: usize>(mut self, replies: [Reply; N]) -> Self {
        self.there.packages = replies.into();
        self
    }

    /// The answer of that server's repository at this path.
    pub(crate) fn data_there(mut self, path: &'static str, reply: Reply) -> Self {
        self.there.data.push((path, reply));
        self
    }

    /// The status codes of each Package#3.
    pub(crate) fn statuses<const N: usize>(mut self, statuses: [&[u64]; N]) -> Self {
        self.statuses = statuses.iter().map(|package| package.to_vec()).collect();
        self
    }

    /// The session fails, and the report says this.
    pub(crate) fn fails(mut self, words: &'static str) -> Self {
        self.fails = Some(words);
        self
    }

    /// What the row is about.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whatever else must hold.
    pub(crate) fn check(mut self, check: fn(&Played)) -> Self {
        self.check = check;
        self
    }
}

impl Played {
    /// Packages that arrived, at the server of the account first.
    pub(crate) fn packages(&self) -> Vec<&Request> {
        let all = self.here.requests.iter().chain(&self.there.requests);
        all.filter(|request| request.is_package()).collect()
    }

    /// The other requests, to repositories.
    pub(crate) fn transfers(&self) -> Vec<&Request> {
        let all = self.here.requests.iter().chain(&self.there.requests);
        all.filter(|request| !request.is_package()).collect()
    }

    /// The entry for one command of one Package#3, both counted from 0.
    pub(crate) fn status(&self, package: usize, command: usize) -> Value {
        let packages = self.packages();
        let third = packages
            .iter()
            .filter(|request| request.kind() == Some(3))
            .nth(package)
            .expect("a Package#3");
        third.json()["Status"][command].clone()
    }

    /// `MOData` of what one GET gave.
    pub(crate) fn mo_data(&self, package: usize, command: usize) -> Value {
        self.status(package, command)["MO"][0]["MOData"].clone()
    }

    /// Names and statuses of all commands, as the report tells them.
    pub(crate) fn commands(&self) -> Vec<(String, Option<u64>)> {
        let packages = self.report["packages"].as_array().unwrap();
        let commands = packages
            .iter()
            .flat_map(|package| package["commands"].as_array().unwrap());
        commands
            .map(|command| {
                let name = command["name"].as_str().unwrap().to_owned();
                (name, command["status"].as_u64())
            })
            .collect()
    }
}

/// The device with two accounts, and servers.
pub(crate) struct Stage {
    pub(crate) device: Device,
    pub(crate) admin: Admin,
    /// The authority of the rows.
    pub(crate) alpha: Trust,
    /// Another one.
    pub(crate) beta: Trust,
    /// Where the account of alpha leads to.
    pub(crate) here: Server,
    /// Another server of alpha.
    pub(crate) there: Server,
    /// The server of beta.
    pub(crate) alien: Server,
    /// The two instances, as the device has called them; in rows `$M/1` and `$M/2`.
    sensors: [String; 2],
    /// Whether the servers of alpha ask for the device's certificate.
    pub(crate) is_asked: bool,
}

impl Stage {
    /// A device with these limits beside the usual ones.
    pub(crate) fn set(limits: &[(&str, u64)]) -> Self {
        let setup = limits.iter().fold(Setup::usual(), |setup, (name, value)| {
            setup.limit(name, *value)
        });
        Self::with(&setup)
    }

    /// A device that is set up like this.
    pub(crate) fn with(setup: &Setup) -> Self {
        let (alpha, beta) = (Trust::new("Alpha CA"), Trust::new("Beta CA"));
        let (here, there) = (Server::start(alpha.usual()), Server::start(alpha.usual()));
        let alien = Server::start(beta.usual());
        let device = setup.start();
        let mut stage = Self {
            admin: device.admin(),
            device,
            alpha,
            beta,
            here,
            there,
            alien,
            sensors: [SENSOR, SENSOR].map(|moid| format!("{moid}/unknown")),
            is_asked: true,
        };
        stage.bootstrap();
        stage
    }

    /// The device takes both accounts, a type of objects and two of them, and tells the servers.
    fn bootstrap(&mut self) {
        let moids = [DEVINFO, SESSION, TYPE, SENSOR];
        let alpha = server::account(&self.alpha, "alpha", &self.uri(), &moids);
        let beta = server::account(
            &self.beta,
            "beta",
            &format!("{}/dm", self.alien.uri()),
            &moids,
        );
        let document = BootstrapDocument {
            accounts: vec![alpha, beta],
            objects: objects(),
        };
        self.admin.bootstrap(&document.to_bytes()).unwrap();
        for authority in ["alpha", "beta"] {
            let report = self.admin.session(authority).unwrap();
            assert_eq!(report["completed"], true, "{report:#}");
        }
        self.here.take();
        self.alien.take();
        self.sensors = self.find_sensors();
    }

    /// What the device has called them: a server is told when it asks.
    fn find_sensors(&mut self) -> [String; 2] {
        let get = Reply::package(&["GET $M/*/ID"]);
        let found = self.play(&Case::new("both").answers([get]).statuses([&[200]]));
        let items = found.status(0, 0)["MO"].as_array().unwrap().clone();
        ["GPS", "Temperature"].map(|id| {
            let item = items.iter().find(|item| item["MOData"]["ID"] == id);
            let uri = item.unwrap()["ClientURI"].as_str().unwrap();
            uri.strip_suffix("/ID").unwrap().to_owned()
        })
    }

    /// The `SrvURI` of alpha.
    pub(crate) fn uri(&self) -> String {
        format!("{}/dm", self.here.uri())
    }

    /// What stands in rows for what is known only now.
    pub(crate) fn names(&self) -> Vec<(String, String)> {
        let port = self.here.port();
        let [first, second] = self.sensors.clone();
        [
            ("$here", self.here.uri()),
            ("$there", self.there.uri()),
            ("$alien", self.alien.uri()),
            ("$plain", format!("http://127.0.0.1:{port}")),
            ("$port", port.to_string()),
            ("$D", DEVINFO.to_owned()),
            ("$S", SESSION.to_owned()),
            ("$M/1", first),
            ("$M/2", second),
            ("$M", SENSOR.to_owned()),
        ]
        .map(|(name, meaning)| (name.to_owned(), meaning))
        .into()
    }

    /// Plays all rows, each followed by a good session. Fails after the last one if some did not go as they must.
    pub(crate) fn play_all(&mut self, cases: impl IntoIterator<Item = Case>) {
        let mut failures = Vec::new();
        for case in cases {
            let row = AssertUnwindSafe(|| {
                self.play(&case);
                self.hold_a_good_session();
            });
            if let Err(panic) = catch_unwind(row) {
                let words = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref().copied());
                failures.push(format!("{}:\n{}", case.name, words.unwrap_or("?")));
                self.here.take();
                self.there.take();
                self.alien.take();
            }
            self.device.assert_running();
        }
        let number = failures.len();
        assert!(
            failures.is_empty(),
            "{number} rows failed\n\n{}\n",
            failures.join("\n\n")
        );
    }

    /// Plays one row.
    pub(crate) fn play(&mut self, case: &Case) -> Played {
        let played = self.play_any(case);
        let report = &played.report;
        match case.fails {
            None => assert_eq!(report["error"], Value::Null, "{}", told(report)),
            Some(words) => {
                let error = report["error"].as_str().unwrap_or("it did not fail");
                assert!(error.contains(words), "{error:?} instead of {words:?}");
            }
        }
        assert_eq!(report["completed"], case.fails.is_none());
        played
    }

    /// Plays one row, and leaves to the caller how the session must end.
    pub(crate) fn play_any(&mut self, case: &Case) -> Played {
        let names = self.names();
        self.here.play(&case.script, &names);
        self.there.play(&case.there, &names);
        let report = self.admin.session("alpha").unwrap();
        let played = Played {
            here: self.here.take(),
            there: self.there.take(),
            alien: self.alien.take(),
            report,
        };
        self.check_always(&played);
        let packages = played.packages();
        let third = packages.iter().filter(|request| request.kind() == Some(3));
        let statuses: Vec<_> = third.map(|request| request.statuses()).collect();
        assert_eq!(statuses, case.statuses, "{}", told(&played.report));
        (case.check)(&played);
        played
    }

    /// What holds for every request, whatever the server does.
    fn check_always(&self, played: &Played) {
        let servers = [(&played.here, &self.here), (&played.there, &self.there)];
        for (seen, server) in servers {
            let port = server.port();
            let hosts = ["127.0.0.1", "localhost"].map(|host| format!("{host}:{port}"));
            for request in &seen.requests {
                let host = request.field("Host").unwrap_or_default();
                assert!(hosts.iter().any(|known| known == host), "{}", request.head);
                assert_eq!(request.field("Transfer-Encoding"), None);
                if request.is_package() {
                    check_package(request);
                } else {
                    check_transfer(request);
                }
            }
            for connection in &seen.connections {
                // If there was a handshake, it was shown.
                if self.is_asked && connection.version.is_some() {
                    let shown = connection.certificate.as_deref();
                    assert_eq!(shown, Some(self.alpha.device.certificate_der()));
                }
            }
        }
        assert!(played.alien.requests.is_empty(), "a stranger was asked");
        let kinds: Vec<_> = played
            .here
            .requests
            .iter()
            .filter_map(Request::kind)
            .collect();
        let first = kinds.iter().filter(|kind| **kind == 1).count();
        assert!(first <= 1, "{first} times Package#1");
        assert!(kinds.is_empty() || kinds[0] == 1, "{kinds:?}");
    }

    /// The device is as well as before.
    pub(crate) fn hold_a_good_session(&mut self) {
        let good = Case::new("a good session")
            .answers([Reply::package(&["GET $D//DevID"])])
            .statuses([&[200]])
            .check(|played| {
                assert_eq!(played.mo_data(0, 0), json!({ "DevID": DEVICE_ID }));
                // The device has ended its connections in order.
                for connection in &played.here.connections {
                    assert_eq!(connection.error, None);
                }
            });
        self.play(&good);
    }
}

/// A report in few words: what became of each command, and of the session.
fn told(report: &Value) -> String {
    let packages = report["packages"].as_array().cloned().unwrap_or_default();
    let commands = packages
        .iter()
        .filter_map(|package| package["commands"].as_array());
    let mut words: Vec<String> = commands
        .flatten()
        .map(|command| {
            format!(
                "{} {} {}",
                command["name"], command["status"], command["error"]
            )
        })
        .collect();
    words.push(report["error"].to_string());
    words.join("\n")
}

fn check_package(request: &Request) {
    assert_eq!(request.method, "POST");
    assert_eq!(request.field("OMADM-DevID"), Some(DEVICE_ID));
    assert_eq!(
        request.field("Accept"),
        Some("application/vnd.oma.dm.request+json")
    );
    let json = request.json();
    let object = json.as_object().unwrap();
    let expected: &[&str] = match request.kind() {
        Some(1) => &["MOS", "Alert"],
        _ => &["Status", "Alert"],
    };
    for member in object.keys() {
        assert!(expected.contains(&member.as_str()), "{member}");
    }
    if request.kind() == Some(1) {
        check_package_1(&json);
    }
}

/// The schema and rules of OMA DM 2.0 §7.2.1.1.
fn check_package_1(json: &Value) {
    let mos = json["MOS"].as_array().unwrap();
    let moids: Vec<_> = mos.iter().map(|mo| mo["MOID"].as_str().unwrap()).collect();
    for moid in &moids {
        assert!(
            [DEVINFO, SESSION, TYPE, SENSOR].contains(moid),
            "{moid} is not permitted"
        );
    }
    assert!(moids.contains(&DEVINFO), "{moids:?}");
    for mo in mos {
        let miids = mo["MIID"].as_array().unwrap();
        assert!(miids.iter().all(Value::is_string), "{mo}");
    }
    let why: Vec<_> = json["Alert"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|alert| alert["AlertType"].as_str())
        .filter(|kind| kind.starts_with("urn:oma:at:dm:2.0:"))
        .collect();
    assert_eq!(why, ["urn:oma:at:dm:2.0:ClientInitiatedMgmt"]);
}

fn check_transfer(request: &Request) {
    for private in ["OMADM-DevID", "Cookie", "Authorization", "Referer"] {
        assert_eq!(request.field(private), None, "{}", request.head);
    }
    assert!(["GET", "PUT", "POST"].contains(&request.method.as_str()));
    assert_eq!(request.field("Accept").is_some(), request.method == "GET");
    assert_eq!(request.body.is_empty(), request.method == "GET");
}

/// The type of the reference's table, and the two instances in it (OMA DM 2.0, ClientURI).
fn objects() -> Vec<MoItem> {
    let item = |moid: &str, data: Value| MoItem {
        client_uri: Some(format!("{moid}//")),
        data,
        ddf: None,
        cv: None,
    };
    let sensor = |id: &str, setting: &str, values: [i64; 2]| {
        let data = json!({
            "1": { "Date": "12.1", "Value": values[0] },
            "2": { "Date": "12.2", "Value": values[1] },
        });
        item(
            SENSOR,
            json!({ "Sensor": { "ID": id, "Setting": setting, "Data": data } }),
        )
    };
    let description = include_str!("sensor.ddf");
    vec![
        item(
            TYPE,
            json!({ "MOType": { "MOID": SENSOR, "DDF": description } }),
        ),
        sensor("GPS", "0xA1", [11, 12]),
        sensor("Temperature", "0xB2", [21, 22]),
    ]
}
