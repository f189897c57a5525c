//! Misbehaviour that takes more than one call.

use std::rc::Rc;
use std::time::Duration;

use bailiwick::authority::Authority;
use bailiwick::plugins::{Bearer, CallError, Operation, Output, PluginError, SandboxStatus};

use crate::device::{Device, Ground, IDLE, Installation, good, mean, read};
use crate::kinds::{Expect, MOID, text_of};

const PLUGIN: &str = "hostile-object";

/// A crowd waits behind a call that never ends: it is bounded, each gets its answer by its deadline, and one call is to
/// blame for one crash.
pub(crate) async fn a_crowd_behind_an_endless_call(ground: Rc<Ground>) -> Result<String, String> {
    let plugin = Installation::built(PLUGIN).limits("call-ms = 400");
    let device = Rc::new(Device::new(&ground, &[&plugin], "")?);
    device.good_call(&mean()).await?;
    device.plugins.compile_all().await;
    let calls = (0..40).map(|_| {
        let device = Rc::clone(&device);
        tokio::task::spawn_local(
            async move { device.call(&mean(), PLUGIN, read(MOID, "spin")).await },
        )
    });
    let (mut late, mut busy) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.map_err(|error| error.to_string())? {
            Err(CallError::TimedOut { .. }) => late += 1,
            Err(CallError::Busy { .. }) => busy += 1,
            other => return Err(format!("{other:?}")),
        }
    }
    if (late, busy) != (32, 8) {
        return Err(format!("{late} waited, {busy} were sent away"));
    }
    let status = status(&device, PLUGIN, &mean()).ok_or("no status")?;
    if status.traps != 1 || status.quarantined {
        return Err(format!("{status:?}"));
    }
    device.good_call(&mean()).await?;
    Ok(format!("{late} waited, {busy} were sent away"))
}

