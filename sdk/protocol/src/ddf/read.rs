//! DDF XML: first a bounded tree of elements, then its meaning. Entities beyond XML's own five are never expanded.

use super::{AccessTypes, Ddf, DdfError, DdfNode, Occurrence, Scope, UNNAMED};
use crate::{
    limits::{Limits, excerpt},
    value::Format,
};
use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesRef, Event},
};
use std::collections::BTreeSet;

pub(super) fn ddf(bytes: &[u8], limits: &Limits) -> Result<Ddf, DdfError> {
    let tree = element_tree(bytes, limits)?;
    let root = tree.child("Node").ok_or(DdfError::NoRoot)?;
    let mut budget = limits.ddf_nodes;
    Ok(Ddf {
        moid: df_type(root, "DDFName").filter(|name| is_moid(name)),
        root: node(root, &mut budget, limits)?,
        man: tree.text_of("Man"),
        model: tree.text_of("Mod"),
    })
}

fn node(element: &Element, budget: &mut usize, limits: &Limits) -> Result<DdfNode, DdfError> {
    *budget = budget.checked_sub(1).ok_or(DdfError::TooMany {
        limit: limits.ddf_nodes,
    })?;
    let name = element.text_of("NodeName");
    let children = element
        .children
        .iter()
        .filter(|child| child.name == "Node")
        .map(|child| node(child, budget, limits))
        .collect::<Result<Vec<_>, _>>()?;
    let bare = Element::default();
    let properties = element.child("DFProperties").unwrap_or(&bare);
    let here = || excerpt(name.as_deref().unwrap_or(UNNAMED));
    let unknown = |element, found: &str| DdfError::Content {
        element,
        node: here(),
        found: excerpt(found),
    };
    if let Some(child) = repeated_name(&children) {
        return Err(DdfError::Ambiguous {
            node: here(),
            child: excerpt(child),
        });
    }
    Ok(DdfNode {
        access: access(properties),
        format: match children.is_empty() {
            true => format(properties).map_err(|found| unknown("DFFormat", found))?,
            false => Format::Node,
        },
        occurrence: occurrence(properties, name.is_some())
            .map_err(|found| unknown("Occurrence", found))?,
        scope: scope(properties),
        default: properties.text_of("DefaultValue"),
        title: properties.text_of("DFTitle"),
        description: properties.text_of("Description"),
        mime: df_type(element, "MIME"),
        name,
        children,
    })
}

fn repeated_name(children: &[DdfNode]) -> Option<&str> {
    let mut names = BTreeSet::new();
    let repeated = children.iter().find(|child| !names.insert(&child.name))?;
    Some(repeated.name.as_deref().unwrap_or(UNNAMED))
}

// choice: a node without AccessType can be read and nothing else.
fn access(properties: &Element) -> AccessTypes {
    match properties.child("AccessType") {
        Some(access) => AccessTypes::from_elements(access.children.iter().map(|e| e.name.as_str())),
        None => AccessTypes {
            get: true,
            ..AccessTypes::default()
        },
    }
}

// choice: a node without DFFormat and without children is text, unless its type is another MO.
fn format(properties: &Element) -> Result<Format, &str> {
    match properties
        .child("DFFormat")
        .and_then(|format| format.children.first())
    {
        Some(element) => Format::from_name(&element.name).ok_or(&element.name),
        None if properties
            .child("DFType")
            .is_some_and(|t| t.text_of("DDFName").is_some()) =>
        {
            Ok(Format::Node)
        }
        None => Ok(Format::Chr),
    }
}

