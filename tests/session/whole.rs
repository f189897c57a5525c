//! Everything in a few sessions.

use serde_json::json;

use super::world::{ACCOUNT, DEVINFO, SENSOR, World};
use bailiwick_tests::device::DEVICE_ID;

#[test]
fn a_bootstrap_leads_to_sessions_and_results() {
    let mut world = World::new();
    for managed in [&world.north, &world.south] {
        let mut alerts = managed.alerts();
        let (package, kind) = alerts.remove(0);
        assert_eq!(
            (package, kind.as_str()),
            (1, "urn:oma:at:dm:2.0:BootstrapComplete")
        );
        assert!(
            alerts
                .iter()
                .all(|(_, kind)| !kind.ends_with("BootstrapComplete")),
            "once"
        );
    }

    let held = world.north(&[
        "GET $D//",
        "GET $D//DevID $D//DmV",
        "GET $S//",
        "GET $A//",
        "HPUT $R/inventory $D// $A//SrvID",
        "HPOST $R/collected $D//DevID",
        "GET $D//DevID",
    ]);
    assert_eq!(held.statuses(), [200; 7]);
    let alerts: Vec<&str> = held
        .opened
        .alerts
        .iter()
        .map(|alert| alert.alert_type.as_str())
        .collect();
    assert_eq!(alerts, ["urn:oma:at:dm:2.0:ClientInitiatedMgmt"]);
    let device = &held.mo_data(0)["DevInfo"];
    assert_eq!(
        (&device["DevID"], &device["DmV"]),
        (&json!(DEVICE_ID), &json!("2.0"))
    );
    assert_eq!(held.done[1].objects.len(), 2);
    assert_eq!(held.mo_data(2)["SessionInfo"]["CBT"], 0);

    let account = &held.done[3].objects[0];
    let root = account["MOData"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap();
    assert_eq!(root["SrvID"], "north", "its own account, and no other");
    assert_eq!(held.done[3].objects.len(), 1);
    let text = account.to_string();
    for secret in ["Secret", "Perm", "PRIVATE KEY"] {
        assert!(!text.contains(secret), "{secret} is shown");
    }

    let inventory = world.north.upload("inventory");
    assert_eq!(inventory[0]["MOData"]["DevInfo"]["DevID"], DEVICE_ID);
    assert_eq!(inventory[1]["MOData"], json!({ "SrvID": "north" }));
    assert_eq!(
        world.north.upload("collected")[0]["MOData"],
        json!({ "DevID": DEVICE_ID })
    );

    // What the operator reads about it.
    let commands = held.commands();
    assert_eq!(commands[0]["plugins"], json!(["devinfo"]));
    let decision = &commands[0]["decisions"][0];
    assert_eq!(
        (&decision["access"], &decision["allowed"]),
        (&json!("read"), &json!(true))
    );
    assert!(
        decision["rule"].as_str().unwrap().contains("device policy"),
        "{decision}"
    );
    let status = world.admin.status();
    assert_eq!(status["accounts"].as_array().unwrap().len(), 2);
    for account in status["accounts"].as_array().unwrap() {
        assert_eq!(account["lastSession"]["succeeded"], true);
        assert_eq!(account["identity"], true);
    }
    assert_eq!(
        status["workers"].as_array().unwrap().len(),
        3,
        "north, south, the device"
    );
    assert_eq!(
        world.admin.get(&format!("{DEVINFO}//DevID")).unwrap()[0]["MOData"]["DevID"],
        DEVICE_ID
    );
    assert_eq!(
        world
            .admin
            .get(&format!("{ACCOUNT}/*/SrvID"))
            .unwrap()
            .len(),
        2
    );
}

/// Hundreds of commands take several packages; every one has its own status.
#[test]
fn many_commands_take_many_packages() {
    let mut world = World::new();
    let uris = world.north_makes(&["a"]);
    let root = uris[0].trim_end_matches('/').to_owned();
    for number in 0..10 {
        world.north.put(
            &format!("level{number}"),
            &json!({ "MOData": { "Level": number } }),
        );
    }
    let mut commands = Vec::new();
    for number in 0..150 {
        commands.push(format!("HGET $R/level{} {root}/Level", number % 10));
        commands.push(format!("GET {root}/Level"));
    }
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let held = world.north(&commands);
    for number in 0..150 {
        assert_eq!(held.done[2 * number].status, 200);
        assert_eq!(
            *held.mo_data(2 * number + 1),
            json!({ "Level": number % 10 })
        );
    }
    assert!(held.report["packages"].as_array().unwrap().len() > 3);
}

/// What was acknowledged is still there after the daemon has been stopped and started.
#[test]
fn objects_and_accounts_outlive_the_daemon() {
    let mut world = World::new();
    let uris = world.north_makes(&["kept", "deleted"]);
    let delete = format!("DELETE {}", uris[1]);
    let before = world.north(&[delete.as_str(), "GET $M/*/"]);
    assert_eq!(before.statuses(), [200, 200]);
    let operators = world.admin.get(&format!("{SENSOR}/*/ID")).unwrap();
    assert_eq!(operators.len(), 1, "the operator reads it too");
    let mut world = world.restart();
    let after = world.north(&["GET $M/*/", "GET $D//DevID"]);
    assert_eq!(after.done[0], before.done[1], "validators included");
    assert_eq!(after.done[0].objects.len(), 1);
    assert_eq!(after.statuses(), [200, 200]);
    assert!(
        !world
            .north
            .alerts()
            .iter()
            .skip(1)
            .any(|(_, kind)| kind.ends_with("BootstrapComplete"))
    );
    assert!(
        world.south(&["GET $M/*/"]).statuses() == [404],
        "{SENSOR} is north's"
    );
}
