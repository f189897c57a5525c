//! The MO serialization: items, and the trees in them.

use crate::{nodes, path, vector};
use bailiwick_protocol::{Ddf, JsonError, Limits, MoItem, ObjectError, Value};
use serde_json::json;

fn chr(text: &str) -> Option<Value> {
    Some(Value::Chr(text.into()))
}

fn item(data: serde_json::Value) -> MoItem {
    MoItem {
        client_uri: None,
        data,
        ddf: None,
        cv: None,
    }
}

/// Two levels: a leaf `ID`, and `Data` with unnamed children holding an int `Value`.
fn sensor() -> Ddf {
    let xml = "<MgmtTree><Node><NodeName>Sensor</NodeName>\
        <Node><NodeName>ID</NodeName></Node>\
        <Node><NodeName>Data</NodeName><Node>\
        <Node><NodeName>Value</NodeName><DFProperties><DFFormat><int/></DFFormat></DFProperties></Node>\
        </Node></Node></Node></MgmtTree>";
    Ddf::parse(xml.as_bytes(), &Limits::default()).expect("a DDF")
}

#[test]
fn the_example_of_the_specification() {
    let items = MoItem::parse_all(vector!("ts_example_mo.json"), &Limits::default()).unwrap();
    let [item] = items.as_slice() else {
        panic!("one item, not {}", items.len())
    };
    assert_eq!(
        item.client_uri.as_deref(),
        Some("urn:oma:mo:oma-dm-devinfo:1.0//")
    );
    assert_eq!(
        item.ddf.as_deref(),
        Some("http://www.vendor.com/DDF/devinfo1.0.ddf")
    );
    assert_eq!(item.cv.as_deref(), Some("686897696a7c876b7e"));
    let found = item.nodes(&[], None, &Limits::default()).unwrap();
    assert_eq!(found.len(), 11);
    assert_eq!(
        found[..2],
        nodes(&[("", None), ("DevID", chr("IMEI:493005100592800"))])
    );
    assert_eq!(found[10], nodes(&[("HwV", chr(""))])[0]);
}

