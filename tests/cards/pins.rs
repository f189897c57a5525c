//! PINs: whoever loses them loses the card, so none is wasted.

use std::fs;

use bailiwick::keys::{CardId, KeyError, Pin, PinState, Scheme};
use bailiwick_tests::card::{Card, Content, Key, Root};

use super::stage::{Stage, pin_file, play};

const SCHEME: Scheme = Scheme::EcdsaP256Sha256;

fn card() -> Card {
    Card::pkcs15(&Content::new(&Root::new("North"), Key::Ec))
}

/// The card in the first reader, and what has to happen before its key signs.
async fn state(stage: &Stage) -> (CardId, PinState) {
    let contents = stage.read(0).await.expect("contents");
    (contents.card, contents.keys[0].pin)
}

async fn unlock(stage: &Stage, card: &CardId, pin: &str) -> Result<(), KeyError> {
    stage.keys.unlock(card, Pin::new(pin.into())).await
}

pub(crate) fn a_wrong_pin_is_tried_once(test: &str) {
    play(test, "", Some("9999"), async |stage: &mut Stage| {
        stage.insert(0, &card().option("tries", 5)).await;
        let (id, pin) = state(stage).await;
        assert_eq!(pin, PinState::Known, "nobody knows yet that it is wrong");
        let wrong = KeyError::PinWrong {
            card: "1234".into(),
            left: 4,
        };
        for _ in 0..4 {
            assert_eq!(stage.sign(&id, SCHEME).await, Err(wrong.clone()));
        }
        assert_eq!(state(stage).await.1, PinState::Needed(Some(4)));

        // Taking the card out and in again does not make it right.
        stage.pull(0).await;
        stage.insert(0, &card().option("left", 2)).await;
        assert_eq!(state(stage).await.1, PinState::Needed(Some(2)));
        assert!(stage.sign(&id, SCHEME).await.is_err());
        assert_eq!(state(stage).await.1, PinState::Needed(Some(2)));

        fs::write(pin_file(&stage.bed), "1234").expect("a file");
        assert_eq!(state(stage).await.1, PinState::Known);
        stage.sign(&id, SCHEME).await.expect("a signature");
        assert_eq!(state(stage).await.1, PinState::Known);
    });
}

pub(crate) fn the_last_try_is_left_to_a_person(test: &str) {
    play(test, "", Some("1234"), async |stage: &mut Stage| {
        stage.insert(0, &card().option("left", 1)).await;
        let (id, pin) = state(stage).await;
        assert_eq!(pin, PinState::Needed(Some(1)), "though a keeper has it");
        let last = KeyError::LastTry {
            card: "1234".into(),
        };
        assert_eq!(stage.sign(&id, SCHEME).await, Err(last));
        assert_eq!(state(stage).await.1, PinState::Needed(Some(1)));
        unlock(stage, &id, "1234").await.expect("the right PIN");
        stage.sign(&id, SCHEME).await.expect("a signature");
    });
}

pub(crate) fn a_blocked_pin_is_said_to_be_blocked(test: &str) {
    play(test, "", None, async |stage: &mut Stage| {
        stage.insert(0, &card()).await;
        let (id, pin) = state(stage).await;
        assert_eq!(pin, PinState::Needed(Some(3)));
        let needed = KeyError::PinNeeded {
            card: "1234".into(),
        };
        assert_eq!(stage.sign(&id, SCHEME).await, Err(needed));

        // What cannot be a PIN of this card costs no try.
        let error = unlock(stage, &id, "12").await.expect_err("too short");
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
        for left in [2, 1] {
            let card = "1234".into();
            let wrong = Err(KeyError::PinWrong { card, left });
            assert_eq!(unlock(stage, &id, "0000").await, wrong);
        }
        let blocked = || KeyError::PinBlocked {
            card: "1234".into(),
        };
        assert_eq!(unlock(stage, &id, "0000").await, Err(blocked()));
        assert_eq!(unlock(stage, &id, "1234").await, Err(blocked()));
        assert_eq!(stage.sign(&id, SCHEME).await, Err(blocked()));
        assert_eq!(state(stage).await.1, PinState::Blocked);
        stage.others_are_served().await;
    });
}

pub(crate) fn a_card_that_does_not_count_aloud_is_asked_by_a_person_only(test: &str) {
    play(test, "", Some("1234"), async |stage: &mut Stage| {
        stage.insert(0, &card().flag("silent-pin")).await;
        let (id, pin) = state(stage).await;
        assert_eq!(pin, PinState::Needed(None));
        let needed = KeyError::PinNeeded {
            card: "1234".into(),
        };
        assert_eq!(stage.sign(&id, SCHEME).await, Err(needed));
        unlock(stage, &id, "1234").await.expect("the right PIN");
        stage.sign(&id, SCHEME).await.expect("a signature");
    });
}

pub(crate) fn nobody_finds_a_card_unlocked(test: &str) {
    play(test, "", None, async |stage: &mut Stage| {
        stage.insert(0, &card()).await;
        let (id, _) = state(stage).await;
        unlock(stage, &id, "1234").await.expect("the right PIN");
        stage.sign(&id, SCHEME).await.expect("a signature");
        let select = "00A404000CA000000063504B43532D313500";
        let ask = ["-r", "0", "-s", select, "-s", "00200081"];
        let said = stage.bed.run("opensc-tool", &ask);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let last = said.lines().rfind(|line| line.contains("SW1="));
        assert!(
            last.is_some_and(|line| line.contains("SW1=0x63, SW2=0xC3")),
            "{said}"
        );

        // What a person entered goes with the card.
        stage.pull(0).await;
        stage.insert(0, &card()).await;
        let (id, pin) = state(stage).await;
        assert_eq!(pin, PinState::Needed(Some(3)));
        assert!(stage.sign(&id, SCHEME).await.is_err());
    });
}
