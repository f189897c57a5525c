//! Allowed and denied, in pairs: each row is a command, and what it comes to for either authority.

use bailiwick_tests::device::Setup;
use serde_json::json;

use super::world::{ACCOUNT, DEVINFO, SENSOR, SESSION, TYPE, World};

#[test]
fn what_one_may_the_other_may_not() {
    let setup = Setup::usual()
        .without_policy()
        .policy("north", DEVINFO, "read")
        .policy("south", SESSION, "read")
        .policy("*", ACCOUNT, "read");
    let mut world = World::with(&setup, &[DEVINFO, ACCOUNT, SESSION, TYPE, SENSOR]);
    let made = world.north_makes(&["a"]);
    world
        .north
        .put("level", &json!({ "MOData": { "Level": 2 } }));
    world
        .south
        .put("level", &json!({ "MOData": { "Level": 3 } }));
    world.north.put("man", &json!({ "MOData": { "Man": "x" } }));
    world.south.put("man", &json!({ "MOData": { "Man": "x" } }));
    let level = format!("HGET $R/level {}Level", made[0]);
    let root = made[0].clone();
    let rows: Vec<(String, u16, u16)> = vec![
        // The device's own, by policy. Who may read learns that more is forbidden; who may nothing learns nothing.
        ("GET $D//".into(), 200, 404),
        ("GET $D/1/DevID".into(), 200, 404),
        ("GET $D/2/DevID".into(), 404, 404),
        ("HPUT $R/in $D//".into(), 200, 404),
        ("HGET $R/man $D//Man".into(), 403, 404),
        ("DELETE $D//".into(), 403, 404),
        ("EXEC $D//DevID".into(), 403, 404),
        ("GET $S//".into(), 404, 200),
        // North's, because it made it.
        (format!("GET {root}"), 200, 404),
        (format!("HPOST $R/in {root}"), 200, 404),
        (level, 200, 404),
        (format!("EXEC {root}Level"), 405, 404),
        (format!("DELETE {root}Level"), 200, 404),
        (format!("DELETE {root}"), 200, 404),
        (format!("GET {root}"), 404, 404),
        // Types outside the account, whether anything is there or not.
        ("GET urn:oma:mo:oma-fumo:1.0//".into(), 403, 403),
        ("GET urn:oma:mo:x-nobody:1.0/*/".into(), 403, 403),
    ];
    for (command, north, south) in &rows {
        // South first: what north does may take the object away.
        assert_eq!(
            world.south(&[command]).statuses(),
            [*south],
            "south: {command}"
        );
        assert_eq!(
            world.north(&[command]).statuses(),
            [*north],
            "north: {command}"
        );
    }
}

/// What an account does not list cannot be managed, whether or not it is there, and is not even mentioned.
#[test]
fn types_outside_the_account_are_refused_and_not_listed() {
    let setup = Setup::usual().policy("*", ACCOUNT, "read");
    let mut world = World::with(&setup, &[DEVINFO, TYPE]);
    world.north.put("type", &json!([super::world::type_item()]));
    world
        .north
        .put("sensor", &json!([super::world::sensor("a")]));
    let mut commands = Vec::new();
    // There, with a policy that would allow it; served by a plug-in that is there; served by nobody.
    for moid in [
        SESSION,
        ACCOUNT,
        SENSOR,
        "urn:oma:mo:oma-fumo:1.0",
        "urn:oma:mo:x-nobody:1.0",
    ] {
        for place in ["/", "/1/", "/*/", "/9/Node"] {
            commands.push(format!("GET {moid}/{}", place.trim_start_matches('/')));
            commands.push(format!("DELETE {moid}/{}", place.trim_start_matches('/')));
            commands.push(format!(
                "HPUT $R/in {moid}/{}",
                place.trim_start_matches('/')
            ));
        }
        commands.push(format!("EXEC {moid}/1/Start"));
        commands.push(format!("HGET $R/sensor {moid}/1/"));
        commands.push(format!("GET $D//DevID {moid}/1/"));
    }
    let number = commands.len();
    // The type can be described, and still not be used.
    commands.push("HGET $R/type".into());
    commands.push("HGET $R/sensor".into());
    commands.push("GET $D//DevID".into());
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let held = world.north(&commands);
    let told = held.commands();
    for (index, (command, done)) in commands.iter().zip(&held.done).take(number).enumerate() {
        if command.starts_with("GET $D//DevID ") {
            assert_eq!(done.status, 200, "{command}: the rest of it is answered");
            assert_eq!(done.objects.len(), 1);
            continue;
        }
        assert_eq!(done.status, 403, "{command}: {}", told[index]);
        assert!(done.objects.is_empty());
    }
    let last: Vec<u16> = held.done[number..].iter().map(|done| done.status).collect();
    assert_eq!(last, [200, 403, 200]);
    // The report names the rule, so that the operator can tell what to change.
    let rule = told[0]["decisions"][0]["rule"].as_str().unwrap();
    assert!(rule.contains("account"), "{rule}");
    assert!(world.north.uploads().is_empty());
    let listed: Vec<_> = held.listed().into_iter().map(|(moid, _)| moid).collect();
    assert_eq!(listed, [DEVINFO, TYPE]);
}

/// The operator can ask beforehand what a command would come to, and gets the same answer.
#[test]
fn explanations_agree_with_sessions() {
    let mut world = World::new();
    let made = world.north_makes(&["a"]);
    let rows = [
        ("read", format!("{DEVINFO}/1/"), "GET $D/1/".to_owned()),
        ("write", format!("{DEVINFO}/1/"), "DELETE $D/1/".to_owned()),
        ("read", made[0].clone(), format!("GET {}", made[0])),
        (
            "read",
            "urn:oma:mo:oma-fumo:1.0/1/".to_owned(),
            "GET urn:oma:mo:oma-fumo:1.0/1/".to_owned(),
        ),
    ];
    for (access, uri, command) in rows {
        for name in ["north", "south"] {
            let asked = json!({ "authority": name, "access": access, "clientUri": uri });
            let explained = world.admin.call("Explain", asked).unwrap();
            let status = explained["explanations"][0]["status"].as_u64().unwrap();
            let held = match name {
                "north" => world.north(&[&command]),
                _ => world.south(&[&command]),
            };
            assert_eq!(
                u64::from(held.statuses()[0]),
                status,
                "{name}: {command}: {explained}"
            );
        }
    }
}
