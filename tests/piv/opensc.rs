//! The same card through OpenSC's PKCS#11 module: a token that comes and goes, and a key that wants the PIN each time.

use std::path::Path;

use bailiwick::keys::{CardKind, KeyError, Keys, Place, Reader, ReaderState, Scheme, Shelf};
use bailiwick_tests::card::Root;
use bailiwick_tests::piv::PIN;
use bailiwick_tests::{cannot_run, root};

use super::card::{PATIENCE, bed, proves, run_with};

const MODULES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib64/opensc-pkcs11.so",
];
const TEST: &str = "a_card_through_opensc_comes_and_goes";

pub(crate) fn comes_and_goes() {
    let Some(module) = MODULES.iter().find(|module| Path::new(module).is_file()) else {
        return cannot_run(TEST, "opensc-pkcs11 is not installed");
    };
    let Some((mut bed, card)) = bed(TEST) else {
        return;
    };
    let north = Root::new("North");
    let certificate = card.issue(&bed, 0, &north, "9a", "ECCP256");
    let each_time = card.issue(&bed, 0, &north, "9c", "RSA2048");
    bed.pull(0);
    // OpenSC calls the token as the first certificate calls its owner.
    let place = Place::Module {
        path: (*module).to_owned(),
        token: "piv 9a".to_owned(),
    };
    let opensc = root().join("tests/cards/opensc.conf");
    let table = format!(
        "[[keys.module]]\npath = {module:?}\ntoken = 'piv 9a'\nread = [{opensc:?}, '/usr/lib', '/usr/share/opensc']\n\
         environment = {{ OPENSC_CONF = {opensc:?} }}\n"
    );
    run_with(
        &bed.socket(),
        bed.directory().to_owned().as_path(),
        Some(PIN),
        &table,
        async |keys| {
            let mut readers = keys.readers();
            for (round, changes) in [(1, 1), (2, 3)] {
                bed.insert(0, &card.card());
                assert_eq!(changes_when(&mut readers, &place, true).await, changes);
                uses(&keys, &place, &certificate, &each_time, round).await;
                bed.pull(0);
                assert_eq!(changes_when(&mut readers, &place, false).await, changes + 1);
                let gone = keys.read(&place).await.unwrap_err();
                assert!(matches!(gone, KeyError::Gone { .. }), "{gone:?}");
            }
        },
    );
}

async fn uses(keys: &Keys, place: &Place, certificate: &[u8], each_time: &[u8], round: u32) {
    let contents = keys.read(place).await.unwrap();
    assert_eq!(contents.card.kind, CardKind::Pkcs11);
    assert!(
        contents
            .certificates
            .iter()
            .all(|found| found.shelf == Shelf::Own)
    );
    for (id, certificate, scheme) in [
        ("01", certificate, Scheme::EcdsaP256Sha256),
        ("02", each_time, Scheme::RsaPkcs1Sha256),
        ("02", each_time, Scheme::RsaPssSha256),
    ] {
        let key = contents.keys.iter().find(|key| key.id == id);
        let key = key.unwrap_or_else(|| panic!("no key {id} in {contents:?}"));
        for _ in 0..2 {
            let proved = proves(keys, &key.key, scheme, certificate).await;
            assert_eq!(proved, Ok(true), "round {round}, {id}, {scheme:?}");
        }
    }
}

/// Waits until the token is there, or not; how often that has changed, since the process has started.
async fn changes_when(
    readers: &mut tokio::sync::watch::Receiver<Vec<Reader>>,
    place: &Place,
    there: bool,
) -> u32 {
    let is_so = |reader: &&Reader| {
        reader.place == *place && matches!(reader.state, ReaderState::Card(_)) == there
    };
    let seen = readers.wait_for(|all| all.iter().any(|reader| is_so(&reader)));
    let all = tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap();
    let changes = all.iter().find(is_so).unwrap().changes;
    // The host adds a step for each start of the process.
    changes & 0xFFFF
}
