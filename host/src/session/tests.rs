//! Whole sessions against a server of the tests: what the stories share.

mod commands;
mod ends;
mod packages;
mod transfers;

use std::time::Duration;

use bailiwick_protocol::alert::{BOOTSTRAP_COMPLETE, CLIENT_INITIATED};
use serde_json::json;
use tokio::task::LocalSet;

use super::testing::*;
use super::*;
use crate::accounts::queue_alert;
use crate::objects::testing::{FIXED, MOID, Scene, north, south, tree};
use crate::plugins::{AlertRequest, CallError, Operation};
use crate::store::Table;

/// Runs a story in a world with one instance of north's and one of south's.
async fn story<F: Future<Output = ()>>(tell: impl FnOnce(World) -> F) {
    let tell = async {
        let scene = Scene::new(&[("north", FIXED, "read")]).await;
        scene
            .bench
            .bring(FIXED, "1", tree(&[("Name", "the device")]));
        scene
            .create(&north(), MOID, &tree(&[("ID", "a"), ("Setting", "x")]))
            .await;
        scene
            .create(&south(), MOID, &tree(&[("ID", "theirs")]))
            .await;
        tell(World::new(scene).await).await;
    };
    LocalSet::new().run_until(tell).await;
}

/// Commands name `M` and `F` for the two types.
fn full(command: &str) -> String {
    let long = |part: &str| match part.split_once('/') {
        Some(("M", rest)) => format!("{MOID}/{rest}"),
        Some(("F", rest)) => format!("{FIXED}/{rest}"),
        _ => part.to_owned(),
    };
    command.split(' ').map(long).collect::<Vec<_>>().join(" ")
}

async fn codes(world: &World, commands: &[&str]) -> Vec<u64> {
    let commands: Vec<String> = commands.iter().map(|command| full(command)).collect();
    world
        .codes(&commands.iter().map(String::as_str).collect::<Vec<_>>())
        .await
}

async fn statuses(world: &World, commands: &[&str]) -> Vec<serde_json::Value> {
    let commands: Vec<String> = commands.iter().map(|command| full(command)).collect();
    world
        .run(&commands.iter().map(String::as_str).collect::<Vec<_>>())
        .await
}

async fn run(world: &World) -> Result<Report, SessionError> {
    world.sessions.run(&north(), Reason::ClientInitiated).await
}

fn is_idle(world: &World) -> bool {
    world
        .scene
        .store
        .scan(Table::Sessions, "")
        .unwrap()
        .is_empty()
        && !world.sessions.is_running(&north())
}
