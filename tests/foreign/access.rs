//! What a session does not depend on: the network below it, and the plug-in that dials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use bailiwick_tests::device::Setup;
use serde_json::{Value, json};

use super::stage::{DEVINFO, SESSION};
use crate::server::{self, Reply, Script, Server, Trust};

/// A session that looks at the device and at how it is connected.
fn script() -> Script {
    Script {
        packages: vec![
            Reply::package(&[
                "GET urn:oma:mo:oma-dm-devinfo:1.2//",
                "GET urn:oma:mo:oma-sessioninfomo:1.0//CBT",
            ]),
            Reply::package(&["HPUT $here/in urn:oma:mo:oma-dm-devinfo:1.2//"]),
        ],
        data: vec![("/in", Reply::status("200 OK"))],
        ..Script::default()
    }
}

/// What went over the network in a session, without what must differ: methods, paths and bodies.
#[derive(Debug, PartialEq)]
struct Said(Vec<(String, String, Value)>);

/// A device with one account; what it says in a session, and the report.
fn session(setup: &Setup, address: IpAddr, host: &str) -> (Said, Value) {
    let trust = Trust::new("Alpha CA");
    let server = Server::start_on(address, trust.usual());
    let uri = format!("https://{host}:{}", server.port());
    let account = server::account(&trust, "alpha", &format!("{uri}/dm"), &[DEVINFO, SESSION]);
    let device = setup.start();
    let admin = device.admin();
    admin.bootstrap(&server::document(vec![account])).unwrap();
    let bootstrapped = admin.session("alpha").unwrap();
    assert_eq!(bootstrapped["completed"], true, "{bootstrapped:#}");
    server.take();

    server.play(&script(), &[("$here".to_owned(), uri)]);
    let report = admin.session("alpha").unwrap();
    let seen = server.take();
    let requests = seen.requests.iter().map(|request| {
        let body = if request.body.is_empty() {
            Value::Null
        } else {
            request.json()
        };
        (request.method.clone(), request.target.clone(), body)
    });
    device.stop();
    (Said(requests.collect()), report)
}

/// The bearer that the session information object showed, taken out of what was said.
fn take_bearer(said: &mut Said) -> Value {
    let place = said.0[1].2.pointer_mut("/Status/1/MO/0/MOData/CBT");
    place.expect("CBT in Package#3").take()
}

#[test]
fn sessions_run_over_ipv4_and_ipv6_and_by_name() {
    let (mut over_4, report) = session(&Setup::usual(), Ipv4Addr::LOCALHOST.into(), "127.0.0.1");
    assert_eq!(report["completed"], true, "{report:#}");
    assert_eq!(
        over_4.0.len(),
        4,
        "Package#1, Package#3, an upload, Package#3"
    );
    assert_eq!(
        take_bearer(&mut over_4),
        0,
        "within the device there is no bearer"
    );

    let mut rows = vec![(IpAddr::from(Ipv4Addr::LOCALHOST), "localhost")];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        rows.push((Ipv6Addr::LOCALHOST.into(), "[::1]"));
    } else {
        bailiwick_tests::skipped("sessions over IPv6", "this machine has no ::1");
    }
    for (address, host) in rows {
        let (mut said, report) = session(&Setup::usual(), address, host);
        assert_eq!(report["completed"], true, "{host}: {report:#}");
        take_bearer(&mut said);
        assert_eq!(said, over_4, "{host}");
    }
}

#[test]
fn sessions_are_the_same_over_any_transport() {
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    let other = "grant = [\"logging\", \"call-context\", \"config\", \"session\", \"net\"]";
    let fails = format!("{other}\nconfig = {{ behaviour = \"elsewhere\" }}");
    let (mut tcp, report) = session(&Setup::usual(), address, "127.0.0.1");
    assert_eq!(report["connections"][0]["bearer"], "unknown");
    assert_eq!(take_bearer(&mut tcp), 0);

    // A transport that takes itself for a cable.
    let setup = Setup::usual()
        .without("tcp")
        .plugin("hostile-transport", other);
    let (mut said, report) = session(&setup, address, "127.0.0.1");
    assert_eq!(report["completed"], true, "{report:#}");
    assert_eq!(report["connections"][0]["bearer"], "wireline");
    let over = report["connections"][0]["over"].as_str().unwrap();
    assert!(over.starts_with("hostile-transport, TLS 1.3"), "{over}");
    assert_eq!(take_bearer(&mut said), 3, "and the device's objects know");
    assert_eq!(said, tcp, "nothing else has changed");

    // Two transports, one of which reaches nobody: the other one serves.
    let setup = Setup::usual().plugin("hostile-transport", &fails);
    let (mut said, report) = session(&setup, address, "127.0.0.1");
    let over = report["connections"][0]["over"].as_str().unwrap();
    assert!(over.starts_with("tcp, TLS 1.3"), "{over}");
    take_bearer(&mut said);
    assert_eq!(said, tcp);
}

#[test]
fn a_device_without_a_way_out_says_so_and_stays() {
    let trust = Trust::new("Alpha CA");
    let server = Server::start(trust.usual());
    let account = server::account(&trust, "alpha", &format!("{}/dm", server.uri()), &[DEVINFO]);
    let fails = "grant = [\"logging\", \"call-context\", \"config\", \"session\", \"net\"]\nconfig = { behaviour = \"elsewhere\" }";
    let rows = [
        (
            Setup::usual().without("tcp"),
            "no transport plug-in is installed",
        ),
        (
            Setup::usual()
                .without("tcp")
                .plugin("hostile-transport", fails),
            "cannot connect to 127.0.0.1",
        ),
        (
            Setup::usual().without("linux"),
            "no environment plug-in is installed",
        ),
    ];
    for (setup, words) in rows {
        let device = setup.start();
        let admin = device.admin();
        admin
            .bootstrap(&server::document(vec![account.clone()]))
            .unwrap();
        let report = admin.session("alpha").unwrap();
        let error = report["error"].as_str().unwrap();
        assert!(error.contains(words), "{error}");
        assert_eq!(admin.status()["accounts"][0]["authority"], json!("alpha"));
        device.stop();
    }
    assert!(server.take().requests.is_empty());
}
