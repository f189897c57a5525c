//! Who gets in: the holder of an enrolled certificate, as the device of that certificate, and nobody else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod device;

use bailiwick_authority::{
    Enroll, Event, Server, ServerError, ServerOptions,
    pki::{self, Ca, Validity},
};
use bailiwick_protocol::MEDIA_INITIATION;
use device::{Device, World};
use hyper::Method;
use std::{net::SocketAddr, sync::Arc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// True if the server answers anything at all. In TLS 1.3 a client learns of its refusal only when it reads.
async fn is_answered(device: &Device, server: SocketAddr) -> bool {
    match device.connect(server).await {
        Ok(mut connection) => {
            let request = hyper::Request::get("/data/x")
                .body(Default::default())
                .unwrap();
            connection.send(request).await.is_ok()
        }
        Err(_) => false,
    }
}

#[tokio::test]
async fn strangers_do_not_pass_the_handshake() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let as_device = |tls| Device {
        id: device.id.clone(),
        tls,
    };
    assert!(is_answered(&device, server.local_addr()).await);
    let mut observer = server.observe();

    let ours = world.authority.ca().unwrap();
    // The same name as ours, and another key.
    let other = Ca::new("Test CA", Validity::days(1)).unwrap();
    let strangers = [
        ("no certificate", None),
        (
            "another CA",
            Some(other.issue_client("dev1", Validity::days(1)).unwrap()),
        ),
        (
            "expired",
            Some(ours.issue_client("dev1", Validity::expired()).unwrap()),
        ),
        (
            "not valid yet",
            Some(ours.issue_client("dev1", Validity::not_yet()).unwrap()),
        ),
        (
            "a server's",
            Some(world.authority.server_identity().unwrap()),
        ),
    ];
    for (what, identity) in &strangers {
        let stranger = as_device(world.tls(identity.as_ref()));
        assert!(!is_answered(&stranger, server.local_addr()).await, "{what}");
        assert!(
            matches!(observer.next().await, Some(Event::HandshakeFailed { .. })),
            "{what}"
        );
    }
    assert!(
        is_answered(&device, server.local_addr()).await,
        "the server lives"
    );
}

#[tokio::test]
async fn a_certificate_of_ours_that_was_not_enrolled_is_403() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let identity = world
        .authority
        .ca()
        .unwrap()
        .issue_client("dev1", Validity::days(1))
        .unwrap();
    let stranger = Device {
        id: device.id.clone(),
        tls: world.tls(Some(&identity)),
    };
    let mut connection = stranger.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.status, 403);
    assert_eq!(connection.get("/data/x").await.status, 403);
}

#[tokio::test]
async fn one_device_cannot_speak_for_another() {
    let world = World::new();
    let (one, two) = (world.enroll("one"), world.enroll("two"));
    world.queue(&two, &device::get(device::DEVINFO));
    let server = world.serve(ServerOptions::default()).await;
    let mut observer = server.observe();
    let mut connection = one.connect(server.local_addr()).await.unwrap();
    let headers = [("OMADM-DevID", "two"), ("Content-Type", MEDIA_INITIATION)];
    let answer = connection
        .request(Method::POST, "/dm", &headers, b"{}")
        .await;
    assert_eq!(answer.status, 403);
    let Some(Event::Refused {
        device,
        status: 403,
        reason,
        ..
    }) = observer.next().await
    else {
        panic!("not refused");
    };
    assert_eq!(device, Some(one.id));
    assert!(reason.contains("\"two\""), "{reason}");
    assert_eq!(world.waiting(&two), [(1, 0)]);
    // Both names at once are no way round, and neither is the repository.
    let both = [
        ("OMADM-DevID", "one"),
        ("OMADM-DevID", "two"),
        ("Content-Type", MEDIA_INITIATION),
    ];
    assert_eq!(
        connection
            .request(Method::POST, "/dm", &both, b"{}")
            .await
            .status,
        403
    );
    assert_eq!(
        connection
            .request(Method::GET, "/data/x", &headers[..1], b"")
            .await
            .status,
        403
    );
    assert_eq!(connection.open().await.names(), ["END"]);
}

