//! Commands and their statuses.

use super::*;

#[tokio::test]
async fn every_command_has_its_status_in_its_place() {
    story(async |world| {
        let rows = [
            ("GET M/1/ID", 200),
            ("GET M/2/ID", 404),
            ("GET M//", 200),
            ("GET F/1/Name", 200),
            ("DELETE F/1/", 403),
            ("GET M/9/ M/1/ID", 200),
            ("GET M/9/ M/8/", 404),
            ("GET M/1/Secret", 405),
            ("EXEC M/1/Start", 202),
            ("EXEC M/1/Stop", 200),
            ("EXEC M/1/ID", 405),
            ("EXEC M/1/Start https://dm.example/result", 501),
            ("EXEC M/*/Start", 400),
            ("SHOW https://dm.example/ui", 501),
            ("DEFAULT https://dm.example/d urn:oma:mo:moid:1.0", 501),
            ("SUB https://dm.example/s M/1/", 501),
            ("UNSUB M/1/", 501),
            ("FROBNICATE M/1/", 501),
            ("GET", 400),
            ("GET no-uri", 400),
            ("CONT http://dm.example/plain", 400),
            ("HGET http://dm.example/plain", 400),
            ("DELETE M/1/ID", 405),
            ("DELETE M/1/Setting", 200),
            ("DELETE M/1/Setting", 404),
        ];
        let commands: Vec<&str> = rows.iter().map(|(command, _)| *command).collect();
        let expected: Vec<u64> = rows.iter().map(|(_, code)| *code).collect();
        assert_eq!(codes(&world, &commands).await, expected);
    })
    .await;
}

#[tokio::test]
async fn get_brings_data_validators_and_nothing_that_has_not_changed() {
    story(async |world| {
        let first = statuses(&world, &["GET M/1/ F/1/Name", "GET M/1/ID"]).await;
        let items = first[0]["MO"].as_array().unwrap();
        assert_eq!(items[0]["ClientURI"], format!("{MOID}/1/"));
        assert_eq!(
            items[0]["MOData"]["MO"],
            json!({ "ID": "a", "Setting": "x" })
        );
        assert_eq!(
            items[1],
            json!({ "ClientURI": format!("{FIXED}/1/Name"), "MOData": { "Name": "the device" } })
        );
        assert_eq!(first[1]["MO"][0]["MOData"], json!({ "ID": "a" }));
        assert!(first[1]["MO"][0].get("CV").is_none());

        let cv = items[0]["CV"].as_str().unwrap();
        let held = format!("GET M/1/?cv={cv}");
        let both = format!("GET M/1/?cv={cv} F/1/");
        let second = statuses(&world, &[&held, &both]).await;
        assert_eq!(second[0], json!({ "sc": 304 }));
        assert_eq!(second[1]["sc"], 200);
        assert_eq!(
            second[1]["MO"].as_array().unwrap().len(),
            1,
            "only what is new"
        );
    })
    .await;
}

#[tokio::test]
async fn a_package_3_has_bounded_size() {
    story(async |world| {
        let large = "x".repeat(world.scene.limits.package_bytes / 2);
        world
            .scene
            .bench
            .bring(FIXED, "1", tree(&[("Name", &large)]));
        assert_eq!(
            codes(&world, &["GET F//", "GET F//", "GET M/1/ID"]).await,
            [200, 413, 200]
        );
    })
    .await;
}

#[tokio::test]
async fn one_failing_command_leaves_the_rest_alone() {
    story(async |world| {
        world.scene.bench.script(|call| match &call.operation {
            Operation::Execute { path, .. } if path.last().is_some_and(|name| name == "Stop") => {
                Some(Err(CallError::Crashed {
                    plugin: "trees".into(),
                    reason: "trap".into(),
                }))
            }
            _ => None,
        });
        let commands = [
            "EXEC M/1/Stop",
            "DELETE M/1/Setting",
            "EXEC M/1/Stop",
            "GET M/1/ID",
        ];
        assert_eq!(codes(&world, &commands).await, [500, 200, 500, 200]);
    })
    .await;
}
