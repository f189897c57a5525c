//! The data repository: what a device may fetch and send, whole or in parts, and that there is no way out.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod device;

use bailiwick_authority::{Entry, Event, Limits, ServerOptions};
use device::{Connection, World};
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn put(world: &World, name: &str, bytes: &[u8]) {
    world
        .authority
        .repository()
        .put_bytes(&name.parse().unwrap(), bytes)
        .unwrap();
}

fn uploads(world: &World, device: &device::Device) -> Vec<(String, u64)> {
    let uploads = world.authority.repository().uploads(&device.id).unwrap();
    uploads
        .into_iter()
        .map(|(name, bytes)| (name.to_string(), bytes))
        .collect()
}

fn stored(world: &World, device: &device::Device, name: &str) -> Vec<u8> {
    std::fs::read(
        world
            .authority
            .repository()
            .uploads_of(&device.id)
            .join(name),
    )
    .unwrap()
}

async fn ranged(connection: &mut Connection, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
    let answer = connection
        .request(Method::GET, "/data/file", headers, b"")
        .await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_device_reads_what_is_public_and_what_is_its_own() {
    let world = World::new();
    let one = world.enroll("IMEI:1");
    put(&world, "public.json", b"[]");
    put(&world, "IMEI:1/mine.bin", b"mine");
    put(&world, "two/theirs", b"theirs");
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = one.connect(server.local_addr()).await.unwrap();
    let answer = connection.get("/data/public.json").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"[]"[..]));
    assert_eq!(answer.headers["content-type"], "application/dmmo+json");
    for path in [
        "/data/IMEI:1/mine.bin",
        "/data/IMEI%3a1/mine.bin",
        "/data/IMEI:1/mine.bin?a=b",
    ] {
        assert_eq!(connection.get(path).await.body, b"mine", "{path}");
    }
    // Whether it is there or not does not show.
    let there = connection.get("/data/two/theirs").await;
    let not_there = connection.get("/data/two/nothing").await;
    assert_eq!((there.status, not_there.status), (403, 403));
    assert_eq!(there.body, not_there.body);
    for path in ["/data/nothing", "/data/IMEI:1/nothing", "/data/IMEI:1"] {
        assert_eq!(connection.get(path).await.status, 404, "{path}");
    }
    let html = [("Accept", "text/html")];
    assert_eq!(
        connection
            .request(Method::GET, "/data/public.json", &html, b"")
            .await
            .status,
        406
    );
}

#[tokio::test]
async fn there_is_no_way_out_of_the_repository() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let paths = [
        "/data/../ca.key",
        "/data/%2e%2e/ca.key",
        "/data/..%2fca.key",
        "/data/dev1/../../ca.key",
        "/data/dev1/%2E%2E/%2E%2E/ca.key",
        "/data//etc/passwd",
        "/data/%2fetc%2fpasswd",
        "/data/dev1%2f..%2f..%2fca.key",
        "/data/..%5cca.key",
        "/data/%00",
        "/data/ca.key%00.json",
        "/data/.",
        "/data/",
        "/data/./x",
        "/data/dev1/.unfinished-1-0",
        "/data/%c0%ae%c0%ae/ca.key",
        "/data/%",
    ];
    for method in ["GET", "PUT", "POST"] {
        for path in paths {
            // By hand: HTTP libraries tidy paths up.
            let mut stream = device.connect_tls(server.local_addr()).await.unwrap();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(
                answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 403"),
                "{method} {path}: {answer}"
            );
        }
    }
    assert_eq!(uploads(&world, &device), []);
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_broke_off() {
    let world = World::new();
    let device = world.enroll("dev1");
    put(&world, "file", b"0123456789");
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    let whole = connection.get("/data/file").await;
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    let tag = whole.headers["etag"].to_str().unwrap().to_owned();

    let rest = connection
        .request(
            Method::GET,
            "/data/file",
            &[("Range", "bytes=4-"), ("If-Range", &tag)],
            b"",
        )
        .await;
    assert_eq!((rest.status, rest.body.as_slice()), (206, &b"456789"[..]));
    assert_eq!(rest.headers["content-range"], "bytes 4-9/10");
    let beyond = connection
        .request(Method::GET, "/data/file", &[("Range", "bytes=10-")], b"")
        .await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.headers["content-range"], "bytes */10");
    assert_eq!(
        ranged(&mut connection, &[("If-None-Match", &tag)]).await,
        (304, vec![])
    );

    put(&world, "file", b"abcdefghij");
    let changed = [("Range", "bytes=4-"), ("If-Range", tag.as_str())];
    assert_eq!(
        ranged(&mut connection, &changed).await,
        (200, b"abcdefghij".to_vec())
    );
    assert_eq!(
        ranged(&mut connection, &[("If-None-Match", &tag)]).await.0,
        200
    );
}

#[tokio::test]
async fn a_large_file_arrives_whole() {
    let world = World::new();
    let device = world.enroll("dev1");
    let bytes: Vec<u8> = (0..5_000_000u32)
        .map(|number| (number % 251) as u8)
        .collect();
    put(&world, "large", &bytes);
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert!(connection.get("/data/large").await.body == bytes);
    assert_eq!(connection.put("/data/back", &bytes).await.status, 201);
    assert!(stored(&world, &device, "back") == bytes);
}

