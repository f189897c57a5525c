//! What cards say, as hostile as it comes: no input makes the parsers use much memory or work, and none makes them panic.
//! And cards of others, as others have recorded them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use allocation_counter::measure;
use bailiwick::keys::{CardKind, KeyError, probe};
use bailiwick_tests::root;

/// The largest input.
const INPUT: usize = 64 << 10;
/// What the parsers may allocate for it, bytes.
const MEMORY: u64 = 1 << 20;
/// What a whole card may take: all that is given out is 256 KiB at most, and lies in memory twice while it is gathered.
const CARD_MEMORY: u64 = 2 << 20;
/// Elements and commands that are looked at, as `host/src/keys/card` has it.
const ELEMENTS: usize = 4_096;
const COMMANDS: u32 = 4_000;
/// Objects of seven directories of up to 128.
const OBJECTS: usize = 7 * 128;

/// No notes.
const NOTHING: [&str; 0] = [];

/// Numbers that are the same each time (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        // Tags and lengths that mean something, more often than chance has it.
        const TELLING: [u8; 24] = [
            0x30, 0x04, 0x06, 0x02, 0x03, 0x0C, 0xA0, 0xA1, 0xA4, 0xA5, 0xA7, 0xA8, 0x61, 0x4F,
            0x00, 0xFF, 0x80, 0x81, 0x82, 0x84, 0x7F, 0x1F, 0x01, 0x90,
        ];
        match self.below(3) {
            0 => self.next() as u8,
            _ => TELLING[self.below(TELLING.len())],
        }
    }
}

/// Files of real cards, and one for each directory.
fn seeds() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(root().join("tests/vectors/pkcs15_files.hex")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let seeds: Vec<_> = lines
        .map(|line| unhex(line.split_whitespace().last().unwrap()))
        .collect();
    assert!(seeds.len() >= 8);
    seeds
}

/// One of them, changed here and there; or noise; or one over and over.
fn input(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = match random.below(4) {
        0 => (0..random.below(512)).map(|_| random.byte()).collect(),
        1 => {
            let seed = &seeds[random.below(seeds.len())];
            seed.repeat(1 + random.below(INPUT / seed.len()))
        }
        _ => seeds[random.below(seeds.len())].clone(),
    };
    for _ in 0..random.below(6) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = random.byte(),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, random.byte()),
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes.truncate(INPUT);
    bytes
}

#[test]
fn no_file_takes_much() {
    let seeds = seeds();
    let mut random = Random(0x5EED);
    let mut understood = 0;
    let inputs = (0..3_000).map(|_| input(&mut random, &seeds));
    let worst = [
        [0x30, 0x00].repeat(INPUT / 2),
        [0x30].repeat(INPUT),
        [0xA1, 0x80].repeat(INPUT / 2),
        vec![0; INPUT],
        vec![0xFF; INPUT],
        nested(INPUT),
    ];
    for bytes in inputs.chain(worst) {
        let mut counts = (0, 0);
        let used = measure(|| {
            counts = (probe::tlv(&bytes), probe::directories(&bytes));
            probe::certificate(&bytes);
        });
        assert!(
            used.bytes_max <= MEMORY,
            "{} bytes for {}",
            used.bytes_max,
            hex(&bytes)
        );
        assert!(counts.0 <= ELEMENTS && counts.1 <= OBJECTS, "{counts:?}");
        understood += usize::from(counts.1 > 0);
    }
    // Otherwise this test would test nothing.
    assert!(understood > 300, "{understood}");
}

/// Elements in elements, as deep as that goes.
fn nested(size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() + 4 < size {
        let rest = size - bytes.len() - 4;
        bytes.extend([0x30, 0x82, (rest >> 8) as u8, rest as u8]);
    }
    bytes
}

#[test]
fn no_card_takes_much() {
    let seeds = seeds();
    let mut random = Random(0xCA4D);
    let statuses = [
        0x9000_u16, 0x9000, 0x9000, 0x9000, 0x6A82, 0x6282, 0x6B00, 0x6C20, 0x61FF, 0x6982, 0x63C3,
        0x6D00,
    ];
    for _ in 0..300 {
        let seed = random.next();
        let mut answers = Random(seed | 1);
        let mut answer = |_: &[u8]| {
            let mut answer = match answers.below(3) {
                0 => vec![answers.byte(); answers.below(257)],
                _ => input(&mut answers, &seeds),
            };
            answer.truncate(256);
            let status = statuses[answers.below(statuses.len())];
            // Rarely it goes.
            (answers.below(500) > 0).then(|| [answer, status.to_be_bytes().to_vec()].concat())
        };
        let _whatever = assert_bounded(&mut answer, &format!("seed {seed}"));
    }
}