#[tokio::test]
async fn a_revocation_counts_at_once() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.names(), ["END"]);
    world.authority.revoke(&device.id).unwrap();
    assert_eq!(connection.open().await.status, 403);

    let renew = Enroll {
        renew: true,
        ..Enroll::default()
    };
    let enrollment = world.authority.enroll(&device.id, renew).unwrap();
    let again = world.device(&device.id, &enrollment);
    let mut new = again.connect(server.local_addr()).await.unwrap();
    assert_eq!(new.open().await.names(), ["END"]);
    assert_eq!(connection.open().await.status, 403);
}

#[tokio::test]
async fn a_renewal_leaves_time_to_change_over() {
    let world = World::new();
    let first = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let renew = || Enroll {
        renew: true,
        ..Enroll::default()
    };
    let second = world.device(
        &first.id,
        &world.authority.enroll(&first.id, renew()).unwrap(),
    );
    for device in [&first, &second] {
        let mut connection = device.connect(server.local_addr()).await.unwrap();
        assert_eq!(connection.open().await.status, 200);
    }
    let third = world.device(
        &first.id,
        &world.authority.enroll(&first.id, renew()).unwrap(),
    );
    for (device, expected) in [(&first, 403), (&second, 200), (&third, 200)] {
        let mut connection = device.connect(server.local_addr()).await.unwrap();
        assert_eq!(connection.open().await.status, expected);
    }
}

#[tokio::test]
async fn tls_1_2_is_enough() {
    let world = World::new();
    let device = world.enroll("dev1");
    let renew = Enroll {
        renew: true,
        ..Enroll::default()
    };
    let identity = world.authority.enroll(&device.id, renew).unwrap().identity;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(world.authority.ca_certificate().unwrap())
        .unwrap();
    let tls = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain().to_vec(), identity.key())
        .unwrap();
    let server = world.serve(ServerOptions::default()).await;
    let old = Device {
        id: device.id,
        tls: Arc::new(tls),
    };
    let mut connection = old.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.names(), ["END"]);
}

#[tokio::test]
async fn without_tls_there_is_nothing_to_read() {
    let world = World::new();
    let server = world.serve(ServerOptions::default()).await;
    let mut stream = tokio::net::TcpStream::connect(server.local_addr())
        .await
        .unwrap();
    stream
        .write_all(b"POST /dm HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_fake_server_may_present_anything() {
    let world = World::new();
    let device = world.enroll("dev1");
    let ca = world.authority.ca().unwrap();
    let expired = ca
        .issue_server(&["127.0.0.1".into()], Validity::expired())
        .unwrap();
    let options = ServerOptions {
        tls: Some(pki::server_config(&expired, &[]).unwrap()),
        ..ServerOptions::default()
    };
    let server = world.serve(options).await;
    assert!(device.connect(server.local_addr()).await.is_err());
    server.stop().await;

    // Even a server that asks for no certificate lets nobody in without one.
    let options = ServerOptions {
        tls: Some(pki::server_config(&world.authority.server_identity().unwrap(), &[]).unwrap()),
        ..ServerOptions::default()
    };
    let server = world.serve(options).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.status, 403);
}

#[tokio::test]
async fn one_server_per_directory() {
    let world = World::new();
    let server = world.serve(ServerOptions::default()).await;
    let any = "127.0.0.1:0".parse().unwrap();
    let second = Server::bind(world.authority.clone(), any, ServerOptions::default()).await;
    assert!(matches!(second, Err(ServerError::Busy)));
    let address = server.local_addr();
    server.stop().await;
    let again = Server::bind(world.authority.clone(), address, ServerOptions::default()).await;
    assert!(again.is_ok());
}
