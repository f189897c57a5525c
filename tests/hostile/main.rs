//! Plug-ins that misbehave, in real worker processes.
//!
//! One authority has a hostile plug-in; another one, and the first one's own good plug-in, must not notice. Each kind
//! must come to the outcome that `kinds.rs` names, and leave nothing behind.

mod device;
mod impostor;
mod kinds;
mod measure;
mod objects;
mod raw;
mod stories;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bailiwick::authority::Authority;
use bailiwick::plugins::{CallError, Operation};
use bailiwick_tests::runner;

use device::{Device, Ground, IDLE, good, mean};
use kinds::Kind;
use measure::{Ahead, Comparison, Log, Waits, children, resident};

/// Calls of the other authority that are measured, at least.
const CALLS: usize = 400;
/// The machine is shared; of so many attempts the best counts.
const ATTEMPTS: usize = 3;
/// Calls of the hostile plug-in in one attempt, at least; so many crashes lead to its quarantine.
const ROUNDS: u32 = 3;

fn main() -> ExitCode {
    if let Some(code) = impostor::play().or_else(bailiwick_tests::role) {
        return code;
    }
    let _ahead = Ahead::of_others();
    let log = Log::collect();
    let ground = Rc::new(Ground::new());
    let kinds = kinds::all().into_iter().map(|kind| {
        let (ground, log) = (Rc::clone(&ground), log.clone());
        runner::Trial::new(kind.name.clone(), move || {
            run(contains(&ground, &log, &kind))
        })
    });
    let mut trials: Vec<runner::Trial> = kinds.collect();
    macro_rules! story {
        ($room:ident::$name:ident) => {
            let on = Rc::clone(&ground);
            trials.push(runner::Trial::new(stringify!($name), move || {
                run($room::$name(on))
            }));
        };
    }
    story!(objects::malformed_trees);
    story!(objects::malformed_instances);
    story!(objects::malformed_types);
    story!(stories::a_crowd_behind_an_endless_call);
    story!(stories::a_worker_that_dies);
    story!(stories::an_object_that_frames_the_environment);
    story!(stories::a_caller_that_gives_up);
    story!(stories::what_is_remembered);
    story!(stories::a_stale_connection);
    for (kind, expect) in impostor::all() {
        let (on, log) = (Rc::clone(&ground), log.clone());
        let name = format!("a-worker-that-{kind}");
        trials.push(runner::Trial::new(name, move || {
            run(impostor::trial(on, log, kind, expect))
        }));
    }
    drop(ground);
    runner::run(trials)
}

fn run(test: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// The hostile plug-in does what it does, and nobody else notices.
async fn contains(ground: &Ground, log: &Log, kind: &Kind) -> Result<String, String> {
    let installations: Vec<_> = kind.installations.iter().collect();
    let limits = if kind.name == "compiles-for-ever" {
        "compile-ms = 2000"
    } else {
        ""
    };
    let device = Device::new(ground, &installations, limits)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|e| e.to_string())?;
    let operation = match &kind.operation {
        Operation::Dial {
            host, preferred, ..
        } => Operation::Dial {
            host: host.clone(),
            port: listener.local_addr().map_err(|e| e.to_string())?.port(),
            preferred: *preferred,
        },
        other => other.clone(),
    };
    // Whoever connects is let in and forgotten.
    let accepting =
        tokio::task::spawn_local(async move { while listener.accept().await.is_ok() {} });
    for _ in 0..50 {
        device.good_call(&mean()).await?;
        device.good_call(&good()).await?;
    }
    if kind.keeps {
        let transaction = Rc::new(ground.store.begin());
        let first = device
            .call_in(&mean(), kind.plugin, operation.clone(), &transaction)
            .await;
        kind.expect
            .judge(&first)
            .map_err(|reason| format!("at first it {reason}"))?;
        transaction
            .commit()
            .await
            .map_err(|error| error.to_string())?;
    }
    let before = settled(&device).await?;
    log.clear();

    let mut attempts = Vec::new();
    for _ in 0..ATTEMPTS {
        let quiet = others(&device, || false).await?;
        let during = disturbed(&device, kind, &operation).await?;
        let attempt = Comparison { quiet, during };
        attempts.push(attempt);
        if attempt.is_fine() {
            break;
        }
    }
    quarantine(&device, kind, &operation).await?;
    log.check()?;
    let after = settled(&device).await?;

    let waits = Comparison::best(&attempts)?;
    let note = format!(
        "{waits}, memory {:.1} -> {:.1} MB",
        before as f64 / 1e6,
        after as f64 / 1e6
    );
    if after as f64 > before as f64 * 1.1 {
        return Err(format!("memory does not come back: {note}"));
    }
    accepting.abort();
    drop(device);
    gone().await?;
    Ok(note)
}

