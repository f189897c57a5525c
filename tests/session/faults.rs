//! Plug-ins that fail in the middle of a session: the command fails, and nothing else does.

use bailiwick_tests::device::Setup;
use serde_json::json;

use super::world::{DEVINFO, SENSOR, SESSION, TYPE, World};

/// An object that misbehaves when it is read.
const HOSTILE: &str = "urn:example:mo:hostile:1.0";

fn world(behaviour: &str) -> World {
    let settings = format!("config = {{ behaviour = {behaviour:?} }}");
    let setup = Setup::usual()
        .plugin("hostile-object", &settings)
        .policy("*", HOSTILE, "read")
        .limit("call-ms", 1_000);
    World::with(&setup, &[DEVINFO, SESSION, TYPE, SENSOR, HOSTILE])
}

#[test]
fn a_plug_in_that_traps_costs_one_command() {
    for behaviour in ["trap", "panic", "spin", "allocate", "recurse"] {
        let mut world = world(behaviour);
        world.north_makes(&["a"]);
        world
            .north
            .put("level", &json!({ "MOData": { "Level": 5 } }));
        let get = format!("GET {HOSTILE}//");
        let held = world.north(&[
            "HGET $R/level $M//Level",
            &get,
            "GET $M//Level",
            "GET $D//DevID",
            &get,
            "GET $S//CBT",
        ]);
        assert_eq!(
            held.statuses(),
            [200, 500, 200, 200, 500, 200],
            "{behaviour}"
        );
        assert_eq!(
            *held.mo_data(2),
            json!({ "Level": 5 }),
            "what was done before stays done"
        );
        let told = &held.commands()[1];
        assert!(
            told["error"].as_str().unwrap().contains("hostile-object"),
            "{told}"
        );

        // After three times in a row, the plug-in is put aside, for this authority alone. That it could still tell
        // in between what it has does not count in its favour.
        let held = world.north(&[&get, &get, "GET $D//DevID"]);
        assert_eq!(held.statuses(), [500, 503, 200], "{behaviour}");
        assert_eq!(
            world.south(&[&get, "GET $D//DevID"]).statuses(),
            [500, 200],
            "{behaviour}"
        );
        let released = world
            .admin
            .call("ReleasePlugin", json!({ "name": "hostile-object" }));
        released.unwrap();
        assert_eq!(world.north(&[&get]).statuses(), [500], "{behaviour}");
        world.device.assert_running();
    }
}

/// A session of one authority goes on while a plug-in spins for another.
#[test]
fn a_plug_in_that_spins_does_not_slow_others() {
    let mut world = world("spin");
    let get = format!("GET {HOSTILE}//");
    world.north.queue(&[&get, &get]);
    let admin = world.device.admin();
    let spinning = std::thread::spawn(move || admin.session("north").unwrap());
    let mut held = 0;
    while !spinning.is_finished() {
        assert_eq!(
            world.south(&["GET $D//DevID", "GET $S//CBT"]).statuses(),
            [200, 200]
        );
        held += 1;
    }
    assert!(
        held >= 2,
        "south held {held} sessions while north's plug-in span for two seconds"
    );
    assert_eq!(spinning.join().unwrap()["completed"], true);
}
