//! The package loop: what is sent where, and over which connection.

use super::*;

#[tokio::test]
async fn package_1_says_who_the_device_is_and_what_this_server_may_see() {
    story(async |world| {
        world.packages([Reply::package(&["END"])]);
        let report = run(&world).await.unwrap();
        assert!(report.completed && report.error.is_none());
        let asked = world.asked();
        let [package] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        assert_eq!(
            (package.method.as_str(), package.uri.as_str()),
            ("POST", "https://dm.example/oma")
        );
        for (name, value) in [
            ("omadm-devid", DEVICE_ID),
            ("content-type", "application/vnd.oma.dm.initiation+json"),
            ("accept", "application/vnd.oma.dm.request+json"),
        ] {
            assert_eq!(
                package.fields.get(name).map(String::as_str),
                Some(value),
                "{name}"
            );
        }
        let json = package.json();
        let mos = json["MOS"].as_array().unwrap();
        let of =
            |moid: &str| mos.iter().find(|entry| entry["MOID"] == moid).unwrap()["MIID"].clone();
        assert_eq!(of(MOID), json!(["1"]), "south's instance is not mentioned");
        assert_eq!(of(FIXED), json!(["1"]));
        assert!(mos.iter().all(|entry| entry.get("DDF").is_none()));
        assert_eq!(package.alerts(), [CLIENT_INITIATED]);
        assert!(is_idle(&world));
    })
    .await;
}

#[tokio::test]
async fn end_runs_everything_and_sends_nothing() {
    story(async |world| {
        let delete = full("DELETE M/1/Setting");
        world.packages([Reply::package(&["END", &delete])]);
        let report = run(&world).await.unwrap();
        assert_eq!(world.asked().len(), 1);
        let told: Vec<_> = report.packages[0]
            .commands
            .iter()
            .map(|told| (told.name.as_str(), told.status))
            .collect();
        assert_eq!(told, [("END", None), ("DELETE", Some(200))]);
        assert_eq!(codes(&world, &["GET M/1/Setting"]).await, [404]);
    })
    .await;
}

#[tokio::test]
async fn cont_moves_the_session_and_leaves_its_cookies_behind() {
    story(async |world| {
        world.packages([
            Reply::package(&["CONT https://dm.example/session/7"]).with("set-cookie", "sid=1"),
            Reply::package(&["CONT https://other.example:8443/next"]),
            Reply::package(&["END"]),
        ]);
        run(&world).await.unwrap();
        let asked = world.asked();
        let seen: Vec<_> = asked
            .iter()
            .map(|a| {
                (
                    a.uri.as_str(),
                    a.connection,
                    a.fields.get("cookie").map(String::as_str),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("https://dm.example/oma", 1, None),
                ("https://dm.example/session/7", 1, Some("sid=1")),
                ("https://other.example:8443/next", 2, None),
            ]
        );
        assert!(asked.iter().all(|a| a.fields.contains_key("omadm-devid")));
    })
    .await;
}

#[tokio::test]
async fn a_closed_connection_is_opened_again_and_no_package_is_lost() {
    story(async |world| {
        world.packages([
            Reply::package(&[]).closing(),
            Reply::package(&[]).closing(),
            Reply::package(&["END"]),
        ]);
        let report = run(&world).await.unwrap();
        let connections: Vec<_> = world.asked().iter().map(|a| a.connection).collect();
        assert_eq!(connections, [1, 2, 3]);
        assert_eq!(report.connections.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn alerts_are_kept_until_the_package_that_carried_them_was_answered() {
    story(async |world| {
        let tx = world.scene.store.begin();
        for alert_type in [BOOTSTRAP_COMPLETE, "urn:x:alert"] {
            let alert = AlertRequest {
                alert_type: alert_type.into(),
                source: None,
                mark: None,
                data: None,
            };
            queue_alert(&tx, &north(), &alert).unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(world.sessions.unreported_bootstraps().unwrap(), [north()]);

        for refused in [true, false] {
            let reply = if refused {
                Reply::new(500, "text/plain", "")
            } else {
                Reply::package(&["END"])
            };
            world.packages([reply]);
            assert_eq!(run(&world).await.is_err(), refused);
            assert_eq!(
                world.asked()[0].alerts(),
                [BOOTSTRAP_COMPLETE, "urn:x:alert"]
            );
        }
        assert!(world.sessions.unreported_bootstraps().unwrap().is_empty());
        run(&world).await.unwrap();
        assert_eq!(world.asked()[0].alerts(), [CLIENT_INITIATED]);
    })
    .await;
}

#[tokio::test]
async fn alerts_of_a_command_ride_in_its_package_3() {
    story(async |world| {
        world.scene.bench.script(|call| {
            if let Operation::Execute { .. } = &call.operation {
                let alert = AlertRequest {
                    alert_type: "urn:x:done".into(),
                    source: None,
                    mark: Some("informational".into()),
                    data: None,
                };
                raise_alert(&call.transaction, &call.authority, &alert).unwrap();
            }
            None
        });
        world.packages([
            Reply::package(&[&full("EXEC M/1/Start")]),
            Reply::package(&["END"]),
        ]);
        run(&world).await.unwrap();
        let asked = world.asked();
        assert_eq!(asked[1].alerts(), ["urn:x:done"]);
        assert!(
            world
                .scene
                .store
                .scan(Table::Alerts, "")
                .unwrap()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn a_report_names_the_decision_and_the_plug_in_behind_every_status() {
    story(async |world| {
        let commands = [
            full("GET M/1/ID"),
            full("DELETE F/1/"),
            full("HGET https://repo.example/d?token=secret M/1/ID"),
        ];
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        world.packages([Reply::package(&commands), Reply::package(&["END"])]);
        let report = run(&world).await.unwrap();
        let json = serde_json::to_value(&report).unwrap();
        let commands = &json["packages"][0]["commands"];
        let get = &commands[0];
        assert_eq!((&get["name"], &get["status"]), (&json!("GET"), &json!(200)));
        assert_eq!(
            get["decisions"],
            json!([{
                "on": format!("{MOID}/1/"), "access": "read", "allowed": true,
                "rule": "owner of the instance"
            }])
        );
        assert_eq!(get["plugins"], json!(["trees"]));
        assert_eq!(commands[1]["status"], 403);
        assert_eq!(commands[1]["decisions"][0]["allowed"], false);
        assert_eq!(json["connections"][0]["bearer"], "wireline");

        let story = report.to_string();
        for words in [
            "Session with north, on the device's own decision",
            "Package#1 sent to https://dm.example/oma",
            "allowed: read urn:oma:mo:moid:1.0/1/: owner of the instance",
            "served by trees",
            "denied: write",
            "Ended by the server",
        ] {
            assert!(story.contains(words), "{words:?} is missing in\n{story}");
        }
        assert!(!story.contains("secret") && !json.to_string().contains("secret"));
    })
    .await;
}
