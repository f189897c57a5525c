//! `tests/cards/module.c`: SoftHSM2 with a call that crashes, hangs or lies. Keys in files go on signing.

use std::path::PathBuf;
use std::process::Command;

use bailiwick::keys::{KeyError, KeyKind, KeyRef, Scheme};
use bailiwick_tests::hsm::{Hsm, PIN};
use bailiwick_tests::{cannot_run, program, root};

use super::world::{Asker, World};

const SCHEME: Scheme = Scheme::EcdsaP256Sha256;

struct Hostile {
    hsm: Hsm,
    module: PathBuf,
}

fn hostile(test: &str) -> Option<Hostile> {
    let compiler = program("cc").map_or(Some("there is no C compiler"), |_| None);
    if let Some(why) = Hsm::missing().or(compiler) {
        cannot_run(test, why);
        return None;
    }
    let hsm = Hsm::new(test);
    hsm.generate("EC:prime256v1", "02", &[]);
    let module = hsm.directory().join("hostile.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(&module)
        .arg(root().join("tests/cards/module.c"))
        .arg("-ldl")
        .status();
    assert!(compiled.unwrap().success());
    Some(Hostile { hsm, module })
}

impl Hostile {
    /// It does so once.
    fn world(&self, what: &str) -> World {
        let once = self.hsm.directory().join("once");
        let environment = [
            ("HOSTILE", what),
            ("HOSTILE_ONCE", once.to_str().unwrap()),
            ("HOSTILE_BEHIND", self.hsm.module().to_str().unwrap()),
        ];
        World::new(&self.hsm, &self.module, &environment).with_pin(PIN)
    }
}

/// A key in a file: that it signs shows that the keys process works.
async fn of_a_file(asker: &Asker) -> KeyRef {
    asker.keys.generate(KeyKind::EcP256).await.unwrap().0
}

/// The first signature fails, and later ones succeed in another process.
fn costs_one_signature(test: &str, what: &str, expected: fn(&KeyError) -> bool) {
    let Some(hostile) = hostile(test) else {
        return;
    };
    hostile.world(what).run(async |asker| {
        let file = of_a_file(&asker).await;
        let key = asker.key("02").await.key;
        let before = asker.keys.status().process;
        let failed = asker.keys.sign(&key, SCHEME, b"message").await.unwrap_err();
        assert!(expected(&failed), "{failed:?}");
        assert!(failed.is_passing());
        // It is asked again as whoever asks does: after a moment.
        let again = async |key: &KeyRef| loop {
            match asker.keys.sign(key, SCHEME, b"message").await {
                Ok(signature) => break signature,
                Err(error) => assert!(error.is_passing(), "{error:?}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        again(&key).await;
        again(&file).await;
        let status = asker.keys.status();
        assert_ne!(status.process, before);
        assert_eq!(status.restarts, 1);
    });
}

pub(crate) fn aborts() {
    let ended = |error: &KeyError| matches!(error, KeyError::Process { .. });
    costs_one_signature("a_module_that_aborts", "abort", ended);
}

pub(crate) fn hangs() {
    let late =
        |error: &KeyError| matches!(error, KeyError::Process { .. } | KeyError::Module { .. });
    costs_one_signature("a_module_that_hangs", "hang", late);
}

pub(crate) fn giant() {
    let ended = |error: &KeyError| matches!(error, KeyError::Process { .. });
    costs_one_signature("a_signature_of_giant_length", "giant", ended);
}

pub(crate) fn load() {
    let Some(hostile) = hostile("a_module_that_ends_the_process") else {
        return;
    };
    let environment = [
        ("HOSTILE", "load"),
        ("HOSTILE_BEHIND", hostile.hsm.module().to_str().unwrap()),
    ];
    let world = World::new(&hostile.hsm, &hostile.module, &environment).with_pin(PIN);
    world.run(async |asker| {
        // Its tokens are watched, so it is loaded at once, and takes the process with it; the next one knows better.
        let mut file = asker.keys.generate(KeyKind::EcP256).await;
        while let Err(error) = &file {
            assert!(error.is_passing(), "{error:?}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            file = asker.keys.generate(KeyKind::EcP256).await;
        }
        let (file, _) = file.unwrap();
        let process = asker.keys.status().process;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        asker.keys.sign(&file, SCHEME, b"message").await.unwrap();
        assert_eq!(asker.keys.status().process, process);
        let failed = asker.read().await.unwrap_err();
        assert!(matches!(failed, KeyError::Process { .. }), "{failed:?}");
    });
}

pub(crate) fn none() {
    let Some(hostile) = hostile("a_module_that_is_none") else {
        return;
    };
    let readme = root().join("README.md");
    World::new(&hostile.hsm, &readme, &[]).run(async |asker| {
        let failed = asker.read().await.unwrap_err();
        assert!(matches!(failed, KeyError::Module { .. }), "{failed:?}");
        assert!(failed.to_string().contains("README.md"));
    });
}
