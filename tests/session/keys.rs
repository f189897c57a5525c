//! The keys process: it alone reads private keys, and when it crashes or hangs, a session is lost at most.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bailiwick_tests::cannot_run;
use bailiwick_tests::daemon::pause;
use bailiwick_tests::device::Setup;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::world::{DEVINFO, World};

/// An object that misbehaves when it is read.
const HOSTILE: &str = "urn:example:mo:hostile:1.0";
/// How long something may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

fn keys(world: &World) -> Value {
    world.admin.status()["keys"].clone()
}

/// Its process id.
fn process(world: &World) -> u32 {
    let keys = keys(world);
    let process = keys["process"].as_u64();
    let process = process.unwrap_or_else(|| panic!("no keys process: {keys}"));
    process.try_into().unwrap()
}

fn signal(process: u32, signal: Signal) {
    let process = Pid::from_raw(process.try_into().unwrap()).unwrap();
    kill_process(process, signal).unwrap();
}

#[test]
fn a_keys_process_that_crashes_costs_nothing_between_sessions() {
    let mut world = World::new();
    for crashes in 1..=2 {
        let before = process(&world);
        signal(before, Signal::KILL);
        assert_eq!(world.north(&["GET $D//DevID"]).statuses(), [200]);
        assert_eq!(world.south(&["GET $D//DevID"]).statuses(), [200]);
        let after = keys(&world);
        assert_ne!(after["process"], before, "{after}");
        assert_eq!(after["restarts"], crashes, "{after}");
    }
    let log = world.device.log();
    assert!(log.contains("keys process ended"), "it is in the log");
}

/// Its crash fails the handshake that needs it; the session of another authority that is under way does not notice.
#[test]
fn a_keys_process_that_crashes_or_hangs_in_a_handshake_costs_that_session() {
    let setup = Setup::usual()
        .plugin("hostile-object", "config = { behaviour = \"spin\" }")
        .policy("*", HOSTILE, "read")
        .limit("call-ms", 2_000)
        .section("[keys]\napdu-ms = 500");
    let mut world = World::with(&setup, &[DEVINFO, HOSTILE]);
    for crash in [true, false] {
        let stopped = process(&world);
        // South's session is open, and stays so for as long as its plug-in spins.
        let get = format!("GET {HOSTILE}//");
        let admin = world.device.admin();
        world.south.queue(&[&get, "GET $D//DevID"]);
        let south = std::thread::spawn(move || admin.session("south").unwrap());
        world.south.package_1();
        signal(stopped, Signal::STOP);
        let admin = world.device.admin();
        let north = std::thread::spawn(move || admin.session("north"));
        await_until("north waits for a signature", || {
            keys(&world)["waiting"] == 1
        });
        if crash {
            signal(stopped, Signal::KILL);
        }
        let north = north.join().unwrap();
        let south = south.join().unwrap();
        assert_eq!(south["completed"], true, "{south:#}");
        let told = match &north {
            Ok(report) => report.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(told.contains("keys process"), "{told}");
        assert_eq!(world.north(&["GET $D//DevID"]).statuses(), [200]);
        assert_eq!(world.south(&["GET $D//DevID"]).statuses(), [200]);
        assert_ne!(process(&world), stopped);
        assert!(fs::metadata(format!("/proc/{stopped}")).is_err(), "ended");
    }
}

#[test]
fn it_goes_when_it_rests_and_comes_with_the_next_need() {
    let setup = Setup::usual().limit("idle-ms", 200);
    let mut world = World::with(&setup, &[DEVINFO]);
    await_until("it goes", || keys(&world)["process"].is_null());
    assert_eq!(world.north(&["GET $D//DevID"]).statuses(), [200]);
    assert_eq!(keys(&world)["restarts"], 0);
}

/// What the system saw: the files of keys are opened by the keys process alone.
#[test]
fn the_host_opens_no_key_for_a_session() {
    let mut world = World::new();
    let host = host_of(process(&world));
    signal(process(&world), Signal::KILL);
    let trace = world.device.directory().join("trace");
    let Some(tracer) = attach(host, &trace) else {
        return;
    };
    assert_eq!(world.north(&["GET $D//DevID"]).statuses(), [200]);
    let keys = process(&world);
    let threads = threads(keys);
    drop(tracer);
    let opened = fs::read_to_string(&trace).unwrap();
    let opened: Vec<&str> = opened
        .lines()
        .filter(|line| line.contains(".pem\""))
        .collect();
    assert!(!opened.is_empty(), "the key was read");
    for line in opened {
        let thread = line.split_whitespace().next().unwrap();
        assert!(
            threads.iter().any(|known| known == thread),
            "{line}: {threads:?}"
        );
    }
}

/// The process that has started it.
fn host_of(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

fn threads(process: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Ends with this.
struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        // On this signal it lets go of what it traces; killed, it would take that along.
        signal(self.0.id(), Signal::INT);
        let _ended = self.0.wait();
    }
}

/// Writes down which files a process and its children open. `None`: nobody can here.
fn attach(process: u32, to: &Path) -> Option<Tracer> {
    let tracer = Command::new("strace")
        .args(["-f", "-e", "trace=open,openat,openat2", "-o"])
        .arg(to)
        .args(["-p", &process.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(tracer) = tracer else {
        cannot_run("keys", "strace is not installed");
        return None;
    };
    let mut tracer = Tracer(tracer);
    let begun = Instant::now();
    loop {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        if status.contains("TracerPid:\t0\n") {
            if tracer.0.try_wait().unwrap().is_some() || begun.elapsed() > PATIENCE {
                cannot_run("keys", "the system does not let one process trace another");
                return None;
            }
            pause(Duration::from_millis(5));
        } else {
            return Some(tracer);
        }
    }
}

fn await_until(what: &str, state: impl Fn() -> bool) {
    let begun = Instant::now();
    while !state() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it never happens");
        pause(Duration::from_millis(5));
    }
}
