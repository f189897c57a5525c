//! What is read from a PIV card, what its keys sign, and what becomes of wrong PINs.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bailiwick::certificates;
use bailiwick::config::Config;
use bailiwick::keys::{
    CardKind, Contents, FoundKey, KeyError, KeyKind, KeyRef, Keys, Pin, PinState, Place, Reader,
    ReaderState, Scheme, Shelf,
};
use bailiwick_authority::pki::{Ca, Validity};
use bailiwick_tests::card::{CardBed, Root};
use bailiwick_tests::documented::{self, block};
use bailiwick_tests::piv::{PIN, PivCard};

/// How long pcscd may take to tell of a card.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs something that asks the keys process, which a file tells this PIN, when the card in the first reader is seen.
fn run<F: Future>(
    bed: &CardBed,
    pin: Option<&str>,
    ask: impl FnOnce(Keys, Place) -> F,
) -> F::Output {
    let place = Place::Reader(bed.reader(0));
    run_with(&bed.socket(), bed.directory(), pin, "", async |keys| {
        let is_in =
            |reader: &Reader| reader.place == place && matches!(reader.state, ReaderState::Card(_));
        let mut readers = keys.readers();
        let seen = readers.wait_for(|all| all.iter().any(is_in));
        tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap();
        ask(keys, place).await
    })
}

/// Runs something that asks the keys process with this PIN and these further tables of its configuration.
pub(crate) fn run_with<T>(
    socket: &Path,
    directory: &Path,
    pin: Option<&str>,
    tables: &str,
    ask: impl AsyncFnOnce(Keys) -> T,
) -> T {
    let _there = fs::create_dir(directory.join("state"));
    let mut text = format!(
        "state = 'state'\nadmin-socket = 'admin'\nisolation = 'best-effort'\n[keys]\ncards = true\npcsc-socket = {socket:?}\n{tables}"
    );
    if let Some(pin) = pin {
        fs::write(directory.join("pin"), pin).unwrap();
        text.push_str("[[card]]\nauthority = 'north'\nissuer = 'issuer.der'\npin-file = 'pin'\n");
    }
    let file = directory.join("bailiwick.toml");
    fs::write(&file, text).unwrap();
    let config = Config::read(&file).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async { ask(Keys::new(&config)).await })
}

pub(crate) async fn proves(
    keys: &Keys,
    key: &KeyRef,
    scheme: Scheme,
    certificate: &[u8],
) -> Result<bool, KeyError> {
    let message = certificates::challenge().unwrap();
    let signature = keys.sign(key, scheme, &message).await?;
    Ok(certificates::verifies(
        certificate,
        scheme,
        &message,
        &signature,
    ))
}

fn key(contents: &Contents, slot: &str) -> FoundKey {
    let key = contents.keys.iter().find(|key| key.id == slot);
    key.unwrap_or_else(|| panic!("no key {slot} in {contents:?}"))
        .clone()
}

/// A bed with a new card in its first reader.
pub(crate) fn bed(test: &str) -> Option<(CardBed, PivCard)> {
    if !PivCard::is_possible(test) {
        return None;
    }
    let mut bed = CardBed::start(test)?;
    let card = PivCard::new(&bed, "piv");
    bed.insert(0, &card.card());
    Some((bed, card))
}

pub(crate) fn is_read_and_signs() {
    let Some((mut bed, card)) = bed("a_piv_card_is_read_and_signs") else {
        return;
    };
    let root = Root::new("North");
    let slots = [
        ("9a", "ECCP256", KeyKind::EcP256, PinState::Known),
        ("9c", "RSA2048", KeyKind::Rsa, PinState::Known),
        ("9d", "ECCP256", KeyKind::EcP256, PinState::Known),
        ("9e", "RSA2048", KeyKind::Rsa, PinState::NotNeeded),
    ];
    let issued = slots.map(|(slot, algorithm, ..)| card.issue(&bed, 0, &root, slot, algorithm));
    card.write(&bed, 0, "82", root.certificate());
    // The same card after it was pulled: a reset, and nothing verified.
    bed.pull(0);
    bed.insert(0, &card.card());

    run(&bed, Some(PIN), async |keys, place| {
        let contents = keys.read(&place).await.unwrap();
        assert_eq!(contents.card.kind, CardKind::Piv);
        assert_eq!(contents.card.serial.len(), 32, "its GUID");
        assert!(contents.skipped.is_empty(), "{:?}", contents.skipped);
        let found = contents.certificates.iter();
        // Nothing on a PIV card was put there by its issuer alone.
        let found: Vec<_> = found
            .map(|found| (found.id.as_str(), found.shelf, found.der.clone()))
            .collect();
        let mut expected: Vec<_> = [0, 1, 3, 2]
            .map(|slot: usize| (slots[slot].0.to_uppercase(), issued[slot].clone()))
            .to_vec();
        expected.push(("82".to_owned(), root.certificate().to_vec()));
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, der)| (id.as_str(), Shelf::Own, der.clone()))
            .collect();
        assert_eq!(found, expected);
        let read = contents
            .keys
            .iter()
            .map(|key| (key.id.as_str(), key.kind, key.pin));
        let expected = [0, 1, 3]
            .map(|slot: usize| (["9A", "9C", "9D", "9E"][slot], slots[slot].2, slots[slot].3));
        assert_eq!(read.collect::<Vec<_>>(), expected);

        for (slot, certificate) in [("9A", &issued[0]), ("9C", &issued[1]), ("9E", &issued[3])] {
            let found = key(&contents, slot);
            let public = keys.public_key(&found.key).await.unwrap();
            assert!(certificate.windows(public.len()).any(|part| part == public));
            let schemes: &[Scheme] = match found.kind {
                KeyKind::Rsa => &[
                    Scheme::RsaPkcs1Sha256,
                    Scheme::RsaPssSha256,
                    Scheme::RsaPssSha512,
                ],
                _ => &[Scheme::EcdsaP256Sha256],
            };
            for scheme in schemes {
                // Twice, since 9C wants the PIN each time.
                for _ in 0..2 {
                    let proved = proves(&keys, &found.key, *scheme, certificate).await;
                    assert_eq!(proved, Ok(true), "{slot} {scheme:?}");
                }
            }
            let other = match found.kind {
                KeyKind::Rsa => Scheme::EcdsaP256Sha256,
                _ => Scheme::RsaPssSha256,
            };
            let refused = proves(&keys, &found.key, other, certificate).await;
            assert_eq!(refused, Err(KeyError::Scheme { scheme: other }));
        }
    });
}

