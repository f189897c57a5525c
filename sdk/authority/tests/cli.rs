//! The program as people and scripts use it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod device;

use bailiwick_authority::{Authority, DeviceId, Enroll, pki};
use device::{Device, TempDir};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bailiwick-authority");

/// What a run said: exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn good(arguments: &[&str]) -> String {
    let (code, out, err) = run(arguments);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out
}

fn bad(arguments: &[&str]) -> String {
    let (code, _, err) = run(arguments);
    assert_ne!(code, 0, "{arguments:?}");
    err
}

struct Serving {
    child: Child,
    address: SocketAddr,
}

impl Serving {
    fn start(dir: &str, ready: &Path) -> Self {
        let mut child = Command::new(PROGRAM)
            .args([
                "serve",
                "--dir",
                dir,
                "--listen",
                "127.0.0.1:0",
                "--ready-file",
            ])
            .arg(ready)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        assert_eq!(fs::read_to_string(ready).unwrap(), format!("{address}\n"));
        Serving {
            address: address.parse().unwrap(),
            child,
        }
    }

    fn signal(mut self, signal: rustix::process::Signal) -> ExitStatus {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already, in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn device(authority: &Authority, name: &str) -> Device {
    let id: DeviceId = name.parse().unwrap();
    let renew = Enroll {
        renew: true,
        ..Enroll::default()
    };
    let enrollment = authority.enroll(&id, renew).unwrap();
    let anchors = [authority.ca_certificate().unwrap()];
    Device {
        id,
        tls: pki::client_config(&anchors, Some(&enrollment.identity)).unwrap(),
    }
}

#[tokio::test]
async fn from_init_to_results() {
    let temp = TempDir::new();
    let dir = temp.path().join("authority");
    let dir = dir.to_str().unwrap();
    let out = good(&[
        "init",
        "--dir",
        dir,
        "--name",
        "Example",
        "--srv-id",
        "ma-1",
        "--host",
        "127.0.0.1",
    ]);
    assert!(out.contains("ma-1") && out.contains("enroll"), "{out}");
    let path = good(&["enroll", "--dir", dir, "dev1"]);
    let document = fs::read(path.trim()).unwrap();
    assert!(bailiwick_protocol::BootstrapDocument::parse(&document, &Default::default()).is_ok());
    let printed = good(&[
        "enroll",
        "--dir",
        dir,
        "dev2",
        "--moid",
        "urn:oma:mo:x:1.0",
        "--out",
        "-",
    ]);
    assert!(printed.contains("urn:oma:mo:x:1.0"), "{printed}");

    assert_eq!(
        good(&[
            "queue",
            "--dir",
            dir,
            "dev1",
            "get",
            "urn:oma:mo:oma-dm-devinfo:1.2//"
        ]),
        "1  GET urn:oma:mo:oma-dm-devinfo:1.2//\n"
    );
    let file = temp.path().join("commands.json");
    fs::write(
        &file,
        r#"[["HGET", "https://127.0.0.1/data/x"], ["DELETE", "urn:oma:mo:x:1.0/1/a"]]"#,
    )
    .unwrap();
    good(&[
        "queue",
        "--dir",
        dir,
        "--file",
        file.to_str().unwrap(),
        "dev1",
    ]);
    assert_eq!(good(&["queue", "--dir", dir, "dev1"]).lines().count(), 3);
    assert_eq!(
        good(&["queue", "--dir", dir, "--remove", "3", "dev1"]),
        "1 removed\n"
    );
    good(&[
        "data",
        "put",
        "--dir",
        dir,
        "dev1/x.json",
        file.to_str().unwrap(),
    ]);
    assert!(good(&["data", "list", "--dir", dir]).starts_with("/data/dev1/x.json"));
    assert!(good(&["devices", "--dir", dir]).contains("2 waiting"));
    assert!(good(&["notify", "--dir", dir, "dev1"]).trim().len() > 64);

    let serving = Serving::start(dir, &temp.path().join("ready"));
    let device = device(&Authority::open(Path::new(dir)).unwrap(), "dev1");
    let mut connection = device.connect(serving.address).await.unwrap();
    assert_eq!(connection.open().await.names(), ["GET", "HGET"]);
    assert_eq!(connection.answer(&[200, 404]).await.names(), ["END"]);
    assert_eq!(connection.get("/data/dev1/x.json").await.status, 200);
    assert_eq!(
        serving.signal(rustix::process::Signal::TERM).code(),
        Some(0)
    );

    let results = good(&["results", "--dir", dir, "dev1"]);
    assert!(
        results.contains("200 OK  GET") && results.contains("404 Not Found  HGET"),
        "{results}"
    );
    let json = good(&["results", "--dir", dir, "--json", "dev1"]);
    for line in json.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].is_string());
    }
    good(&["devices", "--dir", dir, "--revoke", "dev1"]);
    assert!(good(&["devices", "--dir", dir]).contains("revoked"));
    good(&["data", "remove", "--dir", dir, "dev1/x.json"]);
    assert!(good(&["renew", "--dir", dir, "--host", "dm.example.org"]).contains("dm.example.org"));
}

