//! Data from and to repositories.

use super::*;

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
