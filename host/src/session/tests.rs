//! Whole sessions against a server of the tests.

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
async fn hget_stores_what_it_fetches_and_tells_where() {
    story(async |world| {
        let repository = "https://repo.example/data?x=1";
        let new =
            json!([{ "ClientURI": format!("{MOID}//"), "MOData": { "MO": { "ID": "new" } } }]);
        world.repository(repository, Reply::data(new));
        let status = &statuses(&world, &[&format!("HGET {repository}")]).await[0];
        assert_eq!(
            *status,
            json!({ "sc": 200, "URI": [format!("{MOID}/3/")] }),
            "2 is south's"
        );

        // As an independent server writes a leaf: one object, from the MO root.
        world.repository(
            repository,
            Reply::data(json!({ "MOData": { "any": { "Setting": "y" } } })),
        );
        let placed = format!("HGET {repository} M/1/Setting");
        let after = statuses(&world, &[&placed, "GET M/1/Setting"]).await;
        assert_eq!(
            after[0],
            json!({ "sc": 200 }),
            "the server chose the place itself"
        );
        assert_eq!(after[1]["MO"][0]["MOData"], json!({ "Setting": "y" }));

        let asked = world.asked();
        assert!(
            asked
                .iter()
                .all(|a| a.uri != repository || !a.fields.contains_key("omadm-devid"))
        );
    })
    .await;
}

