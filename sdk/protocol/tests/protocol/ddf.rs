//! DDF: what is read, what is tolerated, and how nodes are held against it.

use crate::{nodes, path, vector};
use bailiwick_protocol::{
    AccessTypes, Ddf, DdfError, DdfNode, Format, Limits, Occurrence, Scope, Value,
};

const GET: AccessTypes = AccessTypes {
    get: true,
    add: false,
    replace: false,
    delete: false,
    exec: false,
};

fn parse(xml: &str) -> Result<Ddf, DdfError> {
    Ddf::parse(xml.as_bytes(), &Limits::default())
}

fn devinfo() -> Ddf {
    Ddf::parse(vector!("devinfo-v1_2.ddf"), &Limits::default()).expect("the DevInfo DDF")
}

/// A tree of one node with these properties.
fn with_properties(properties: &str) -> Result<DdfNode, DdfError> {
    parse(&format!(
        "<MgmtTree><Node><DFProperties>{properties}</DFProperties></Node></MgmtTree>"
    ))
    .map(|ddf| ddf.root)
}

#[test]
fn device_information() {
    let ddf = devinfo();
    assert_eq!(ddf.moid.as_deref(), Some("urn:oma:mo:oma-dm-devinfo:1.2"));
    assert_eq!(
        (ddf.man.as_deref(), ddf.model.as_deref()),
        (Some("--Man--"), Some("--Mod--"))
    );
    assert_eq!(ddf.root_name(), "DevInfo");
    assert_eq!(ddf.root.children.len(), 12);
    assert_eq!(
        (ddf.root.format, ddf.root.scope),
        (Format::Node, Scope::Permanent)
    );
    assert_eq!(
        ddf.root.title.as_deref(),
        Some("The root of the Device Information MO.")
    );
    let lang = ddf.find(&path("Lang")).expect("Lang");
    let expected = DdfNode {
        name: Some("Lang".into()),
        access: GET,
        format: Format::Chr,
        occurrence: Occurrence::One,
        scope: Scope::Permanent,
        default: None,
        title: None,
        description: Some("Current language.".into()),
        mime: Some("text/plain".into()),
        children: vec![],
    };
    assert_eq!(lang, &expected);
    let device_type = ddf
        .find(&path("DevType"))
        .and_then(|node| node.description.clone());
    assert_eq!(
        device_type.as_deref(),
        Some("Kind of device: smartphone, tablet & so on.")
    );
}

#[test]
fn the_prolog_does_not_matter() {
    let text = str::from_utf8(vector!("devinfo-v1_2.ddf")).unwrap();
    let body = &text[text.find("<MgmtTree>").unwrap()..];
    let with_prefix = body
        .replace("</", "</d:")
        .replace('<', "<d:")
        .replace("<d:/d:", "</d:");
    for text in [
        body.to_owned(),
        format!("\u{FEFF}{body}"),
        format!("<?xml version='1.0'?><!-- a --><?pi b?><!DOCTYPE MgmtTree>\n{body}\n<!-- c -->"),
        with_prefix,
    ] {
        assert_eq!(parse(&text).as_ref(), Ok(&devinfo()), "{}", &text[..120]);
    }
}

#[test]
fn unnamed_nodes_match_what_no_sibling_has_taken() {
    let ddf = parse(
        "<MgmtTree><Node><Node><NodeName/><Node><NodeName>a</NodeName></Node></Node>\
         <Node><NodeName>b</NodeName></Node></Node></MgmtTree>",
    )
    .unwrap();
    assert_eq!(ddf.find(&[]), Some(&ddf.root));
    assert_eq!(
        ddf.find(&path("7")).and_then(|node| node.name.clone()),
        None
    );
    assert!(ddf.find(&path("7/a")).is_some());
    assert!(ddf.find(&path("b")).is_some_and(|node| node.is_leaf()));
    assert!(ddf.find(&path("b/a")).is_none());
    assert!(ddf.find(&path("7/c")).is_none());
}

#[test]
fn what_is_missing_has_a_default() {
    let bare = with_properties("").unwrap();
    assert_eq!(
        (bare.access, bare.format, bare.scope),
        (GET, Format::Chr, Scope::Dynamic)
    );
    assert_eq!((bare.name, bare.occurrence), (None, Occurrence::ZeroOrMore));
    let no_properties = parse("<MgmtTree><Node><NodeName>a</NodeName></Node></MgmtTree>").unwrap();
    assert_eq!(no_properties.root.occurrence, Occurrence::One);
    let interior = with_properties("<DFType><DDFName>urn:oma:mo:oma-fumo:1.0</DDFName></DFType>");
    assert_eq!(interior.unwrap().format, Format::Node);
}

