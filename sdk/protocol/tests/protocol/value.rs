//! Leaf values: what is read as what, and how it is written.

use bailiwick_protocol::{Format, Limits, Value, ValueError};
use serde_json::json;

#[test]
fn read_with_a_format() {
    let rows = [
        (json!(null), Format::Null, Value::Null),
        (json!(""), Format::Null, Value::Null),
        (json!(true), Format::Bool, Value::Bool(true)),
        (json!("False"), Format::Bool, Value::Bool(false)),
        (json!(1), Format::Bool, Value::Bool(true)),
        (json!(-2147483648_i64), Format::Int, Value::Int(-2147483648)),
        (json!("3"), Format::Int, Value::Int(3)),
        (json!(1.5), Format::Float, Value::Float(1.5)),
        (json!("-2e3"), Format::Float, Value::Float(-2000.0)),
        (json!(""), Format::Chr, Value::Chr("".into())),
        (json!(2), Format::Chr, Value::Chr("2".into())),
        (json!("AP8="), Format::Bin, Value::Bin(vec![0, 255])),
        (json!("AP8"), Format::Bin, Value::Bin(vec![0, 255])),
        (
            json!("-_\n+/"),
            Format::Bin,
            Value::Bin(vec![0xFB, 0xFF, 0xBF]),
        ),
        (json!("A P8="), Format::B64, Value::B64("A P8=".into())),
        (json!("<a/>"), Format::Xml, Value::Xml("<a/>".into())),
        (
            json!("20160209"),
            Format::Date,
            Value::Date("20160209".into()),
        ),
        (
            json!("T12:30:00+01:00"),
            Format::Time,
            Value::Time("T12:30:00+01:00".into()),
        ),
    ];
    for (json, format, value) in rows {
        let read = Value::from_json(&json, Some(format), &Limits::default());
        assert_eq!(read.as_ref(), Ok(&value), "{json} as {format}");
        assert_eq!(value.format(), format);
    }
}

#[test]
fn read_without_a_format() {
    let rows = [
        (json!(null), Value::Null),
        (json!(false), Value::Bool(false)),
        (json!(9007199254740993_i64), Value::Int(9007199254740993)),
        (json!(0.5), Value::Float(0.5)),
        (json!("AP8="), Value::Chr("AP8=".into())),
    ];
    for (json, value) in rows {
        assert_eq!(
            Value::from_json(&json, None, &Limits::default()),
            Ok(value),
            "{json}"
        );
    }
}

#[test]
fn refused() {
    let rows = [
        (json!([]), None),
        (json!({}), None),
        (json!(u64::MAX), None),
        (json!(null), Some(Format::Chr)),
        (json!([1]), Some(Format::Int)),
        (json!(2147483648_i64), Some(Format::Int)),
        (json!("-2147483649"), Some(Format::Int)),
        (json!("99999999999999999999"), Some(Format::Int)),
        (json!(1.5), Some(Format::Int)),
        (json!("0xB2"), Some(Format::Int)),
        (json!("NaN"), Some(Format::Float)),
        (json!("1e999"), Some(Format::Float)),
        (json!("yes"), Some(Format::Bool)),
        (json!("A"), Some(Format::Bin)),
        (json!("A%8="), Some(Format::B64)),
        (json!("AP=8"), Some(Format::Bin)),
        (json!("x"), Some(Format::Null)),
        (json!("yesterday"), Some(Format::Date)),
        (json!(""), Some(Format::Time)),
        (json!("x"), Some(Format::Node)),
    ];
    for (json, format) in rows {
        let read = Value::from_json(&json, format, &Limits::default());
        assert!(read.is_err(), "{json} as {format:?}: {read:?}");
    }
}

#[test]
fn written_values_are_read_back() {
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Int(-7),
        Value::Float(0.25),
        Value::Chr("\u{0}\"ä\n".into()),
        Value::Bin((0..=255).collect()),
        Value::B64("AP8=".into()),
        Value::Xml("<a>&amp;</a>".into()),
        Value::Date("2016-02-09".into()),
        Value::Time("12:30:00Z".into()),
    ];
    for value in values {
        let format = Some(value.format());
        assert_eq!(
            Value::from_json(&value.to_json(), format, &Limits::default()),
            Ok(value)
        );
    }
}

#[test]
fn text_form_is_what_a_condition_compares() {
    let rows = [
        (Value::Null, ""),
        (Value::Bool(true), "true"),
        (Value::Int(178), "178"),
        (Value::Float(1.0), "1.0"),
        (Value::Chr("GPS".into()), "GPS"),
        (Value::Bin(vec![0, 255]), "AP8="),
    ];
    for (value, text) in rows {
        assert_eq!(value.as_text(), text);
    }
}

#[test]
fn the_limit_counts_decoded_bytes() {
    let limits = Limits {
        value_bytes: 3,
        ..Limits::default()
    };
    let read = |json, format| Value::from_json(&json, Some(format), &limits);
    assert_eq!(read(json!("AAAA"), Format::Bin), Ok(Value::Bin(vec![0; 3])));
    let too_large = Err(ValueError::TooLarge { bytes: 4, limit: 3 });
    assert_eq!(read(json!("AAAAAA=="), Format::Bin), too_large);
    assert_eq!(read(json!("abcd"), Format::Chr), too_large);
    assert_eq!(Value::from_json(&json!("abcd"), None, &limits), too_large);
}

#[test]
fn every_format_has_its_ddf_name() {
    for name in [
        "null", "b64", "bin", "bool", "chr", "int", "node", "xml", "date", "time", "float",
    ] {
        assert_eq!(
            Format::from_name(name)
                .map(|format| format.to_string())
                .as_deref(),
            Some(name)
        );
    }
    assert_eq!(Format::from_name("CHR"), None);
}
