//! Cards whose files lie, loop, are cut off or too large. What is refused as a whole, what is left out, and that it
//! always ends.

use bailiwick::keys::{Contents, KeyError, Shelf};
use bailiwick_tests::card::{Card, Content, Key, Root};

use super::stage::{Stage, play};

fn card() -> Card {
    let content = Content::new(&Root::new("North"), Key::Ec);
    Card::pkcs15(&content.with("bootstrap", b"<bootstrap/>"))
}

/// Reads a card with such files.
async fn read(stage: &mut Stage, card: &Card, profile: &str) -> Result<Contents, KeyError> {
    stage.insert(0, &card.clone().profile(profile)).await;
    let result = stage.read(0).await;
    assert!(stage.bed.is_in(0), "{profile}: the card has ended");
    stage.pull(0).await;
    result
}

pub(crate) fn broken_files_are_refused(test: &str) {
    let card = card();
    play(test, "", None, async |stage: &mut Stage| {
        for (profile, why) in [
            ("truncated", "a value of"),
            ("bad-length", "a value of 4294967280 bytes"),
            ("indefinite", "a length that is not given"),
            ("many", "more than 32 directories"),
            ("endless", "a value of"),
            ("always-more", "an answer of more than"),
        ] {
            match read(stage, &card, profile).await {
                Err(KeyError::Malformed { problem, .. }) => {
                    assert!(problem.contains(why), "{profile}: {problem}");
                }
                other => panic!("{profile}: {other:?}"),
            }
        }
        read(stage, &card, "good").await.expect("contents");
        stage.others_are_served().await;
    });
}

pub(crate) fn what_is_missing_or_too_large_is_left_out(test: &str) {
    let card = card();
    play(test, "", None, async |stage: &mut Stage| {
        for (profile, why, own, objects) in [
            ("oversize", "a file of 40004 bytes, 16384 are taken", 0, 1),
            ("no-file", "not found", 0, 1),
            ("not-a-certificate", "an element of tag 30 is missing", 0, 1),
            ("missing-directory", "not found", 1, 0),
            ("loop", "again", 1, 1),
        ] {
            let contents = read(stage, &card, profile).await;
            let contents = contents.unwrap_or_else(|error| panic!("{profile}: {error}"));
            let said = contents.skipped.iter().any(|note| note.contains(why));
            assert!(said, "{profile}: {:?}", contents.skipped);
            let on = |shelf| {
                contents
                    .certificates
                    .iter()
                    .filter(|c| c.shelf == shelf)
                    .count()
            };
            assert_eq!((on(Shelf::Own), on(Shelf::Trusted)), (own, 1), "{profile}");
            assert_eq!(contents.objects.len(), objects, "{profile}");
            // A key whose certificate is not there is of no use.
            assert_eq!(contents.keys.len(), own, "{profile}");
        }
    });
}

pub(crate) fn a_card_that_lies_is_not_believed(test: &str) {
    let card = card();
    play(test, "", None, async |stage: &mut Stage| {
        let good = read(stage, &card, "good").await.expect("contents");
        let larger = read(stage, &card, "size-too-large")
            .await
            .expect("contents");
        assert_eq!(larger.certificates, good.certificates);
        // What is cut off is not given out as if it were whole.
        if let Ok(contents) = read(stage, &card, "size-too-small").await {
            for found in &contents.certificates {
                assert!(good.certificates.contains(found), "{}", found.label);
            }
            assert!(!contents.skipped.is_empty());
        }
        let error = read(stage, &card, "short")
            .await
            .expect_err("no answer at all");
        assert!(matches!(error, KeyError::Pulled { .. }), "{error}");
    });
}
