//! Whom the device talks to, what it shows, and what others on the way can see and do.

use std::sync::Arc;

use bailiwick_authority::pki::{Identity, Validity};
use bailiwick_tests::device::{DEVICE_ID, Setup};
use serde_json::json;

use super::stage::{Case, Played, Stage};
use crate::server::{self, Greeting, Reply, Trust, VERSIONS, config};

/// Nothing of a session has left the device.
fn nothing_was_sent(played: &Played) {
    assert!(played.here.requests.is_empty());
}

#[test]
fn a_server_that_is_not_the_authoritys_gets_nothing() {
    let mut stage = Stage::set(&[]);
    let alpha = |hosts: &[&str]| stage.alpha.server(hosts);
    let in_time = |validity| stage.alpha.server_for(&["127.0.0.1"], validity);
    // Who copies the name of a CA does not have its key.
    let impostor = Trust::new("Alpha CA");
    let device = Identity::from_pem(
        &stage.alpha.device.chain_pem(),
        &stage.alpha.device.key_pem(),
    );
    let ca = Identity::from_pem(&stage.alpha.ca.certificate_pem(), &stage.alpha.ca.key_pem());
    let issuer = "was not issued under an anchor of this account";
    let rows: Vec<(&str, Identity, &str)> = vec![
        (
            "another CA",
            Trust::new("Gamma CA").server(&["127.0.0.1"]),
            issuer,
        ),
        (
            "another CA of the same name",
            impostor.server(&["127.0.0.1"]),
            "is not acceptable: BadSignature",
        ),
        (
            "the CA of another account",
            stage.beta.server(&["127.0.0.1"]),
            issuer,
        ),
        (
            "another host",
            alpha(&["dm.example"]),
            "has a certificate for dm.example instead",
        ),
        ("another address", alpha(&["127.0.0.2", "::1"]), "instead"),
        (
            "a name, where an address was asked for",
            alpha(&["localhost", "*.example"]),
            "instead",
        ),
        ("expired", in_time(Validity::expired()), "has expired"),
        (
            "not valid yet",
            in_time(Validity::not_yet()),
            "is not valid yet",
        ),
        (
            "the certificate of a device",
            device.unwrap(),
            "is not acceptable",
        ),
        ("the CA itself", ca.unwrap(), "is not acceptable"),
    ];
    for (name, identity, words) in rows {
        for version in VERSIONS {
            stage.here.set_tls(server::only(version, &identity, None));
            stage.play_with(&Case::new(name).check(nothing_was_sent), words);
        }
        stage.here.set_tls(stage.alpha.usual());
        stage.hold_a_good_session();
    }
}

/// What vouches for the servers of one authority does not vouch for those of another, in either direction.
#[test]
fn authorities_do_not_speak_for_each_other() {
    let stage = Stage::set(&[]);
    let (alpha, beta) = (stage.alpha.usual(), stage.beta.usual());
    for (authority, their, other) in [("alpha", &alpha, &beta), ("beta", &beta, &alpha)] {
        let server = match authority {
            "alpha" => &stage.here,
            _ => &stage.alien,
        };
        server.set_tls(Arc::clone(other));
        let report = stage.admin.session(authority).unwrap();
        assert_eq!(report["completed"], false);
        let error = report["error"].as_str().unwrap();
        assert!(
            error.contains("was not issued under an anchor of this account"),
            "{error}"
        );
        assert!(server.take().requests.is_empty());

        server.set_tls(Arc::clone(their));
        let report = stage.admin.session(authority).unwrap();
        assert_eq!(report["completed"], true, "{report:#}");
        assert_eq!(server.take().requests.len(), 1);
    }
}

#[test]
fn the_device_proves_who_it_is_when_it_is_asked() {
    let mut stage = Stage::set(&[]);
    let server = stage.alpha.server(&["127.0.0.1"]);
    for version in VERSIONS {
        // The usual rows assert that the device's own certificate came with each handshake.
        stage
            .here
            .set_tls(server::only(version, &server, Some(&stage.alpha.ca)));
        stage.hold_a_good_session();

        stage
            .here
            .set_tls(server::only(version, &server, Some(&stage.beta.ca)));
        let refused =
            Case::new("a server that takes certificates of another CA").check(nothing_was_sent);
        stage.play_with(&refused, "refused the device's certificate");
    }

    // A server that does not ask has to know the device by other means; the report says that it did not ask.
    stage.here.set_tls(config(&server, None));
    stage.is_asked = false;
    let played = stage.play(
        &Case::new("a server that does not ask")
            .answers([Reply::package(&[])])
            .statuses([&[]]),
    );
    assert_eq!(played.here.connections[0].certificate, None);
    let over = played.report["connections"][0]["over"].as_str().unwrap();
    assert!(over.ends_with("device not authenticated"), "{over}");
    stage.here.set_tls(stage.alpha.usual());
    stage.is_asked = true;
    stage.hold_a_good_session();
}