/// The process of one authority dies in the middle of its calls: they fail, the next ones do not, and nobody else
/// notices.
pub(crate) async fn a_worker_that_dies(ground: Rc<Ground>) -> Result<String, String> {
    let device = Rc::new(Device::new(&ground, &[&Installation::built(PLUGIN)], "")?);
    device.good_call(&mean()).await?;
    device.good_call(&good()).await?;
    device.plugins.compile_all().await;
    let running = {
        let device = Rc::clone(&device);
        tokio::task::spawn_local(
            async move { device.call(&mean(), PLUGIN, read(MOID, "spin")).await },
        )
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let workers = device.plugins.workers();
    let before = workers
        .iter()
        .find(|(who, _)| *who == mean())
        .ok_or("no worker")?
        .1;
    let other = workers
        .iter()
        .find(|(who, _)| *who == good())
        .ok_or("no worker")?
        .1;
    let process = i32::try_from(before)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(process.ok_or("no process")?, rustix::process::Signal::KILL)
        .map_err(|error| error.to_string())?;
    let outcome = running.await.map_err(|error| error.to_string())?;
    Expect::Crashed("worker process ended").judge(&outcome)?;
    device.good_call(&mean()).await?;
    device.good_call(&good()).await?;
    let workers = device.plugins.workers();
    if workers.iter().any(|(_, process)| *process == before) {
        return Err("it is still there".into());
    }
    if !workers.iter().any(|(_, process)| *process == other) {
        return Err("the other authority has lost its worker".into());
    }
    Ok(String::new())
}

/// An object that asks the environment too late does not get the environment, which serves everybody, quarantined.
pub(crate) async fn an_object_that_frames_the_environment(
    ground: Rc<Ground>,
) -> Result<String, String> {
    let object = Installation::built(PLUGIN)
        .set("fact", "nothing")
        .limits("call-ms = 400");
    let environment = Installation::built("hostile-environment").grant(&[
        "logging",
        "call-context",
        "config",
        "device",
        "os",
    ]);
    let device = Device::new(&ground, &[&object, &environment], "")?;
    device.plugins.compile_all().await;
    let fact = async || device.call(&good(), PLUGIN, read(MOID, "fact")).await;
    Expect::Text("").judge(&fact().await)?;
    for _ in 0..5 {
        device.plugins.release(PLUGIN);
        let outcome = device.call(&mean(), PLUGIN, read(MOID, "rush")).await;
        let said = Expect::Refused(PluginError::TimedOut).judge(&outcome);
        said.or_else(|_| Expect::TimedOut.judge(&outcome))?;
    }
    let status = status(&device, "hostile-environment", &Authority::device());
    let traps = status.ok_or("no status")?.traps;
    if traps > 0 {
        return Err(format!("{traps} crashes are put down to the environment"));
    }
    Expect::Text("").judge(&fact().await)?;
    Ok(String::new())
}

/// A caller that gives up takes back what the call wrote, and is in nobody's way afterwards.
pub(crate) async fn a_caller_that_gives_up(ground: Rc<Ground>) -> Result<String, String> {
    let plugin = Installation::built(PLUGIN).limits("call-ms = 400");
    let device = Device::new(&ground, &[&plugin], "")?;
    device.plugins.compile_all().await;
    device.good_call(&mean()).await?;
    for behaviour in ["rewrite", "put-and-delete", "spin", "delete-nothing"] {
        let transaction = Rc::new(ground.store.begin());
        let who = mean();
        let call = device.call_in(&who, PLUGIN, read(MOID, behaviour), &transaction);
        if tokio::time::timeout(Duration::from_millis(60), call)
            .await
            .is_ok()
        {
            return Err(format!("{behaviour} was too fast"));
        }
        if !transaction.is_empty() {
            return Err(format!("{behaviour} left something behind"));
        }
        // It goes on in its sandbox until its deadline, and its writes lead nowhere.
        tokio::time::sleep(Duration::from_millis(450)).await;
        if !transaction.is_empty() {
            return Err(format!("{behaviour} wrote after it was given up"));
        }
        let outcome = device.call(&mean(), PLUGIN, read(MOID, "keys")).await;
        Expect::Text("0 before, 12 now").judge(&outcome)?;
    }
    Ok(String::new())
}

/// What a plug-in remembers: its storage, per instance, for good; its memory, per authority, until it rests.
pub(crate) async fn what_is_remembered(ground: Rc<Ground>) -> Result<String, String> {
    let plugin = Installation::built(PLUGIN).set("behaviour", "remember-in-init");
    let device = Device::new(&ground, &[&plugin], "")?;
    device.plugins.compile_all().await;
    let see = async |who: &Authority, instance: &str, wanted: &str| {
        let transaction = Rc::new(ground.store.begin());
        let operation = read(MOID, instance);
        let outcome = device.call_in(who, PLUGIN, operation, &transaction).await;
        transaction
            .commit()
            .await
            .map_err(|error| error.to_string())?;
        match &outcome {
            Ok(output) if text_of(output) == Some(wanted) => Ok(()),
            other => Err(format!(
                "{who} on {instance} sees {other:?} instead of {wanted:?}"
            )),
        }
    };
    // `init` counts in memory as well, but in a namespace of its own.
    see(&mean(), "one", "2 in memory, 0 stored").await?;
    see(&mean(), "one", "3 in memory, 1 stored").await?;
    see(&mean(), "two", "4 in memory, 0 stored").await?;
    see(&good(), "one", "2 in memory, 2 stored").await?;
    tokio::time::sleep(IDLE * 2).await;
    see(&mean(), "one", "2 in memory, 3 stored").await?;
    Ok(String::new())
}

/// A transport hands over the connection of an earlier call.
pub(crate) async fn a_stale_connection(ground: Rc<Ground>) -> Result<String, String> {
    let plugin = Installation::built("hostile-transport")
        .grant(&["logging", "call-context", "config", "session", "net"])
        .set("behaviour", "stale");
    let device = Device::new(&ground, &[&plugin], "")?;
    device.plugins.compile_all().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(|error| error.to_string())?;
    let port = listener
        .local_addr()
        .map_err(|error| error.to_string())?
        .port();
    let dial = Operation::Dial {
        host: "127.0.0.1".into(),
        port,
        preferred: Bearer::Unknown,
    };
    let first = device
        .call(&mean(), "hostile-transport", dial.clone())
        .await;
    let Ok(Output::Dialled { .. }) = first else {
        return Err(format!("{first:?}"));
    };
    match device.call(&good(), "hostile-transport", dial).await {
        Err(CallError::Refused {
            error: PluginError::Conflict(Some(reason)),
            ..
        }) if reason.contains("handed over") => Ok(String::new()),
        other => Err(format!("the old connection came to {other:?}")),
    }
}

fn status(device: &Device, plugin: &str, who: &Authority) -> Option<SandboxStatus> {
    let all = device.plugins.status().into_iter();
    let mut of_plugin = all.filter(|status| status.name == plugin);
    let mut sandboxes = of_plugin.next()?.sandboxes.into_iter();
    sandboxes.find(|sandbox| sandbox.authority == who.as_str())
}
