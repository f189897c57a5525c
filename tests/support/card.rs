//! Real smart-card readers for tests: a pcscd of its own for each [`CardBed`], with two readers in which programs are the
//! cards.
//!
//! ```no_run
//! # use bailiwick_tests::card::{Card, CardBed, Content, Key, Root};
//! let Some(mut bed) = CardBed::start("name of the test") else { return };   // skipped, and it has said so
//! let root = Root::new("North");
//! bed.insert(0, &Card::pkcs15(&Content::new(&root, Key::Ec)));
//! // bed.socket() is for `pcsc-socket` in [keys]; bed.reader(0) is the reader's name.
//! bed.pull(0);
//! ```
//!
//! It takes root, since pcscd's socket lies at a fixed place, which is hidden behind another in a mount namespace. Beds run
//! beside each other. Everything ends with the bed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::pause;
use crate::{cannot_run, program, root};

mod content;

pub use content::{Content, Key, Public, Root};

const PCSCD: &str = "/usr/sbin/pcscd";
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
const OPENSC: &str = "pkcs15-tool";

/// How long programs may take to do what takes them less than a second.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);
/// Somebody else may take a port between our look and pcscd's.
const TRIES: u32 = 5;

/// A pcscd with two readers.
pub struct CardBed {
    directory: PathBuf,
    /// Of the first reader; the second has the next.
    port: u16,
    pcscd: Child,
    cards: [Option<Inserted>; 2],
}

struct Inserted {
    process: Child,
    directory: PathBuf,
}

/// Whether the system lets us hide pcscd's socket behind another: what no package can bring.
fn has_namespaces() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("a private pcscd needs root".into());
    }
    let mut attempt = Command::new("unshare");
    attempt.args(["--mount", "--propagation", "private", "true"]);
    let attempt = attempt.stderr(Stdio::null()).status();
    match attempt.is_ok_and(|status| status.success()) {
        true => Ok(()),
        false => Err("a private pcscd needs a mount namespace, which the system refuses".into()),
    }
}

impl CardBed {
    /// Starts one; where that cannot be, says so for `test`, and gives `None`.
    ///
    /// # Panics
    ///
    /// In CI, instead of `None`, if a package is missing; and where pcscd does not start.
    pub fn start(test: &str) -> Option<Self> {
        if let Err(why) = has_namespaces() {
            crate::skipped(test, &why);
            return None;
        }
        if let Err(why) = Self::is_possible() {
            cannot_run(test, &why);
            return None;
        }
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        // The socket lies in here, and its path must be short.
        let directory = crate::scratch(&format!("c{number}")).expect("a directory");
        let (port, pcscd) = start(&directory);
        let cards = [None, None];
        Some(Self {
            directory,
            port,
            pcscd,
            cards,
        })
    }

    /// Whether all that is needed is there; else what is not.
    pub fn is_possible() -> Result<(), String> {
        has_namespaces()?;
        let module = "/usr/lib/python3/site-packages/virtualsmartcard";
        let other = "/usr/lib/python3/dist-packages/virtualsmartcard";
        let have = |path: &str| Path::new(path).exists();
        let there = have(PCSCD) && have(DRIVER) && (have(module) || have(other));
        match there && program(OPENSC).is_some() {
            true => Ok(()),
            false => Err("`cargo xtask setup` says what is missing".into()),
        }
    }

