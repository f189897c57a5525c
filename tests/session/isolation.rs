//! Two authorities on one device: neither can read, write, delete, block or even detect what is the other's.

use std::sync::Arc;

use bailiwick_protocol::Package1;
use serde_json::json;

use super::world::{Done, World, sensor, type_item};

/// Everything that an authority could try, at names that may be somebody's.
fn probes() -> Vec<String> {
    let mut commands: Vec<String> = [
        "GET $M/*/",
        "GET $M//",
        "GET $T/*/",
        "GET $A/*/",
        "DELETE $M/*/",
        "HPUT $R/in $M/*/",
    ]
    .map(str::to_owned)
    .into();
    for miid in (1..=5)
        .map(|number| number.to_string())
        .chain(["x".to_owned()])
    {
        commands.push(format!("GET $M/{miid}/"));
        commands.push(format!("GET $M/{miid}/ID"));
        commands.push(format!("GET $M/{miid}/?cv=0"));
        commands.push(format!("HPOST $R/in $M/{miid}/Data/1/Value"));
        commands.push(format!("HGET $R/level $M/{miid}/Level"));
        commands.push(format!("DELETE $M/{miid}/Level"));
        commands.push(format!("DELETE $M/{miid}/"));
        commands.push(format!("EXEC $M/{miid}/Level"));
        commands.push(format!("GET $T/{miid}/MOID"));
    }
    for (path, value) in [
        ("ID", "secret"),
        ("ID", "other"),
        ("Level", "1"),
        ("Nothing", "1"),
    ] {
        commands.push(format!("GET $M/(x)/?nv=(x)/{path}:{value}"));
        commands.push(format!("DELETE $M/(x)/Level?nv=(x)/{path}:{value}"));
    }
    commands
}

/// Names at which north's instances really are.
fn probes_at(uris: &[String]) -> Vec<String> {
    uris.iter()
        .flat_map(|uri| {
            [
                format!("GET {uri}"),
                format!("GET {uri}ID"),
                format!("HGET $R/level {uri}Level"),
                format!("DELETE {uri}Level"),
                format!("DELETE {uri}"),
                format!("EXEC {uri}Level"),
                format!("HPUT $R/in {uri}"),
            ]
        })
        .collect()
}

/// What south learns in a session: every status with its data, and what Package#1 told.
fn looked(world: &mut World, commands: &[String]) -> (Vec<Done>, Arc<Package1>) {
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let held = world.south(&commands);
    (held.done, held.opened)
}

#[test]
fn one_cannot_detect_what_is_the_others() {
    let mut world = World::new();
    world
        .south
        .put("level", &json!({ "MOData": { "Level": 9 } }));
    let before = looked(&mut world, &probes());

    let made = world.north_makes(&["secret", "other"]);
    let theirs = world.north(&["GET $M/*/", "GET $T/*/"]);
    assert_eq!(theirs.done[0].objects.len(), 2);

    let after = looked(&mut world, &probes());
    for ((probe, before), after) in probes().iter().zip(&before.0).zip(&after.0) {
        assert_eq!(after, before, "{probe} tells that something is there");
    }
    assert_eq!(after.1, before.1, "Package#1 tells that something is there");

    // Knowing the names does not help either.
    let (done, _) = looked(&mut world, &probes_at(&made));
    for (probe, done) in probes_at(&made).iter().zip(&done) {
        assert_eq!(done.status, 404, "{probe}");
        assert!(done.objects.is_empty() && done.uris.is_empty());
    }
    let still = world.north(&["GET $M/*/", "GET $T/*/"]);
    assert_eq!(still.done, theirs.done, "untouched, validators included");
}

/// Both use the same type under the same MOID: each describes it for itself, and sees its own objects alone.
#[test]
fn both_use_one_type_and_see_their_own() {
    let mut world = World::new();
    let norths = world.north_makes(&["a", "b"]);
    world.south.put("both", &json!([type_item(), sensor("s")]));
    let souths = world.south(&[
        "HGET $R/both",
        "GET $M//",
        "GET $M/*/ID",
        "DELETE $M/*/Level",
    ]);
    assert_eq!(souths.statuses(), [200, 200, 200, 200]);
    assert_eq!(
        souths.mo_data(1)["Sensor"]["ID"],
        "s",
        "for south, it is the only one"
    );
    assert_eq!(souths.done[2].objects.len(), 1);
    let souths = &souths.done[0].uris[1];
    assert!(!norths.contains(souths));

    let held = world.north(&[
        "GET $M/*/",
        &format!("GET {souths}"),
        &format!("DELETE {souths}"),
        "DELETE $T/*/",
        "GET $M/*/",
    ]);
    assert_eq!(held.statuses()[..4], [200, 404, 404, 200]);
    for object in &held.done[0].objects {
        assert_eq!(
            object["MOData"]["Sensor"]["Level"], 1,
            "south's DELETE reached its own alone"
        );
    }
    // North has taken its type away; south's is another one.
    let held = world.south(&["GET $M//ID", "GET $T//MOID"]);
    assert_eq!(held.statuses(), [200, 200]);
}

/// The name of a new instance must not tell how many instances of others there are.
#[test]
fn names_of_instances_tell_nothing_about_others() {
    let mut alone = World::new();
    alone.south.put("both", &json!([type_item(), sensor("s")]));
    let mut crowded = World::new();
    crowded.north_makes(&["a", "b", "c"]);
    crowded
        .south
        .put("both", &json!([type_item(), sensor("s")]));
    let mut names = Vec::new();
    for world in [&mut alone, &mut crowded] {
        let held = world.south(&["HGET $R/both", "GET $A//SrvID"]);
        assert_eq!(held.statuses(), [200, 200]);
        names.extend(held.done[0].uris.clone());
        names.push(
            held.done[1].objects[0]["ClientURI"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    for uri in &names {
        let miid = uri.split('/').nth(1).unwrap();
        let is_counted = miid.parse::<u64>().is_ok_and(|number| number < 1_000);
        assert!(!is_counted, "{uri} is counted through");
        let others = names.iter().filter(|other| *other == uri).count();
        assert_eq!(others, 1, "{uri} is given again");
    }
}
