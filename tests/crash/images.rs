//! Which images of a log are tried, and how: every point at which the power can fail, and of the changes that are
//! uncertain there all, none, one, all but one, and many random parts.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::digest;

use super::disk::{Content, Disk, Image, Plan};
use super::log::{Channel, Log, Snapshot};
use super::random::Random;
use super::scratch::Scratch;

/// Images that are tried at the same time.
const WORKERS: usize = 2;

/// Violations that are printed.
const SHOWN: usize = 10;

/// Violations of a trial of which the image is kept.
const KEPT: usize = 3;

/// Ways through all cut points, each with other plans. Where images repeat, there are no more.
const ROUNDS: usize = 60;

/// How many times more images there must be room for, where very many are asked for.
const PLENTY: usize = 16;

/// What was recorded.
pub(crate) struct Recording {
    /// The watched directory before the first run.
    pub(crate) snapshot: Snapshot,
    pub(crate) log: Log,
    /// Where the first, the second, ... acknowledgement began to leave.
    pub(crate) acknowledged: Vec<usize>,
    /// The pristine copy of the watched directory: compiled code is linked from there, not copied.
    pub(crate) originals: PathBuf,
}

/// What the outside knows when the power fails.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// How many acknowledgements may have left.
    pub(crate) acknowledged: usize,
    /// Whether anything may have been sent over the network.
    pub(crate) sent: bool,
}

/// One power cut.
pub(crate) struct Case {
    pub(crate) position: usize,
    pub(crate) plan: Plan,
    pub(crate) told: Told,
    pub(crate) shared_memory: SharedMemory,
    pub(crate) image: Image,
}

/// What is left of SQLite's `-shm`; see `record.rs`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SharedMemory {
    Absent,
    Garbage(u64),
}

/// Bytes of a small `-shm`.
const SHARED_MEMORY: usize = 32 << 10;

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            position,
            plan,
            told,
            shared_memory,
            ..
        } = self;
        write!(
            f,
            "cut behind line {position}, {plan:?}, -shm {shared_memory:?}, {told:?}"
        )
    }
}

/// A case without its image: what is needed to make it.
#[derive(Clone, Copy)]
struct Choice {
    position: usize,
    plan: Plan,
    told: Told,
}

