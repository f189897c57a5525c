//! Package#1, #2, #3 until END, on real sockets: in order, at least once, whatever the device does.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod device;

use bailiwick_authority::{Entry, Limits, ServerOptions};
use bailiwick_protocol::{
    Alert, Command, MEDIA_INITIATION, MEDIA_RESPONSE, Mark, MoItem, Package3, Status, StatusCode,
    alert,
};
use device::{DEVINFO, World, get};
use serde_json::json;

#[tokio::test]
async fn a_session_from_package_1_to_end() {
    let world = World::new();
    let device = world.enroll("IMEI:493005100592800");
    let first = world.queue(&device, &get(DEVINFO));
    let hget = Command::HGet {
        server_uri: "https://127.0.0.1/data/x.json".into(),
        client_uri: None,
    };
    let second = world.queue(&device, &hget);
    let server = world.serve(ServerOptions::default()).await;
    let mut observer = server.observe();
    let mut connection = device.connect(server.local_addr()).await.unwrap();

    assert_eq!(connection.open().await.commands(), [get(DEVINFO), hget]);
    assert_eq!(world.waiting(&device), [(first, 1), (second, 1)]);
    let item = MoItem {
        client_uri: Some(DEVINFO.into()),
        data: json!({"DevInfo": {"DevID": "IMEI:493005100592800"}}),
        ddf: None,
        cv: Some("a1".into()),
    };
    let mut complete = Alert::new(alert::SCOMO_OPERATION_COMPLETE);
    complete.mark = Some(Mark::Warning);
    complete.data = Some(json!({"DM1x": 1200}));
    let package = Package3 {
        statuses: vec![
            Status {
                objects: vec![item.clone()],
                ..Status::new(StatusCode::OK)
            },
            Status {
                uris: vec!["urn:oma:mo:x:1.0/1/".into()],
                ..Status::new(StatusCode::OK)
            },
        ],
        alerts: vec![complete],
    };
    assert_eq!(connection.answer_with(&package).await.names(), ["END"]);

    assert_eq!(world.waiting(&device), []);
    let result = observer.result(&device.id, second).await.unwrap();
    assert_eq!(result.status, Some(package.statuses[1].clone()));
    assert!(observer.ended(&device.id).await.is_some());
    let entries = world
        .authority
        .journal(&device.id)
        .unwrap()
        .entries()
        .unwrap();
    assert_eq!(entries.len(), 4, "{entries:#?}");
    assert!(matches!(&entries[0], Entry::Alert { package: 1, alert, .. }
        if alert["AlertType"] == alert::CLIENT_INITIATED));
    assert!(
        matches!(&entries[1], Entry::Result { id: Some(1), sent: 1, status: Some(200), objects, command, .. }
        if objects[0]["ClientURI"] == DEVINFO && objects[0]["CV"] == "a1" && command[0] == "GET")
    );
    assert!(
        matches!(&entries[2], Entry::Result { id: Some(2), uris, .. } if uris == &["urn:oma:mo:x:1.0/1/"])
    );
    assert!(matches!(&entries[3], Entry::Alert { package: 3, alert, .. }
        if alert["Data"]["DM1x"] == 1200 && alert["Mark"] == "warning"));
    server.stop().await;
}

#[tokio::test]
async fn nothing_queued_is_end_at_once() {
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.names(), ["END"]);
    assert_eq!(connection.answer(&[]).await.status, 409);
}

#[tokio::test]
async fn many_commands_go_out_in_batches_and_in_order() {
    let world = World::new();
    let device = world.enroll("dev1");
    let uri = |number| format!("urn:oma:mo:x:1.0/{number}/");
    for number in 0..5 {
        world.queue(&device, &get(&uri(number)));
    }
    let limits = Limits {
        batch_commands: 2,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(
        connection.open().await.commands(),
        [get(&uri(0)), get(&uri(1))]
    );
    assert_eq!(
        connection.answer(&[200, 404]).await.commands(),
        [get(&uri(2)), get(&uri(3))]
    );
    // Queued while the session runs: it goes out in the same session, after what was there.
    world.queue(&device, &get(&uri(5)));
    assert_eq!(
        connection.answer(&[200, 200]).await.commands(),
        [get(&uri(4))]
    );
    assert_eq!(connection.answer(&[200]).await.commands(), [get(&uri(5))]);
    assert_eq!(connection.answer(&[200]).await.names(), ["END"]);
    assert_eq!(world.waiting(&device), []);
}

#[tokio::test]
async fn large_commands_go_out_in_small_packages() {
    let world = World::new();
    let device = world.enroll("dev1");
    let large = get(&format!("urn:oma:mo:x:1.0/1/{}", "n".repeat(200)));
    for _ in 0..3 {
        world.queue(&device, &large);
    }
    let limits = Limits {
        batch_bytes: 500,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.names(), ["GET", "GET"]);
    assert_eq!(connection.answer(&[200, 200]).await.names(), ["GET"]);
}

#[tokio::test]
async fn a_session_uses_any_connection_of_its_device_and_of_no_other() {
    let world = World::new();
    let (one, two) = (world.enroll("one"), world.enroll("two"));
    world.queue(&one, &get(DEVINFO));
    let server = world.serve(ServerOptions::default()).await;
    let mut first = one.connect(server.local_addr()).await.unwrap();
    assert_eq!(first.open().await.names(), ["GET"]);
    let mut other = two.connect(server.local_addr()).await.unwrap();
    assert_eq!(other.answer(&[200]).await.status, 409);
    let mut second = one.connect(server.local_addr()).await.unwrap();
    assert_eq!(second.answer(&[200]).await.names(), ["END"]);
}

#[tokio::test]
async fn a_new_package_1_restarts_the_session() {
    let world = World::new();
    let device = world.enroll("dev1");
    let id = world.queue(&device, &get(DEVINFO));
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.names(), ["GET"]);
    assert_eq!(connection.open().await.names(), ["GET"]);
    assert_eq!(world.waiting(&device), [(id, 2)]);
    assert_eq!(connection.answer(&[200]).await.names(), ["END"]);
    let entries = world
        .authority
        .journal(&device.id)
        .unwrap()
        .entries()
        .unwrap();
    assert!(
        matches!(entries.last(), Some(Entry::Result { sent: 2, .. })),
        "{entries:?}"
    );
}

