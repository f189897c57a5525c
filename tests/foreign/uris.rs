//! Which nodes a ClientURI means: the table of the reference (OMA DM 2.0, ClientURI), asked by a server.

use serde_json::{Value, json};

use super::stage::{Case, Stage};
use crate::server::Reply;

/// A ClientURI, the status of a GET, and where the data lie that it gives.
type Row = (&'static str, u64, &'static [&'static str]);

const ROWS: &[Row] = &[
    ("$M/1/", 200, &["$M/1/"]),
    ("$M/1", 200, &["$M/1/"]),
    // Two instances: the only one is none of them.
    ("$M//", 400, &[]),
    ("$M/(x)/?nv=(x)/ID:Temperature", 200, &["$M/2/"]),
    ("$M/(x)/ID?nv=(x)/ID:Temperature", 200, &["$M/2/ID"]),
    (
        "$M/(x)/Data/1/Value?nv=(x)/ID:GPS",
        200,
        &["$M/1/Data/1/Value"],
    ),
    (
        "$M/2/Data/(x)/Value?nv=(x)/Date:12.1",
        200,
        &["$M/2/Data/1/Value"],
    ),
    (
        "$M/(x)/Data/(y)/Value?nv=(x)/ID:GPS&nv=(y)/Date:12.2",
        200,
        &["$M/1/Data/2/Value"],
    ),
    ("$M/*/Setting", 200, &["$M/1/Setting", "$M/2/Setting"]),
    (
        "$M/(x)/Data/*/Value?nv=(x)/ID:GPS",
        200,
        &["$M/1/Data/1/Value", "$M/1/Data/2/Value"],
    ),
    // No instance meets both conditions.
    (
        "$M/(x)/Data/*/Value?nv=(x)/ID:GPS&nv=(x)/Setting:0xB2",
        404,
        &[],
    ),
    (
        "$M/*/Data/*/Value",
        200,
        &[
            "$M/1/Data/1/Value",
            "$M/1/Data/2/Value",
            "$M/2/Data/1/Value",
            "$M/2/Data/2/Value",
        ],
    ),
    // Beyond the table.
    ("$M/*/", 200, &["$M/1/", "$M/2/"]),
    ("$M/1/Data/(x)?nv=(x)/Value:12", 200, &["$M/1/Data/2"]),
    ("$M/(x)/?nv=(x)/Data/1/Date:12.1", 400, &[]),
    ("$M/(x)/?nv=(x)/Nothing:1", 404, &[]),
    ("$M/(x)/", 400, &[]),
    ("$M/(x)/Data/(x)/Value?nv=(x)/ID:GPS", 400, &[]),
    ("$M/1/?nv=(x)/ID:GPS", 400, &[]),
    ("$M/3/", 404, &[]),
    ("$M/1/I%44", 200, &["$M/1/ID"]),
    ("$D//DevID", 200, &["$D/1/DevID"]),
    ("$D/*/DevID", 200, &["$D/1/DevID"]),
];

#[test]
fn a_client_uri_means_what_the_reference_says() {
    let mut stage = Stage::set(&[]);
    let names = stage.names();
    let full = |text: &str| {
        names
            .iter()
            .fold(text.to_owned(), |text, (name, is)| text.replace(name, is))
    };
    let mut wrong = Vec::new();
    for &(uri, status, places) in ROWS {
        let get = format!("GET {uri}");
        let statuses: &[u64] = &[status];
        let case = Case::new("a ClientURI")
            .answers([Reply::package(&[&get])])
            .statuses([statuses]);
        let played = stage.play(&case);
        let mut found: Vec<String> = items(&played.status(0, 0))
            .iter()
            .map(|item| item["ClientURI"].as_str().unwrap().to_owned())
            .collect();
        let mut expected: Vec<String> = places.iter().map(|place| full(place)).collect();
        // In any order: names of instances are random.
        found.sort();
        expected.sort();
        if found != expected {
            wrong.push(format!("{uri}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.hold_a_good_session();
}

/// Validators belong to whole instances, and come with the data of a root alone (OMA DM 2.0, cached data).
#[test]
fn what_has_not_changed_is_not_sent_again() {
    let mut stage = Stage::set(&[]);
    let get = |stage: &mut Stage, uri: &str, status: u64| -> Value {
        let get = format!("GET {uri}");
        let statuses: &[u64] = &[status];
        let case = Case::new("a validator")
            .answers([Reply::package(&[&get])])
            .statuses([statuses]);
        stage.play(&case).status(0, 0)
    };
    let root = get(&mut stage, "$M/1/", 200);
    let validator = root["MO"][0]["CV"]
        .as_str()
        .expect("a CV with the root")
        .to_owned();
    let leaf = get(&mut stage, "$M/1/ID", 200);
    assert_eq!(leaf["MO"][0].get("CV"), None, "none with other nodes");

    for uri in ["$M/1/?cv=", "$M/1/ID?cv=", "$M/(x)/?nv=(x)/ID:GPS&cv="] {
        let unchanged = get(&mut stage, &format!("{uri}{validator}"), 304);
        assert_eq!(unchanged, json!({ "sc": 304 }), "{uri}");
    }
    let other = get(&mut stage, &format!("$M/2/?cv={validator}"), 200);
    assert!(other["MO"][0]["CV"].is_string());
    get(&mut stage, "$M/1/ID?cv=0", 200);

    // Nothing has changed, so nothing is uploaded; then everything.
    let put = format!("HPUT $here/in $M/1/?cv={validator}");
    let unchanged = Case::new("an upload")
        .data("/in", Reply::status("200 OK"))
        .answers([Reply::package(&[&put])]);
    let played = stage.play(&unchanged.statuses([&[304]]));
    assert!(played.transfers().is_empty());

    let new = json!({ "MOData": { "Setting": "other" } });
    let change = Case::new("a change")
        .data("/setting", Reply::data(&new))
        .data("/in", Reply::status("200 OK"))
        .answers([Reply::package(&["HGET $here/setting $M/1/Setting", &put])])
        .statuses([&[200, 200]]);
    let played = stage.play(&change);
    let uploads: Vec<_> = played
        .transfers()
        .into_iter()
        .filter(|request| request.method == "PUT")
        .collect();
    assert_eq!(uploads.len(), 1);
    let after = get(&mut stage, &format!("$M/1/?cv={validator}"), 200);
    assert_ne!(after["MO"][0]["CV"], json!(validator), "a new one");
    assert_eq!(after["MO"][0]["CV"], uploads[0].json()[0]["CV"]);
}

fn items(status: &Value) -> Vec<Value> {
    status["MO"].as_array().cloned().unwrap_or_default()
}