impl Recording {
    /// Every moment at which something changes.
    pub(crate) fn cuts(&self) -> Vec<usize> {
        let operations = self.log.operations.iter().flat_map(|o| [o.begin, o.end]);
        let mut cuts: Vec<usize> = operations
            .chain(self.acknowledged.iter().copied())
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    /// What the outside knows at a moment.
    pub(crate) fn told(&self, position: usize) -> Told {
        let network = self
            .log
            .said
            .iter()
            .filter(|said| said.channel == Channel::Network);
        Told {
            acknowledged: self.acknowledged.iter().filter(|a| **a <= position).count(),
            sent: network
                .map(|said| said.position)
                .any(|sent| sent <= position),
        }
    }

    /// Chooses about `count` different images.
    fn choose(&self, count: usize, random: &mut Random) -> Vec<Choice> {
        let mut chosen: HashMap<[u8; 32], Choice> = HashMap::new();
        let rounds = ROUNDS.max(PLENTY * count / self.cuts().len().max(1));
        for round in 0..rounds {
            let wanted = count - chosen.len();
            if wanted == 0 {
                break;
            }
            let mut cuts: Vec<(usize, usize)> = self.cuts().into_iter().enumerate().collect();
            if cuts.len() > wanted {
                random.choose(&mut cuts, wanted);
                cuts.truncate(wanted);
                cuts.sort_unstable();
            }
            let mut disk = Disk::new(&self.snapshot, &self.log);
            for (index, position) in cuts {
                disk.advance(position);
                let Some(plan) = plan(round + index, disk.uncertain(), random) else {
                    continue;
                };
                let told = self.told(position);
                let choice = Choice {
                    position,
                    plan,
                    told,
                };
                let known = chosen.entry(hash(&disk.image(plan))).or_insert(choice);
                // The same bytes at another moment: the later one demands more of them.
                if known.told.acknowledged < told.acknowledged {
                    *known = choice;
                }
            }
        }
        let mut chosen: Vec<Choice> = chosen.into_values().collect();
        chosen.sort_by_key(|choice| choice.position);
        chosen
    }

    /// The recorder has seen everything: without a power cut, what lies in `directory` now is what was recorded.
    pub(crate) fn check_against(&self, directory: &Path) -> Result<()> {
        let mut disk = Disk::new(&self.snapshot, &self.log);
        disk.advance(self.log.end);
        let found = Snapshot::of(directory)?.paths();
        let image = disk.image(Plan::All);
        let recorded: Vec<&String> = image.nodes.keys().collect();
        ensure!(
            found.keys().collect::<Vec<_>>() == recorded,
            "recorded were {recorded:?}, and there are {:?}",
            found.keys()
        );
        for (path, (_, content)) in &image.nodes {
            let is_same = match content {
                Content::File(file) => found[path].as_deref() == Some(&file.bytes()),
                Content::Original(inode) => found[path].as_ref() == self.snapshot.file(*inode),
                Content::Directory => found[path].is_none(),
            };
            ensure!(is_same, "what was recorded of {path} is not what is there");
        }
        Ok(())
    }

    /// Any one power cut.
    pub(crate) fn random_case(&self, random: &mut Random) -> Case {
        let cuts = self.cuts();
        let position = cuts[random.below(cuts.len() as u64) as usize];
        let mut disk = Disk::new(&self.snapshot, &self.log);
        disk.advance(position);
        let plan = Plan::Sectors {
            seed: random.next(),
        };
        self.case(&disk, position, plan, random)
    }

    fn case(&self, disk: &Disk<'_>, position: usize, plan: Plan, random: &mut Random) -> Case {
        let made = self.log.shared_memory.is_some_and(|made| made <= position);
        let shared_memory = match random.next() {
            seed if made && seed & 1 == 0 => SharedMemory::Garbage(seed),
            _ => SharedMemory::Absent,
        };
        Case {
            position,
            plan,
            told: self.told(position),
            shared_memory,
            image: disk.image(plan),
        }
    }

    /// Makes about `count` different images and lets `trial` judge each, two at a time.
    pub(crate) fn try_images(&self, count: usize, seed: u64, trial: &Trial<'_>) -> Result<Outcome> {
        let started = Instant::now();
        let mut random = Random::new(seed);
        let choices = self.choose(count, &mut random);
        let images = choices.len();
        let scratch = Scratch::new(trial.name)?;
        let violations: Mutex<Vec<String>> = Mutex::default();
        let (send, receive) = mpsc::sync_channel::<Case>(4);
        let work = |worker: usize, cases: &Mutex<mpsc::Receiver<Case>>| -> Result<()> {
            let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).recv();
            while let Ok(case) = next() {
                let directory = scratch.path().join(worker.to_string());
                self.write(&case, &directory)?;
                if let Err(problem) = (trial.check)(&directory, case.told) {
                    let mut violations = violations.lock().unwrap_or_else(PoisonError::into_inner);
                    let kept = match trial.keep && violations.len() < KEPT {
                        true => self.keep(&case, trial.name, &problem)?,
                        false => String::new(),
                    };
                    violations.push(format!("{case}: {problem:#}{kept}"));
                }
                fs::remove_dir_all(&directory)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| -> Result<()> {
            let work = &work;
            // Owned by the workers alone: if they end early, sending fails instead of waiting for ever.
            let cases = Arc::new(Mutex::new(receive));
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let cases = Arc::clone(&cases);
                    scope.spawn(move || work(worker, &cases))
                })
                .collect();
            drop(cases);
            let mut disk = Disk::new(&self.snapshot, &self.log);
            for Choice { position, plan, .. } in choices {
                disk.advance(position);
                let case = self.case(&disk, position, plan, &mut random);
                if send.send(case).is_err() {
                    break;
                }
            }
            drop(send);
            for worker in workers {
                worker.join().map_err(|_| anyhow!("a check panicked"))??;
            }
            Ok(())
        })?;
        let violations = violations
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let (cuts, seconds) = (self.cuts().len(), started.elapsed().as_secs_f64());
        Ok(Outcome {
            images,
            cuts,
            violations,
            seconds,
        })
    }

    /// Writes an image to `directory/disk`.
    pub(crate) fn write(&self, case: &Case, directory: &Path) -> Result<()> {
        let disk = directory.join("disk");
        fs::create_dir_all(directory)?;
        for (path, (mode, content)) in &case.image.nodes {
            let at = disk.join(path.trim_start_matches('/'));
            let bytes = match content {
                Content::Directory => {
                    DirBuilder::new().mode(*mode).create(&at)?;
                    continue;
                }
                Content::Original(_) => {
                    let original = self.originals.join(path.trim_start_matches('/'));
                    // Compiled code is never written in place, so its files can be shared.
                    if path.contains("/code/") && fs::hard_link(&original, &at).is_ok() {
                        continue;
                    }
                    fs::read(original)?
                }
                Content::File(file) => file.bytes(),
            };
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(*mode);
            options
                .open(&at)
                .and_then(|mut file| file.write_all(&bytes))?;
            if let (Some(_), SharedMemory::Garbage(seed)) =
                (path.strip_suffix(".sqlite"), case.shared_memory)
            {
                let mut random = Random::new(seed);
                let garbage: Vec<u8> = (0..SHARED_MEMORY / 8)
                    .flat_map(|_| random.next().to_le_bytes())
                    .collect();
                fs::write(at.with_extension("sqlite-shm"), garbage)?;
            }
        }
        Ok(())
    }

    /// Keeps an image that was found wanting, and says how to try it again.
    fn keep(&self, case: &Case, name: &str, problem: &anyhow::Error) -> Result<String> {
        let directory = kept()?.join(format!("{name}-{}", case.position));
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        self.write(case, &directory)?;
        fs::write(
            directory.join("case"),
            format!(
                "{name}\n{}\n{}\n{case}\n{problem:#}\n",
                case.told.acknowledged, case.told.sent
            ),
        )?;
        Ok(format!(
            "\n    try it again: cargo test -p bailiwick-tests --test crash -- --replay {}",
            directory.display()
        ))
    }
}

