//! A keys process with a configuration, and what tests ask it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bailiwick::certificates;
use bailiwick::config::Config;
use bailiwick::keys::{Contents, FoundKey, KeyError, KeyRef, Keys, Place, Scheme};
use bailiwick_tests::hsm::{Hsm, LABEL};

/// Every scheme that a card's key can sign by.
pub(crate) const SCHEMES: [Scheme; 8] = [
    Scheme::RsaPkcs1Sha256,
    Scheme::RsaPkcs1Sha384,
    Scheme::RsaPkcs1Sha512,
    Scheme::RsaPssSha256,
    Scheme::RsaPssSha384,
    Scheme::RsaPssSha512,
    Scheme::EcdsaP256Sha256,
    Scheme::EcdsaP384Sha384,
];

/// What the keys process is configured with. Dropped, its directory is removed.
pub(crate) struct World {
    directory: PathBuf,
    module: PathBuf,
    configuration: String,
}

impl World {
    /// One token of SoftHSM2, through `module`.
    pub(crate) fn new(hsm: &Hsm, module: &Path, environment: &[(&str, &str)]) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let directory = bailiwick_tests::scratch(&format!("m{number}")).unwrap();
        fs::create_dir(directory.join("state")).unwrap();
        let mut all = hsm.environment();
        all.extend(
            environment
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        let mut configuration =
            "state = 'state'\nadmin-socket = 'admin'\nisolation = 'best-effort'\n".to_owned();
        // Time-outs of seconds would be waited for.
        write!(configuration, "[keys]\napdu-ms = 500\nread-ms = 10000\n").unwrap();
        let tables = module_table(module, hsm.directory(), &all);
        configuration.push_str(&tables);
        Self {
            directory,
            module: module.to_owned(),
            configuration,
        }
    }

    /// Adds a line to the entry of the module, or further tables.
    pub(crate) fn with(mut self, lines: &str) -> Self {
        self.configuration.push_str(lines);
        self.configuration.push('\n');
        self
    }

    /// Names a file with this PIN for every token.
    pub(crate) fn with_pin(self, pin: &str) -> Self {
        fs::write(self.directory.join("pin"), format!("{pin}\n")).unwrap();
        let line = "[[card]]\nauthority = 'north'\nissuer = 'issuer.der'\npin-file = 'pin'";
        self.with(line)
    }

    /// Runs something that asks the keys process.
    pub(crate) fn run<F: Future>(&self, ask: impl FnOnce(Asker) -> F) -> F::Output {
        let file = self.directory.join("bailiwick.toml");
        fs::write(&file, &self.configuration).unwrap();
        let config = Config::read(&file).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let place = Place::Module {
                path: self.module.to_str().unwrap().to_owned(),
                token: LABEL.to_owned(),
            };
            ask(Asker {
                keys: Keys::new(&config),
                place,
            })
            .await
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _stays = fs::remove_dir_all(&self.directory);
    }
}

fn module_table(module: &Path, tokens: &Path, environment: &BTreeMap<String, String>) -> String {
    let mut text = format!(
        "[[keys.module]]\npath = {module:?}\ntoken = {LABEL:?}\nwrite = [{tokens:?}]\nread = [\"/usr/lib\"]\n"
    );
    let pairs: Vec<String> = environment
        .iter()
        .map(|(name, value)| format!("{name} = {value:?}"))
        .collect();
    writeln!(text, "environment = {{ {} }}", pairs.join(", ")).unwrap();
    text
}

/// Asks the keys process about the token.
pub(crate) struct Asker {
    pub(crate) keys: Keys,
    pub(crate) place: Place,
}

impl Asker {
    pub(crate) async fn read(&self) -> Result<Contents, KeyError> {
        self.keys.read(&self.place).await
    }

    /// The key of an identifier.
    pub(crate) async fn key(&self, id: &str) -> FoundKey {
        let contents = self.read().await.unwrap();
        let key = contents.keys.iter().find(|key| key.id == id).cloned();
        key.unwrap_or_else(|| panic!("no key {id} in {contents:?}"))
    }

    /// Whether a key signs by a scheme, and rightly.
    pub(crate) async fn proves(
        &self,
        key: &KeyRef,
        scheme: Scheme,
        certificate: &[u8],
    ) -> Result<bool, KeyError> {
        let message = certificates::challenge().unwrap();
        let signature = self.keys.sign(key, scheme, &message).await?;
        Ok(certificates::verifies(
            certificate,
            scheme,
            &message,
            &signature,
        ))
    }
}
