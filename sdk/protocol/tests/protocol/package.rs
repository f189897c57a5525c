//! Packages: the specification's examples, what peers write differently, and the exact bytes that are written.

use crate::{nodes, vector};
use bailiwick_protocol::{
    Alert, Command, CommandError, JsonError, Limits, Mark, MoEntry, MoItem, Package1, Package2,
    Package3, PackageError, Status, StatusCode, Value,
    alert::{
        self, CLIENT_INITIATED, DCMO_OPERATION_COMPLETE, SCOMO_OPERATION_COMPLETE, SERVER_INITIATED,
    },
};
use serde_json::json;

fn package1(text: &str) -> Result<Package1, PackageError> {
    Package1::parse(text.as_bytes(), &Limits::default())
}

fn package2(text: &str) -> Result<Package2, PackageError> {
    Package2::parse(text.as_bytes(), &Limits::default())
}

fn package3(text: &str) -> Result<Package3, PackageError> {
    Package3::parse(text.as_bytes(), &Limits::default())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[test]
fn example_of_package_1() {
    let package = Package1::parse(vector!("ts_example_p1.json"), &Limits::default()).unwrap();
    let first = MoEntry {
        moid: "urn:oma:mo:oma-dm-devinfo:1.0".into(),
        miids: vec!["miid1".into()],
        ddf: Some("http://www.vendor.com/DDF/devinfo1.0.ddf".into()),
    };
    assert_eq!((package.mos.len(), &package.mos[0]), (2, &first));
    let [_, second] = package.alerts.as_slice() else {
        panic!("two alerts")
    };
    assert_eq!(second.alert_type, SCOMO_OPERATION_COMPLETE);
    assert_eq!(second.mark, Some(Mark::Warning));
    assert_eq!(second.data_type.as_deref(), Some("text/xml"));
    assert_eq!(
        second.target.as_deref(),
        Some("urn:oma:mo:oma-scomo:1.0/SCOMO1/Inventory/Deployed/Component2")
    );
    assert_eq!(
        Package1::parse(&package.to_bytes(), &Limits::default()),
        Ok(package)
    );
}

#[test]
fn example_of_package_2() {
    let package = Package2::parse(vector!("ts_example_p2.json"), &Limits::default()).unwrap();
    let commands: Vec<Command> = package
        .commands
        .iter()
        .cloned()
        .map(|command| command.expect("good"))
        .collect();
    assert_eq!(
        commands.iter().map(Command::name).collect::<Vec<_>>(),
        ["HPOST", "HGET", "GET"]
    );
    assert!(matches!(&commands[0], Command::HPost { client_uris, .. } if client_uris.len() == 2));
    assert!(matches!(
        &commands[1],
        Command::HGet {
            client_uri: None,
            ..
        }
    ));
    assert_eq!(
        commands[2],
        Command::Get {
            client_uris: vec!["urn:oma:mo:oma-sessioninfomo:1.0//CBT".parse().unwrap()]
        }
    );
    let written: serde_json::Value =
        serde_json::from_slice(&Package2::new(commands).to_bytes()).unwrap();
    let example: serde_json::Value = serde_json::from_slice(vector!("ts_example_p2.json")).unwrap();
    assert_eq!(written, example);
}

#[test]
fn example_of_package_3() {
    let package = Package3::parse(vector!("ts_example_p3.json"), &Limits::default()).unwrap();
    let uris: Vec<usize> = package
        .statuses
        .iter()
        .map(|status| status.uris.len())
        .collect();
    assert_eq!(uris, [0, 2, 0]);
    assert!(
        package
            .statuses
            .iter()
            .all(|status| status.code == StatusCode::OK)
    );
    assert_eq!(package.alerts[0].alert_type, DCMO_OPERATION_COMPLETE);
    assert_eq!(package.alerts[0].data, Some(json!({"DM1x": 1404})));
    let written: serde_json::Value = serde_json::from_slice(&package.to_bytes()).unwrap();
    let example: serde_json::Value = serde_json::from_slice(vector!("ts_example_p3.json")).unwrap();
    assert_eq!(written, example);
}

#[test]
fn package_1_as_peers_write_it() {
    let rows = [
        ("{}", 0, 0),
        (r#"{"MOS":null,"Alert":null}"#, 0, 0),
        (
            r#"{"Alert":[{"AlertType":"a"}],"MOS":[{"MIID":null,"MOID":"m"}],"MgmtTree":[{}]}"#,
            1,
            1,
        ),
        (
            r#"{"MOS":{"MIID":"1","MOID":"m"},"Alert":{"AlertType":"a","Mark":"dire","Data":null}}"#,
            1,
            1,
        ),
        ("\u{FEFF}\n{\"MOS\":[]}\n", 0, 0),
    ];
    for (text, mos, alerts) in rows {
        let package = package1(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (package.mos.len(), package.alerts.len()),
            (mos, alerts),
            "{text}"
        );
    }
    assert_eq!(package1(rows[3].0).unwrap().mos[0].miids, ["1"]);
}

#[test]
fn one_bad_command_never_spoils_its_neighbours() {
    let package = package2(
        r#"{"CMD":[["GET","urn:x:1//"],["COPY"],[],"END",["GET",7],{"a":1},null,["GET","urn:x:1/(x)/"],["END"]],"V":2}"#,
    )
    .unwrap();
    let statuses: Vec<u16> = package
        .commands
        .iter()
        .map(|command| {
            command
                .as_ref()
                .map_or_else(|error| error.status().0, |_| 200)
        })
        .collect();
    assert_eq!(statuses, [200, 501, 400, 400, 400, 400, 400, 400, 200]);
    assert_eq!(package.commands[2], Err(CommandError::Malformed));
    let good = text(package.to_bytes());
    assert_eq!(good, r#"{"CMD":[["GET","urn:x:1//"],["END"]]}"#);
}

#[test]
fn package_2_as_peers_write_it() {
    assert_eq!(
        package2(r#"{"CMD":["END"]}"#),
        Ok(Package2::new(vec![Command::End]))
    );
    assert_eq!(package2(r#"{"CMD":null}"#), Ok(Package2::default()));
    assert_eq!(package2(r#"{"CMD":[]}"#), Ok(Package2::default()));
    assert!(matches!(
        package2("{}"),
        Err(PackageError::Member { member: "CMD", .. })
    ));
}

#[test]
fn data_of_a_get_wherever_it_stands() {
    let item = r#"{"ClientURI":"urn:x:1//a","MOData":{"a":1}}"#;
    let rows = [
        (
            format!(r#"{{"sc":200,"MO":[{item},{item}]}}"#),
            2,
            json!({"a": 1}),
        ),
        (format!(r#"{{"sc":200,"MO":{item}}}"#), 1, json!({"a": 1})),
        (
            format!(r#"{{"sc":200,"MOS":[{item}]}}"#),
            1,
            json!({"a": 1}),
        ),
        (r#"{"sc":200,"MOData":{"a":1}}"#.into(), 1, json!({"a": 1})),
        (format!(r#"{{"sc":200,"Data":{item}}}"#), 1, json!({"a": 1})),
        (
            r#"{"sc":"200","Results":["x"],"URI":null}"#.into(),
            1,
            json!("x"),
        ),
    ];
    for (status, count, data) in rows {
        let package = package3(&format!(r#"{{"Status":[{status}]}}"#))
            .unwrap_or_else(|error| panic!("{status}: {error}"));
        let found = &package.statuses[0];
        assert_eq!(
            (found.code, found.objects.len()),
            (StatusCode::OK, count),
            "{status}"
        );
        assert_eq!(found.objects[0].data, data, "{status}");
    }
}

#[test]
fn members_are_written_in_the_order_of_the_schema() {
    let entry = MoEntry {
        moid: "m".into(),
        miids: vec!["1".into()],
        ddf: Some("d".into()),
    };
    let alert = Alert {
        source: Some("s".into()),
        target: Some("t".into()),
        mark: Some(Mark::Fatal),
        data_type: Some("int".into()),
        data: Some(json!({"DM1x": 1})),
        ..Alert::new("a")
    };
    let first = Package1 {
        mos: vec![entry],
        alerts: vec![alert],
    };
    assert_eq!(
        text(first.to_bytes()),
        r#"{"MOS":[{"MIID":["1"],"MOID":"m","DDF":"d"}],"Alert":[{"AlertType":"a","SourceURI":"s","TargetURI":"t","Mark":"fatal","DataType":"int","Data":{"DM1x":1}}]}"#
    );
    let leaf = nodes(&[("", Some(Value::Int(3)))]);
    let status = Status {
        uris: vec!["u".into()],
        objects: vec![MoItem::from_nodes(
            "urn:x:1//CBT".into(),
            "CBT",
            &leaf,
            None,
        )],
        ..Status::new(StatusCode::OK)
    };
    let third = Package3 {
        statuses: vec![status, Status::new(StatusCode::NOT_FOUND)],
        alerts: vec![],
    };
    assert_eq!(
        text(third.to_bytes()),
        r#"{"Status":[{"sc":200,"URI":["u"],"MO":[{"ClientURI":"urn:x:1//CBT","MOData":{"CBT":3}}]},{"sc":404}]}"#
    );
    assert_eq!(
        Package3::parse(&third.to_bytes(), &Limits::default()),
        Ok(third)
    );
    assert_eq!(
        text(Package1::default().to_bytes()),
        r#"{"MOS":[],"Alert":[]}"#
    );
}

#[test]
fn the_notification_is_echoed() {
    let alert = Alert::server_initiated(Some(0x1234));
    assert_eq!(alert.data, Some(json!({"NOTIFICATION-ID": 0x1234})));
    let with = |data| {
        Alert {
            data: Some(data),
            ..Alert::new(SERVER_INITIATED)
        }
        .notification_id()
    };
    let rows = [
        (alert.notification_id(), Some(0x1234)),
        (with(json!({"NOTIFICATION-ID": "17"})), Some(17)),
        (with(json!({"DM1x": 17})), Some(17)),
        (with(json!(17)), Some(17)),
        (with(json!({"NOTIFICATION-ID": 65536})), None),
        (with(json!({"NOTIFICATION-ID": "x"})), None),
        (Alert::server_initiated(None).notification_id(), None),
        (
            Alert {
                data: Some(json!(17)),
                ..Alert::new(CLIENT_INITIATED)
            }
            .notification_id(),
            None,
        ),
    ];
    for (index, (found, expected)) in rows.into_iter().enumerate() {
        assert_eq!(found, expected, "row {index}");
    }
}

#[test]
fn marks() {
    for word in [
        "fatal",
        "critical",
        "minor",
        "warning",
        "informational",
        "harmless",
        "indeterminate",
    ] {
        let mark = Mark::from_name(word).expect(word);
        assert_eq!(mark.name(), word);
        assert_eq!(serde_json::to_value(mark).unwrap(), word);
    }
    assert_eq!(Mark::from_name("Warning"), Some(Mark::Warning));
    assert_eq!(Mark::from_name("major"), None);
}

#[test]
fn alert_types_are_distinct() {
    let types = [
        alert::SERVER_INITIATED,
        alert::CLIENT_INITIATED,
        alert::BOOTSTRAP_COMPLETE,
        alert::FUMO_DOWNLOAD,
        alert::FUMO_UPDATE,
        alert::FUMO_DOWNLOAD_AND_UPDATE,
        alert::SCOMO_OPERATION_COMPLETE,
        alert::LAWMO_OPERATION_COMPLETE,
        alert::DIAGMON_TRAP,
        alert::DIAGMON_TRAP_INACTIVE,
        alert::DIAGMON_TRAP_DEREGISTERED,
    ];
    let distinct: std::collections::BTreeSet<&str> = types.into_iter().collect();
    assert_eq!(distinct.len(), types.len());
}

#[test]
fn not_a_package() {
    for text in [
        "",
        "null",
        "[]",
        "7",
        "<xml/>",
        "{\"MOS\":[]",
        "{\"MOS\":[{}]}",
        "{\"MOS\":[1]}",
        "{\"Alert\":[{}]}",
    ] {
        assert!(package1(text).is_err(), "{text}");
    }
    for text in ["", "[]", "{\"CMD\"}", "{\"cmd\":[]}"] {
        assert!(package2(text).is_err(), "{text}");
    }
    for text in [
        "{\"Status\":[{}]}",
        "{\"Status\":[{\"sc\":-1}]}",
        "{\"Status\":[{\"sc\":70000}]}",
        "{\"Status\":[200]}",
    ] {
        assert!(package3(text).is_err(), "{text}");
    }
}

#[test]
fn lists_are_bounded() {
    let limits = Limits {
        commands: 2,
        ..Limits::default()
    };
    let three = br#"{"CMD":[["END"],["END"],["END"]],"Status":[{"sc":1},{"sc":1},{"sc":1}]}"#;
    let too_many = |member| PackageError::TooMany {
        member,
        found: 3,
        limit: 2,
    };
    assert_eq!(Package2::parse(three, &limits), Err(too_many("CMD")));
    assert_eq!(Package3::parse(three, &limits), Err(too_many("Status")));
    let limits = Limits {
        package_bytes: three.len(),
        ..Limits::default()
    };
    assert!(Package2::parse(three, &limits).is_ok());
    let limits = Limits {
        package_bytes: three.len() - 1,
        ..limits
    };
    let too_large = JsonError::TooLarge {
        bytes: three.len(),
        limit: three.len() - 1,
    };
    assert_eq!(Package2::parse(three, &limits), Err(too_large.into()));
}
