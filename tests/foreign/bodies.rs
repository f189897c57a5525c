//! Management data from a repository: what they may look like, and where they go.

use serde_json::{Value, json};

use super::stage::{Case, Played, Stage};
use crate::server::Reply;

/// A body for an HGET, the node that it goes to, and the node's data afterwards.
struct Row {
    name: &'static str,
    body: Value,
    to: &'static str,
    then: Value,
}

fn row(name: &'static str, to: &'static str, body: Value, then: Value) -> Row {
    Row {
        name,
        body,
        to,
        then,
    }
}

/// What the table sets right before each row.
fn blank() -> Value {
    let data = json!({ "1": { "Date": "12.1", "Value": 11 } });
    json!({ "MOData": { "Sensor": { "ID": "GPS", "Setting": "blank", "Data": data } } })
}

#[test]
fn data_come_in_many_shapes() {
    let deep = |value: Value| json!({ "1": { "Date": "12.1", "Value": value } });
    let rows = [
        row(
            "an array of one item",
            "$M/1/Setting",
            json!([{ "ClientURI": "$M/1/Setting", "MOData": { "Setting": "a" } }]),
            json!({ "Setting": "a" }),
        ),
        row(
            "a single item",
            "$M/1/Setting",
            json!({ "ClientURI": "$M/1/Setting", "MOData": { "Setting": "b" } }),
            json!({ "Setting": "b" }),
        ),
        row(
            "without ClientURI",
            "$M/1/Setting",
            json!([{ "MOData": { "Setting": "c" } }]),
            json!({ "Setting": "c" }),
        ),
        row(
            "another ClientURI than the command's, which counts",
            "$M/1/Setting",
            json!({ "ClientURI": "$M/2/ID", "MOData": { "Setting": "d" } }),
            json!({ "Setting": "d" }),
        ),
        row(
            "a bare value",
            "$M/1/Setting",
            json!({ "MOData": "e" }),
            json!({ "Setting": "e" }),
        ),
        row(
            "a tree from the root",
            "$M/1/Setting",
            json!({ "MOData": { "Sensor": { "Setting": "f" } } }),
            json!({ "Setting": "f" }),
        ),
        row(
            "a tree from the root under any name",
            "$M/1/Setting",
            json!({ "MOData": { "x-foreign-sensor": { "Setting": "g" } } }),
            json!({ "Setting": "g" }),
        ),
        // Byte for byte the shape of an independent test server's answer for a leaf three levels down.
        row(
            "a tree from the root to one deep leaf",
            "$M/1/Data/1/Value",
            json!({ "MOData": { "sensor": { "Data": { "1": { "Value": "17" } } } } }),
            json!({ "Value": 17 }),
        ),
        row(
            "members that nobody knows",
            "$M/1/Setting",
            json!({ "MOData": { "Setting": "h" }, "Size": 3, "DDF": "http://x.example/y.ddf", "CV": "0123", "TStamp": null }),
            json!({ "Setting": "h" }),
        ),
        row(
            "an integer as text",
            "$M/1/Level",
            json!({ "MOData": { "Level": "-42" } }),
            json!({ "Level": -42 }),
        ),
        row(
            "an integer as number",
            "$M/1/Level",
            json!({ "MOData": { "Level": 42 } }),
            json!({ "Level": 42 }),
        ),
        row(
            "a float as text",
            "$M/1/Ratio",
            json!({ "MOData": "1.5" }),
            json!({ "Ratio": 1.5 }),
        ),
        row(
            "a float as integer",
            "$M/1/Ratio",
            json!({ "MOData": 2 }),
            json!({ "Ratio": 2.0 }),
        ),
        row(
            "a truth as text",
            "$M/1/On",
            json!({ "MOData": { "On": "true" } }),
            json!({ "On": true }),
        ),
        row(
            "a truth",
            "$M/1/On",
            json!({ "MOData": { "On": false } }),
            json!({ "On": false }),
        ),
        row(
            "bytes",
            "$M/1/Blob",
            json!({ "MOData": { "Blob": "AAEC/w==" } }),
            json!({ "Blob": "AAEC/w==" }),
        ),
        row(
            "no bytes",
            "$M/1/Blob",
            json!({ "MOData": { "Blob": "" } }),
            json!({ "Blob": "" }),
        ),
        row(
            "an empty text",
            "$M/1/Setting",
            json!({ "MOData": { "Setting": "" } }),
            json!({ "Setting": "" }),
        ),
        row(
            "any text",
            "$M/1/Setting",
            json!({ "MOData": { "Setting": "\u{0}\n\"\\/\u{1f600}\u{202e}" } }),
            json!({ "Setting": "\u{0}\n\"\\/\u{1f600}\u{202e}" }),
        ),
        row(
            "an interior node under its own name",
            "$M/1/Data/1",
            json!({ "MOData": { "1": { "Date": "13.1", "Value": 5 } } }),
            json!({ "1": { "Date": "13.1", "Value": 5 } }),
        ),
        row(
            "an interior node in a tree from the root",
            "$M/1/Data/1",
            json!({ "MOData": { "Sensor": { "Data": { "1": { "Date": "14.1", "Value": 6 } } } } }),
            json!({ "1": { "Date": "14.1", "Value": 6 } }),
        ),
        row(
            "an interior node that is new",
            "$M/1/Data/left%20side",
            json!({ "MOData": { "left side": { "Date": "15.1", "Value": 7 } } }),
            json!({ "left side": { "Date": "15.1", "Value": 7 } }),
        ),
        row(
            "an instance without what is permanent, which stays",
            "$M/1/",
            json!({ "MOData": { "Sensor": { "Level": 3 } } }),
            json!({ "Sensor": { "ID": "GPS", "Level": 3, "Data": {} } }),
        ),
        row(
            "all of an instance",
            "$M/1/",
            json!({ "MOData": { "Sensor": { "ID": "new", "Data": deep(json!(1)) } } }),
            json!({ "Sensor": { "ID": "new", "Data": deep(json!(1)) } }),
        ),
    ];
    let mut stage = Stage::set(&[]);
    let names = stage.names();
    let full = |text: &str| {
        names
            .iter()
            .fold(text.to_owned(), |text, (name, is)| text.replace(name, is))
    };
    let mut wrong = Vec::new();
    for Row {
        name,
        body,
        to,
        then,
    } in rows
    {
        let hget = format!("HGET $here/data {to}");
        let case = Case::new(name)
            .data("/blank", Reply::data(&blank()))
            .data("/data", Reply::data(&body))
            .answers([Reply::package(&[
                "HGET $here/blank $M/1/",
                &hget,
                &format!("GET {to}"),
            ])])
            .statuses([&[200, 200, 200]]);
        let played = stage.play(&case);
        assert_eq!(
            played.status(0, 1),
            json!({ "sc": 200 }),
            "the server chose the place"
        );
        if played.mo_data(0, 2) != then {
            wrong.push(format!("{name}: {}", played.mo_data(0, 2)));
        }
        let item = &played.status(0, 2)["MO"][0];
        assert_eq!(item["ClientURI"], full(to));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.hold_a_good_session();
}

#[test]
fn data_that_do_not_fit_are_refused_and_change_nothing() {
    let bad = |name, to: &str, body: &str, status: u64| {
        let hget = format!("HGET $here/data {to}");
        let statuses = [200, status, 200];
        Case::new(name)
            .data("/blank", Reply::data(&blank()))
            .data("/data", Reply::data_text(body))
            .answers([Reply::package(&[
                "HGET $here/blank $M/1/",
                &hget,
                "GET $M/1/",
            ])])
            .statuses([&statuses])
            .check(|played| assert_eq!(played.mo_data(0, 2), blank()["MOData"]))
    };
    let deep = format!(
        r#"{{"MOData":{}1{}}}"#,
        r#"{"a":"#.repeat(40),
        "}".repeat(40)
    );
    Stage::set(&[]).play_all([
        bad("no JSON", "$M/1/Setting", "Setting=1", 400),
        bad("nothing", "$M/1/Setting", "", 400),
        bad("no item", "$M/1/Setting", "[]", 400),
        bad(
            "an item without data",
            "$M/1/Setting",
            r#"[{"ClientURI":"$M/1/Setting"}]"#,
            400,
        ),
        bad("an empty item", "$M/1/Setting", "{}", 400),
        bad("a bare value for an item", "$M/1/Setting", r#""x""#, 400),
        bad(
            "items and nonsense",
            "$M/1/Setting",
            r#"[{"MOData":{"Setting":"x"}},7]"#,
            400,
        ),
        bad(
            "two items for one place",
            "$M/1/Setting",
            r#"[{"MOData":"x"},{"MOData":"y"}]"#,
            400,
        ),
        bad(
            "data of another node",
            "$M/1/Setting",
            r#"{"MOData":{"Level":"x"}}"#,
            400,
        ),
        bad(
            "a node where a value belongs",
            "$M/1/Setting",
            r#"{"MOData":{"Setting":{"x":"y"}}}"#,
            400,
        ),
        bad(
            "a value where a node belongs",
            "$M/1/Data/1",
            r#"{"MOData":{"1":"x"}}"#,
            400,
        ),
        bad(
            "an array for a value",
            "$M/1/Setting",
            r#"{"MOData":{"Setting":["x"]}}"#,
            400,
        ),
        bad(
            "words for an integer",
            "$M/1/Level",
            r#"{"MOData":{"Level":"many"}}"#,
            400,
        ),
        bad(
            "an integer of 33 bits",
            "$M/1/Level",
            r#"{"MOData":{"Level":4294967296}}"#,
            400,
        ),
        bad(
            "a fraction for an integer",
            "$M/1/Level",
            r#"{"MOData":{"Level":1.5}}"#,
            400,
        ),
        bad(
            "half a truth",
            "$M/1/On",
            r#"{"MOData":{"On":"maybe"}}"#,
            400,
        ),
        bad(
            "no base64",
            "$M/1/Blob",
            r#"{"MOData":{"Blob":"***"}}"#,
            400,
        ),
        bad(
            "a number without end",
            "$M/1/Ratio",
            r#"{"MOData":{"Ratio":1e999}}"#,
            400,
        ),
        bad(
            "a node that the type does not have",
            "$M/1/Shape",
            r#"{"MOData":{"Shape":"x"}}"#,
            404,
        ),
        bad(
            "such a node within an instance",
            "$M/1/",
            r#"{"MOData":{"Sensor":{"ID":"x","Shape":"y","Data":{}}}}"#,
            400,
        ),
        bad(
            "a node without what it must have",
            "$M/1/Data/2",
            r#"{"MOData":{"2":{"Surplus":"x"}}}"#,
            400,
        ),
        bad(
            "a node that cannot be replaced",
            "$D//DevID",
            r#"{"MOData":{"DevID":"x"}}"#,
            403,
        ),
        bad(
            "a place that is a set",
            "$M/*/Setting",
            r#"{"MOData":"x"}"#,
            400,
        ),
        bad(
            "a place that is several",
            "$M//Setting",
            r#"{"MOData":"x"}"#,
            400,
        ),
        bad(
            "an instance that the server names",
            "$M/mine/",
            r#"{"MOData":{"Sensor":{"ID":"x"}}}"#,
            404,
        ),
        bad(
            "an instance that is not there",
            "$M/3/",
            r#"{"MOData":{"Sensor":{"ID":"x"}}}"#,
            404,
        ),
        bad("deep data", "$M/1/Setting", &deep, 400),
        bad(
            "data deeper than any stack",
            "$M/1/Setting",
            &"[".repeat(300_000),
            400,
        ),
        bad(
            "names with control characters",
            "$M/1/",
            r#"{"MOData":{"Sensor":{"ID":"x","\u0000":"y"}}}"#,
            400,
        ),
    ]);
}

/// Names of instances that an HGET told.
fn uris(played: &Played, command: usize) -> Vec<String> {
    serde_json::from_value(played.status(0, command)["URI"].clone()).unwrap()
}

/// The values of `ID` that a GET gave, sorted.
fn ids(played: &Played, command: usize) -> Vec<String> {
    let status = played.status(0, command);
    let items = status["MO"].as_array().unwrap();
    let ids = items
        .iter()
        .map(|item| item["MOData"]["ID"].as_str().unwrap());
    let mut ids: Vec<String> = ids.map(str::to_owned).collect();
    ids.sort();
    ids
}

#[test]
fn the_device_chooses_names_and_tells_them() {
    let new = |id: &str| json!({ "ClientURI": "$M//", "MOData": { "Sensor": { "ID": id } } });
    let short = json!({
        "ClientURI": "oma:mo:x-foreign-sensor:1.0//",
        "MOData": { "Sensor": { "ID": "short" } },
    });
    let mut stage = Stage::set(&[]);
    let created = stage.play(
        &Case::new("one, then two, then one whose ClientURI lacks its beginning")
            .data("/one", Reply::data(&new("one")))
            .data("/two", Reply::data(&json!([new("two"), new("three")])))
            .data("/short", Reply::data(&short))
            .answers([Reply::package(&[
                "HGET $here/one",
                "HGET $here/two",
                "HGET $here/short",
                "GET $M/*/ID",
            ])])
            .statuses([&[200, 200, 200, 200]]),
    );
    let [one, two, short] = [0, 1, 2].map(|command| uris(&created, command));
    assert_eq!((one.len(), two.len(), short.len()), (1, 2, 1));
    let all = ["GPS", "Temperature", "one", "short", "three", "two"];
    assert_eq!(ids(&created, 3), all);

    let each = format!("GET {}ID {}ID {}ID {}ID", one[0], two[0], two[1], short[0]);
    let (delete, gone) = (format!("DELETE {}", two[0]), format!("GET {}", two[0]));
    let read = stage.play(
        &Case::new("read at the names that were told, deleted one by one and all at once")
            .answers([Reply::package(&[
                &each,
                &delete,
                &gone,
                "GET $M/*/ID",
                "DELETE $M/*/",
                "GET $M/*/",
                "DELETE $M/1/",
            ])])
            .statuses([&[200, 200, 404, 200, 200, 404, 404]]),
    );
    assert_eq!(ids(&read, 0), ["one", "short", "three", "two"]);
    assert_eq!(ids(&read, 3).len(), 5);
    let fresh = stage.play(
        &Case::new("the first of all")
            .data("/one", Reply::data(&new("one")))
            .answers([Reply::package(&["HGET $here/one $M//", "GET $M//ID"])])
            .statuses([&[200, 200]]),
    );
    assert_eq!(uris(&fresh, 0).len(), 1, "it was not there, so it was made");
    stage.hold_a_good_session();
}

#[test]
fn several_items_are_stored_together_or_not_at_all() {
    let good = json!({ "ClientURI": "$M/1/Setting", "MOData": "changed" });
    let created = json!({ "ClientURI": "$M//", "MOData": { "Sensor": { "ID": "made" } } });
    let half = |name, bad: Value, status: u64| {
        let statuses = [status, 200, 200];
        Case::new(name)
            .data("/data", Reply::data(&json!([good, created, bad])))
            .answers([Reply::package(&[
                "HGET $here/data",
                "GET $M/1/Setting",
                "GET $M/*/ID",
            ])])
            .statuses([&statuses])
            .check(|played| {
                assert_eq!(played.mo_data(0, 1), json!({ "Setting": "0xA1" }));
                assert_eq!(played.status(0, 2)["MO"].as_array().unwrap().len(), 2);
            })
    };
    Stage::set(&[]).play_all([
        half(
            "a value that does not fit",
            json!({ "ClientURI": "$M/1/Level", "MOData": "x" }),
            400,
        ),
        half(
            "no such instance",
            json!({ "ClientURI": "$M/9/Level", "MOData": 1 }),
            404,
        ),
        half(
            "no such type",
            json!({ "ClientURI": "urn:oma:mo:nothing:1.0//", "MOData": {} }),
            403,
        ),
        half(
            "no right",
            json!({ "ClientURI": "$D//Man", "MOData": "x" }),
            403,
        ),
        half("no place", json!({ "MOData": "x" }), 400),
        half(
            "a place that is none",
            json!({ "ClientURI": "nowhere", "MOData": "x" }),
            400,
        ),
    ]);
}
