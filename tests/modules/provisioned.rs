//! The daemon takes what a token gives: the anchor that its security officer has marked, and the client certificate whose
//! key it proves.

use std::fs;
use std::time::{Duration, Instant};

use bailiwick_tests::cannot_run;
use bailiwick_tests::card::{Public, Root};
use bailiwick_tests::daemon::pause;
use bailiwick_tests::device::{Device, Setup};
use bailiwick_tests::hsm::{Hsm, LABEL, PIN};
use serde_json::{Value, json};

const TEST: &str = "a_token_provisions_the_authority_that_is_bound_to_it";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn by_a_token() {
    if let Some(why) = Hsm::missing() {
        return cannot_run(TEST, why);
    }
    let hsm = Hsm::new(TEST);
    let (north, other) = (Root::new("North"), Root::new("another"));
    let public = Public::new(&hsm.generate("EC:prime256v1", "02", &[]));
    hsm.write(
        "cert",
        &north.issue("device", &public),
        &["--id", "02", "--label", "client"],
    );
    if let Err(why) = hsm.write_trusted(north.certificate()) {
        return cannot_run(TEST, &why);
    }
    for (name, bytes) in [
        ("north.der", north.certificate()),
        ("other.der", other.certificate()),
        ("pin", PIN.as_bytes()),
    ] {
        fs::write(hsm.directory().join(name), bytes).unwrap();
    }
    let device = Setup::default().section(&configuration(&hsm)).start();
    // An anchor and an identity for whom the card is bound to, and nothing for the other.
    let found = wait(&device, |all| all.len() == 2);
    let mut roles: Vec<_> = found.iter().map(|found| text(found, "role")).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["anchor", "identity"]);
    assert!(
        found
            .iter()
            .all(|found| text(found, "authority") == "north"),
        "{found:?}"
    );

    // Reading it again changes nothing.
    let device = device.restart();
    let again = wait(&device, |all| all.len() == 2);
    let ids = |all: &[Value]| {
        all.iter()
            .map(|one| text(one, "id").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&again), ids(&found));
    device.stop();
}

fn configuration(hsm: &Hsm) -> String {
    let file = |name: &str| hsm.directory().join(name);
    let mut text = format!(
        "[[keys.module]]\npath = {:?}\ntoken = {LABEL:?}\ntrusted = true\nwrite = [{:?}]\n\
         environment = {{ SOFTHSM2_CONF = {:?} }}\n",
        hsm.module(),
        hsm.directory(),
        hsm.environment()["SOFTHSM2_CONF"],
    );
    for (authority, issuer) in [("other", "other.der"), ("north", "north.der")] {
        text += &format!(
            "[[card]]\nauthority = {authority:?}\nissuer = {:?}\npin-file = {:?}\n",
            file(issuer),
            file("pin")
        );
    }
    text
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What was provisioned, when it is so.
fn wait(device: &Device, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let reply = device.admin().call("Certificates", json!({})).unwrap();
        let all = reply["certificates"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if is_so(&all) {
            return all;
        }
        assert!(begun.elapsed() < PATIENCE, "{all:?}\n{}", device.log());
        pause(Duration::from_millis(50));
    }
}
