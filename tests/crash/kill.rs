//! The daemon is killed at random moments of sessions in which it writes, again and again. After each start all that
//! was acknowledged is there and nothing in half, and in the end the authority has had every command done.

use std::path::Path;
use std::thread::spawn;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use bailiwick_tests::daemon::{Daemon, pause};
use serde_json::json;

use super::check::describe;
use super::device::{bootstrap, instances, prepare};
use super::random::Random;
use super::scenario::{self, State, Step};
use super::scratch::Scratch;
use super::server::{Management, SRV_ID, Serving};

/// Commands that wait at the start of each life of the daemon: more than it can do in one.
const WAITING: usize = 12;

/// The longest life, from the moment at which the daemon answers.
const LIFE: Duration = Duration::from_millis(250);

/// How long the daemon may take to do what is left when nobody kills it any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// The device, its authority, and what was ordered so far.
struct Story {
    scratch: Scratch,
    management: Management,
    serving: Serving,
    steps: Vec<Step>,
    /// What is there after so many of them.
    states: Vec<State>,
    seed: u64,
}

impl Story {
    fn begin(seed: u64) -> Result<Self> {
        let scratch = Scratch::new("kill")?;
        prepare(&scratch.path().join("device"), "full")?;
        let management = Management::new(&scratch.path().join("authority"))?;
        let serving = management.serve()?;
        let states = vec![State::new()];
        let mut story = Self {
            scratch,
            management,
            serving,
            steps: Vec::new(),
            states,
            seed,
        };
        for step in scenario::first_steps() {
            story.order(step)?;
        }
        Ok(story)
    }

    fn device(&self) -> std::path::PathBuf {
        self.scratch.path().join("device")
    }

    fn order(&mut self, step: Step) -> Result<()> {
        let id = self.management.queue(&step)?;
        let mut state = self.states[self.steps.len()].clone();
        step.apply(&mut state);
        self.steps.push(step);
        self.states.push(state);
        ensure!(
            id as usize == self.steps.len(),
            "the queue counts otherwise"
        );
        Ok(())
    }

    /// Fills the queue.
    fn order_more(&mut self) -> Result<()> {
        for _ in self.management.waiting()?..WAITING {
            self.order(scenario::random_step(self.steps.len() as u64, self.seed))?;
        }
        Ok(())
    }

    /// How many commands are known to be done: they are sent in their order, one at a time.
    fn acknowledged(&self) -> Result<usize> {
        Ok(self
            .management
            .good_answers()?
            .iter()
            .map(|answer| answer.id as usize)
            .max()
            .unwrap_or(0))
    }

    /// Starts the daemon; what it has must be what was acknowledged before, or some of what it has done since.
    fn start(&self) -> Result<Daemon> {
        let before = self.acknowledged()?;
        let daemon = Daemon::start(&self.device())?;
        let found = instances(&daemon)?;
        let after = self.acknowledged()? + 1;
        let allowed = &self.states[before..=after.min(self.steps.len())];
        ensure!(
            allowed.contains(&found),
            "{before} commands were acknowledged; there is {}, and there should be {}",
            describe(&found),
            allowed
                .iter()
                .map(describe)
                .collect::<Vec<_>>()
                .join(" or ")
        );
        Ok(daemon)
    }
}

/// So many kills.
pub(crate) fn survives(kills: usize, seed: u64) -> Result<()> {
    let begun = Instant::now();
    let mut random = Random::new(seed);
    let mut story = Story::begin(seed)?;
    let daemon = Daemon::start(&story.device())?;
    bootstrap(&daemon, &story.management)?;
    daemon.call("Session", json!({ "authority": SRV_ID }))?;
    daemon.stop()?;
    let first = story.acknowledged()?;
    ensure!(first == story.steps.len(), "the instances were not made");

    for kill in 0..kills {
        story.order_more()?;
        let daemon = story
            .start()
            .map_err(|error| anyhow!("after {kill} kills: {error:#}"))?;
        let client = daemon.client();
        // The daemon may be holding one already; and it will be killed before it can answer.
        let session = spawn(move || client.call("Session", json!({ "authority": SRV_ID })));
        pause(Duration::from_micros(random.below(LIFE.as_micros() as u64)));
        daemon.kill()?;
        let _killed = session.join();
    }
    let during = story.acknowledged()? - first;
    let interrupted = interrupted(&story.device())?;
    ensure!(
        interrupted * 3 > kills,
        "only {interrupted} of {kills} kills hit a session"
    );
    ensure!(
        during > kills / 10,
        "only {during} commands were done between {kills} kills"
    );

    let daemon = story.start()?;
    let waited = Instant::now();
    while story.management.waiting()? > 0 {
        ensure!(
            waited.elapsed() < PATIENCE,
            "the daemon does not do what is left"
        );
        // Its own session and this one may get in each other's way.
        let _busy = daemon.call("Session", json!({ "authority": SRV_ID }));
        pause(Duration::from_millis(20));
    }
    let found = instances(&daemon)?;
    ensure!(
        story.states.last() == Some(&found),
        "in the end there is {}",
        describe(&found)
    );
    daemon.stop()?;
    let commands = story.steps.len();
    story.serving.stop()?;
    println!(
        "    {kills} kills, {interrupted} in a session, {during} of {commands} commands done between them, in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// How often the daemon found at its start that a session had been interrupted.
fn interrupted(device: &Path) -> Result<usize> {
    let log = std::fs::read_to_string(device.join("log"))?;
    Ok(log
        .lines()
        .filter(|line| line.contains("a restart interrupted a session"))
        .count())
}