// choice: without Occurrence, a named node occurs once and an unnamed one any number of times.
fn occurrence(properties: &Element, named: bool) -> Result<Occurrence, &str> {
    let Some(element) = properties
        .child("Occurrence")
        .and_then(|e| e.children.first())
    else {
        return Ok(if named {
            Occurrence::One
        } else {
            Occurrence::ZeroOrMore
        });
    };
    let n = || {
        element
            .text
            .trim()
            .parse()
            .map_err(|_| element.text.as_str())
    };
    match element.name.as_str() {
        "One" => Ok(Occurrence::One),
        "ZeroOrOne" => Ok(Occurrence::ZeroOrOne),
        "ZeroOrMore" => Ok(Occurrence::ZeroOrMore),
        "OneOrMore" => Ok(Occurrence::OneOrMore),
        "ZeroOrN" => n().map(Occurrence::ZeroOrN),
        "OneOrN" => n().map(Occurrence::OneOrN),
        other => Err(other),
    }
}

/// Dynamic unless said otherwise, as in the DM 1.3 DDF.
fn scope(properties: &Element) -> Scope {
    match properties
        .child("Scope")
        .and_then(|scope| scope.child("Permanent"))
    {
        Some(_) => Scope::Permanent,
        None => Scope::Dynamic,
    }
}

fn df_type(node: &Element, kind: &str) -> Option<String> {
    node.child("DFProperties")?.child("DFType")?.text_of(kind)
}

/// `urn:…`, or a reversed domain name.
fn is_moid(name: &str) -> bool {
    name.contains([':', '.']) && !name.contains(|c: char| c == '/' || c.is_whitespace())
}

/// An XML element without attributes, which a DDF does not use. Names are without namespace prefix.
#[derive(Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The trimmed text of a child; `None` if that is empty.
    fn text_of(&self, name: &str) -> Option<String> {
        let text = self.child(name)?.text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// The `MgmtTree` element.
fn element_tree(bytes: &[u8], limits: &Limits) -> Result<Element, DdfError> {
    if bytes.len() > limits.ddf_bytes {
        return Err(DdfError::TooLarge {
            bytes: bytes.len(),
            limit: limits.ddf_bytes,
        });
    }
    // Descriptions in the field hold stray Latin-1 quotes and dashes; they must not cost the whole object.
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut budget = limits.ddf_nodes.saturating_mul(ELEMENTS_PER_NODE);
    let mut open = vec![Element::default()];
    loop {
        let event = reader
            .read_event()
            .map_err(|error| xml_error(&reader, error))?;
        match (event, open.last_mut()) {
            (Event::Start(start), _) => {
                budget = budget.checked_sub(1).ok_or(DdfError::TooMany {
                    limit: limits.ddf_nodes,
                })?;
                if open.len() > limits.depth {
                    return Err(DdfError::TooDeep {
                        limit: limits.depth,
                    });
                }
                let name = start.local_name().as_ref().to_owned();
                open.push(Element {
                    name,
                    ..Element::default()
                });
            }
            (Event::End(_), _) => close(&mut open),
            (Event::Text(text), Some(element)) => element.text.push_str(&text.xml10_content()),
            (Event::CData(text), Some(element)) => element.text.push_str(&text.xml10_content()),
            (Event::GeneralRef(reference), Some(element)) => {
                let resolved = resolve(&reference);
                element.text.push_str(&resolved.ok_or_else(|| {
                    xml_error(&reader, "only the five entities of XML itself are read")
                })?);
            }
            (Event::Eof, _) => break,
            _ => {}
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(document), true) => document
            .children
            .into_iter()
            .find(|e| e.name == "MgmtTree")
            .ok_or(DdfError::NoRoot),
        _ => Err(xml_error(&reader, "an element is not closed")),
    }
}

/// A node with everything that describes it takes about 20 elements.
const ELEMENTS_PER_NODE: usize = 32;

/// Moves the innermost open element into the one around it.
fn close(open: &mut Vec<Element>) {
    if let Some(element) = open.pop()
        && let Some(parent) = open.last_mut()
    {
        parent.children.push(element);
    }
}

fn resolve(reference: &BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Some(character.to_string()),
        Ok(None) => resolve_predefined_entity(reference).map(str::to_owned),
        Err(_) => None,
    }
}

fn xml_error(reader: &Reader<&[u8]>, message: impl ToString) -> DdfError {
    DdfError::Xml {
        offset: reader.buffer_position(),
        message: message.to_string(),
    }
}