#[test]
fn envelopes_that_peers_write() {
    let rows: &[(&str, usize)] = &[
        ("[]", 0),
        (
            r#"{"MOData":{"fumo":{"DownloadAndUpdate":{"PkgURL":"COFFEEBABE"}}}}"#,
            1,
        ),
        (
            "\u{FEFF}\r\n [ {\"MOData\":{}} , {\"MOData\":null,\"Extra\":[1]} ] \n",
            2,
        ),
        (r#"{"MOData":1,"MOData":2,"CV":null,"DDF":7}"#, 1),
    ];
    for (text, count) in rows {
        let items = MoItem::parse_all(text.as_bytes(), &Limits::default());
        assert_eq!(items.map(|items| items.len()), Ok(*count), "{text}");
    }
}

#[test]
fn envelopes_that_are_refused() {
    let parse = |text: &str| MoItem::parse_all(text.as_bytes(), &Limits::default());
    assert_eq!(
        parse(r#"[{"MOData":{}},{"ClientURI":"urn:x:1//"}]"#),
        Err(ObjectError::NoData { index: 1 })
    );
    assert_eq!(parse("[1]"), Err(ObjectError::NoData { index: 0 }));
    for text in [
        "",
        "MOData",
        "[{\"MOData\":{}}",
        "{\"MOData\":{}}x",
        "\u{FEFF}",
    ] {
        assert!(
            matches!(
                parse(text),
                Err(ObjectError::Json(JsonError::Syntax { .. }))
            ),
            "{text}"
        );
    }
}

#[test]
fn shapes_of_data() {
    let data = nodes(&[("", None), ("1", None), ("1/Value", Some(Value::Int(5)))]);
    let leaf = nodes(&[("", Some(Value::Int(5)))]);
    let rows = [
        // The root: its key has any name, or is left out.
        (
            "",
            json!({"Sensor": {"ID": "a"}}),
            nodes(&[("", None), ("ID", chr("a"))]),
        ),
        (
            "",
            json!({"oma-sensor": {"ID": "a"}}),
            nodes(&[("", None), ("ID", chr("a"))]),
        ),
        (
            "",
            json!({"ID": "a"}),
            nodes(&[("", None), ("ID", chr("a"))]),
        ),
        ("", json!({"Sensor": {}}), nodes(&[("", None)])),
        // An interior node: one key, or the tree from the root.
        ("Data", json!({"Data": {"1": {"Value": 5}}}), data.clone()),
        (
            "Data",
            json!({"Sensor": {"Data": {"1": {"Value": "5"}}, "ID": "a"}}),
            data,
        ),
        ("Data", json!({"Data": ""}), nodes(&[("", None)])),
        // A leaf: one key, the tree from the root, the bare value.
        ("Data/1/Value", json!({"Value": 5}), leaf.clone()),
        (
            "Data/1/Value",
            json!({"any": {"Data": {"1": {"Value": 5}}}}),
            leaf.clone(),
        ),
        (
            "Data/1/Value",
            json!({"Value": {"Data": {"1": {"Value": 5}}}}),
            leaf.clone(),
        ),
        ("Data/1/Value", json!(5), leaf),
    ];
    for (at, data, expected) in rows {
        let found = item(data.clone()).nodes(&path(at), Some(&sensor()), &Limits::default());
        assert_eq!(found, Ok(expected), "{at:?} in {data}");
    }
}

#[test]
fn without_a_ddf_the_json_decides() {
    let found = item(json!({"Data": {"b": 1, "a": {"c": true}}}));
    let found = found
        .nodes(&path("Data"), None, &Limits::default())
        .unwrap();
    let expected = [
        ("", None),
        ("b", Some(Value::Int(1))),
        ("a", None),
        ("a/c", Some(Value::Bool(true))),
    ];
    assert_eq!(found, nodes(&expected));
}

#[test]
fn data_that_is_refused() {
    type Check = fn(&ObjectError) -> bool;
    let shape: Check = |error| matches!(error, ObjectError::Shape { .. });
    let kind: Check = |error| matches!(error, ObjectError::Kind { .. });
    let value: Check = |error| matches!(error, ObjectError::Value { .. });
    let name: Check = |error| matches!(error, ObjectError::Name { .. });
    let rows = [
        ("", json!(5), shape),
        ("Data", json!({}), shape),
        ("Data", json!({"Sensor": {}}), shape),
        ("Data", json!({"Data": {}, "ID": ""}), shape),
        ("Data", json!({"Data": 5}), kind),
        ("", json!({"Sensor": {"ID": {"a": 1}}}), kind),
        ("", json!({"Sensor": {"ID": ["a"]}}), value),
        (
            "",
            json!({"Sensor": {"Data": {"1": {"Value": "x"}}}}),
            value,
        ),
        ("", json!({"Sensor": {"": 1}}), name),
        ("", json!({"Sensor": {"..": 1}}), name),
        ("", json!({"Sensor": {"a\u{0}": 1}}), name),
    ];
    for (at, data, expected) in rows {
        let error = item(data.clone()).nodes(&path(at), Some(&sensor()), &Limits::default());
        let error = error.expect_err(&data.to_string());
        assert!(expected(&error), "{at:?} in {data}: {error:?}");
    }
}

#[test]
fn trees_are_bounded() {
    let limits = Limits {
        depth: 2,
        nodes: 4,
        name_bytes: 3,
        ..Limits::default()
    };
    let read = |data| item(data).nodes(&[], None, &limits);
    assert_eq!(
        read(json!({"r": {"a": {"b": 1}}})).map(|nodes| nodes.len()),
        Ok(3)
    );
    assert_eq!(
        read(json!({"r": {"a": {"b": {"c": 1}}}})),
        Err(ObjectError::TooDeep { limit: 2 })
    );
    assert_eq!(
        read(json!({"r": {"a": 1, "b": 2, "c": 3, "d": 4}})),
        Err(ObjectError::TooMany { limit: 4 })
    );
    assert!(matches!(
        read(json!({"r": {"abcd": 1}})),
        Err(ObjectError::Name { limit: 3, .. })
    ));
}

#[test]
fn written_trees_are_read_back() {
    let rows = [
        (
            "",
            "Sensor",
            nodes(&[
                ("", None),
                ("ID", chr("a")),
                ("Data", None),
                ("Data/7", None),
            ]),
        ),
        (
            "Data",
            "Data",
            nodes(&[("", None), ("1", None), ("1/Value", Some(Value::Int(-1)))]),
        ),
        ("Data/1/Value", "Value", nodes(&[("", Some(Value::Int(3)))])),
    ];
    for (at, key, list) in rows {
        let item = MoItem::from_nodes(format!("urn:x:1//{at}"), key, &list, Some("7".into()));
        let members = item.data.as_object().expect("an object");
        assert_eq!(members.keys().collect::<Vec<_>>(), [key], "{at:?}");
        let bytes = MoItem::to_bytes(std::slice::from_ref(&item));
        assert_eq!(
            MoItem::parse_all(&bytes, &Limits::default()),
            Ok(vec![item.clone()])
        );
        assert_eq!(
            item.nodes(&path(at), Some(&sensor()), &Limits::default()),
            Ok(list)
        );
    }
}

#[test]
fn output_is_strict() {
    let mut item = MoItem::from_nodes(
        "urn:x:1//".into(),
        "R",
        &nodes(&[("b/c", chr("1")), ("a", None)]),
        None,
    );
    item.ddf = Some("https://d/".into());
    item.cv = Some("7".into());
    let text = String::from_utf8(MoItem::to_bytes(&[item])).unwrap();
    assert_eq!(
        text,
        r#"[{"ClientURI":"urn:x:1//","MOData":{"R":{"b":{"c":"1"},"a":{}}},"DDF":"https://d/","CV":"7"}]"#
    );
}
