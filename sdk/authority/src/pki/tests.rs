//! Certificates as verifiers see them: handshakes in memory, without a network.

use super::*;
use rustls::{ClientConnection, ServerConnection};

fn handshake(
    client: std::sync::Arc<rustls::ClientConfig>,
    server: std::sync::Arc<rustls::ServerConfig>,
    host: &str,
) -> Result<Option<String>, rustls::Error> {
    let name = host.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
    }
    let certificates = server.peer_certificates().unwrap_or_default();
    Ok(certificates.first().map(|der| fingerprint(der)))
}

struct World {
    ca: Ca,
    server: Identity,
    client: Identity,
}

fn world() -> World {
    let ca = Ca::new("Test CA", Validity::days(30)).unwrap();
    let hosts = ["localhost", "127.0.0.1", "::1", "*.example.org"].map(String::from);
    World {
        server: ca.issue_server(&hosts, Validity::days(30)).unwrap(),
        client: ca
            .issue_client("IMEI:493005100592800", Validity::days(30))
            .unwrap(),
        ca,
    }
}

impl World {
    fn meet(
        &self,
        server: &Identity,
        client: &Identity,
        host: &str,
    ) -> Result<Option<String>, rustls::Error> {
        let anchors = [self.ca.certificate_der().clone()];
        handshake(
            client_config(&anchors, Some(client)).unwrap(),
            server_config(server, &anchors).unwrap(),
            host,
        )
    }
}

#[test]
fn both_sides_know_each_other() {
    let world = world();
    for host in ["localhost", "127.0.0.1", "::1", "dm.example.org"] {
        let seen = world.meet(&world.server, &world.client, host).unwrap();
        assert_eq!(seen, Some(world.client.fingerprint()), "{host}");
    }
}

#[test]
fn a_host_that_is_not_named_is_refused() {
    let world = world();
    for host in [
        "example.org",
        "a.b.example.org",
        "127.0.0.2",
        "localhost.example.com",
    ] {
        assert!(
            world.meet(&world.server, &world.client, host).is_err(),
            "{host}"
        );
    }
}

#[test]
fn expiry_counts_on_both_sides() {
    let world = world();
    for validity in [Validity::expired(), Validity::not_yet()] {
        let server = world
            .ca
            .issue_server(&["localhost".into()], validity)
            .unwrap();
        assert!(world.meet(&server, &world.client, "localhost").is_err());
        let client = world.ca.issue_client("dev1", validity).unwrap();
        assert!(world.meet(&world.server, &client, "localhost").is_err());
    }
}

#[test]
fn a_server_is_no_client_and_the_other_way_round() {
    let world = world();
    assert!(
        world
            .meet(&world.server, &world.server, "localhost")
            .is_err()
    );
    assert!(
        world
            .meet(&world.client, &world.client, "localhost")
            .is_err()
    );
}

#[test]
fn another_ca_of_the_same_name_does_not_count() {
    let (world, other) = (world(), Ca::new("Test CA", Validity::days(30)).unwrap());
    let client = other.issue_client("dev1", Validity::days(30)).unwrap();
    assert!(world.meet(&world.server, &client, "localhost").is_err());
    let server = other
        .issue_server(&["localhost".into()], Validity::days(30))
        .unwrap();
    assert!(world.meet(&server, &world.client, "localhost").is_err());
}

#[test]
fn a_ca_from_files_goes_on_where_it_was() {
    let World { ca, server, client } = world();
    let read = Ca::from_pem("Test CA", &ca.certificate_pem(), &ca.key_pem()).unwrap();
    let later = read.issue_client("dev2", Validity::days(1)).unwrap();
    let world = World { ca, server, client };
    assert!(world.meet(&world.server, &later, "localhost").is_ok());
}

#[test]
fn keys_and_certificates_must_belong_together() {
    let (one, two) = (world().ca, world().ca);
    let mixed = Ca::from_pem("Test CA", &one.certificate_pem(), &two.key_pem());
    assert!(matches!(mixed, Err(PkiError::KeyMismatch)));
    assert!(matches!(
        Ca::from_pem("Test CA", "", ""),
        Err(PkiError::Pem { .. })
    ));
}

#[test]
fn an_identity_survives_pem() {
    let world = world();
    let read = Identity::from_pem(&world.client.chain_pem(), &world.client.key_pem()).unwrap();
    assert_eq!(read.certificate_der(), world.client.certificate_der());
    assert_eq!(read.key_der(), world.client.key_der());
    assert!(matches!(
        Identity::from_pem("", &world.client.key_pem()),
        Err(PkiError::Pem { .. })
    ));
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let ca = world().ca;
    for name in ["", "a\nb", &"x".repeat(65)] {
        assert!(
            matches!(
                ca.issue_client(name, Validity::days(1)),
                Err(PkiError::Name { .. })
            ),
            "{name:?}"
        );
    }
    for host in [
        "",
        "a b",
        "-",
        "*.*.example.org",
        "https://example.org",
        "dm.example.org:8443",
    ] {
        let issued = ca.issue_server(&[host.to_owned()], Validity::days(1));
        assert!(issued.is_err(), "{host:?}");
    }
}

#[test]
fn keys_do_not_show() {
    let world = world();
    let shown = format!("{:?} {:?}", world.ca, world.client);
    assert!(!shown.contains("PRIVATE") && shown.len() < 200, "{shown}");
}
