//! Answers that are no success: they end the session at once, and nobody is followed anywhere (OMA DM 2.0 §5.1.4).

use bailiwick_tests::device::Setup;

use super::stage::{Case, DEVINFO, Stage};
use crate::server::{self, Greeting, Reply, Script, Server, Trust};

/// Statuses, and fields that usually come with them.
const REFUSALS: &[(&str, &[(&str, &str)])] = &[
    ("201 Created", &[("Location", "$there/dm")]),
    ("202 Accepted", &[]),
    ("204 No Content", &[]),
    ("206 Partial Content", &[("Content-Range", "bytes 0-9/100")]),
    ("300 Multiple Choices", &[("Location", "$there/dm")]),
    ("301 Moved Permanently", &[("Location", "$there/dm")]),
    ("302 Found", &[("Location", "$here/dm")]),
    ("302 Found", &[("Location", "$plain/dm")]),
    ("303 See Other", &[("Location", "$alien/dm")]),
    ("304 Not Modified", &[]),
    ("307 Temporary Redirect", &[("Location", "$there/dm")]),
    (
        "308 Permanent Redirect",
        &[("Location", "$there/dm"), ("Refresh", "0; url=$there/dm")],
    ),
    ("400 Bad Request", &[]),
    (
        "401 Unauthorized",
        &[("WWW-Authenticate", "Basic realm=\"dm\"")],
    ),
    (
        "401 Unauthorized",
        &[("WWW-Authenticate", "Digest realm=\"dm\", nonce=\"1\"")],
    ),
    ("403 Forbidden", &[]),
    ("404 Not Found", &[]),
    ("406 Not Acceptable", &[]),
    (
        "407 Proxy Authentication Required",
        &[("Proxy-Authenticate", "Basic realm=\"dm\"")],
    ),
    ("410 Gone", &[]),
    (
        "415 Unsupported Media Type",
        &[("OMADM-Accept", "application/xml")],
    ),
    ("421 Misdirected Request", &[]),
    ("429 Too Many Requests", &[("Retry-After", "0")]),
    ("500 Internal Server Error", &[]),
    ("502 Bad Gateway", &[]),
    ("503 Service Unavailable", &[("Retry-After", "0")]),
    ("599 What", &[]),
    ("999 More", &[]),
];

fn refusal(status: &str, fields: &[(&str, &str)]) -> Reply {
    // Even if the body would be a package.
    let reply = Reply::package(&["GET $D//DevID"]).start(&format!("HTTP/1.1 {status}"));
    fields
        .iter()
        .fold(reply, |reply, (name, value)| reply.with(name, value))
}

#[test]
fn no_package_is_sent_again_or_elsewhere_after_a_refusal() {
    let mut stage = Stage::set(&[]);
    for &(status, fields) in REFUSALS {
        let words: &'static str = match status.split_once(' ') {
            Some((code, _)) => Box::leak(format!("HTTP {code}").into_boxed_str()),
            None => status,
        };
        stage.play_all([
            Case::new(status)
                .answers([refusal(status, fields)])
                .fails(words)
                .check(|played| {
                    assert_eq!(played.here.requests.len(), 1);
                    assert!(
                        played.there.connections.is_empty() && played.alien.connections.is_empty()
                    );
                }),
            Case::new(status)
                .answers([Reply::package(&["GET $D//DevID"]), refusal(status, fields)])
                .statuses([&[200]])
                .fails(words)
                .check(|played| {
                    assert_eq!(played.here.requests.len(), 2);
                    assert_eq!(played.commands().len(), 1, "what came with it is not run");
                    assert!(
                        played.there.connections.is_empty() && played.alien.connections.is_empty()
                    );
                }),
        ]);
    }
}

/// What was done before a refusal stays done.
#[test]
fn a_refusal_undoes_nothing() {
    let mut stage = Stage::set(&[]);
    stage.play_all([
        Case::new("a write, whose status is refused")
            .data(
                "/data",
                Reply::data(&serde_json::json!({ "MOData": "kept" })),
            )
            .answers([
                Reply::package(&["HGET $here/data $M/1/Setting"]),
                Reply::status("500 Internal Server Error"),
            ])
            .statuses([&[200]])
            .fails("HTTP 500"),
        Case::new("it was done")
            .answers([Reply::package(&["GET $M/1/Setting"])])
            .statuses([&[200]])
            .check(|played| assert_eq!(played.mo_data(0, 0)["Setting"], "kept")),
    ]);
}

/// An alert is only gone when a server has taken the package that it rode in.
#[test]
fn a_bootstrap_is_reported_until_the_server_has_taken_it() {
    let trust = Trust::new("Alpha CA");
    let server = Server::start(trust.usual());
    let uri = format!("{}/dm", server.uri());
    let account = server::account(&trust, "alpha", &uri, &[DEVINFO]);
    // Nobody tries again by itself while this test looks.
    let device = Setup::usual().limit("retry-ms", 600_000).start();
    let admin = device.admin();
    let answers = [
        Reply::status("503 Service Unavailable"),
        Reply::raw("").close(),
        Reply::status("403 Forbidden"),
        Reply::text("{}"),
    ];
    let hold = |script: Script| {
        server.play(&script, &[]);
        let report = admin.session("alpha").unwrap();
        let requests = server.take().requests;
        let alerts = requests.first().map(|request| {
            let alerts = request.json()["Alert"].as_array().unwrap().clone();
            let kinds = alerts.iter().map(|alert| alert["AlertType"].to_string());
            kinds.collect::<Vec<_>>()
        });
        (report["completed"] == true, alerts)
    };
    server.play(&refuses(&answers[0]), &[]);
    admin.bootstrap(&server::document(vec![account])).unwrap();
    let bootstrap = Some(vec!["\"urn:oma:at:dm:2.0:BootstrapComplete\"".to_owned()]);
    let client = Some(vec!["\"urn:oma:at:dm:2.0:ClientInitiatedMgmt\"".to_owned()]);
    for answer in &answers {
        assert_eq!(hold(refuses(answer)), (false, bootstrap.clone()));
    }
    let unreachable = Script {
        greetings: vec![Greeting::Closed; 2],
        ..Script::default()
    };
    assert_eq!(hold(unreachable), (false, None));
    assert_eq!(hold(Script::default()), (true, bootstrap));
    assert_eq!(hold(Script::default()), (true, client));
    device.stop();
}

/// A server that answers every package like this.
fn refuses(reply: &Reply) -> Script {
    Script {
        afterwards: Some(reply.clone()),
        ..Script::default()
    }
}