#[tokio::test]
async fn hget_of_several_items_is_all_or_nothing() {
    story(async |world| {
        let items = json!([
            { "ClientURI": format!("{MOID}/1/ID"), "MOData": { "ID": "changed" } },
            { "ClientURI": format!("{MOID}//"), "MOData": { "MO": { "ID": "made" } } },
            { "ClientURI": format!("{MOID}/2/ID"), "MOData": { "ID": "south's" } },
        ]);
        world.repository("https://repo.example/data", Reply::data(items));
        let after = statuses(
            &world,
            &["HGET https://repo.example/data", "GET M/1/ID", "GET M/*/ID"],
        )
        .await;
        assert_eq!(after[0], json!({ "sc": 404 }));
        assert_eq!(after[1]["MO"][0]["MOData"], json!({ "ID": "a" }));
        assert_eq!(after[2]["MO"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_bad_repository_costs_one_command() {
    story(async |world| {
        world.unreachable("gone.example");
        let silent = Reply {
            silent: true,
            ..Reply::data(json!([]))
        };
        let large = format!(
            "{{\"MOData\":\"{}\"}}",
            "x".repeat(world.scene.limits.object_bytes)
        );
        for (path, reply) in [
            ("500", Reply::new(500, "text/plain", "")),
            (
                "302",
                Reply::new(302, "text/plain", "").with("location", "https://repo.example/ok"),
            ),
            ("text", Reply::new(200, "text/plain", "hello")),
            ("syntax", Reply::new(200, "application/json", "{")),
            ("empty", Reply::data(json!([]))),
            (
                "shape",
                Reply::data(json!({ "MOData": { "ID": { "deeper": "x" } } })),
            ),
            (
                "two",
                Reply::data(json!([{ "MOData": { "ID": "x" } }, { "MOData": { "ID": "y" } }])),
            ),
            ("silent", silent),
            ("large", Reply::new(200, "application/json", large)),
            (
                "gzip",
                Reply::data(json!({ "MOData": "x" })).with("content-encoding", "gzip"),
            ),
            ("ok", Reply::data(json!({ "MOData": { "ID": "x" } }))),
        ] {
            world.repository(&format!("https://repo.example/{path}"), reply);
        }
        let rows = [
            ("HGET https://repo.example/404 M/1/ID", 502),
            ("HGET https://repo.example/500 M/1/ID", 502),
            ("HGET https://repo.example/302 M/1/ID", 502),
            ("HGET https://repo.example/text M/1/ID", 415),
            ("HGET https://repo.example/syntax M/1/ID", 400),
            ("HGET https://repo.example/empty M/1/ID", 400),
            ("HGET https://repo.example/shape M/1/ID", 400),
            ("HGET https://repo.example/two M/1/ID", 400),
            ("HGET https://repo.example/silent M/1/ID", 408),
            ("HGET https://repo.example/large M/1/ID", 413),
            ("HGET https://repo.example/gzip M/1/ID", 415),
            ("HGET https://gone.example/data M/1/ID", 503),
            ("HPUT https://repo.example/500 M/1/ID", 502),
            ("HPUT https://gone.example/ M/1/ID", 503),
            ("HGET https://repo.example/ok M/1/ID", 200),
        ];
        let commands: Vec<&str> = rows.iter().map(|(command, _)| *command).collect();
        let expected: Vec<u64> = rows.iter().map(|(_, code)| *code).collect();
        assert_eq!(codes(&world, &commands).await, expected);
    })
    .await;
}

#[tokio::test]
async fn hput_and_hpost_send_all_or_nothing() {
    story(async |world| {
        world.repository("https://repo.example/in", Reply::new(204, "text/plain", ""));
        world.packages([
            Reply::package(&[
                &full("HPUT https://repo.example/in M/1/ID F/1/"),
                &full("HPOST https://repo.example/in M/1/ID M/2/ID"),
                &full("HPOST https://repo.example/in M/*/ID"),
            ]),
            Reply::package(&["END"]),
        ]);
        let report = run(&world).await.unwrap();
        let told: Vec<_> = report.packages[0]
            .commands
            .iter()
            .map(|told| told.status)
            .collect();
        assert_eq!(told, [Some(200), Some(404), Some(200)]);
        let asked = world.asked();
        let sent: Vec<_> = asked
            .iter()
            .filter(|a| a.uri == "https://repo.example/in")
            .collect();
        assert_eq!(sent.len(), 2);
        assert_eq!(
            (sent[0].method.as_str(), sent[1].method.as_str()),
            ("PUT", "POST")
        );
        assert_eq!(sent[0].fields["content-type"], "application/dmmo+json");
        let body = sent[0].json();
        assert_eq!(
            body[0],
            json!({ "ClientURI": format!("{MOID}/1/ID"), "MOData": { "ID": "a" } })
        );
        assert_eq!(
            body[1]["MOData"],
            json!({ "Fixed": { "Name": "the device" } })
        );
        assert_eq!(sent[1].json().as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn bodies_are_of_the_type_that_the_server_wants() {
    story(async |world| {
        world.repository("https://repo.example/in", Reply::new(200, "text/plain", ""));
        let put = full("HPUT https://repo.example/in M/1/ID");
        world.packages([
            Reply::package(&[&put]).with("omadm-accept", "application/json"),
            Reply::package(&[&put]).with("omadm-accept", "text/xml"),
            Reply::package(&["END"]),
        ]);
        let report = run(&world).await.unwrap();
        let told: Vec<_> = report
            .packages
            .iter()
            .flat_map(|p| &p.commands)
            .filter_map(|told| told.status)
            .collect();
        assert_eq!(told, [200, 406]);
        let asked = world.asked();
        let sent: Vec<_> = asked
            .iter()
            .filter(|a| a.uri == "https://repo.example/in")
            .collect();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].fields["content-type"], "application/json");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_refuses_or_talks_nonsense_ends_the_session() {
    let rows: [(Reply, &str, bool); 8] = [
        (Reply::new(403, "text/plain", ""), "HTTP 403", false),
        (Reply::new(500, "text/plain", ""), "HTTP 500", false),
        (
            Reply::new(503, "text/plain", "").with("retry-after", "1"),
            "HTTP 503",
            false,
        ),
        (
            Reply::new(302, "text/plain", "").with("location", "https://dm.example/x"),
            "HTTP 302",
            false,
        ),
        (Reply::new(200, "text/html", "<html>"), "text/html", false),
        (
            Reply::new(200, "application/json", "[]"),
            "cannot be read",
            false,
        ),
        (
            Reply::new(200, bailiwick_protocol::MEDIA_REQUEST, ""),
            "cannot be read",
            false,
        ),
        (
            Reply {
                silent: true,
                ..Reply::package(&[])
            },
            "within 500 ms",
            true,
        ),
    ];
    for (reply, words, worth_retrying) in rows {
        story(async |world| {
            world.packages([Reply::package(&[&full("GET M/1/ID")]), reply.clone()]);
            let error = run(&world).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.is_worth_retrying(), worth_retrying, "{error}");
            assert_eq!(world.asked().len(), 2, "no package is sent again");
            let report = error.report.unwrap();
            assert!(!report.completed);
            assert_eq!(
                report.packages[0].commands.len(),
                1,
                "what had happened is told"
            );
            let last = world.sessions.last(&north()).unwrap().unwrap();
            assert_eq!(last.error, report.error);
            assert!(is_idle(&world));
        })
        .await;
    }
}

#[tokio::test]
async fn what_cannot_be_reached_may_be_tried_again() {
    story(async |world| {
        world.unreachable("dm.example");
        let error = run(&world).await.unwrap_err();
        assert!(error.is_worth_retrying(), "{error}");
        assert!(error.to_string().contains("dm.example:443"), "{error}");
        assert!(is_idle(&world));
    })
    .await;
}

#[tokio::test]
async fn sessions_without_end_are_ended() {
    story(async |world| {
        world.packages([Reply::package(&[])]);
        let mut limits = world.scene.limits.clone();
        limits.packages = 5;
        let few = Sessions::over(
            Rc::clone(&world.sessions.inner.reach),
            world.scene.objects.clone(),
            world.scene.store.clone(),
            &limits,
        );
        let error = few
            .run(&north(), Reason::ClientInitiated)
            .await
            .unwrap_err();
        assert!(
            matches!(error.cause, Cause::TooManyPackages { limit: 5 }),
            "{error}"
        );
        assert_eq!(world.asked().len(), 5);

        limits.packages = 1_000_000;
        limits.session_ms = 50;
        let short = Sessions::over(
            Rc::clone(&world.sessions.inner.reach),
            world.scene.objects.clone(),
            world.scene.store.clone(),
            &limits,
        );
        let error = short
            .run(&north(), Reason::ClientInitiated)
            .await
            .unwrap_err();
        assert!(
            matches!(error.cause, Cause::SessionTooLong { milliseconds: 50 }),
            "{error}"
        );
        assert!(!error.report.unwrap().packages.is_empty());
        assert!(is_idle(&world));
    })
    .await;
}

#[tokio::test]
async fn one_session_per_authority_at_a_time() {
    story(async |world| {
        let silent = Reply {
            silent: true,
            ..Reply::package(&[])
        };
        world.packages([silent]);
        let first = tokio::task::spawn_local({
            let sessions = world.sessions.clone();
            async move { sessions.run(&north(), Reason::ClientInitiated).await }
        });
        while world.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = run(&world).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Busy { .. }), "{error}");
        assert!(error.is_worth_retrying() && error.report.is_none());

        // Another authority is not held up.
        world.packages([Reply::package(&["END"])]);
        world
            .sessions
            .run(&south(), Reason::ClientInitiated)
            .await
            .unwrap();

        assert!(first.await.unwrap().is_err());
        world.packages([Reply::package(&["END"])]);
        run(&world).await.unwrap();
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