#[test]
fn properties() {
    let none = AccessTypes::default();
    let access = [
        ("", none),
        ("<Get/><Copy/>", GET),
        (
            "<Add/><Replace></Replace>",
            AccessTypes {
                add: true,
                replace: true,
                ..none
            },
        ),
        (
            "<Delete/><Exec/>",
            AccessTypes {
                delete: true,
                exec: true,
                ..none
            },
        ),
    ];
    for (elements, expected) in access {
        let node = with_properties(&format!("<AccessType>{elements}</AccessType>")).unwrap();
        assert_eq!(node.access, expected, "{elements}");
    }
    let occurrences = [
        ("<One/>", Occurrence::One),
        ("<ZeroOrOne/>", Occurrence::ZeroOrOne),
        ("<ZeroOrMore/>", Occurrence::ZeroOrMore),
        ("<OneOrMore/>", Occurrence::OneOrMore),
        ("<ZeroOrN> 3 </ZeroOrN>", Occurrence::ZeroOrN(3)),
        ("<OneOrN>4</OneOrN>", Occurrence::OneOrN(4)),
    ];
    for (element, expected) in occurrences {
        let node = with_properties(&format!("<Occurrence>{element}</Occurrence>")).unwrap();
        assert_eq!(node.occurrence, expected, "{element}");
    }
    let text = with_properties("<DefaultValue><![CDATA[<a>]]>&#x41;&lt;</DefaultValue>").unwrap();
    assert_eq!(text.default.as_deref(), Some("<a>A<"));
    for unknown in [
        "<DFFormat><jpeg/></DFFormat>",
        "<Occurrence><Twice/></Occurrence>",
        "<Occurrence><OneOrN/></Occurrence>",
    ] {
        assert!(
            matches!(with_properties(unknown), Err(DdfError::Content { .. })),
            "{unknown}"
        );
    }
}

#[test]
fn names_of_the_root_key() {
    let named = |moid: &str| {
        let xml = format!(
            "<MgmtTree><Node><DFProperties><DFType><DDFName>{moid}</DDFName></DFType></DFProperties></Node></MgmtTree>"
        );
        let ddf = parse(&xml).unwrap();
        (ddf.root_name().to_owned(), ddf.moid)
    };
    assert_eq!(named("urn:oma:mo:oma-fumo:1.0").0, "fumo");
    assert_eq!(named("urn:oma:mo:x-acme-lamp:2.1").0, "x-acme-lamp");
    assert_eq!(
        named("org.example.lamp"),
        ("org.example.lamp".into(), Some("org.example.lamp".into()))
    );
    assert_eq!(named(""), ("MO".into(), None));
    assert_eq!(named("just text"), ("MO".into(), None));
}

#[test]
fn not_a_ddf() {
    let xml: fn(&DdfError) -> bool = |error| matches!(error, DdfError::Xml { .. });
    let no_root: fn(&DdfError) -> bool = |error| matches!(error, DdfError::NoRoot);
    let rows = [
        ("", no_root),
        ("{}", no_root),
        ("<html/>", no_root),
        ("<MgmtTree/>", no_root),
        ("<MgmtTree><Node></MgmtTree>", xml),
        ("<MgmtTree><Node>", xml),
        ("<MgmtTree><Node/>", xml),
        ("<MgmtTree><Node>&lol;</Node></MgmtTree>", xml),
        ("<MgmtTree><Node>&#0;</Node></MgmtTree>", xml),
        ("<!DOCTYPE a [", xml),
        ("</MgmtTree>", xml),
    ];
    for (text, expected) in rows {
        let error = parse(text).expect_err(text);
        assert!(expected(&error), "{text}: {error:?}");
    }
}

#[test]
fn children_that_no_path_could_tell_apart_are_refused() {
    let ambiguous = |child: &str| DdfError::Ambiguous {
        node: "a".into(),
        child: child.into(),
    };
    let parent = |children: &str| {
        parse(&format!(
            "<MgmtTree><Node><NodeName>a</NodeName>{children}</Node></MgmtTree>"
        ))
    };
    let named = "<Node><NodeName>b</NodeName></Node>";
    assert_eq!(parent(&named.repeat(2)), Err(ambiguous("b")));
    assert_eq!(
        parent("<Node/><Node><NodeName/></Node>"),
        Err(ambiguous("<x>"))
    );
    assert!(parent(&format!("{named}<Node/>")).is_ok());
}

#[test]
fn descriptions_in_another_encoding_do_not_cost_the_object() {
    let latin = b"<MgmtTree><Node><NodeName>a</NodeName><DFProperties><Description>\x93x\x94</Description></DFProperties></Node></MgmtTree>";
    let ddf = Ddf::parse(latin, &Limits::default()).unwrap();
    assert_eq!(ddf.root.description.as_deref(), Some("\u{FFFD}x\u{FFFD}"));
}

