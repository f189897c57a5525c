//! ClientURI: the specification's table, what peers write differently, and what is refused.

use crate::path;
use bailiwick_protocol::{
    ClientUri, InstanceId, InstanceSelector, Limits, NodeValue, Query, Segment, UriError,
};

const M: &str = "urn:oma:mo:moid:1.0";

#[test]
fn addresses_of_the_specification() {
    use InstanceSelector::{All, Id, Only, Unknown};
    let left = || Id("left".into());
    let value = |unknown, path: &str, value: &str| NodeValue {
        unknown,
        path: crate::path(path),
        value: value.into(),
    };
    let rows = [
        ("M/left/", left(), "", vec![]),
        ("M//", Only, "", vec![]),
        (
            "M/(x)/?nv=(x)/ID:Temperature",
            Unknown('x'),
            "",
            vec![value('x', "ID", "Temperature")],
        ),
        (
            "M/(x)/Data/1/Value?nv=(x)/ID:GPS",
            Unknown('x'),
            "Data/1/Value",
            vec![value('x', "ID", "GPS")],
        ),
        (
            "M/right/Data/(x)/Value?nv=(x)/Date:12.1",
            Id("right".into()),
            "Data/(x)/Value",
            vec![value('x', "Date", "12.1")],
        ),
        (
            "M/(x)/Data/(y)/Value?nv=(x)/ID:GPS&nv=(y)/Date:12.2",
            Unknown('x'),
            "Data/(y)/Value",
            vec![value('x', "ID", "GPS"), value('y', "Date", "12.2")],
        ),
        ("M/*/Setting", All, "Setting", vec![]),
        (
            "M/(x)/Data/*/Value?nv=(x)/ID:GPS",
            Unknown('x'),
            "Data/*/Value",
            vec![value('x', "ID", "GPS")],
        ),
        (
            "M/(x)/Data/*/Value?nv=(x)/ID:GPS&nv=(x)/Setting:0xB2",
            Unknown('x'),
            "Data/*/Value",
            vec![value('x', "ID", "GPS"), value('x', "Setting", "0xB2")],
        ),
        ("M/*/Data/*/Value", All, "Data/*/Value", vec![]),
    ];
    for (text, instance, steps, values) in rows {
        let text = text.replacen('M', M, 1);
        let uri = ClientUri::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let expected = ClientUri {
            moid: M.into(),
            instance,
            path: segments(steps),
            query: Query {
                values,
                validator: None,
            },
        };
        assert_eq!(uri, expected, "{text}");
        assert_eq!(uri.to_string(), text);
        assert_eq!(uri.is_set(), text.contains('*'), "{text}");
    }
}

fn segments(steps: &str) -> Vec<Segment> {
    path(steps)
        .into_iter()
        .map(|step| match step.as_str() {
            "*" => Segment::All,
            "(x)" => Segment::Unknown('x'),
            "(y)" => Segment::Unknown('y'),
            _ => Segment::Name(step),
        })
        .collect()
}

#[test]
fn liberal_forms_have_one_strict_form() {
    let rows = [
        ("M/left", "M/left/"),
        ("M/", "M//"),
        ("M/left/Data/", "M/left/Data"),
        ("M/left/?", "M/left/"),
        ("M/left/a?&cv=7&", "M/left/a?cv=7"),
        ("M//a:b&c", "M//a%3Ab%26c"),
        ("M//%61%2f%2A%28x%29", "M//a%2F%2A%28x%29"),
        ("M//Ä", "M//%C3%84"),
        (
            "M/(x)/?nv=(x)/URL:http://h/?a=(b)*",
            "M/(x)/?nv=(x)/URL:http%3A%2F%2Fh%2F%3Fa=%28b%29%2A",
        ),
        ("org.example.mo/1/Data", "org.example.mo/1/Data"),
    ];
    for (text, strict) in rows {
        let (text, strict) = (text.replacen('M', M, 1), strict.replacen('M', M, 1));
        let uri: ClientUri = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(uri.to_string(), strict, "{text}");
        assert_eq!(ClientUri::parse(&strict).unwrap(), uri);
    }
}

#[test]
fn escaped_names_are_names() {
    let uri = ClientUri::parse("urn:x:1//%2A/%28x%29?cv=%26").unwrap();
    assert_eq!(uri.plain_path(), Some(path("*/(x)")));
    assert_eq!(uri.query.validator.as_deref(), Some("&"));
    assert!(!uri.has_wildcard());
}