    /// pcscd's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("ipc/pcscd.comm")
    }

    /// A directory that goes with the bed.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of a reader, 0 or 1.
    pub fn reader(&self, slot: usize) -> String {
        format!("Virtual PCD 00 0{slot}")
    }

    /// The TCP port at which the card of a reader is expected, for cards that the test starts itself.
    pub fn port(&self, slot: usize) -> u16 {
        self.port + u16::try_from(slot).expect("0 or 1")
    }

    /// Inserts a card, and waits until pcscd has seen it.
    pub fn insert(&mut self, slot: usize, card: &Card) {
        assert!(
            self.cards[slot].is_none(),
            "there is a card in reader {slot}"
        );
        let seen = self.count("Card inserted into", slot);
        self.push(slot, card);
        self.wait_for("Card inserted into", slot, seen);
    }

    /// Inserts a card without waiting.
    fn push(&mut self, slot: usize, card: &Card) {
        static INSERTED: AtomicU32 = AtomicU32::new(0);
        let number = INSERTED.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.join(format!("card{number}"));
        fs::create_dir_all(&directory).expect("a directory");
        for (name, bytes) in &card.content {
            fs::write(directory.join(name), bytes).expect("a file");
        }
        let log = fs::File::create(directory.join("log")).expect("a file");
        let fill = |argument: &OsString| {
            let text = argument.to_string_lossy();
            let text = text.replace("{port}", &self.port(slot).to_string());
            text.replace("{content}", &directory.to_string_lossy())
        };
        let mut process = Command::new(&card.program)
            .args(card.arguments.iter().map(fill))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("a card that starts");
        let mut said = String::new();
        if card.speaks {
            let output = process.stdout.take().expect("its output");
            let _ = BufReader::new(output).read_line(&mut said);
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert_eq!(said, "in the reader\n", "the card has failed: {log}");
        }
        self.cards[slot] = Some(Inserted { process, directory });
    }

    /// Pulls a card, and waits until pcscd has seen that.
    pub fn pull(&mut self, slot: usize) {
        let seen = self.count("Card Removed From", slot);
        self.drop_card(slot);
        self.wait_for("Card Removed From", slot, seen);
    }

    /// Pulls a card and pushes in another, as fast as that goes.
    pub fn swap(&mut self, slot: usize, card: &Card) {
        let seen = self.count("Card inserted into", slot);
        self.drop_card(slot);
        self.push(slot, card);
        self.wait_for("Card inserted into", slot, seen);
    }

    /// Whether the program that is the card has not ended.
    pub fn is_in(&mut self, slot: usize) -> bool {
        let card = self.cards[slot].as_mut();
        card.is_some_and(|card| matches!(card.process.try_wait(), Ok(None)))
    }

    /// How many commands the card in a reader has had.
    pub fn commands(&self, slot: usize) -> u32 {
        let card = self.cards[slot].as_ref().expect("a card");
        let count = fs::read_to_string(card.directory.join("count")).unwrap_or_default();
        count.parse().unwrap_or(0)
    }

    /// Takes a card out that has pulled itself.
    pub fn clear(&mut self, slot: usize) {
        self.drop_card(slot);
    }

    fn drop_card(&mut self, slot: usize) {
        let mut card = self.cards[slot].take().expect("a card in the reader");
        let _gone = card.process.kill();
        let _gone = card.process.wait();
    }

    /// Kills pcscd; its cards end with it.
    pub fn kill_pcscd(&mut self) {
        let _gone = self.pcscd.kill();
        let _gone = self.pcscd.wait();
        for slot in [0, 1] {
            if self.cards[slot].is_some() {
                self.drop_card(slot);
            }
        }
        // It leaves them, and does not start where they are.
        for name in ["pcscd.comm", "pcscd.pid"] {
            let _gone = fs::remove_file(self.directory.join("ipc").join(name));
        }
    }

    /// Starts pcscd again, with empty readers.
    pub fn start_pcscd(&mut self) {
        (self.port, self.pcscd) = start(&self.directory);
    }

    /// Runs a program that speaks to cards, such as those of OpenSC.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program)
            .args(arguments)
            .env("PCSCLITE_CSOCK_NAME", self.socket())
            .env("OPENSC_CONF", root().join("tests/cards/opensc.conf"))
            .stdin(Stdio::null())
            .output()
            .expect("a program")
    }

    fn count(&self, what: &str, slot: usize) -> usize {
        let log = fs::read_to_string(self.directory.join("pcscd.log")).unwrap_or_default();
        log.matches(&format!("{what} {}", self.reader(slot)))
            .count()
    }

    fn wait_for(&self, what: &str, slot: usize, before: usize) {
        let begun = Instant::now();
        while self.count(what, slot) == before {
            let log = || fs::read_to_string(self.directory.join("pcscd.log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "no `{what}` in: {}", log());
            pause(LOOK);
        }
    }
}

impl Drop for CardBed {
    fn drop(&mut self) {
        self.kill_pcscd();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.join("pcscd.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
            eprintln!("the end of pcscd's log:\n  {last}");
        }
        let _stays = fs::remove_dir_all(&self.directory);
    }
}

/// Starts a pcscd whose socket is in `directory`, on two ports that are free.
fn start(directory: &Path) -> (u16, Child) {
    for name in ["ipc", "conf"] {
        fs::create_dir_all(directory.join(name)).expect("a directory");
    }
    fs::create_dir_all("/run/pcscd").expect("the place of pcscd's socket");
    let mut log = String::new();
    for _ in 0..TRIES {
        let port = free_ports();
        let reader = format!(
            "FRIENDLYNAME \"Virtual PCD\"\nDEVICENAME /dev/null:{port}\nLIBPATH {DRIVER}\nCHANNELID {port}\n"
        );
        fs::write(directory.join("conf/vpcd"), reader).expect("a file");
        let mut pcscd = spawn(directory);
        log = wait_until_ready(directory, &mut pcscd);
        if log.contains("daemon ready") && !log.contains("Address already in use") {
            return (port, pcscd);
        }
        let _gone = pcscd.kill();
        let _gone = pcscd.wait();
    }
    panic!("pcscd does not start: {log}");
}

fn spawn(directory: &Path) -> Child {
    let output = fs::File::create(directory.join("pcscd.log")).expect("a file");
    // From Debian 13 on it asks polkit who may use cards, and there is none here.
    let help = Command::new(PCSCD).arg("--help").output().expect("pcscd");
    let polkit = match String::from_utf8_lossy(&help.stdout).contains("disable-polkit") {
        true => "--disable-polkit",
        false => "",
    };
    let script = format!(
        "mount --bind \"$0/ipc\" /run/pcscd && exec {PCSCD} --foreground --info {polkit} --config \"$0/conf\""
    );
    Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a file"))
        .stderr(output)
        .spawn()
        .expect("unshare")
}

fn wait_until_ready(directory: &Path, pcscd: &mut Child) -> String {
    let begun = Instant::now();
    loop {
        let log = fs::read_to_string(directory.join("pcscd.log")).unwrap_or_default();
        let has_ended = !matches!(pcscd.try_wait(), Ok(None));
        if log.contains("daemon ready") || has_ended || begun.elapsed() > PATIENCE {
            return log;
        }
        pause(LOOK);
    }
}

/// Two ports, one after the other, that nobody uses.
fn free_ports() -> u16 {
    loop {
        let bind = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let first = bind(0).expect("a port");
        let port = first.local_addr().expect("an address").port();
        if let Some(next) = port.checked_add(1)
            && bind(next).is_ok()
        {
            return port;
        }
    }
}

/// A card: a program that plays it, with what is on it.
#[derive(Clone, Debug)]
pub struct Card {
    program: PathBuf,
    arguments: Vec<OsString>,
    content: BTreeMap<String, Vec<u8>>,
    /// Whether it says when it is in the reader.
    speaks: bool,
}

impl Card {
    /// PKCS#15 on the card OS of Debian's `virtualsmartcard`: `tests/cards/p15card.py`. Its PIN is 1234.
    pub fn pkcs15(content: &Content) -> Self {
        let script = root().join("tests/cards/p15card.py");
        let card = Self {
            program: "/usr/bin/python3".into(),
            arguments: vec![script.into()],
            content: content.files().clone(),
            speaks: true,
        };
        card.option("port", "{port}")
            .option("content", "{content}")
            .option("count", "{content}/count")
    }

    /// Any program that connects to vpcd. In its arguments `{port}` is the reader's, `{content}` a directory of its own.
    pub fn program(program: PathBuf, arguments: &[&str]) -> Self {
        Self {
            program,
            arguments: arguments.iter().map(OsString::from).collect(),
            content: BTreeMap::new(),
            speaks: false,
        }
    }

    /// Sets an option of `p15card.py`, such as `profile`, `serial`, `pin`, `left`, `pull-after`, `mute-after`, `delay`.
    pub fn option(mut self, name: &str, value: impl ToString) -> Self {
        let option = format!("--{name}={}", value.to_string());
        self.arguments.push(option.into());
        self
    }

    /// Sets an option that has no value.
    pub fn flag(mut self, name: &str) -> Self {
        self.arguments.push(format!("--{name}").into());
        self
    }

    /// What is wrong with its files; see `p15card.py`.
    pub fn profile(self, profile: &str) -> Self {
        self.option("profile", profile)
    }
}
