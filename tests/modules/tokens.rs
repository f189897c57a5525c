//! What is in a token, and what its keys sign.

use bailiwick::keys::{CardKind, KeyError, KeyKind, KeyRef, Pin, PinState, Scheme, Shelf};
use bailiwick_tests::cannot_run;
use bailiwick_tests::card::{Key, Public, Root};
use bailiwick_tests::hsm::{Hsm, LABEL, PIN};

use super::world::{SCHEMES, World};

/// A token with an RSA key 01 and EC keys 02 (P-256) and 03 (P-384), their certificates, and a bootstrap object.
struct Filled {
    hsm: Hsm,
    certificates: Vec<(String, KeyKind, Vec<u8>)>,
}

const KEYS: [(&str, &str, KeyKind); 3] = [
    ("01", "rsa:2048", KeyKind::Rsa),
    ("02", "EC:prime256v1", KeyKind::EcP256),
    ("03", "EC:secp384r1", KeyKind::EcP384),
];

fn filled(test: &str) -> Option<Filled> {
    if let Some(why) = Hsm::missing() {
        cannot_run(test, why);
        return None;
    }
    let hsm = Hsm::new(test);
    let root = Root::new("North");
    let certificates = KEYS.map(|(id, kind, found)| {
        let certificate = match found {
            // OpenSC's tool cannot read the public key of this one.
            KeyKind::EcP384 => {
                let key = Key::Ec384.generate();
                hsm.import(&key.serialize_pem(), id);
                root.issue(kind, &key)
            }
            _ => root.issue(kind, &Public::new(&hsm.generate(kind, id, &[]))),
        };
        hsm.write("cert", &certificate, &["--id", id, "--label", kind]);
        (id.to_owned(), found, certificate)
    });
    let object = ["--application-id", "2.23.43.7.1", "--label", "bootstrap"];
    hsm.write("data", b"<bootstrap/>", &object);
    hsm.write(
        "data",
        b"of others",
        &[
            "--application-id",
            "1.3.6.1.4.1.55555.1",
            "--label",
            "other",
        ],
    );
    let certificates = certificates.to_vec();
    Some(Filled { hsm, certificates })
}

impl Filled {
    fn world(&self) -> World {
        World::new(&self.hsm, self.hsm.module(), &[])
    }
}

pub(crate) fn is_read() {
    let Some(filled) = filled("a_token_is_read") else {
        return;
    };
    let contents = filled
        .world()
        .with_pin(PIN)
        .run(async |asker| asker.read().await.unwrap());
    assert_eq!(contents.card.kind, CardKind::Pkcs11);
    assert_eq!(contents.label, LABEL);
    let mut found: Vec<_> = contents
        .certificates
        .iter()
        .map(|found| (found.id.clone(), found.der.clone(), found.shelf))
        .collect();
    found.sort();
    let expected = filled.certificates.iter();
    let expected: Vec<_> = expected
        .map(|(id, _, der)| (id.clone(), der.clone(), Shelf::Own))
        .collect();
    assert_eq!(found, expected);
    let mut keys: Vec<_> = contents
        .keys
        .iter()
        .map(|key| (key.id.clone(), key.kind, key.pin))
        .collect();
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = KEYS.map(|(id, _, kind)| (id.to_owned(), kind, PinState::Known));
    assert_eq!(keys, expected);
    let objects: Vec<_> = contents
        .objects
        .iter()
        .map(|found| (found.oid.as_str(), &found.bytes[..]))
        .collect();
    assert_eq!(objects, [("2.23.43.7.1", &b"<bootstrap/>"[..])]);
    assert!(contents.skipped.is_empty(), "{:?}", contents.skipped);

    // Without a PIN: certificates, and the keys that they claim.
    let contents = filled
        .world()
        .run(async |asker| asker.read().await.unwrap());
    assert_eq!(contents.certificates.len(), 3);
    assert!(
        contents
            .keys
            .iter()
            .all(|key| key.pin == PinState::Needed(None))
    );
    assert_eq!(contents.keys.len(), 3);
    assert_eq!(contents.skipped.len(), 1, "{:?}", contents.skipped);
}

