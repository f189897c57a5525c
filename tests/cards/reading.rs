//! What is on a card.

use bailiwick::keys::{CardId, CardKind, Contents, KeyError, KeyKind, PinState, Shelf};
use bailiwick_tests::card::{Card, Content, Key, Root};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::stage::{Stage, key_of, play};

/// No notes.
const NOTHING: [&str; 0] = [];

/// A card with something on every shelf.
fn full(key: Key) -> Content {
    let root = Root::new("North");
    let other = Root::new("South");
    let stranger = other.issue("stranger", &Key::Ec.generate());
    Content::new(&root, key)
        .with("trusted-second.der", other.certificate())
        .with("own-authority.der", other.certificate())
        .with("useful-one.der", &stranger)
        .with("bootstrap", b"<bootstrap/>")
}

fn shelf(contents: &Contents, shelf: Shelf) -> Vec<&[u8]> {
    let found = contents.certificates.iter();
    let found = found.filter(|found| found.shelf == shelf);
    found.map(|found| &found.der[..]).collect()
}

pub(crate) fn what_is_on_a_card_is_read_as_opensc_reads_it(test: &str) {
    play(test, "", None, async |stage: &mut Stage| {
        for (key, kind) in [(Key::Rsa, KeyKind::Rsa), (Key::Ec, KeyKind::EcP256)] {
            let content = full(key);
            let card = Card::pkcs15(&content).option("label", "Two\tlines\n");
            stage.insert(0, &card).await;
            let contents = stage.read(0).await.expect("contents");
            let id = CardId {
                kind: CardKind::Pkcs15,
                serial: "1234".into(),
            };
            assert_eq!(contents.card, id);
            assert_eq!(contents.label, "Two\u{FFFD}lines");
            assert_eq!(contents.skipped, NOTHING);
            assert!(contents.effort.apdus > 10 && contents.effort.card_us > 0);

            // Who put it there follows from its directory; what it says of itself does not count.
            let own = [content.file("own.der"), content.file("own-authority.der")];
            let trusted = [
                content.file("trusted-root.der"),
                content.file("trusted-second.der"),
            ];
            let useful = [content.file("useful-one.der")];
            assert_eq!(
                shelf(&contents, Shelf::Own)
                    .iter()
                    .collect::<std::collections::BTreeSet<_>>(),
                own.iter().collect()
            );
            assert_eq!(shelf(&contents, Shelf::Trusted), trusted);
            assert_eq!(shelf(&contents, Shelf::Useful), useful);

            let [found] = &contents.keys[..] else {
                panic!("{:?}", contents.keys)
            };
            assert_eq!((found.kind, &found.key), (kind, &key_of(&id)));
            assert_eq!(found.pin, PinState::Needed(Some(3)));
            let [object] = &contents.objects[..] else {
                panic!("{:?}", contents.objects)
            };
            assert_eq!(
                (&*object.oid, &*object.bytes),
                ("2.23.43.7.1", &b"<bootstrap/>"[..])
            );

            opensc_agrees(stage, &contents);
            let mut again = stage.read(0).await.expect("contents");
            again.effort = contents.effort;
            assert_eq!(again, contents, "reading changes nothing");
            stage.pull(0).await;
        }
    });
}

/// OpenSC finds the same certificates under the same identifiers, and the same data.
fn opensc_agrees(stage: &Stage, contents: &Contents) {
    let tool = |arguments: &[&str]| {
        let all = [&["-r", "0", "--raw"], arguments].concat();
        let output = stage.bed.run("pkcs15-tool", &all);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    for found in &contents.certificates {
        // Of certificates with one identifier it gives the first.
        let first = contents
            .certificates
            .iter()
            .find(|other| other.id == found.id);
        let der = &first.expect("itself").der;
        let pem = tool(&["--read-certificate", &found.id]);
        let pem = String::from_utf8_lossy(&pem).into_owned();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let decoded = BASE64_STANDARD.decode(body).expect("PEM");
        assert_eq!(decoded, *der, "{}", found.label);
    }
    for object in &contents.objects {
        assert_eq!(tool(&["--read-data-object", &object.oid]), object.bytes);
    }
}

/// Enough of a value to tell it from others: its signature, if it is a certificate.
fn tail(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(8)..]
}

pub(crate) fn every_form_of_the_same_says_the_same(test: &str) {
    play(test, "", None, async |stage: &mut Stage| {
        let content = full(Key::Ec);
        let card = Card::pkcs15(&content);
        stage.insert(0, &card).await;
        let good = stage.read(0).await.expect("contents");
        stage.pull(0).await;
        let what = |contents: &Contents| {
            let found = contents.certificates.iter();
            let certificates = found.map(|c| format!("{:?} {} {:?}", c.shelf, c.id, tail(&c.der)));
            let found = contents.objects.iter();
            let objects = found.map(|o| format!("{} {:?}", o.oid, tail(&o.bytes)));
            certificates.chain(objects).collect::<Vec<_>>()
        };
        for profile in [
            "relative",
            "wrapped",
            "padded",
            "doubled",
            "direct",
            "part",
            "path-only",
        ] {
            stage.insert(0, &card.clone().profile(profile)).await;
            let contents = stage
                .read(0)
                .await
                .unwrap_or_else(|e| panic!("{profile}: {e}"));
            assert_eq!(contents.skipped, NOTHING, "{profile}");
            assert_eq!(contents.card, good.card, "{profile}");
            assert_eq!(contents.keys, good.keys, "{profile}");
            assert_eq!(what(&contents), what(&good), "{profile}");
            stage.pull(0).await;
        }
    });
}

pub(crate) fn data_that_want_a_pin_are_read_with_it(test: &str) {
    let content = full(Key::Ec).with("secret", b"for the holder");
    let card = Card::pkcs15(&content);
    play(test, "", None, async |stage: &mut Stage| {
        stage.insert(0, &card).await;
        let contents = stage.read(0).await.expect("contents");
        assert_eq!(contents.objects.len(), 1);
        let [skipped] = &contents.skipped[..] else {
            panic!("{:?}", contents.skipped)
        };
        assert!(
            skipped.contains("2.23.43.5.1") && skipped.contains("PIN"),
            "{skipped}"
        );
    });
    play(test, "", Some("1234\n"), async |stage: &mut Stage| {
        stage.insert(0, &card).await;
        let contents = stage.read(0).await.expect("contents");
        let found = contents
            .objects
            .iter()
            .find(|object| object.oid == "2.23.43.5.1");
        assert_eq!(found.expect("the secret").bytes, b"for the holder");
        assert_eq!(contents.skipped, NOTHING);
    });
}

pub(crate) fn a_card_without_an_application_is_told_apart(test: &str) {
    play(test, "", None, async |stage: &mut Stage| {
        let card = Card::pkcs15(&full(Key::Ec)).profile("no-application");
        stage.insert(0, &card).await;
        let error = stage.read(0).await.expect_err("nothing there");
        assert!(matches!(error, KeyError::NoApplication { .. }), "{error}");
        stage.others_are_served().await;
    });
}
