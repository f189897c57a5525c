//! Readers and pcscd that come and go.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use bailiwick::keys::{KeyError, ReaderState, Scheme};
use bailiwick_tests::card::{Card, CardBed, Content, Key, Root};

use super::stage::{Stage, play, play_on};

const SCHEME: Scheme = Scheme::EcdsaP256Sha256;

fn card() -> Card {
    Card::pkcs15(&Content::new(&Root::new("North"), Key::Ec))
}

pub(crate) fn two_cards_are_told_apart_wherever_they_are(test: &str) {
    play(test, "", Some("1234"), async |stage: &mut Stage| {
        let other = card().option("serial", "5678").option("pin", "4321");
        stage.insert(0, &other).await;
        stage.insert(1, &card()).await;
        let first = stage.read(0).await.expect("contents").card;
        let second = stage.read(1).await.expect("contents").card;
        assert_eq!((&*first.serial, &*second.serial), ("5678", "1234"));
        stage.sign(&second, SCHEME).await.expect("a signature");
        // The keeper's PIN is that of the other one.
        let needed = KeyError::PinNeeded {
            card: "5678".into(),
        };
        assert_eq!(stage.sign(&first, SCHEME).await, Err(needed));

        // Nobody has read them since they changed places.
        stage.pull(0).await;
        stage.pull(1).await;
        stage.insert(0, &card()).await;
        stage.insert(1, &other).await;
        stage.sign(&second, SCHEME).await.expect("a signature");
        stage.pull(0).await;
        let gone = stage
            .sign(&second, SCHEME)
            .await
            .expect_err("it is not there");
        assert!(matches!(gone, KeyError::Gone { .. }), "{gone}");
    });
}

pub(crate) fn a_reader_that_is_taken_is_used_afterwards(test: &str) {
    let settings = "apdu-ms = 2000";
    play(test, settings, Some("1234"), async |stage: &mut Stage| {
        stage.insert(0, &card()).await;
        for how in ["exclusive", "transaction"] {
            let mut holder = Command::new("/usr/bin/python3")
                .arg(bailiwick_tests::root().join("tests/cards/hold.py"))
                .args([&stage.bed.reader(0), how])
                .env("PCSCLITE_CSOCK_NAME", stage.bed.socket())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("another program");
            let mut said = String::new();
            let mut output = BufReader::new(holder.stdout.take().expect("its output"));
            output.read_line(&mut said).expect("a line");
            assert_eq!(said, "has it\n");

            for _ in 0..2 {
                let error = stage.read(0).await.expect_err("another has it");
                assert!(matches!(error, KeyError::Taken { .. }), "{how}: {error}");
            }
            stage.until(0, |state| *state == ReaderState::Taken).await;
            stage.others_are_served().await;

            drop(holder.stdin.take());
            holder.wait().expect("it ends");
            let is_free = |state: &ReaderState| matches!(state, ReaderState::Card(_));
            stage.until(0, is_free).await;
            let id = stage.read(0).await.expect("contents").card;
            stage.sign(&id, SCHEME).await.expect("a signature");
        }
    });
}

pub(crate) fn pcscd_may_end_and_come_back(test: &str) {
    play(test, "", Some("1234"), async |stage: &mut Stage| {
        stage.insert(0, &card()).await;
        let id = stage.read(0).await.expect("contents").card;
        for _ in 0..2 {
            stage.bed.kill_pcscd();
            stage.until_none().await;
            let error = stage.read(0).await.expect_err("no service");
            assert!(matches!(error, KeyError::NoService { .. }), "{error}");
            let error = stage.sign(&id, SCHEME).await.expect_err("no service");
            assert!(matches!(error, KeyError::NoService { .. }), "{error}");
            stage.others_are_served().await;

            stage.bed.start_pcscd();
            stage.insert(0, &card()).await;
            stage.sign(&id, SCHEME).await.expect("a signature");
        }

        // In the middle of a read.
        stage.pull(0).await;
        stage.insert(0, &card().option("delay", 0.1)).await;
        let (keys, place) = (stage.keys.clone(), stage.place(0));
        let reading = tokio::task::spawn_local(async move { keys.read(&place).await });
        while stage.bed.commands(0) < 4 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        stage.bed.kill_pcscd();
        let result = reading.await.expect("it ends");
        let error = result.expect_err("half of it");
        let expected = matches!(error, KeyError::Pulled { .. } | KeyError::NoService { .. });
        assert!(expected, "{error}");
    });
}

pub(crate) fn pcscd_may_come_later(test: &str) {
    let Some(mut bed) = CardBed::start(test) else {
        return;
    };
    bed.kill_pcscd();
    play_on(bed, "", Some("1234"), async |stage: &mut Stage| {
        let error = stage.read(0).await.expect_err("no service");
        assert!(matches!(error, KeyError::NoService { .. }), "{error}");
        stage.others_are_served().await;
        stage.bed.start_pcscd();
        stage.insert(0, &card()).await;
        let id = stage.read(0).await.expect("contents").card;
        stage.sign(&id, SCHEME).await.expect("a signature");
    });
}
