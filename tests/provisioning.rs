//! What cards give, and what they cannot take: the real daemon, with cards in real readers. What is decided is tested beside the code
//! that decides (`host/src/provisioning/plan/tests.rs`); here it arrives.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::time::{Duration, Instant};

use bailiwick_protocol::bootstrap::BootstrapDocument;
use bailiwick_tests::card::{Card, CardBed, Content, Key, Root};
use bailiwick_tests::daemon::pause;
use bailiwick_tests::device::{Device, Setup};
use serde_json::{Value, json};

/// How long something may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A document with these accounts, and these anchors in each.
fn document(names: &[&str], anchors: &[&Root]) -> Vec<u8> {
    let account = |name: &&str| {
        let mut account = bailiwick_protocol::Account {
            srv_id: (*name).to_owned(),
            // Nobody is there: what happens before a session is what counts here.
            srv_uri: "https://127.0.0.1:9/dm".into(),
            name: (*name).to_owned(),
            permitted_moids: vec!["urn:oma:mo:oma-dm-devinfo:1.2".into()],
            ..Default::default()
        };
        let anchors = anchors.iter().map(|root| root.certificate().to_vec());
        account.auth.anchors_der = anchors.collect();
        account
    };
    let accounts = names.iter().map(account).collect();
    let objects = Vec::new();
    BootstrapDocument { accounts, objects }.to_bytes()
}

/// A device whose policy binds cards of `north` to north, and cards of `south` to south, by their issuers.
fn device(bed: &CardBed, north: &Root, south: &Root) -> Device {
    let file = |name: &str, bytes: &[u8]| {
        let path = bed.directory().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let pin = file("pin", b"1234\n");
    let (north, south) = (
        file("north.der", north.certificate()),
        file("south.der", south.certificate()),
    );
    let socket = bed.socket();
    Setup::default()
        .limit("retry-ms", 200)
        .section(&format!(
            "[keys]\npcsc-socket = {socket:?}\n\
             [[card]]\nauthority = \"north\"\nissuer = {north:?}\npin-file = {pin:?}\n\
             [[card]]\nauthority = \"south\"\nissuer = {south:?}\npin-file = {pin:?}"
        ))
        .start()
}

fn ask(device: &Device, method: &str) -> Value {
    device.admin().call(method, json!({})).unwrap()
}

/// Asks until the answer is as it should be.
fn until(device: &Device, method: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = ask(device, method);
        if wanted(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{method}: {answer:#}");
        pause(Duration::from_millis(20));
    }
}

fn account<'a>(answer: &'a Value, name: &str) -> Option<&'a Value> {
    let mut accounts = answer["accounts"].as_array().unwrap().iter();
    accounts.find(|account| account["authority"] == name)
}

/// Waits until a card was read, with whatever outcome.
fn read(device: &Device) -> Value {
    let is_read = |card: &Value| card["serial"].is_string() || card["problem"].is_string();
    let answer = until(device, "Cards", |answer| {
        answer["cards"].as_array().unwrap().iter().any(is_read)
    });
    let mut cards = answer["cards"].as_array().unwrap().iter();
    cards.find(|card| is_read(card)).unwrap().clone()
}