#[test]
fn constructors_agree_with_the_reader() {
    let rows = [
        (ClientUri::root(M, "left"), "M/left/"),
        (ClientUri::root(M, ""), "M//"),
        (ClientUri::node(M, "a b", &path("Data/1")), "M/a%20b/Data/1"),
        (InstanceId::new(M, "left").uri(), "M/left/"),
    ];
    for (uri, text) in rows {
        let text = text.replacen('M', M, 1);
        assert_eq!(uri.to_string(), text);
        assert_eq!(ClientUri::parse(&text).unwrap(), uri);
    }
    assert_eq!(InstanceId::new(M, "left").to_string(), format!("{M}/left/"));
}

#[test]
fn refused() {
    type Check = fn(&UriError) -> bool;
    let field: Check = |error| matches!(error, UriError::Field { .. });
    let name: Check = |error| matches!(error, UriError::Name { .. });
    let escape: Check = |error| matches!(error, UriError::Escape { .. });
    let reserved: Check = |error| matches!(error, UriError::Reserved { .. });
    let rows: &[(&str, Check)] = &[
        ("", |error| matches!(error, UriError::NoInstance { .. })),
        ("urn:x:1", |error| {
            matches!(error, UriError::NoInstance { .. })
        }),
        ("/left/", name),
        ("urn:x:1///", name),
        ("urn:x:1//a//b", name),
        ("urn:x:1//a/../b", name),
        ("urn:x:1/%2E%2E/", name),
        ("urn:x:1//a%00", name),
        ("urn:x:1//a%0Ab", name),
        ("urn:x:1//a%", escape),
        ("urn:x:1//a%4", escape),
        ("urn:x:1//a%+1", escape),
        ("urn:x:1//a%FF", escape),
        ("urn:x:1//Da*", reserved),
        ("urn:x:1//(xy)", reserved),
        ("urn:x:1//(1)", reserved),
        ("urn:x:1//(x", reserved),
        ("urn:x:1//(x)a?nv=(x)/b:c", reserved),
        ("urn:x:1//?nv=", field),
        ("urn:x:1/(x)/?nv=(x)", field),
        ("urn:x:1/(x)/?nv=(x)/ID", field),
        ("urn:x:1/(x)/?nv=(x):GPS", field),
        ("urn:x:1/(x)/?nv=x/ID:GPS", field),
        ("urn:x:1//?cv=1&cv=2", field),
        ("urn:x:1//?limit=1", field),
        ("urn:x:1/(x)/?nv=(x)//a:b", name),
        ("urn:x:1/(x)/", |error| {
            matches!(error, UriError::Unbound { letter: 'x' })
        }),
        ("urn:x:1/(x)/?nv=(X)/a:b", |error| {
            matches!(error, UriError::Stray { letter: 'X' })
        }),
        ("urn:x:1//?nv=(x)/a:b", |error| {
            matches!(error, UriError::Stray { letter: 'x' })
        }),
        ("urn:x:1/(x)/(x)?nv=(x)/a:b", |error| {
            matches!(error, UriError::Repeated { letter: 'x' })
        }),
    ];
    for (text, expected) in rows {
        let error = ClientUri::parse(text).expect_err(text);
        assert!(expected(&error), "{text}: {error:?}");
    }
}

#[test]
fn limits_hold_at_the_byte() {
    let limits = Limits {
        uri_bytes: 20,
        name_bytes: 8,
        depth: 3,
        ..Limits::default()
    };
    let parse = |text: &str| ClientUri::parse_within(text, &limits);
    assert!(parse("urn:x:1//12345678").is_ok());
    assert!(matches!(
        parse("urn:x:1//123456789"),
        Err(UriError::Name { limit: 8, .. })
    ));
    assert!(parse("urn:x:1//a/b/c").is_ok());
    assert!(matches!(
        parse("urn:x:1//a/b/c/d"),
        Err(UriError::TooDeep { limit: 3 })
    ));
    assert!(parse("urn:x:1//1234567/123").is_ok());
    let long = parse("urn:x:1//1234567/1234");
    assert_eq!(
        long,
        Err(UriError::TooLong {
            bytes: 21,
            limit: 20
        })
    );
}

#[test]
fn errors_quote_little() {
    let error = ClientUri::parse(&format!("urn:x:1//{}*", "ü".repeat(1000))).unwrap_err();
    assert!(error.to_string().len() < 250, "{error}");
}
