//! The types that authorities registered: instances of `urn:oma:mo:x-bailiwick-mo-type:1.0`.
//!
//! They are objects like any other, with a DDF of their own; only that all of them lie in the plug-in's own
//! namespace, where [`classes`] finds them.

use crate::{key, value};
use bailiwick_plugin::{Error, LeafValue, MoClass, Node, Result, storage};
use bailiwick_protocol::{Ddf, DdfNode, Limits};
use std::collections::BTreeMap;

/// The class of types.
pub(crate) const MOID: &str = "urn:oma:mo:x-bailiwick-mo-type:1.0";

/// What a type looks like.
pub(crate) const DDF: &str = include_str!("../object.ddf");

/// Types that are not an authority's to define.
const RESERVED: &[&str] = &["urn:oma:mo:oma", "urn:oma:mo:x-bailiwick-"];

const ROOT: &str = "t!";
const MOID_NODE: &str = "MOID";
const DDF_NODE: &str = "DDF";

/// The key of the root of a type.
pub(crate) fn root_key(instance: &str) -> String {
    let mut key = String::from(ROOT);
    key::push(&mut key, instance);
    key
}

/// The registered types.
pub(crate) fn classes() -> Result<Vec<MoClass>> {
    let mut types: BTreeMap<String, MoClass> = BTreeMap::new();
    for (key, bytes) in storage::scan(ROOT)? {
        let path = key::path(ROOT, &key)?;
        if let ([instance, name], Some(LeafValue::Chars(text) | LeafValue::Xml(text))) =
            (&path[..], value::from_bytes(bytes)?)
        {
            let empty = || MoClass {
                id: String::new(),
                ddf: String::new(),
            };
            let class = types.entry(instance.clone()).or_insert_with(empty);
            match name.as_str() {
                MOID_NODE => class.id = text,
                DDF_NODE => class.ddf = text,
                _ => {}
            }
        }
    }
    Ok(types.into_values().collect())
}

/// Whether these nodes make a type that can be served.
pub(crate) fn check(initial: &[Node]) -> Result<()> {
    let moid = text(initial, MOID_NODE)?;
    check_moid(moid)?;
    if classes()?.iter().any(|class| class.id == moid) {
        return Err(Error::conflict(format!(
            "{moid} is registered already; delete that type first"
        )));
    }
    let ddf = Ddf::parse(text(initial, DDF_NODE)?.as_bytes(), &Limits::DEFAULT);
    let ddf = ddf.map_err(|error| Error::invalid_argument(error.to_string()))?;
    match &ddf.moid {
        Some(described) if described != moid => Err(Error::invalid_argument(format!(
            "the DDF describes {described}; register that, or correct its DDFName to {moid}"
        ))),
        _ if ddf.root.is_leaf() => Err(Error::invalid_argument(
            "the root of the DDF is a leaf; describe nodes below it",
        )),
        _ => check_defaults(&ddf.root),
    }
}

fn text<'a>(initial: &'a [Node], name: &str) -> Result<&'a str> {
    let node = initial.iter().find(|node| node.path == [name]);
    match node.and_then(|node| node.value.as_ref()) {
        Some(LeafValue::Chars(text) | LeafValue::Xml(text)) => Ok(text),
        _ => Err(Error::invalid_argument(format!(
            "a type needs the text {name}; add it"
        ))),
    }
}

/// A URN, or a reversed domain name.
fn check_moid(moid: &str) -> Result<()> {
    let is_moid = moid.len() <= Limits::DEFAULT.name_bytes
        && moid.contains([':', '.'])
        && moid
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/');
    if !is_moid {
        return Err(Error::invalid_argument(format!(
            "`{}` is no MOID; use a URN such as urn:oma:mo:x-example:1.0, or a reversed domain name",
            moid.chars().take(64).collect::<String>()
        )));
    }
    let lower = moid.to_ascii_lowercase();
    match RESERVED.iter().find(|prefix| lower.starts_with(*prefix)) {
        Some(prefix) => Err(Error::invalid_argument(format!(
            "{moid} is not yours to define, because it begins with {prefix}; use urn:oma:mo:x-…"
        ))),
        None => Ok(()),
    }
}

/// Every default must be readable before the first instance needs it.
fn check_defaults(node: &DdfNode) -> Result<()> {
    value::default_of(node)?;
    node.children.iter().try_for_each(check_defaults)
}