#[tokio::test]
async fn a_server_that_is_killed_between_2_and_3_sends_again() {
    let temp = TempDir::new();
    let dir = temp.path().join("authority");
    let dir = dir.to_str().unwrap();
    good(&["init", "--dir", dir, "--name", "Example"]);
    good(&["enroll", "--dir", dir, "dev1"]);
    good(&[
        "queue",
        "--dir",
        dir,
        "dev1",
        "GET",
        "urn:oma:mo:oma-dm-devinfo:1.2//",
    ]);
    let device = device(&Authority::open(Path::new(dir)).unwrap(), "dev1");

    let serving = Serving::start(dir, &temp.path().join("ready"));
    let mut connection = device.connect(serving.address).await.unwrap();
    assert_eq!(connection.open().await.names(), ["GET"]);
    serving.signal(rustix::process::Signal::KILL);
    assert!(good(&["queue", "--dir", dir, "dev1"]).contains("sent once"));

    let serving = Serving::start(dir, &temp.path().join("ready"));
    let mut connection = device.connect(serving.address).await.unwrap();
    assert_eq!(connection.open().await.names(), ["GET"]);
    assert_eq!(connection.answer(&[200]).await.names(), ["END"]);
    assert_eq!(serving.signal(rustix::process::Signal::INT).code(), Some(0));
    assert_eq!(good(&["queue", "--dir", dir, "dev1"]), "");
    assert!(good(&["results", "--dir", dir, "--json", "dev1"]).contains("\"sent\":2"));
}

#[test]
fn errors_say_what_to_do_next() {
    let temp = TempDir::new();
    let dir = temp.path().join("authority");
    let dir = dir.to_str().unwrap();
    assert!(bad(&["devices", "--dir", dir]).contains("init"));
    good(&["init", "--dir", dir, "--name", "Example"]);
    assert!(bad(&["init", "--dir", dir, "--name", "Example"]).contains("another directory"));
    assert!(bad(&["queue", "--dir", dir, "dev1", "END"]).contains("enroll"));
    good(&["enroll", "--dir", dir, "dev1"]);
    assert!(bad(&["enroll", "--dir", dir, "dev1"]).contains("--renew"));
    assert!(bad(&["enroll", "--dir", dir, "../x"]).contains("A-Z"));
    assert!(
        bad(&[
            "enroll",
            "--dir",
            dir,
            "dev3",
            "--uri",
            "https://elsewhere/dm"
        ])
        .contains("renew --host")
    );
    assert!(bad(&["queue", "--dir", dir, "dev1", "GET"]).contains("GET"));
    assert!(
        bad(&["queue", "--dir", dir, "dev1", "--file", "missing.json"]).contains("missing.json")
    );
    assert!(bad(&["data", "put", "--dir", dir, "../x", "missing"]).contains("not a name"));
    assert!(
        bad(&["data", "put", "--dir", dir, "dev9/x", "missing"]).contains("dev9 is not enrolled")
    );
    assert!(bad(&["data", "remove", "--dir", dir, "x"]).contains("data list"));
    assert!(bad(&["serve", "--dir", dir, "--listen", "192.0.2.1:1"]).contains("--listen"));
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for command in [
        "init", "enroll", "serve", "queue", "results", "data", "devices", "notify", "renew",
    ] {
        assert!(out.contains(command), "{command}");
        assert!(good(&[command, "--help"]).contains("--help"));
    }
}