fn account() -> Ddf {
    let node = |name: &str, format: &str, occurrence: &str, children: &str| {
        format!(
            "<Node><NodeName>{name}</NodeName><DFProperties><DFFormat><{format}/></DFFormat>\
             <Occurrence>{occurrence}</Occurrence></DFProperties>{children}</Node>"
        )
    };
    let moid = node("MOID", "chr", "<One/>", "");
    let group = node("", "node", "<OneOrN>2</OneOrN>", &moid);
    let perm = node("Perm", "node", "<One/>", &group);
    let kind = node("Type", "int", "<ZeroOrOne/>", "");
    parse(&format!(
        "<MgmtTree>{}</MgmtTree>",
        node("Account", "node", "<One/>", &(perm + &kind))
    ))
    .expect("a DDF")
}

#[test]
fn nodes_that_follow_the_description() {
    let moid = || Some(Value::Chr("urn:x:1".into()));
    let whole = nodes(&[
        ("", None),
        ("Perm", None),
        ("Perm/a", None),
        ("Perm/a/MOID", moid()),
        ("Type", Some(Value::Int(1))),
    ]);
    assert_eq!(account().check(&whole), Ok(()));
    let leaves_only = nodes(&[("Perm/a/MOID", moid()), ("Perm/b/MOID", moid())]);
    assert_eq!(account().check(&leaves_only), Ok(()));
    let part = nodes(&[("", None), ("MOID", moid())]);
    assert_eq!(account().check_at(&path("Perm/c"), &part), Ok(()));
    assert_eq!(
        account().check_at(&path("Type"), &nodes(&[("", Some(Value::Int(2)))])),
        Ok(())
    );
}

#[test]
fn nodes_that_do_not() {
    let moid = || Some(Value::Chr("urn:x:1".into()));
    let count = |parent: &str, child: &str, found, expected| DdfError::WrongCount {
        parent: parent.into(),
        child: child.into(),
        found,
        expected,
    };
    let rows = [
        (nodes(&[("", None)]), count("", "Perm", 0, Occurrence::One)),
        (
            nodes(&[("Perm", None)]),
            count("Perm", "<x>", 0, Occurrence::OneOrN(2)),
        ),
        (
            nodes(&[("Perm/a", None)]),
            count("Perm/a", "MOID", 0, Occurrence::One),
        ),
        (
            nodes(&[
                ("Perm/a/MOID", moid()),
                ("Perm/b/MOID", moid()),
                ("Perm/c/MOID", moid()),
            ]),
            count("Perm", "<x>", 3, Occurrence::OneOrN(2)),
        ),
        (
            nodes(&[("Perm/a/MOID/b", moid())]),
            DdfError::UnknownNode {
                node: "Perm/a/MOID/b".into(),
            },
        ),
        (
            nodes(&[("Perm/a/Type", moid())]),
            DdfError::UnknownNode {
                node: "Perm/a/Type".into(),
            },
        ),
        (
            nodes(&[("Other", None)]),
            DdfError::UnknownNode {
                node: "Other".into(),
            },
        ),
        (
            nodes(&[("Type", moid())]),
            DdfError::WrongFormat {
                node: "Type".into(),
                expected: Format::Int,
                found: Format::Chr,
            },
        ),
        (
            nodes(&[("Type", None)]),
            DdfError::WrongFormat {
                node: "Type".into(),
                expected: Format::Int,
                found: Format::Node,
            },
        ),
        (
            nodes(&[("Perm", moid())]),
            DdfError::WrongFormat {
                node: "Perm".into(),
                expected: Format::Node,
                found: Format::Chr,
            },
        ),
        (
            nodes(&[("Perm", None), ("Perm", None)]),
            DdfError::Repeated {
                node: "Perm".into(),
            },
        ),
    ];
    for (list, expected) in rows {
        assert_eq!(account().check(&list), Err(expected), "{list:?}");
    }
    let nowhere = account().check_at(&path("Nowhere"), &nodes(&[("", None)]));
    assert_eq!(
        nowhere,
        Err(DdfError::UnknownNode {
            node: "Nowhere".into()
        })
    );
}

#[test]
fn occurrence_allows() {
    let rows = [
        (Occurrence::One, [false, true, false, false]),
        (Occurrence::ZeroOrOne, [true, true, false, false]),
        (Occurrence::ZeroOrMore, [true, true, true, true]),
        (Occurrence::OneOrMore, [false, true, true, true]),
        (Occurrence::ZeroOrN(2), [true, true, true, false]),
        (Occurrence::OneOrN(2), [false, true, true, false]),
    ];
    for (occurrence, expected) in rows {
        assert_eq!(
            [0, 1, 2, 3].map(|count| occurrence.allows(count)),
            expected,
            "{occurrence:?}"
        );
    }
}