pub(crate) fn signs() {
    let Some(filled) = filled("every_scheme_is_signed") else {
        return;
    };
    filled.world().with_pin(PIN).run(async |asker| {
        for (id, kind, certificate) in &filled.certificates {
            let key = asker.key(id).await.key;
            let public = asker.keys.public_key(&key).await.unwrap();
            assert!(
                certificate.windows(public.len()).any(|part| part == public),
                "{id}"
            );
            for scheme in SCHEMES {
                let proved = asker.proves(&key, scheme, certificate).await;
                let expected = match scheme.key_kind() == *kind {
                    true => Ok(true),
                    false => Err(KeyError::Scheme { scheme }),
                };
                assert_eq!(proved, expected, "{id} {scheme:?}");
            }
        }
        let KeyRef::Card { card, .. } = asker.key("01").await.key else {
            panic!("a key in a token");
        };
        let none = KeyRef::Card {
            card,
            key: "0F".into(),
        };
        let refused = asker
            .keys
            .sign(&none, Scheme::EcdsaP256Sha256, b"message")
            .await;
        assert!(
            matches!(refused, Err(KeyError::NoKey { .. })),
            "{refused:?}"
        );
    });
}

pub(crate) fn asks_each_time() {
    let Some(filled) = filled("a_key_that_asks_each_time_is_asked") else {
        return;
    };
    let public = filled.hsm.generate("rsa:2048", "0A", &["--always-auth"]);
    let certificate = Root::new("North").issue("each time", &Public::new(&public));
    filled.world().with_pin(PIN).run(async |asker| {
        let key = asker.key("0A").await.key;
        for scheme in [
            Scheme::RsaPkcs1Sha256,
            Scheme::RsaPssSha256,
            Scheme::RsaPssSha512,
        ] {
            for _ in 0..2 {
                let proved = asker.proves(&key, scheme, &certificate).await;
                assert_eq!(proved, Ok(true), "{scheme:?}");
            }
        }
    });
}

pub(crate) fn wrong_pin() {
    let Some(filled) = filled("a_wrong_pin_is_tried_once") else {
        return;
    };
    filled.world().with_pin("000000").run(async |asker| {
        let key = asker.read().await.unwrap().keys.remove(0);
        assert_eq!(key.pin, PinState::Needed(None));
        // It was refused while the token was read, and is not tried again.
        let refused = asker.proves(&key.key, SCHEMES[0], b"").await.unwrap_err();
        assert!(matches!(refused, KeyError::PinNeeded { .. }), "{refused}");
    });
}

pub(crate) fn unlocked() {
    let Some(filled) = filled("a_person_unlocks_a_token") else {
        return;
    };
    filled.world().run(async |asker| {
        let key = asker.key("02").await.key;
        let (_, _, certificate) = &filled.certificates[1];
        let scheme = Scheme::EcdsaP256Sha256;
        let refused = asker.proves(&key, scheme, certificate).await.unwrap_err();
        assert!(matches!(refused, KeyError::PinNeeded { .. }), "{refused}");
        let KeyRef::Card { card, .. } = &key else {
            panic!("a key in a token");
        };
        let wrong = asker
            .keys
            .unlock(card, Pin::new("000000".into()))
            .await
            .unwrap_err();
        assert!(matches!(wrong, KeyError::PinRefused { .. }), "{wrong}");
        assert!(!wrong.to_string().contains("000000"));
        asker.keys.unlock(card, Pin::new(PIN.into())).await.unwrap();
        assert_eq!(asker.proves(&key, scheme, certificate).await, Ok(true));
        assert_eq!(asker.key("02").await.pin, PinState::Known);
        // Also while it is unlocked, a wrong one is noticed.
        let wrong = asker
            .keys
            .unlock(card, Pin::new("000000".into()))
            .await
            .unwrap_err();
        assert!(matches!(wrong, KeyError::PinRefused { .. }), "{wrong}");
    });
}

pub(crate) fn marks() {
    let Some(filled) = filled("only_believed_marks_make_anchors") else {
        return;
    };
    let root = Root::new("North");
    if let Err(why) = filled.hsm.write_trusted(root.certificate()) {
        return cannot_run("only_believed_marks_make_anchors", &why);
    }
    for (line, shelf) in [("", Shelf::Own), ("trusted = true", Shelf::Trusted)] {
        let contents = filled
            .world()
            .with(line)
            .run(async |asker| asker.read().await.unwrap());
        for found in &contents.certificates {
            let expected = if found.der == root.certificate() {
                shelf
            } else {
                Shelf::Own
            };
            assert_eq!(found.shelf, expected, "{}", found.label);
        }
        assert_eq!(contents.certificates.len(), 4);
    }
}