#[tokio::test]
async fn uploads_land_with_their_device_and_are_not_served() {
    let world = World::new();
    let (one, two) = (world.enroll("one"), world.enroll("two"));
    let server = world.serve(ServerOptions::default()).await;
    let mut observer = server.observe();
    let mut first = one.connect(server.local_addr()).await.unwrap();
    let mut second = two.connect(server.local_addr()).await.unwrap();

    assert_eq!(first.put("/data/report", b"1").await.status, 201);
    assert_eq!(first.put("/data/one/report", b"22").await.status, 204);
    assert_eq!(second.put("/data/report", b"333").await.status, 201);
    assert_eq!(second.put("/data/one/report", b"4").await.status, 403);
    assert_eq!(stored(&world, &one, "report"), b"22");
    assert_eq!(stored(&world, &two, "report"), b"333");

    for number in 1..=3 {
        let answer = first.request(Method::POST, "/data/log", &[], b"line").await;
        assert_eq!(answer.status, 201);
        assert_eq!(
            answer.headers["location"],
            format!("/data/one/log.{number}").as_str()
        );
    }
    let names: Vec<String> = uploads(&world, &one)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["log.1", "log.2", "log.3", "report"]);
    for path in ["/data/report", "/data/one/report", "/data/log.1"] {
        assert_eq!(first.get(path).await.status, 404, "{path}");
    }

    assert!(
        matches!(observer.next().await, Some(Event::Uploaded { device, name, bytes: 1 })
        if device == one.id && name == "report")
    );
    let entries = world.authority.journal(&two.id).unwrap().entries().unwrap();
    assert!(
        matches!(&entries[..], [Entry::Upload { method, name, media_type: Some(media_type), bytes: 3, .. }]
        if method == "PUT" && name == "report" && media_type == "application/dmmo+json"),
        "{entries:?}"
    );
}

#[tokio::test]
async fn uploads_have_a_size_and_leave_nothing_behind() {
    let world = World::new();
    let device = world.enroll("dev1");
    let limits = Limits {
        upload_bytes: 100,
        uploads_bytes: 150,
        uploads_files: 3,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    // Announced too large, and found too large while it arrives in chunks.
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.put("/data/a", &[0; 101]).await.status, 413);
    let mut stream = device.connect_tls(server.local_addr()).await.unwrap();
    let head = "PUT /data/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("40\r\n{}\r\n", "x".repeat(0x40));
    stream
        .write_all([head, &chunk, &chunk, "0\r\n\r\n"].concat().as_bytes())
        .await
        .unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    assert_eq!(uploads(&world, &device), []);

    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.put("/data/a", &[0; 100]).await.status, 201);
    assert_eq!(connection.put("/data/b", &[0; 50]).await.status, 201);
    assert_eq!(connection.put("/data/c", &[0; 1]).await.status, 507);
    assert_eq!(
        connection.put("/data/a", &[0; 10]).await.status,
        204,
        "what is replaced makes room"
    );
    assert_eq!(connection.put("/data/c", &[0; 1]).await.status, 201);
    assert_eq!(connection.put("/data/d", &[0; 1]).await.status, 507);
    let directory = world.authority.repository().uploads_of(&device.id);
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 3);
}

#[tokio::test]
async fn uploads_at_the_same_time_share_the_room() {
    let world = World::new();
    let device = world.enroll("dev1");
    let limits = Limits {
        uploads_bytes: 150,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    let mut streams = Vec::new();
    for name in ["a", "b"] {
        let mut stream = device.connect_tls(server.local_addr()).await.unwrap();
        let head = format!(
            "PUT /data/{name} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Both are under way before either is complete.
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        streams.push(stream);
    }
    let mut answers = Vec::new();
    for mut stream in streams {
        stream.write_all(&[b'x'; 100]).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        answers.push(String::from_utf8_lossy(&answer).into_owned());
    }
    assert_eq!(answers, ["HTTP/1.1 201", "HTTP/1.1 507"]);
    assert_eq!(uploads(&world, &device), [("a".to_owned(), 100)]);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.put("/data/a", b"old").await.status, 201);
    let mut stream = device.connect_tls(server.local_addr()).await.unwrap();
    let half = "PUT /data/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf";
    stream.write_all(half.as_bytes()).await.unwrap();
    drop(stream);
    server.stop().await;
    assert_eq!(stored(&world, &device, "a"), b"old");
    let directory = world.authority.repository().uploads_of(&device.id);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);

    // What a crash leaves is removed at the next start.
    std::fs::write(directory.join(".unfinished-1-0"), b"x").unwrap();
    world.serve(ServerOptions::default()).await.stop().await;
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
}

#[tokio::test]
async fn a_repository_that_wants_certain_types_says_so() {
    let world = World::new();
    let device = world.enroll("dev1");
    let options = ServerOptions {
        upload_types: vec!["application/dmmo+json".into(), "text/*".into()],
        ..ServerOptions::default()
    };
    let server = world.serve(options).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    for (media_type, expected) in [
        ("application/octet-stream", 415),
        ("application/dmmo+json; charset=utf-8", 201),
        ("text/plain", 204),
    ] {
        let headers = [("Content-Type", media_type)];
        let answer = connection
            .request(Method::PUT, "/data/x", &headers, b"x")
            .await;
        assert_eq!(answer.status, expected, "{media_type}");
        if expected == 415 {
            assert_eq!(
                answer.headers["OMADM-Accept"],
                "application/dmmo+json, text/*"
            );
        }
    }
}
