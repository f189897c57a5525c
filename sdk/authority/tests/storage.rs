//! What is on disk: enrolment, queue, journal. Private, whole, and clear about what is wrong.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod device;

use bailiwick_authority::{
    Authority, AuthorityError, DeviceId, Enroll, Entry, Init, Limits,
    authority::DEFAULT_MOIDS,
    notification::Notify,
    pki::Validity,
    queue::{self, CommandsError, QUEUE_COMMANDS, QueueError},
};
use bailiwick_protocol::{Bearer, BootstrapDocument, Command, Notification};
use device::{DEVINFO, TempDir, World, get};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_private_and_nothing_is_replaced() {
    let world = World::new();
    let dir = world.authority.dir();
    for name in ["ca.key", "server.key"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(dir), 0o700);
    let key = fs::read(dir.join("ca.key")).unwrap();
    let again = Authority::init(
        dir,
        Init {
            name: "Other".into(),
            ..Init::default()
        },
    );
    assert!(matches!(again, Err(AuthorityError::Exists { .. })));
    assert_eq!(fs::read(dir.join("ca.key")).unwrap(), key);
    assert_eq!(Authority::open(dir).unwrap().name(), "Test");
}

#[test]
fn an_authority_that_is_not_there_is_missed() {
    let dir = TempDir::new();
    let error = Authority::open(dir.path()).unwrap_err();
    assert!(matches!(error, AuthorityError::Missing { .. }));
    assert!(error.to_string().contains("init"), "{error}");
    fs::write(dir.path().join("authority.json"), "{").unwrap();
    assert!(
        Authority::open(dir.path())
            .unwrap_err()
            .to_string()
            .contains("damaged")
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let dir = TempDir::new();
    let good = || Init {
        name: "Test".into(),
        ..Init::default()
    };
    for init in [
        Init {
            name: String::new(),
            ..good()
        },
        Init {
            name: "x".repeat(61),
            ..good()
        },
        Init {
            name: "a\nb".into(),
            ..good()
        },
        Init {
            srv_id: Some(String::new()),
            ..good()
        },
        Init {
            srv_id: Some("a b".into()),
            ..good()
        },
        Init {
            hosts: vec!["not a host".into()],
            ..good()
        },
    ] {
        let path = dir.path().join("authority");
        assert!(Authority::init(&path, init.clone()).is_err(), "{init:?}");
        assert!(!path.exists(), "{init:?}");
    }
}

#[test]
fn the_bootstrap_document_holds_all_that_a_device_needs() {
    let world = World::new();
    let device = id("IMEI:493005100592800");
    let enrollment = world.authority.enroll(&device, Enroll::default()).unwrap();
    let path = world.dir.path().join("out/bootstrap.json");
    enrollment.write(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let bytes = fs::read(&path).unwrap();
    let document = BootstrapDocument::parse(&bytes, &bailiwick_protocol::Limits::DEFAULT).unwrap();
    assert_eq!(document, enrollment.bootstrap);
    let account = &document.accounts[0];
    assert_eq!(account.srv_id, world.authority.srv_id());
    assert_eq!(account.srv_uri, "https://localhost:8443/dm");
    assert_eq!(account.name, "Test");
    assert_eq!(account.permitted_moids, DEFAULT_MOIDS);
    let anchor = world.authority.ca_certificate().unwrap();
    assert_eq!(account.auth.anchors_der, [anchor.to_vec()]);
    let trsp = account.auth.trsp.as_ref().unwrap();
    assert_eq!(trsp.data, enrollment.identity.certificate_der());
    assert_eq!(trsp.secret.expose(), enrollment.identity.key_der());
    let shown = format!("{enrollment:?}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn enrolment_asks_before_it_replaces() {
    let world = World::new();
    let (device, authority) = (id("dev1"), &world.authority);
    let renew = Enroll {
        renew: true,
        ..Enroll::default()
    };
    assert!(matches!(
        authority.enroll(&device, renew.clone()),
        Err(AuthorityError::Unknown { .. })
    ));
    let moids = vec!["urn:oma:mo:x:1.0".to_owned()];
    let enroll = Enroll {
        moids: moids.clone(),
        ..Enroll::default()
    };
    authority.enroll(&device, enroll).unwrap();
    let again = authority.enroll(&device, Enroll::default()).unwrap_err();
    assert!(again.to_string().contains("--renew"), "{again}");
    let renewed = authority.enroll(&device, renew).unwrap();
    assert_eq!(renewed.bootstrap.accounts[0].permitted_moids, moids);
    assert_eq!(authority.device(&device).unwrap().certificates.len(), 2);
    assert_eq!(authority.devices().unwrap().len(), 1);
    assert!(matches!(
        authority.queue(&id("dev2")),
        Err(AuthorityError::Unknown { .. })
    ));
}

#[test]
fn a_uri_must_lead_to_the_server() {
    let dir = TempDir::new();
    let init = Init {
        name: "Test".into(),
        hosts: vec!["::1".into(), "*.example.org".into()],
        ..Init::default()
    };
    let mut authority = Authority::init(&dir.path().join("a"), init).unwrap();
    let rows = [
        ("https://dm.example.org/dm", true),
        ("https://DM.example.org:1/dm", true),
        ("https://[::1]:8443/dm", true),
        ("https://example.org/dm", false),
        ("https://dm.example.com/dm", false),
        ("http://dm.example.org/dm", false),
        ("https:///dm", false),
        ("dm.example.org", false),
        ("https://dm.example.org/ dm", false),
    ];
    for (number, (uri, expected)) in rows.iter().enumerate() {
        let enroll = Enroll {
            uri: Some((*uri).into()),
            ..Enroll::default()
        };
        assert_eq!(
            authority.enroll(&id(&number.to_string()), enroll).is_ok(),
            *expected,
            "{uri}"
        );
    }
    let default = authority.enroll(&id("default"), Enroll::default()).unwrap();
    assert_eq!(
        default.bootstrap.accounts[0].srv_uri,
        "https://[::1]:8443/dm"
    );

    authority
        .renew_server(&["dm.example.com".into()], Validity::days(30))
        .unwrap();
    let enroll = Enroll {
        uri: Some("https://dm.example.com/dm".into()),
        ..Enroll::default()
    };
    assert!(authority.enroll(&id("later"), enroll).is_ok());
    assert_eq!(Authority::open(authority.dir()).unwrap().hosts().len(), 3);
}

#[test]
fn a_queue_is_first_in_first_out_and_numbers_are_never_used_twice() {
    let world = World::new();
    let device = world.enroll("dev1");
    let queue = world.authority.queue(&device.id).unwrap();
    assert_eq!(
        queue.push_all(&[get(DEVINFO), Command::End]).unwrap(),
        [1, 2]
    );
    queue.mark_sent(&[1]).unwrap();
    queue.mark_sent(&[1, 2, 77]).unwrap();
    assert_eq!(world.waiting(&device), [(1, 2), (2, 1)]);
    assert_eq!(queue.remove(&[1, 2, 77]).unwrap(), 2);
    assert_eq!(queue.push(&get(DEVINFO)).unwrap(), 3);
    let listed = queue.list().unwrap();
    assert_eq!(
        (listed[0].id, &listed[0].command, listed[0].sent),
        (3, &get(DEVINFO), 0)
    );
}

#[test]
fn a_queue_is_bounded_and_takes_all_or_nothing() {
    let world = World::new();
    let device = world.enroll("dev1");
    let queue = world.authority.queue(&device.id).unwrap();
    queue
        .push_all(&vec![Command::End; QUEUE_COMMANDS - 1])
        .unwrap();
    assert!(matches!(
        queue.push_all(&[Command::End, Command::End]),
        Err(QueueError::Full { .. })
    ));
    queue.push(&Command::End).unwrap();
    let bad = Command::Get {
        client_uris: Vec::new(),
    };
    queue.remove(&[1, 2]).unwrap();
    assert!(matches!(
        queue.push_all(&[Command::End, bad]),
        Err(QueueError::Command(_))
    ));
    assert_eq!(queue.list().unwrap().len(), QUEUE_COMMANDS - 2);
}

#[test]
fn queues_stand_several_writers() {
    let world = World::new();
    let device = world.enroll("dev1");
    let queue = world.authority.queue(&device.id).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    queue.push(&Command::End).unwrap();
                }
            });
        }
    });
    let ids: Vec<u64> = queue
        .list()
        .unwrap()
        .iter()
        .map(|queued| queued.id)
        .collect();
    assert_eq!(ids, (1..=100).collect::<Vec<u64>>());
}

