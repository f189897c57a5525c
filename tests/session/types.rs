//! A type of objects that is added without code: the authority sends its description, and uses it.

use serde_json::{Value, json};

use super::world::{SENSOR, World, sensor, type_item};

/// From nothing to an object and back.
#[test]
fn an_object_is_created_replaced_read_and_deleted() {
    let mut world = World::new();
    world.north.put("type", &json!([type_item()]));
    world.north.put("sensor", &json!([sensor("a")]));
    world
        .north
        .put("level", &json!({ "MOData": { "Level": 2 } }));
    let data = json!({ "MOData": { "2": { "Date": "12.2", "Value": 22 } } });
    world.north.put("data", &data);
    let whole = json!({ "MOData": { "Sensor": { "ID": "b", "Data": {} } } });
    world.north.put("whole", &whole);
    let held = world.north(&[
        "GET $M//",
        "HGET $R/sensor",
        "HGET $R/type",
        "HGET $R/sensor",
        "GET $M//",
        "HGET $R/level $M//Level",
        "HGET $R/data $M//Data/2",
        "GET $M//",
        "DELETE $M//Data/1",
        "DELETE $M//Data/1",
        "DELETE $M//ID",
        "HGET $R/whole $M//",
        "GET $M//",
        "DELETE $M//",
        "GET $M//",
        "GET $T/*/MOID",
    ]);
    let statuses = held.statuses();
    assert_eq!(
        statuses,
        [
            404, 404, 200, 200, 200, 200, 200, 200, 200, 404, 405, 200, 200, 200, 404, 200
        ]
    );
    assert_eq!(held.done[3].uris.len(), 1, "where it is");
    let of = |command: usize| &held.mo_data(command)["Sensor"];
    let one = json!({ "1": { "Date": "12.1", "Value": 11 } });
    let two = json!({ "1": { "Date": "12.1", "Value": 11 }, "2": { "Date": "12.2", "Value": 22 } });
    assert_eq!(*of(4), json!({ "ID": "a", "Level": 1, "Data": one }));
    assert_eq!(*of(7), json!({ "ID": "a", "Level": 2, "Data": two }));
    assert_eq!(
        *of(12),
        json!({ "ID": "b", "Data": {} }),
        "all of it was replaced"
    );
    assert_eq!(
        held.done[4].objects[0]["ClientURI"],
        held.done[3].uris[0].as_str()
    );
}

/// The type is listed to its authority in the next Package#1, with its instances.
#[test]
fn a_new_type_is_listed_to_its_authority() {
    let mut world = World::new();
    let made = world.north_makes(&["a", "b"]);
    let miids: Vec<&str> = made
        .iter()
        .map(|uri| uri.split('/').nth(1).unwrap())
        .collect();
    let held = world.north(&["GET $M/*/ID"]);
    let (_, listed) = held
        .listed()
        .into_iter()
        .find(|(moid, _)| *moid == SENSOR)
        .unwrap();
    assert_eq!(listed.len(), 2);
    assert!(miids.iter().all(|miid| listed.contains(miid)), "{listed:?}");
    let held = world.south(&["GET $D//DevID"]);
    assert!(
        held.listed().iter().all(|(moid, _)| *moid != SENSOR),
        "{:?}",
        held.listed()
    );
}

/// A type whose description cannot be read, or that belongs to somebody else, does not come about.
#[test]
fn a_bad_type_is_refused() {
    let mut world = World::new();
    let named = |moid: &str, ddf: &str| json!({ "ClientURI": "urn:oma:mo:x-bailiwick-mo-type:1.0//", "MOData": { "MOType": { "MOID": moid, "DDF": ddf } } });
    let good = type_item()["MOData"]["MOType"]["DDF"]
        .as_str()
        .unwrap()
        .to_owned();
    let rows: [(&str, Value); 6] = [
        (
            "no-xml",
            named("urn:oma:mo:x-foreign-sensor:1.0", "not XML"),
        ),
        (
            "half",
            named("urn:oma:mo:x-foreign-sensor:1.0", &good[..good.len() / 2]),
        ),
        (
            "none",
            json!({ "ClientURI": "urn:oma:mo:x-bailiwick-mo-type:1.0//", "MOData": { "MOType": { "MOID": "urn:oma:mo:x-foreign-sensor:1.0" } } }),
        ),
        ("standard", named("urn:oma:mo:oma-fumo:1.0", &good)),
        ("taken", named("urn:oma:mo:oma-dm-devinfo:1.2", &good)),
        ("itself", named("urn:oma:mo:x-bailiwick-mo-type:1.0", &good)),
    ];
    for (name, item) in &rows {
        world.north.put(name, &json!([item]));
    }
    world.north.put("sensor", &json!([sensor("a")]));
    let mut commands: Vec<String> = rows
        .iter()
        .map(|(name, _)| format!("HGET $R/{name}"))
        .collect();
    commands.extend([
        "GET $T/*/".to_owned(),
        "HGET $R/sensor".to_owned(),
        "GET $D//DevID".to_owned(),
    ]);
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let held = world.north(&commands);
    let (types, rest) = held.done.split_at(rows.len());
    for (done, (name, _)) in types.iter().zip(&rows) {
        assert!((400..500).contains(&done.status), "{name}: {done:?}");
    }
    let rest: Vec<u16> = rest.iter().map(|done| done.status).collect();
    assert_eq!(rest, [404, 404, 200]);
}

/// All items of an HGET are stored, or none: no half of a type with its objects stays behind.
#[test]
fn an_upload_of_many_items_is_atomic() {
    let mut world = World::new();
    let bad = json!({ "ClientURI": "urn:oma:mo:x-foreign-sensor:1.0//", "MOData": { "Sensor": { "ID": "x", "Level": "high" } } });
    world
        .north
        .put("bad", &json!([type_item(), sensor("a"), sensor("b"), bad]));
    world
        .north
        .put("good", &json!([type_item(), sensor("a"), sensor("b")]));
    let held = world.north(&[
        "HGET $R/bad",
        "GET $T/*/",
        "GET $M/*/",
        "HGET $R/good",
        "GET $T/*/",
        "GET $M/*/",
    ]);
    assert_eq!(held.statuses(), [400, 404, 404, 200, 200, 200]);
    assert_eq!(held.done[3].uris.len(), 3);
    assert_eq!(held.done[5].objects.len(), 2);
}

/// An object that has not changed is not sent again, and its validator changes with every change.
#[test]
fn a_validator_saves_the_transfer() {
    let mut world = World::new();
    world.north_makes(&["a"]);
    world
        .north
        .put("level", &json!({ "MOData": { "Level": 7 } }));
    let first = world.north(&["GET $M//"]);
    let validator = first.done[0].objects[0]["CV"].as_str().unwrap().to_owned();
    let again = format!("GET $M//?cv={validator}");
    let upload = format!("HPUT $R/in $M//?cv={validator}");
    let held = world.north(&[&again, &upload, "HGET $R/level $M//Level", &again, &upload]);
    assert_eq!(held.statuses(), [304, 304, 200, 200, 200]);
    assert!(held.done[0].objects.is_empty());
    let new = &held.done[3].objects[0]["CV"];
    assert!(new.is_string() && *new != json!(validator));
    assert_eq!(world.north.upload("in")[0]["CV"], *new);
}
