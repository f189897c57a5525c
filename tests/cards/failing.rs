//! Cards that are pulled, swapped, mute or slow. Everything or nothing is given out, others are served meanwhile, and the
//! next card is as good as the first.

use std::time::{Duration, Instant};

use bailiwick::keys::{KeyError, ReaderState, Scheme};
use bailiwick_tests::card::{Card, Content, Key, Root};

use super::stage::{Stage, play};

const SCHEME: Scheme = Scheme::EcdsaP256Sha256;

fn card() -> Card {
    let content = Content::new(&Root::new("North"), Key::Ec);
    Card::pkcs15(&content.with("bootstrap", b"<bootstrap/>"))
}

pub(crate) fn a_card_that_is_pulled_gives_nothing(test: &str) {
    play(test, "", Some("1234"), async |stage: &mut Stage| {
        stage.insert(0, &card()).await;
        let id = stage.read(0).await.expect("contents").card;
        let commands = stage.bed.commands(0);
        stage.sign(&id, SCHEME).await.expect("a signature");
        let with_signature = stage.bed.commands(0);
        stage.pull(0).await;

        for after in [0, 1, 3, commands / 2, commands - 2, commands - 1] {
            stage.insert(0, &card().option("pull-after", after)).await;
            let error = stage.read(0).await.expect_err("half of it");
            let expected = matches!(error, KeyError::Pulled { .. } | KeyError::Gone { .. });
            assert!(expected, "after {after} of {commands}: {error}");
            stage.until(0, |state| *state == ReaderState::Empty).await;
            stage.bed.clear(0);
        }
        for after in [commands, with_signature - 2] {
            stage.insert(0, &card().option("pull-after", after)).await;
            stage.read(0).await.expect("contents");
            let error = stage.sign(&id, SCHEME).await.expect_err("no signature");
            assert!(
                matches!(error, KeyError::Pulled { .. }),
                "after {after}: {error}"
            );
            stage.until(0, |state| *state == ReaderState::Empty).await;
            stage.bed.clear(0);
        }
        let gone = stage.sign(&id, SCHEME).await.expect_err("no card");
        assert!(matches!(gone, KeyError::Gone { .. }), "{gone}");

        stage.others_are_served().await;
        stage.insert(0, &card()).await;
        stage.sign(&id, SCHEME).await.expect("a signature");
    });
}

pub(crate) fn a_swapped_card_is_another_card(test: &str) {
    play(test, "", Some("1234"), async |stage: &mut Stage| {
        let first = stage.insert(0, &card()).await;
        let id = stage.read(0).await.expect("contents").card;
        stage.bed.swap(0, &card().option("serial", "5678"));
        let wanted = |state: &ReaderState| matches!(state, ReaderState::Card(_));
        let second = stage.until(0, wanted).await;
        let error = stage.sign(&id, SCHEME).await.expect_err("another card");
        assert!(
            matches!(error, KeyError::Gone { .. } | KeyError::Pulled { .. }),
            "{error}"
        );
        let contents = stage.read(0).await.expect("contents");
        assert_eq!(contents.card.serial, "5678");
        let now = stage.until(0, wanted).await;
        assert!(now.changes > first.changes, "{first:?} {second:?} {now:?}");

        // In the middle of a read.
        stage.pull(0).await;
        stage.insert(0, &card().option("delay", 0.1)).await;
        let place = stage.place(0);
        let keys = stage.keys.clone();
        let reading = tokio::task::spawn_local(async move { keys.read(&place).await });
        while stage.bed.commands(0) < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stage.bed.swap(0, &card().option("serial", "5678"));
        let result = reading.await.expect("it ends");
        assert!(matches!(result, Err(KeyError::Pulled { .. })), "{result:?}");
        let contents = stage.read(0).await.expect("contents");
        assert_eq!(contents.card.serial, "5678");
    });
}

pub(crate) fn a_mute_card_keeps_nobody_waiting(test: &str) {
    play(
        test,
        "apdu-ms = 1000",
        Some("1234"),
        async |stage: &mut Stage| {
            for after in [0, 5] {
                stage.insert(0, &card().option("mute-after", after)).await;
                let begun = Instant::now();
                let error = stage.read(0).await.expect_err("no answer");
                assert!(matches!(error, KeyError::Mute { .. }), "{error}");
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "{:?}",
                    begun.elapsed()
                );
                stage.until(0, |state| *state == ReaderState::Wedged).await;
                // At once, since it is known.
                let error = stage.read(0).await.expect_err("no answer");
                assert!(matches!(error, KeyError::Mute { .. }), "{error}");
                stage.others_are_served().await;
                // The card in another reader is another matter.
                stage.insert(1, &card()).await;
                let contents = stage.read(1).await.expect("contents");
                stage
                    .sign(&contents.card, SCHEME)
                    .await
                    .expect("a signature");
                stage.pull(1).await;
                stage.pull(0).await;

                stage.insert(0, &card()).await;
                let contents = stage.read(0).await.expect("contents");
                stage
                    .sign(&contents.card, SCHEME)
                    .await
                    .expect("a signature");
                stage.pull(0).await;
            }
        },
    );
}

pub(crate) fn a_slow_card_has_its_time_and_no_more(test: &str) {
    play(test, "apdu-ms = 5000", None, async |stage: &mut Stage| {
        stage.insert(0, &card().option("delay", 0.1)).await;
        let short = Duration::from_millis(1000);
        let error = stage
            .read_within(0, short)
            .await
            .expect_err("not in that time");
        assert!(matches!(error, KeyError::Mute { .. }), "{error}");
        stage.others_are_served().await;
        // It was in time each time: it is no mute card, and may go on.
        stage
            .until(0, |state| matches!(state, ReaderState::Card(_)))
            .await;
        let contents = stage.read_within(0, Duration::from_secs(60)).await;
        let contents = contents.expect("contents");
        assert_eq!(contents.objects.len(), 1);
        let least = u64::from(contents.effort.apdus) * 100_000;
        assert!(contents.effort.card_us >= least, "{:?}", contents.effort);
    });
}
