//! A bed with the keys process beside it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bailiwick::config::Config;
use bailiwick::keys::{
    Answer, CardId, Contents, KeyError, KeyKind, KeyRef, Keys, Place, Reader, ReaderState, Request,
    Scheme,
};
use bailiwick_tests::card::{Card, CardBed};
use tokio::task::LocalSet;

/// How long something may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test works with.
pub(crate) struct Stage {
    pub(crate) bed: CardBed,
    pub(crate) keys: Keys,
}

/// Plays a story with a bed and a keys process that watches its readers. `settings` are further lines of `[keys]`; the PIN of
/// every card is `pin`, if there is one. Where beds are not possible, it says so.
pub(crate) fn play(
    test: &str,
    settings: &str,
    pin: Option<&str>,
    story: impl AsyncFnOnce(&mut Stage),
) {
    if let Some(bed) = CardBed::start(test) {
        play_on(bed, settings, pin, story);
    }
}

/// The same with a bed that is there.
pub(crate) fn play_on(
    bed: CardBed,
    settings: &str,
    pin: Option<&str>,
    story: impl AsyncFnOnce(&mut Stage),
) {
    let config = configuration(&bed, settings, pin);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let keys = Keys::new(&config);
        let mut stage = Stage { bed, keys };
        story(&mut stage).await;
    });
}

fn configuration(bed: &CardBed, settings: &str, pin: Option<&str>) -> Config {
    let directory = bed.directory();
    let socket = bed.socket();
    let mut text = format!(
        "state = \"state\"\nadmin-socket = \"admin.sock\"\nisolation = \"best-effort\"\n\
         [keys]\ncards = true\npcsc-socket = {socket:?}\n{settings}\n"
    );
    if let Some(pin) = pin {
        fs::write(pin_file(bed), pin).expect("a file");
        text += "[[card]]\nauthority = \"north\"\nserial = \"1234\"\npin-file = \"pin\"\n";
    }
    fs::create_dir_all(directory.join("state")).expect("a directory");
    let file = directory.join("bailiwick.toml");
    fs::write(&file, text).expect("a file");
    Config::read(&file).expect("a configuration")
}

/// Where the PIN of the card with the serial number 1234 is kept.
pub(crate) fn pin_file(bed: &CardBed) -> PathBuf {
    bed.directory().join("pin")
}

impl Stage {
    /// Inserts a card, and waits until the keys process has seen it.
    pub(crate) async fn insert(&mut self, slot: usize, card: &Card) -> Reader {
        self.bed.insert(slot, card);
        self.until(slot, |state| matches!(state, ReaderState::Card(_)))
            .await
    }

    /// Pulls a card, and waits until the keys process has seen that.
    pub(crate) async fn pull(&mut self, slot: usize) {
        self.bed.pull(slot);
        self.until(slot, |state| *state == ReaderState::Empty).await;
    }

    /// Waits until a reader is in such a state.
    pub(crate) async fn until(&self, slot: usize, wanted: impl Fn(&ReaderState) -> bool) -> Reader {
        let place = self.place(slot);
        let mut readers = self.keys.readers();
        let found = readers.wait_for(|readers| {
            let mut readers = readers.iter();
            readers.any(|reader| reader.place == place && wanted(&reader.state))
        });
        let found = tokio::time::timeout(PATIENCE, found).await;
        let found = found
            .expect("the reader changes in time")
            .expect("a keys process");
        let reader = found.iter().find(|reader| reader.place == place);
        reader.expect("it was there").clone()
    }

    /// Waits until there are no readers.
    pub(crate) async fn until_none(&self) {
        let mut readers = self.keys.readers();
        let none = readers.wait_for(Vec::is_empty);
        let none = tokio::time::timeout(PATIENCE, none).await;
        none.expect("the readers go in time")
            .expect("a keys process");
    }

    pub(crate) fn place(&self, slot: usize) -> Place {
        Place::Reader(self.bed.reader(slot))
    }

    /// What the card in a reader holds.
    pub(crate) async fn read(&self, slot: usize) -> Result<Contents, KeyError> {
        self.keys.read(&self.place(slot)).await
    }

    /// The same, in a time of one's own.
    pub(crate) async fn read_within(
        &self,
        slot: usize,
        within: Duration,
    ) -> Result<Contents, KeyError> {
        match self
            .keys
            .ask(Request::Read(self.place(slot)), within)
            .await?
        {
            Answer::Contents(contents) => Ok(*contents),
            other => panic!("{other:?}"),
        }
    }

    /// Signs with the one key of a card.
    pub(crate) async fn sign(&self, card: &CardId, scheme: Scheme) -> Result<Vec<u8>, KeyError> {
        let key = key_of(card);
        self.keys.sign(&key, scheme, MESSAGE).await
    }

    /// Everything but the card goes on as before.
    pub(crate) async fn others_are_served(&self) {
        let (key, _) = self.keys.generate(KeyKind::EcP256).await.expect("a key");
        let signed = self.keys.sign(&key, Scheme::EcdsaP256Sha256, MESSAGE).await;
        signed.expect("a signature");
        self.keys.forget(&key).await.expect("it goes");
    }
}

/// What is signed.
pub(crate) const MESSAGE: &[u8] = b"what is signed";

/// The key of `p15card.py`.
pub(crate) fn key_of(card: &CardId) -> KeyRef {
    KeyRef::Card {
        card: card.clone(),
        key: "45".into(),
    }
}