#[tokio::test]
async fn a_restart_between_2_and_3_loses_nothing() {
    let world = World::new();
    let device = world.enroll("dev1");
    let id = world.queue(&device, &get(DEVINFO));
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.names(), ["GET"]);
    server.stop().await;

    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.answer(&[200]).await.status, 409);
    assert_eq!(world.waiting(&device), [(id, 1)]);
    assert_eq!(connection.open().await.names(), ["GET"]);
    assert_eq!(connection.answer(&[200]).await.names(), ["END"]);
    assert_eq!(world.waiting(&device), []);
}

#[tokio::test]
async fn malformed_packages_are_400_and_the_next_session_works() {
    let world = World::new();
    let device = world.enroll("dev1");
    let id = world.queue(&device, &get(DEVINFO));
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    for bytes in [
        &b""[..],
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{\"MOS\":7}",
        b"{\"Alert\":[{}]}",
        &deep,
    ] {
        let answer = connection.post(MEDIA_INITIATION, bytes).await;
        assert_eq!(
            answer.status,
            400,
            "{:?}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    for bytes in [&b""[..], b"{}", b"{\"Status\":[{}]}", &deep] {
        assert_eq!(connection.open().await.names(), ["GET"]);
        assert_eq!(connection.post(MEDIA_RESPONSE, bytes).await.status, 400);
        assert_eq!(
            connection.answer(&[200]).await.status,
            409,
            "the session is over"
        );
    }
    assert_eq!(world.waiting(&device), [(id, 4)]);
    assert_eq!(connection.open().await.names(), ["GET"]);
    assert_eq!(connection.answer(&[200]).await.names(), ["END"]);
}

#[tokio::test]
async fn statuses_that_do_not_match_the_commands_are_refused() {
    let world = World::new();
    let device = world.enroll("dev1");
    world.queue(&device, &get(DEVINFO));
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    for statuses in [&[][..], &[200, 200]] {
        assert_eq!(connection.open().await.names(), ["GET"]);
        assert_eq!(connection.answer(statuses).await.status, 400);
    }
    assert_eq!(world.waiting(&device).len(), 1);
}

#[tokio::test]
async fn a_queued_end_cuts_the_session_short() {
    let world = World::new();
    let device = world.enroll("dev1");
    for command in [get(DEVINFO), Command::End, get(DEVINFO)] {
        world.queue(&device, &command);
    }
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    assert_eq!(connection.open().await.names(), ["GET", "END"]);
    assert_eq!(world.waiting(&device), [(3, 0)]);
    assert_eq!(connection.answer(&[200]).await.status, 409);
    assert_eq!(connection.open().await.names(), ["GET"]);
}

#[tokio::test]
async fn other_paths_methods_and_types_are_told_apart() {
    use hyper::Method;
    let world = World::new();
    let device = world.enroll("dev1");
    let server = world.serve(ServerOptions::default()).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    const ID: (&str, &str) = ("OMADM-DevID", "dev1");
    const INITIATION: (&str, &str) = (
        "Content-Type",
        "Application/vnd.oma.dm.initiation+json; charset=utf-8",
    );
    type Headers = &'static [(&'static str, &'static str)];
    let rows: [(Method, &str, Headers, u16); 8] = [
        (Method::GET, "/", &[], 404),
        (Method::POST, "/dmx", &[ID, INITIATION], 404),
        (Method::GET, "/dm", &[ID], 405),
        (Method::POST, "/dm", &[INITIATION], 400),
        (Method::POST, "/dm", &[ID], 415),
        (
            Method::POST,
            "/dm",
            &[ID, ("Content-Type", "application/json")],
            415,
        ),
        (
            Method::POST,
            "/dm",
            &[ID, INITIATION, ("Accept", "text/html")],
            406,
        ),
        (
            Method::POST,
            "/dm/after-cont",
            &[ID, INITIATION, ("Accept", "application/*")],
            200,
        ),
    ];
    for (method, path, headers, expected) in rows {
        let answer = connection.request(method, path, headers, b"{}").await;
        assert_eq!(answer.status, expected, "{path} {headers:?}");
    }
}
