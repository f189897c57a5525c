//! The door, against plug-ins of the tests: what the tests of each topic share.

mod access;
mod addressing;
mod commands;
mod dynamic;
mod hostile;

use bailiwick_protocol::{MoItem, Node, Value};

use super::testing::*;
use super::*;
use crate::authority::Instance;
use crate::permissions::Access;
use crate::plugins::{CallError, Operation, Output, PluginError};

/// The two instances of the specification's own table, owned by north.
async fn moroots() -> Scene {
    let scene = Scene::new(&[]).await;
    let left = tree(&[
        ("ID", "GPS"),
        ("Setting", "0xA1"),
        ("Data/1/Date", "12.1"),
        ("Data/1/Value", "one"),
        ("Data/2/Date", "12.2"),
        ("Data/2/Value", "two"),
    ]);
    let right = tree(&[
        ("ID", "Temperature"),
        ("Setting", "0xB2"),
        ("Data/1/Date", "12.1"),
        ("Data/1/Value", "three"),
        ("Data/2/Date", "12.2"),
        ("Data/2/Value", "four"),
    ]);
    scene.create(&north(), MOID, &left).await;
    scene.create(&north(), MOID, &right).await;
    scene
}

/// What a ClientURI means, as `miid/path`, or the status.
async fn meaning(
    scene: &Scene,
    who: &Authority,
    text: &str,
    access: Access,
) -> Result<Vec<String>, u16> {
    let request = scene.begin(who);
    let targets = scene.objects.resolve(&request, &uri(text), access).await;
    let targets = targets.map_err(|error| error.status().0)?;
    let text = |target: Target| {
        format!(
            "{}/{}",
            target.permit().instance().miid,
            target.path().join("/")
        )
    };
    Ok(targets.into_iter().map(text).collect())
}

/// Reads one node; its leaves as `path=text`, or the status.
async fn read(scene: &Scene, who: &Authority, text: &str) -> Result<Vec<String>, u16> {
    let request = scene.begin(who);
    let readings = scene.objects.read_all(&request, &uri(text)).await;
    let readings = readings.map_err(|error| error.status().0)?;
    request.commit().await.unwrap();
    let mut leaves = Vec::new();
    for reading in readings {
        match reading {
            Reading::NotModified => leaves.push("not modified".to_owned()),
            Reading::Data(data) => {
                for Node { path, value } in data.nodes {
                    let value = value.map(|value| value.as_text());
                    leaves.extend(value.map(|value| format!("{}={value}", path.join("/"))));
                }
            }
        }
    }
    Ok(leaves)
}

/// Replaces what is at a node; the status.
async fn replace(scene: &Scene, who: &Authority, text: &str, nodes: &[Node]) -> Result<(), u16> {
    let request = scene.begin(who);
    let targets = scene
        .objects
        .resolve(&request, &uri(text), Access::Write)
        .await;
    let target = targets.map_err(|error| error.status().0)?.pop().unwrap();
    let done = scene.objects.replace(&request, target, nodes).await;
    done.map_err(|error| error.status().0)?;
    request.commit().await.unwrap();
    Ok(())
}

async fn delete(scene: &Scene, who: &Authority, text: &str) -> Result<(), u16> {
    let request = scene.begin(who);
    let done = scene.objects.delete_all(&request, &uri(text)).await;
    done.map_err(|error| error.status().0)?;
    request.commit().await.unwrap();
    Ok(())
}