#[test]
fn a_card_gives_an_account_that_rests_while_it_is_away() {
    let Some(mut bed) = CardBed::start("a_card_gives_an_account_that_rests_while_it_is_away")
    else {
        return;
    };
    let (north, south) = (Root::new("North"), Root::new("South"));
    let mut device = device(&bed, &north, &south);
    for key in [Key::Ec, Key::Rsa] {
        let content = Content::new(&north, key).with("bootstrap", &document(&["north"], &[]));
        let serial = format!("AB{}", if key == Key::Ec { "01" } else { "02" });
        let card = Card::pkcs15(&content).option("serial", &serial);

        bed.insert(0, &card);
        let awake = |answer: &Value| {
            account(answer, "north").is_some_and(|account| account["suspended"].is_null())
        };
        let answer = until(&device, "Accounts", awake);
        let north = account(&answer, "north").unwrap();
        assert_eq!(north["origin"], json!(format!("card {serial}")));
        assert_eq!(north["identity"], json!(true), "the key of the card");
        let certificates = ask(&device, "Certificates");
        let certificates = certificates["certificates"].as_array().unwrap().clone();
        let mut roles: Vec<_> = certificates
            .iter()
            .map(|c| c["role"].as_str().unwrap())
            .collect();
        roles.sort_unstable();
        assert_eq!(roles, ["anchor", "identity"]);
        let plan = ask(&device, "PlanCard");
        assert_eq!(
            plan["card"]["lines"][0]["steps"],
            json!([]),
            "all is done: {plan:#}"
        );
        assert!(plan["card"]["lines"][1]["unbound"].is_string());

        bed.pull(0);
        let rests = |answer: &Value| account(answer, "north").unwrap()["suspended"].is_string();
        until(&device, "Accounts", rests);
        let certificates = ask(&device, "Certificates");
        let certificates = certificates["certificates"].as_array().unwrap().clone();
        assert!(certificates.iter().all(|c| c["state"] == "suspended"));
        let refused = device.admin().session("north").unwrap_err().to_string();
        assert!(refused.contains("its card is away"), "{refused}");

        bed.insert(0, &card);
        until(&device, "Accounts", awake);

        // The card goes while the daemon does not run.
        device = {
            bed.pull(0);
            device.restart()
        };
        until(&device, "Accounts", rests);

        let forgotten = device
            .admin()
            .call("ForgetCard", json!({ "serial": serial }));
        assert_eq!(forgotten.unwrap()["changes"].as_array().unwrap().len(), 3);
        assert!(account(&ask(&device, "Accounts"), "north").is_none());
        let audit = ask(&device, "Audit");
        let last = audit["entries"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["event"], json!("the operator forgot a card"));
    }
    device.stop();
}

#[test]
fn a_card_of_one_authority_changes_nothing_of_another() {
    let Some(mut bed) = CardBed::start("a_card_of_one_authority_changes_nothing_of_another") else {
        return;
    };
    let (north, south) = (Root::new("North"), Root::new("South"));
    let device = device(&bed, &north, &south);
    device
        .admin()
        .bootstrap(&document(&["south"], &[&south]))
        .unwrap();
    let souths = |answer: &Value| {
        let mut account = account(answer, "south").unwrap().clone();
        // Its sessions go on meanwhile: nobody answers them.
        for passing in ["sessionRunning", "retryInSeconds", "lastSession"] {
            account.as_object_mut().unwrap().remove(passing);
        }
        account
    };
    let before = souths(&ask(&device, "Accounts"));

    let own = Content::new(&north, Key::Ec);
    let with = |bootstrap: &[u8]| own.clone().with("bootstrap", bootstrap);
    let theirs = south.issue("south's device", &Key::Ec.generate());
    let forged = Root::new("South");
    let attempts: Vec<(&str, Content, &str)> = vec![
        (
            "an account for south",
            with(&document(&["south"], &[&north])),
            "for north alone",
        ),
        (
            "both in one",
            with(&document(&["north", "south"], &[&north])),
            "for north alone",
        ),
        (
            "another spelling",
            with(&document(&["South"], &[&north])),
            "for north alone",
        ),
        (
            "the operator",
            with(&document(&["local:operator"], &[&north])),
            "for north alone",
        ),
        ("no document", with(b"\xff\xff\xff\xff"), ""),
        (
            "south's CA as trusted",
            own.clone().with("trusted-south.der", south.certificate()),
            "",
        ),
        (
            "south's CA as its own",
            own.clone().with("own-south.der", south.certificate()),
            "",
        ),
        (
            "south's certificate without its key",
            own.clone().with("own-south.der", &theirs),
            "",
        ),
        (
            "south's certificate and no other",
            own.clone().with("own.der", &theirs),
            "",
        ),
        (
            "a CA called South",
            Content::new(&forged, Key::Ec),
            "not from the CA",
        ),
    ];
    for (number, (name, content, expected)) in attempts.into_iter().enumerate() {
        let serial = format!("CD{number:02}");
        bed.insert(0, &Card::pkcs15(&content).option("serial", &serial));
        let card = read(&device);
        let lines = card["lines"].to_string();
        assert!(lines.contains(expected), "{name}: {card:#}");
        assert!(card["lines"][1]["unbound"].is_string(), "{name}: {card:#}");
        assert_eq!(souths(&ask(&device, "Accounts")), before, "{name}");
        let certificates = ask(&device, "Certificates");
        let certificates = certificates["certificates"].as_array().unwrap().clone();
        assert!(
            certificates.iter().all(|c| c["authority"] == "north"),
            "{name}"
        );
        bed.pull(0);
        until(&device, "Cards", |answer| {
            answer["cards"]
                .as_array()
                .unwrap()
                .iter()
                .all(|card| card["state"] == "empty")
        });
    }
    device.stop();
}