#[test]
fn no_card_goes_on_for_ever() {
    // Each answers everything in one way, and the reader always comes to an end.
    let full = [&[0x30; 256][..], &[0x90, 0x00]].concat();
    let more = [&[0x30; 256][..], &[0x61, 0x00]].concat();
    let byte = vec![0x30, 0x90, 0x00];
    for always in [
        full,
        more,
        byte,
        vec![0x61, 0x00],
        vec![0x6C, 0x01],
        vec![0x90, 0x00],
    ] {
        let result = assert_bounded(&mut |_| Some(always.clone()), &hex(&always));
        assert!(result.is_err());
    }
}

fn assert_bounded(
    answer: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
    what: &str,
) -> Result<bailiwick::keys::Contents, KeyError> {
    let mut outcome = None;
    let used = measure(|| outcome = Some(probe::card(answer)));
    let (result, commands) = outcome.unwrap();
    assert!(commands <= COMMANDS, "{what}: {commands} commands");
    assert!(
        used.bytes_max <= CARD_MEMORY,
        "{what}: {} bytes",
        used.bytes_max
    );
    result
}

/// A UICC that others have recorded: commands and answers.
struct Recording(Vec<(Vec<u8>, Vec<u8>)>);

impl Recording {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(root().join("tests/vectors").join(name)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.map(|line| {
            let mut columns = line.split('\t').map(unhex_column);
            (columns.next().unwrap(), columns.next().unwrap())
        });
        Self(pairs.collect())
    }

    /// The recorded answer; how much is wanted makes no difference. `current` is the file that was selected last.
    fn answer(&self, current: &mut usize, command: &[u8]) -> Vec<u8> {
        let file = |at: usize| self.0.get(at).map(|(_, answer)| answer.clone());
        // ICCID: the recordings lack it, since their reader does not ask.
        const ICCID: usize = usize::MAX;
        match command {
            [_, 0xA4, 0x08, _, 2, 0x2F, 0xE2, ..] => {
                *current = ICCID;
                return unhex("62048002000A9000");
            }
            [_, 0xB0, 0, 0, _] if *current == ICCID => return unhex("988812010000400310359000"),
            // What follows its selection is what reading it brought, once.
            [_, 0xB0, 0, 0, _] => return file(*current + 1).unwrap_or_default(),
            [_, 0xB0, ..] => return vec![0x6B, 0x00],
            _ => {}
        }
        let same = |recorded: &[u8]| {
            let length = recorded.len().min(command.len());
            let body = 5 + usize::from(*recorded.get(4).unwrap_or(&0));
            recorded[..body.min(length)] == command[..body.min(length)]
        };
        match self.0.iter().position(|(recorded, _)| same(recorded)) {
            Some(at) => {
                *current = at;
                self.0[at].1.clone()
            }
            None => vec![0x6A, 0x82],
        }
    }
}

#[test]
fn a_recorded_uicc_gives_its_bootstrap() {
    let recording = Recording::read("nordic_csim_success_a.txt");
    let mut current = 0;
    let (contents, commands) =
        probe::card(&mut |command| Some(recording.answer(&mut current, command)));
    let contents = contents.unwrap();
    assert_eq!(contents.card.kind, CardKind::Pkcs15);
    assert_eq!(contents.card.serial, "89882110000004300153");
    let [object] = &contents.objects[..] else {
        panic!("{contents:?}")
    };
    assert_eq!(object.oid, "2.23.43.9.1");
    assert_eq!(
        (&*object.label, &*object.path),
        ("LwM2M Bootstrap", "7FFF6432")
    );
    assert_eq!(object.bytes.len(), 60);
    assert!(object.bytes.windows(7).any(|window| window == b"coap://"));
    assert_eq!(contents.skipped, NOTHING);
    assert!(commands < 30, "{commands}");
}

#[test]
fn a_recorded_uicc_without_pkcs15_has_none() {
    let recording = Recording::read("nordic_csim_pkcs15_absent.txt");
    let mut current = 0;
    let (result, _) = probe::card(&mut |command| Some(recording.answer(&mut current, command)));
    assert!(
        matches!(result, Err(KeyError::NoApplication { .. })),
        "{result:?}"
    );
}

fn unhex_column(column: &str) -> Vec<u8> {
    match column.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => unhex(column),
        false => Vec::new(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(200);
    shown.map(|byte| format!("{byte:02X}")).collect()
}