/// Between two rounds of calls to the hostile plug-in. A server's commands come over a network: none calls without a break.
const PACE: Duration = Duration::from_millis(1);

/// Calls for the other authority as long as `go_on`, and no less than a number that means something.
async fn others(device: &Device, go_on: impl Fn() -> bool) -> Result<Waits, String> {
    let mut times = Vec::new();
    while times.len() < CALLS || (go_on() && times.len() < CALLS * 100) {
        let started = Instant::now();
        device.good_call(&good()).await?;
        times.push(started.elapsed());
    }
    Ok(Waits::of(times))
}

/// The hostile plug-in is called again and again, or until it is quarantined, while the others go on; how long the other
/// authority waited.
async fn disturbed(device: &Device, kind: &Kind, operation: &Operation) -> Result<Waits, String> {
    device.plugins.release(kind.plugin);
    let stop = Cell::new(false);
    let rounds = Cell::new(0_u32);
    let failure = RefCell::new(None);
    let note = |text: String| {
        failure.borrow_mut().get_or_insert(text);
        rounds.set(ROUNDS);
    };
    let hostile = async {
        while !stop.get() {
            let outcome = device.call(&mean(), kind.plugin, operation.clone()).await;
            let quarantined = matches!(outcome, Err(CallError::Quarantined { .. }));
            if kind.expect.is_crash() && rounds.get() >= ROUNDS && quarantined {
                return;
            }
            if let Err(reason) = kind.expect.judge(&outcome) {
                return note(format!("it {reason}"));
            }
            if let Err(reason) = device.good_call(&mean()).await {
                return note(format!("right after it, {reason}"));
            }
            rounds.set(rounds.get() + 1);
            tokio::time::sleep(PACE).await;
        }
    };
    let own = async {
        while !stop.get() {
            if let Err(reason) = device.good_call(&mean()).await {
                note(format!("meanwhile, {reason}"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let other = async {
        let waited = others(device, || rounds.get() < ROUNDS).await;
        stop.set(true);
        waited
    };
    let ((), (), waited) = tokio::join!(hostile, own, other);
    match failure.take() {
        Some(reason) => Err(reason),
        None => waited,
    }
}

/// A plug-in that crashes is called no more after three times, for its authority alone, until it is released.
async fn quarantine(device: &Device, kind: &Kind, operation: &Operation) -> Result<(), String> {
    device.plugins.release(kind.plugin);
    let call = async |who: &Authority| device.call(who, kind.plugin, operation.clone()).await;
    for _ in 0..ROUNDS {
        let outcome = call(&mean()).await;
        kind.expect
            .judge(&outcome)
            .map_err(|reason| format!("called again, it {reason}"))?;
    }
    let fourth = call(&mean()).await;
    if !kind.expect.is_crash() {
        return kind
            .expect
            .judge(&fourth)
            .map_err(|reason| format!("the fourth time it {reason}"));
    }
    if !matches!(fourth, Err(CallError::Quarantined { traps: 3, .. })) {
        return Err(format!("it is not quarantined: {fourth:?}"));
    }
    // Transports and environments serve the whole device and are quarantined for it.
    if !matches!(operation, Operation::Dial { .. }) {
        let outcome = call(&good()).await;
        kind.expect
            .judge(&outcome)
            .map_err(|reason| format!("for the other authority it {reason}"))?;
    }
    device.plugins.release(kind.plugin);
    let outcome = call(&mean()).await;
    kind.expect
        .judge(&outcome)
        .map_err(|reason| format!("after its release it {reason}"))
}

/// Resident bytes of all processes when what is not used has gone and what is good is warm.
async fn settled(device: &Device) -> Result<u64, String> {
    let until = Instant::now() + IDLE * 2;
    while Instant::now() < until {
        device.good_call(&mean()).await?;
        device.good_call(&good()).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let workers = device
        .plugins
        .workers()
        .into_iter()
        .map(|(_, process)| process);
    Ok(resident(workers.chain([std::process::id()])))
}

/// Waits until no process is left.
async fn gone() -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        if children().is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("processes are left: {:?}", children()))
}