pub(crate) fn empty() {
    let Some((bed, _)) = bed("a_piv_card_that_is_empty_says_so") else {
        return;
    };
    run(&bed, Some(PIN), async |keys, place| {
        let contents = keys.read(&place).await.unwrap();
        assert_eq!((contents.certificates.len(), contents.keys.len()), (0, 0));
        let card = contents.card;
        let none = KeyRef::Card {
            card,
            key: "9A".into(),
        };
        let refused = keys.sign(&none, Scheme::EcdsaP256Sha256, b"message").await;
        assert!(
            matches!(refused, Err(KeyError::NoKey { .. })),
            "{refused:?}"
        );
    });
}

pub(crate) fn wrong_pins() {
    let Some((bed, card)) = bed("a_wrong_pin_is_tried_once_and_the_last_try_is_kept") else {
        return;
    };
    let root = Root::new("North");
    let certificate = card.issue(&bed, 0, &root, "9a", "ECCP256");
    let scheme = Scheme::EcdsaP256Sha256;
    run(&bed, Some("999999"), async |keys, place| {
        let found = key(&keys.read(&place).await.unwrap(), "9A");
        let KeyRef::Card { card, .. } = &found.key else {
            panic!("a key on a card");
        };
        for _ in 0..3 {
            let refused = proves(&keys, &found.key, scheme, &certificate)
                .await
                .unwrap_err();
            assert!(
                matches!(refused, KeyError::PinWrong { left: 2, .. }),
                "{refused}"
            );
        }
        let refused = keys
            .unlock(card, Pin::new("888888".into()))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, KeyError::PinWrong { left: 1, .. }),
            "{refused}"
        );
        let contents = keys.read(&place).await.unwrap();
        assert_eq!(key(&contents, "9A").pin, PinState::Needed(Some(1)));
        let kept = proves(&keys, &found.key, scheme, &certificate)
            .await
            .unwrap_err();
        assert!(matches!(kept, KeyError::LastTry { .. }), "{kept}");
        // A person may.
        keys.unlock(card, Pin::new(PIN.into())).await.unwrap();
        assert_eq!(
            proves(&keys, &found.key, scheme, &certificate).await,
            Ok(true)
        );
        for left in [2, 1] {
            let refused = keys
                .unlock(card, Pin::new("888888".into()))
                .await
                .unwrap_err();
            assert!(
                matches!(refused, KeyError::PinWrong { left: l, .. } if l == left),
                "{refused}"
            );
        }
        for _ in 0..2 {
            let blocked = keys
                .unlock(card, Pin::new("888888".into()))
                .await
                .unwrap_err();
            assert!(matches!(blocked, KeyError::PinBlocked { .. }), "{blocked}");
        }
        let contents = keys.read(&place).await.unwrap();
        assert_eq!(key(&contents, "9A").pin, PinState::Blocked);
    });
}

pub(crate) fn compressed() {
    let Some((bed, card)) = bed("a_compressed_certificate_is_read") else {
        return;
    };
    let certificate = Root::new("North").certificate().to_vec();
    card.write_compressed(&bed, 0, "83", &certificate);
    run(&bed, None, async |keys, place| {
        let contents = keys.read(&place).await.unwrap();
        assert_eq!(contents.certificates.len(), 1, "{:?}", contents.skipped);
        assert_eq!(contents.certificates[0].der, certificate);
    });
}

pub(crate) fn as_documented() {
    let Some((bed, _)) = bed("a_piv_card_is_prepared_as_documented") else {
        return;
    };
    let directory = bed.directory();
    let ca = Ca::new("North", Validity::days(30)).unwrap();
    fs::write(directory.join("ca.pem"), ca.certificate_pem()).unwrap();
    fs::write(directory.join("ca.key"), ca.key_pem()).unwrap();
    let extensions = block("smartcard.md", "extendedKeyUsage = clientAuth");
    fs::write(directory.join("client.ext"), extensions).unwrap();
    let socket = bed.socket();
    let environment = [("PCSCLITE_CSOCK_NAME", socket.to_str().unwrap())];
    documented::run(&block("smartcard.md", "-s 9a"), directory, &environment);
    run(&bed, Some(PIN), async |keys, place| {
        let contents = keys.read(&place).await.unwrap();
        let found = key(&contents, "9A");
        let certificate = &contents.certificates[0].der;
        let proved = proves(&keys, &found.key, Scheme::EcdsaP256Sha256, certificate).await;
        assert_eq!(proved, Ok(true));
    });
}