#[test]
fn a_device_without_a_certificate_says_what_it_needs() {
    let trust = Trust::new("Gamma CA");
    let server = server::Server::start(trust.usual());
    let mut account = server::account(
        &trust,
        "gamma",
        &format!("{}/dm", server.uri()),
        &[super::stage::DEVINFO],
    );
    account.auth.trsp = None;
    let device = Setup::usual().start();
    let admin = device.admin();
    admin.bootstrap(&server::document(vec![account])).unwrap();
    let report = admin.session("gamma").unwrap();
    let error = report["error"].as_str().unwrap();
    assert!(
        error.contains("demands a client certificate and the account has none"),
        "{error}"
    );
    assert!(server.take().requests.is_empty());

    server.set_tls(config(&trust.server(&["127.0.0.1"]), None));
    let report = admin.session("gamma").unwrap();
    assert_eq!(report["completed"], true, "{report:#}");
    device.stop();
}

/// Without an account, nobody is an authority, and nobody becomes one by naming itself like another.
#[test]
fn only_accounts_make_authorities() {
    let mut stage = Stage::set(&[]);
    for stranger in [
        "gamma",
        "",
        "*",
        "local:operator",
        "local:device",
        "ALPHA",
        "alpha ",
    ] {
        let message = stage.admin.session(stranger).unwrap_err().to_string();
        assert!(
            message.contains("has no account on this device"),
            "{stranger}: {message}"
        );
    }
    let moids = [super::stage::DEVINFO];
    let document = |srv_id: &str, uri: &str| {
        server::document(vec![server::account(&stage.beta, srv_id, uri, &moids)])
    };
    let uri = format!("{}/dm", stage.alien.uri());
    let rows = [
        (
            "another's name",
            document("alpha", &uri),
            "has an account with other contents already",
        ),
        (
            "the operator's name",
            document("local:operator", &uri),
            "is reserved",
        ),
        ("everybody's name", document("*", &uri), "is reserved"),
        (
            "no TLS",
            document("gamma", &uri.replace("https", "http")),
            "must be https://",
        ),
        (
            "a password",
            document("gamma", &uri.replace("https://", "https://user:secret@")),
            "must be https://",
        ),
        ("no document", b"[]".to_vec(), ""),
    ];
    for (name, document, words) in rows {
        let message = stage.admin.bootstrap(&document).unwrap_err();
        let message = message.to_string();
        let message = message.lines().next().unwrap();
        assert!(message.contains(words), "{name}: {message}");
        assert!(!message.contains("secret"), "{message}");
        stage.hold_a_good_session();
    }
    assert!(stage.admin.session("gamma").is_err());
    assert!(stage.alien.take().connections.is_empty());
}

/// TLS 1.2 and 1.3 with authenticated encryption are offered, and nothing else is taken.
#[test]
fn weak_tls_is_neither_offered_nor_taken() {
    let mut stage = Stage::set(&[]);
    // A ServerHello of the version, with the cipher suite, without extensions (RFC 5246 §7.4.1.3).
    let hello = |version: [u8; 2], suite: [u8; 2]| {
        let mut bytes = vec![22, 3, 3, 0, 42, 2, 0, 0, 38];
        bytes.extend_from_slice(&version);
        bytes.extend_from_slice(&[7; 32]);
        bytes.push(0);
        bytes.extend_from_slice(&suite);
        bytes.push(0);
        bytes
    };
    let rows = [
        ("SSL 3.0", hello([3, 0], [0, 0x2f])),
        ("TLS 1.0", hello([3, 1], [0xc0, 0x13])),
        ("TLS 1.1", hello([3, 2], [0xc0, 0x13])),
        ("RSA key exchange and CBC", hello([3, 3], [0, 0x2f])),
        ("no authentication", hello([3, 3], [0, 0x6d])),
        ("RC4", hello([3, 3], [0xc0, 0x07])),
        ("no encryption", hello([3, 3], [0, 0x3b])),
    ];
    for (name, answer) in rows {
        let case = Case::new(name)
            .greetings([Greeting::Plain(answer)])
            .check(|played| {
                nothing_was_sent(played);
                let (versions, suites) = offered(&played.here.connections[0].overheard);
                assert_eq!(versions, [0x0304, 0x0303]);
                let strong = [
                    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xcca9, 0xc02f, 0xc030, 0xcca8,
                    // "I can renegotiate safely", not a suite (RFC 5746 §3.3).
                    0x00ff,
                ];
                assert!(
                    suites.iter().all(|suite| strong.contains(suite)),
                    "{suites:04x?}"
                );
            });
        stage.play_with(&case, "TLS");
        stage.hold_a_good_session();
    }
}

