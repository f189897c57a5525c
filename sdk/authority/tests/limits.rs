//! Devices that are too large, too slow or too many: each is cut, and the next one is served.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod device;

use bailiwick_authority::{Limits, ServerOptions};
use bailiwick_protocol::MEDIA_INITIATION;
use device::{Device, World};
use std::{net::SocketAddr, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SHORT: Duration = Duration::from_secs(1);

/// Sends these bytes, waits until the server closes, returns what it said.
async fn raw(device: &Device, server: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = device.connect_tls(server).await.unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn still_works(device: &Device, server: SocketAddr) {
    let mut connection = device.connect(server).await.unwrap();
    assert_eq!(connection.open().await.names(), ["END"]);
}

fn head(length: usize) -> String {
    format!(
        "POST /dm HTTP/1.1\r\nHost: x\r\nOMADM-DevID: dev1\r\nContent-Type: {MEDIA_INITIATION}\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn large_packages_are_413() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    let answer = connection
        .post(MEDIA_INITIATION, &vec![b' '; (1 << 20) + 1])
        .await;
    assert_eq!(answer.status, 413);
    still_works(&device, server.local_addr()).await;
    // The whole bound may be used.
    let mut package = b"{}".to_vec();
    package.resize(1 << 20, b' ');
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(
        connection.post(MEDIA_INITIATION, &package).await.names(),
        ["END"]
    );
}

#[tokio::test]
async fn slow_packages_are_408() {
    let world = World::new();
    let device = world.enroll("dev1");
    for limits in [
        Limits {
            package: SHORT,
            ..Limits::default()
        },
        Limits {
            stall: SHORT,
            ..Limits::default()
        },
    ] {
        let server = world.serve_within(limits).await;
        let answer = raw(
            &device,
            server.local_addr(),
            format!("{}{{", head(10)).as_bytes(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        still_works(&device, server.local_addr()).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let world = World::new();
    let device = world.enroll("dev1");
    let limits = Limits {
        head: SHORT,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    for bytes in [
        &b""[..],
        b"POST /dm HT",
        b"POST /dm HTTP/1.1\r\nHost: x\r\n",
    ] {
        let answer = raw(&device, server.local_addr(), bytes).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    still_works(&device, server.local_addr()).await;
}

#[tokio::test]
async fn large_heads_are_refused() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let long = format!(
        "GET /data/x HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "a".repeat(20_000)
    );
    let many = format!(
        "GET /data/x HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "A: a\r\n".repeat(100)
    );
    let path = format!(
        "GET /data/{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "a/".repeat(20_000)
    );
    for bytes in [long, many, path] {
        let answer = raw(&device, server.local_addr(), bytes.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.is_empty(),
            "{answer}"
        );
        assert!(!answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    still_works(&device, server.local_addr()).await;
}

#[tokio::test]
async fn what_is_not_http_is_closed() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"\r\n\r\n\xff\r\n\r\n",
    ] {
        let answer = raw(&device, server.local_addr(), bytes).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    still_works(&device, server.local_addr()).await;
}

#[tokio::test]
async fn silent_peers_do_not_keep_the_handshake_open() {
    let world = World::new();
    let device = world.enroll("dev1");
    let limits = Limits {
        handshake: SHORT,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    let mut silent = tokio::net::TcpStream::connect(server.local_addr())
        .await
        .unwrap();
    let mut nothing = Vec::new();
    let _ = silent.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty());
    still_works(&device, server.local_addr()).await;
}

#[tokio::test]
async fn a_device_has_so_many_connections_and_leaves_others_alone() {
    let world = World::new();
    let (one, two) = (world.enroll("one"), world.enroll("two"));
    let limits = Limits {
        connections_per_device: 2,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    let mut first = one.connect(server.local_addr()).await.unwrap();
    let mut second = one.connect(server.local_addr()).await.unwrap();
    assert_eq!(first.open().await.names(), ["END"]);
    assert_eq!(second.open().await.names(), ["END"]);
    assert_eq!(
        raw(
            &one,
            server.local_addr(),
            b"GET /data/x HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        .await,
        ""
    );
    still_works(&two, server.local_addr()).await;
    assert_eq!(first.open().await.names(), ["END"]);
}

#[tokio::test]
async fn there_are_so_many_connections_in_all() {
    let world = World::new();
    let (one, two) = (world.enroll("one"), world.enroll("two"));
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    let mut first = one.connect(server.local_addr()).await.unwrap();
    assert_eq!(first.open().await.names(), ["END"]);
    assert!(two.connect(server.local_addr()).await.is_err());
    assert_eq!(first.open().await.names(), ["END"]);
}

#[tokio::test]
async fn connections_have_a_lifetime() {
    let world = World::new();
    let device = world.enroll("dev1");
    let limits = Limits {
        connection: SHORT,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    assert_eq!(raw(&device, server.local_addr(), b"").await, "");
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_but_not_for_ever() {
    let world = World::new();
    let device = world.enroll("dev1");
    let limits = Limits {
        drain: SHORT,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    // An idle connection does not hold it up, and neither does a request that never ends.
    let mut idle = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(idle.open().await.names(), ["END"]);
    let mut stuck = device.connect_tls(server.local_addr()).await.unwrap();
    stuck
        .write_all(format!("{}{{", head(10)).as_bytes())
        .await
        .unwrap();
    server.stop().await;
    let mut answer = Vec::new();
    let _ = stuck.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_device_that_stops_reading_is_cut() {
    let world = World::new();
    let device = world.enroll("dev1");
    // More than the operating system buffers on both sides.
    let name = "large".parse().unwrap();
    world
        .authority
        .repository()
        .put_bytes(&name, &vec![0; 32 << 20])
        .unwrap();
    let limits = Limits {
        stall: SHORT,
        connections_per_device: 1,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    let mut stuck = device.connect_tls(server.local_addr()).await.unwrap();
    stuck
        .write_all(b"GET /data/large HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // The first bytes are here: from now on it is the only connection that the device may have.
    stuck.read_exact(&mut [0; 12]).await.unwrap();
    let freed = async {
        loop {
            let request = b"GET /data/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            if raw(&device, server.local_addr(), request)
                .await
                .starts_with("HTTP/1.1 404")
            {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed)
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = stuck.read_to_end(&mut rest).await;
    assert!(rest.len() < 32 << 20);
}
