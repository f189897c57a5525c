//! The same faults before the whole daemon: nothing of a card that failed is taken, the daemon goes on serving, and the next
//! card is taken without a restart.

use std::fs;
use std::time::{Duration, Instant};

use bailiwick_protocol::bootstrap::BootstrapDocument;
use bailiwick_tests::card::{Card, CardBed, Content, Key, Root};
use bailiwick_tests::daemon::pause;
use bailiwick_tests::device::{Device, Setup};
use serde_json::{Value, json};

/// How long something may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A document with an account of north.
fn document() -> Vec<u8> {
    let account = bailiwick_protocol::Account {
        srv_id: "north".into(),
        // Nobody is there: what happens before a session is what counts here.
        srv_uri: "https://127.0.0.1:9/dm".into(),
        name: "north".into(),
        permitted_moids: vec!["urn:oma:mo:oma-dm-devinfo:1.2".into()],
        ..Default::default()
    };
    let (accounts, objects) = (vec![account], Vec::new());
    BootstrapDocument { accounts, objects }.to_bytes()
}

/// A device that lets cards of `root` speak for north.
fn device(bed: &CardBed, root: &Root) -> Device {
    let file = |name: &str, bytes: &[u8]| {
        let path = bed.directory().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let (pin, issuer) = (
        file("pin", b"1234\n"),
        file("north.der", root.certificate()),
    );
    let socket = bed.socket();
    let section = format!(
        "[keys]\npcsc-socket = {socket:?}\napdu-ms = 1000\n\
         [[card]]\nauthority = \"north\"\nissuer = {issuer:?}\npin-file = {pin:?}"
    );
    // It is tried again soon.
    let setup = Setup::default().limit("retry-ms", 200);
    setup.section(&section).start()
}

fn ask(device: &Device, method: &str) -> Value {
    let answer = device.admin().call(method, json!({}));
    answer.expect("an answer")
}

/// The reader's entry among the cards, when it is as wanted.
fn until(device: &Device, bed: &CardBed, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = ask(device, "Cards");
        let cards = answer["cards"].as_array().expect("cards");
        let name = bed.reader(0);
        let found = cards.iter().find(|card| card["reader"] == json!(name));
        if let Some(card) = found.filter(|card| wanted(card)) {
            return card.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{answer:#}");
        pause(Duration::from_millis(20));
    }
}

/// Nothing was taken, and the daemon serves.
fn assert_untouched(device: &Device, what: &str) {
    let certificates = ask(device, "Certificates");
    assert_eq!(certificates["certificates"], json!([]), "{what}");
    let accounts = ask(device, "Accounts");
    assert_eq!(accounts["accounts"], json!([]), "{what}");
}

pub(crate) fn the_daemon_takes_nothing_of_a_card_that_fails(test: &str) {
    let Some(mut bed) = CardBed::start(test) else {
        return;
    };
    let root = Root::new("North");
    let content = Content::new(&root, Key::Ec).with("bootstrap", &document());
    let good = Card::pkcs15(&content);
    let mut device = device(&bed, &root);
    let stranger = Card::pkcs15(&Content::new(&Root::new("South"), Key::Ec));
    let other_key = root.issue("card", &Key::Ec.generate());
    let mismatched = Card::pkcs15(&content.clone().with("own.der", &other_key));
    let faults = [
        ("pulled at once", good.clone().option("pull-after", 2)),
        (
            "pulled in the middle",
            good.clone().option("pull-after", 20),
        ),
        ("pulled near the end", good.clone().option("pull-after", 38)),
        ("truncated", good.clone().profile("truncated")),
        ("mute", good.clone().option("mute-after", 10)),
        ("blocked", good.clone().option("left", 0)),
        ("one try left", good.clone().option("left", 1)),
        ("wrong PIN", good.clone().option("pin", "4321")),
        ("no certificate", good.clone().profile("no-file")),
        ("a key that is not the certificate's", mismatched),
        ("unknown root", stranger),
    ];
    for (what, card) in faults {
        bed.insert(0, &card);
        let pulls_itself = what.starts_with("pulled");
        if !pulls_itself {
            let said = |card: &Value| card["serial"].is_string() || card["problem"].is_string();
            until(&device, &bed, said);
        }
        assert_untouched(&device, what);
        match pulls_itself {
            true => {
                until(&device, &bed, |card| card["state"] == "empty");
                bed.clear(0);
            }
            false => bed.pull(0),
        }
        until(&device, &bed, |card| card["state"] == "empty");
        assert_untouched(&device, what);
        device.assert_running();
    }

    bed.kill_pcscd();
    assert_untouched(&device, "pcscd killed");
    bed.start_pcscd();
    // Its PIN was refused for the serial number of all these cards, so this one has another.
    bed.insert(0, &good.option("serial", "5678"));
    let begun = Instant::now();
    while ask(&device, "Accounts")["accounts"] == json!([]) {
        assert!(begun.elapsed() < PATIENCE, "{:#}", ask(&device, "Cards"));
        pause(Duration::from_millis(20));
    }
    device.assert_running();
}
