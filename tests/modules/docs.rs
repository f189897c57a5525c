//! `docs/smartcard.md`: a token that is prepared as it says there is what it says there.

use std::fs;

use bailiwick::keys::{PinState, Scheme, Shelf};
use bailiwick_authority::pki::{Ca, Validity};
use bailiwick_tests::documented::{block, run};
use bailiwick_tests::hsm::Hsm;
use bailiwick_tests::{cannot_run, program};

use super::world::World;

const FILE: &str = "smartcard.md";
const TEST: &str = "a_token_is_prepared_as_documented";

pub(crate) fn as_documented() {
    let other = ["openssl", "p11tool"]
        .iter()
        .any(|name| program(name).is_none());
    if let Some(why) = Hsm::missing().or(other.then_some("openssl or gnutls-bin is not installed"))
    {
        return cannot_run(TEST, why);
    }
    let hsm = Hsm::without_token(TEST);
    let directory = hsm.directory();
    let ca = Ca::new("North", Validity::days(30)).unwrap();
    fs::write(directory.join("ca.pem"), ca.certificate_pem()).unwrap();
    fs::write(directory.join("ca.key"), ca.key_pem()).unwrap();
    fs::write(
        directory.join("client.ext"),
        block(FILE, "extendedKeyUsage = clientAuth"),
    )
    .unwrap();
    fs::write(directory.join("bootstrap.json"), "{}").unwrap();
    let environment = hsm.environment();
    let environment = [
        ("SOFTHSM2_CONF", environment["SOFTHSM2_CONF"].as_str()),
        ("M", hsm.module().to_str().unwrap()),
    ];
    let prepared = block(FILE, "softhsm2-util");
    // Where the module lies is for the machine to say.
    let prepared: Vec<&str> = prepared
        .lines()
        .filter(|line| !line.starts_with("M="))
        .collect();
    run(&prepared.join("\n"), directory, &environment);
    run(&block(FILE, "p11tool"), directory, &environment);

    let world = World::new(&hsm, hsm.module(), &[])
        .with("trusted = true")
        .with_pin("482913");
    world.run(async |asker| {
        let contents = asker.read().await.unwrap();
        let of = |shelf| {
            let found = contents
                .certificates
                .iter()
                .filter(move |found| found.shelf == shelf);
            found.map(|found| found.der.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of(Shelf::Trusted), [ca.certificate_der().to_vec()]);
        let own = of(Shelf::Own);
        assert_eq!(own.len(), 1);
        let objects: Vec<_> = contents
            .objects
            .iter()
            .map(|object| object.oid.as_str())
            .collect();
        assert_eq!(objects, ["2.23.43.7.1"]);
        let key = asker.key("02").await;
        assert_eq!(key.pin, PinState::Known);
        assert_eq!(
            asker
                .proves(&key.key, Scheme::EcdsaP256Sha256, &own[0])
                .await,
            Ok(true)
        );
    });
}