/// Versions and cipher suites in a ClientHello (RFC 8446 §4.1.2).
fn offered(record: &[u8]) -> (Vec<u16>, Vec<u16>) {
    let mut rest = &record[5 + 4 + 2 + 32..];
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at(length);
        rest = left;
        taken
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum * 256 + usize::from(*byte))
    };
    let numbers = |bytes: &[u8]| {
        bytes
            .chunks(2)
            .map(|pair| number(pair) as u16)
            .collect::<Vec<u16>>()
    };
    let session = number(take(1));
    take(session);
    let length = number(take(2));
    let suites = numbers(take(length));
    let compressions = number(take(1));
    assert_eq!(take(compressions), [0], "no compression");
    take(2);
    loop {
        let (kind, length) = (number(take(2)), number(take(2)));
        let content = take(length);
        // supported_versions
        if kind == 43 {
            return (numbers(&content[1..]), suites);
        }
    }
}

/// A bit that is changed on the way ends the session before anything is done.
#[test]
fn what_is_changed_on_the_way_is_not_believed() {
    let mut stage = Stage::set(&[]);
    let server = stage.alpha.server(&["127.0.0.1"]);
    for version in VERSIONS {
        stage
            .here
            .set_tls(server::only(version, &server, Some(&stage.alpha.ca)));
        stage.play(
            &Case::new("in the answer to Package#1")
                .greetings([Greeting::Tampered])
                .answers([Reply::package(&["DELETE $M/1/Setting"])])
                .fails("package 1")
                .check(|played| assert!(played.commands().is_empty())),
        );
        stage.play(
            &Case::new("it is still there")
                .answers([Reply::package(&["GET $M/1/Setting"])])
                .statuses([&[200]]),
        );
        stage.play(
            &Case::new("in the data of a repository")
                .data("/data", Reply::data(&json!({ "MOData": "changed" })))
                .greetings([Greeting::Tls, Greeting::Tampered])
                .answers([Reply::package(&[
                    "HGET $here/data $M/1/Setting",
                    "GET $M/1/Setting",
                ])])
                .statuses([&[502, 200]])
                .check(|played| assert_eq!(played.mo_data(0, 1), json!({ "Setting": "0xA1" }))),
        );
        stage.hold_a_good_session();
    }
}

#[test]
fn nobody_on_the_way_learns_anything() {
    let mut stage = Stage::set(&[]);
    let server = stage.alpha.server(&["127.0.0.1"]);
    for version in VERSIONS {
        stage
            .here
            .set_tls(server::only(version, &server, Some(&stage.alpha.ca)));
        let played = stage.play(
            &Case::new("a session")
                .data(
                    "/data?token=Wombat",
                    Reply::data(&json!({ "MOData": "Numbat" })),
                )
                .data("/in", Reply::status("200 OK"))
                .answers([Reply::package(&[
                    "HGET $here/data?token=Wombat $M/1/Setting",
                    "GET $M/1/",
                    "HPUT $here/in $M/1/",
                    "CONT $here/dm?token=Wombat",
                ])
                .with("Set-Cookie", "sid=Quokka")])
                .statuses([&[200, 200, 200, 200]]),
        );
        assert_eq!(played.here.connections.len(), 3);
        for connection in &played.here.connections {
            assert!(connection.overheard.len() > 1_000);
            for word in [
                "Wombat", "Numbat", "Quokka", DEVICE_ID, "OMADM", "HTTP/1.1", "\"CMD\"", "urn:",
            ] {
                // In TLS 1.2, certificates can be read by anybody, and ours holds a URN.
                if word == "urn:" && connection.version.as_deref() == Some("TLSv1_2") {
                    continue;
                }
                let found = connection
                    .overheard
                    .windows(word.len())
                    .any(|window| window == word.as_bytes());
                assert!(!found, "{word} can be read on the way");
            }
        }
        // Nor does the operator's log, or the report, tell what opens doors.
        let told = format!("{}{}", stage.device.log(), played.report);
        assert!(told.contains("urn:oma:mo:x-foreign-sensor:1.0"));
        let key = stage.alpha.device.key_pem();
        let key = key.lines().nth(1).unwrap();
        for secret in ["Wombat", "Numbat", "Quokka", key] {
            assert!(!told.contains(secret), "{secret} is told");
        }
    }
}

impl Stage {
    /// Plays a row that fails with words which are not known to the compiler.
    fn play_with(&mut self, case: &Case, words: &str) {
        let report = self.play_any(case).report;
        let error = report["error"].as_str().unwrap_or("it did not fail");
        assert!(
            error.contains(words),
            "{}: {error:?} instead of {words:?}",
            case.name()
        );
        assert_eq!(report["completed"], false);
    }
}
