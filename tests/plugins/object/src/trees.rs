//! Answers that are no trees, not its own, or far too long.

use bailiwick_plugin::{Error, LeafValue, MoClass, Node, Result};

/// Beyond what one call may make the host allocate.
const MANY: usize = 200_000;

pub(crate) fn long_list() -> Vec<Node> {
    vec![Node::interior(&[]); MANY]
}

pub(crate) fn long_text() -> Vec<Node> {
    vec![Node::leaf(&[], "x".repeat(5 << 20))]
}

/// The names of the trees below, and of one that is as it should be.
pub(crate) fn names() -> Vec<String> {
    [
        "good",
        "empty",
        "no-root",
        "out-of-order",
        "duplicate",
        "two-roots",
        "orphan",
        "below-a-leaf",
        "outside",
        "unknown",
        "wrong-format",
        "leaf-for-interior",
        "interior-for-leaf",
        "odd-names",
        "empty-name",
        "deep",
        "not-a-number",
        "huge-integer",
        "bad-base64",
        "too-many",
    ]
    .map(String::from)
    .into()
}

/// Answers that only the description of the object, or the rules of a tree, can tell from good ones.
pub(crate) fn tree(name: &str) -> Result<Vec<Node>> {
    let deep = vec!["Text"; 1000];
    Ok(match name {
        "good" => vec![Node::interior(&[]), Node::leaf(&["Text"], "x")],
        "too-many" => vec![Node::interior(&[]); 25_000],
        "empty" => vec![],
        "no-root" => vec![Node::leaf(&["Text"], "x")],
        "out-of-order" => vec![Node::leaf(&["Text"], "x"), Node::interior(&[])],
        "duplicate" => vec![
            Node::interior(&[]),
            Node::leaf(&["Text"], "x"),
            Node::leaf(&["Text"], "y"),
        ],
        "two-roots" => vec![Node::interior(&[]), Node::interior(&[])],
        "orphan" => vec![Node::interior(&[]), Node::leaf(&["No", "Text"], "x")],
        "below-a-leaf" => vec![
            Node::interior(&[]),
            Node::leaf(&["Text"], "x"),
            Node::leaf(&["Text", "Text"], "x"),
        ],
        "outside" => vec![Node::interior(&[]), Node::leaf(&["..", "..", "Text"], "x")],
        "unknown" => vec![Node::interior(&[]), Node::leaf(&["Secret"], "x")],
        "wrong-format" => vec![Node::interior(&[]), Node::leaf(&["Text"], 7)],
        "leaf-for-interior" => vec![Node::leaf(&[], "x")],
        "interior-for-leaf" => vec![Node::interior(&[]), Node::interior(&["Text"])],
        "odd-names" => vec![Node::interior(&[]), Node::leaf(&["Te/xt\0\n"], "x")],
        "empty-name" => vec![Node::interior(&[]), Node::leaf(&[""], "x")],
        "deep" => vec![Node::interior(&[]), Node::leaf(&deep, "x")],
        "not-a-number" => vec![
            Node::interior(&[]),
            Node::leaf(&["Text"], LeafValue::Floating(f64::NAN)),
        ],
        "huge-integer" => vec![
            Node::interior(&[]),
            Node::leaf(&["Text"], LeafValue::Integer(i64::MAX)),
        ],
        "bad-base64" => vec![
            Node::interior(&[]),
            Node::leaf(&["Text"], LeafValue::Base64("\0*".into())),
        ],
        other => return Err(Error::other(format!("there is no behaviour `{other}`"))),
    })
}

pub(crate) fn many_classes() -> Vec<MoClass> {
    (0..20_000)
        .map(|number| MoClass {
            id: format!("urn:example:mo:many-{number}:1.0"),
            ddf: "<MgmtTree/>".into(),
        })
        .collect()
}

/// The type of its own manifest once more, one of another plug-in, and one twice.
pub(crate) fn same_class() -> Vec<MoClass> {
    let ddf = include_str!("../object.ddf");
    [
        "urn:example:mo:hostile:1.0",
        "urn:oma:mo:oma-sessioninfomo:1.0",
        "urn:example:mo:twice:1.0",
        "urn:example:mo:twice:1.0",
        "urn:example:mo:a/b?c",
        "",
    ]
    .map(|id| MoClass {
        id: id.into(),
        ddf: ddf.into(),
    })
    .into()
}

/// A document of elements in elements: work for whoever reads it recursively.
pub(crate) fn deep_class() -> Vec<MoClass> {
    let depth = 100_000;
    vec![MoClass {
        id: "urn:example:mo:deep:1.0".into(),
        ddf: format!("{}{}", "<Node>".repeat(depth), "</Node>".repeat(depth)),
    }]
}

/// A document of 10 MB.
pub(crate) fn long_class() -> Vec<MoClass> {
    vec![MoClass {
        id: "urn:example:mo:long:1.0".into(),
        ddf: " ".repeat(10 << 20),
    }]
}