/// How images are judged.
pub(crate) struct Trial<'a> {
    pub(crate) name: &'a str,
    /// What is wrong with the image in `disk` of a directory. May change it.
    pub(crate) check: &'a (dyn Fn(&Path, Told) -> Result<()> + Sync),
    /// Whether the first violations are kept.
    pub(crate) keep: bool,
}

/// What became of the images.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) images: usize,
    pub(crate) cuts: usize,
    pub(crate) violations: Vec<String>,
    pub(crate) seconds: f64,
}

/// One of the plans in turn, where so many changes are uncertain.
fn plan(turn: usize, uncertain: usize, random: &mut Random) -> Option<Plan> {
    let seed = random.next();
    let one = random.below(uncertain.max(1) as u64) as usize;
    Some(match turn % 9 {
        0 => Plan::None,
        _ if uncertain == 0 => return None,
        1 => Plan::All,
        2 => Plan::Sectors { seed },
        3 => Plan::Without(one),
        4 => Plan::Only(one),
        5 => Plan::Torn {
            whole: uncertain - 1,
            seed,
        },
        6 => Plan::Torn { whole: one, seed },
        7 => Plan::Some { percent: 85, seed },
        _ => Plan::Some { percent: 30, seed },
    })
}

fn hash(image: &Image) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    for (path, (mode, content)) in &image.nodes {
        hash.update(path.as_bytes());
        hash.update(&mode.to_le_bytes());
        match content {
            Content::Directory => hash.update(b"d"),
            Content::Original(inode) => hash.update(&inode.to_le_bytes()),
            Content::File(file) => {
                let (length, sum) = file.hash();
                hash.update(&length.to_le_bytes());
                hash.update(&sum.to_le_bytes());
            }
        }
    }
    let mut whole = [0; 32];
    whole.copy_from_slice(hash.finish().as_ref());
    whole
}

/// Where images that were found wanting are kept: beside the test executable's build directory.
fn kept() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let target = executable
        .ancestors()
        .nth(3)
        .context("no target directory")?;
    let kept = target.join("crash");
    fs::create_dir_all(&kept)?;
    Ok(kept)
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            images,
            cuts,
            violations,
            seconds,
        } = self;
        write!(
            f,
            "{images} images of {cuts} cut points in {seconds:.1} s, {} violations",
            violations.len()
        )
    }
}

impl Outcome {
    /// Counts another outcome as well.
    pub(crate) fn add(&mut self, other: Self) {
        self.images += other.images;
        self.cuts += other.cuts;
        self.seconds += other.seconds;
        self.violations.extend(other.violations);
    }

    /// Nothing was lost and nothing was half.
    pub(crate) fn expect_none(&self) -> Result<()> {
        ensure!(self.images > 0, "no images");
        ensure!(
            self.violations.is_empty(),
            "{} of {} images:\n{}",
            self.violations.len(),
            self.images,
            self.violations[..self.violations.len().min(SHOWN)].join("\n")
        );
        Ok(())
    }

    /// The damage that must be there was found.
    pub(crate) fn expect_some(&self) -> Result<()> {
        ensure!(
            !self.violations.is_empty(),
            "{} images without fsync, and nothing was lost",
            self.images
        );
        Ok(())
    }
}