#[test]
fn command_files_say_which_command_is_wrong() {
    let good = br#"[["GET", "urn:oma:mo:oma-dm-devinfo:1.2//"], ["END"]]"#;
    assert_eq!(
        queue::parse_commands(good).unwrap(),
        [get(DEVINFO), Command::End]
    );
    let bad = queue::parse_commands(br#"[["END"], ["FROB"]]"#).unwrap_err();
    assert!(
        matches!(bad, CommandsError::Command { index: 1, .. }),
        "{bad}"
    );
    for bytes in [&b""[..], b"{}", b"[[1]]", b"[\"GET\"]"] {
        assert!(matches!(
            queue::parse_commands(bytes),
            Err(CommandsError::Json(_))
        ));
    }
}

#[tokio::test]
async fn a_journal_survives_a_torn_line_and_is_set_aside_when_full() {
    let world = World::new();
    let device = world.enroll("dev1");
    let journal = world.authority.journal(&device.id).unwrap();
    fs::write(journal.path(), br#"{"kind":"alert","time":"2026-"#).unwrap();
    let limits = Limits {
        journal_bytes: 300,
        ..Limits::default()
    };
    let server = world.serve_within(limits).await;
    let mut connection = device.connect(server.local_addr()).await.unwrap();
    connection.open().await;
    let entries = journal.entries().unwrap();
    assert!(matches!(&entries[..], [Entry::Alert { .. }]), "{entries:?}");
    for _ in 0..9 {
        connection.open().await;
    }
    let aside = journal.path().with_extension("jsonl.1");
    assert!(fs::metadata(&aside).unwrap().len() < 1_000);
    assert!(fs::metadata(journal.path()).unwrap().len() < 1_000);
    fs::write(journal.path(), "{\"kind\":\"other\"}\n").unwrap();
    assert!(
        journal
            .entries()
            .unwrap_err()
            .to_string()
            .contains("line 1")
    );
}

#[test]
fn notifications_are_signed_for_their_device() {
    let world = World::new();
    let device = id("dev1");
    let enrollment = world.authority.enroll(&device, Enroll::default()).unwrap();
    let noti = enrollment.bootstrap.accounts[0].auth.noti.clone().unwrap();
    let notify = Notify {
        id: Some(7),
        request_mos: true,
        bearers: vec![Bearer::Wlan, Bearer::Any],
        ..Notify::default()
    };
    let bytes = world.authority.notification(&device, notify).unwrap();
    let read = Notification::parse(&bytes, &bailiwick_protocol::Limits::DEFAULT).unwrap();
    assert_eq!(read.server_id(), world.authority.srv_id());
    assert_eq!((read.id(), read.requests_mos()), (Some(7), true));
    assert_eq!(read.bearers(), [Bearer::Wlan, Bearer::Any]);
    assert!(read.timestamp().is_some());
    let input = read.digest_input(noti.secret.expose(), &noti.data);
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
    assert_eq!(read.digest().unwrap(), expected.as_ref());
}
