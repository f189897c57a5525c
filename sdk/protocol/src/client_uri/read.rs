//! Text to ClientURI, in the order of the grammar.

use super::{ClientUri, InstanceSelector, NodeValue, Query, Segment, UriError};
use crate::limits::{Limits, excerpt};

pub(super) fn client_uri(text: &str, limits: &Limits) -> Result<ClientUri, UriError> {
    if text.len() > limits.uri_bytes {
        return Err(UriError::TooLong {
            bytes: text.len(),
            limit: limits.uri_bytes,
        });
    }
    let (address, fields) = text.split_once('?').unwrap_or((text, ""));
    let (moid, rest) = address
        .split_once('/')
        .ok_or_else(|| UriError::NoInstance {
            moid: excerpt(address),
        })?;
    let (instance, steps) = rest.split_once('/').unwrap_or((rest, ""));
    let uri = ClientUri {
        moid: name(moid, limits)?,
        instance: instance_selector(instance, limits)?,
        path: path(steps, limits)?,
        query: query(fields, limits)?,
    };
    check_unknowns(&uri)?;
    Ok(uri)
}

fn instance_selector(text: &str, limits: &Limits) -> Result<InstanceSelector, UriError> {
    if text.is_empty() {
        return Ok(InstanceSelector::Only);
    }
    Ok(match segment(text, limits)? {
        Segment::Name(miid) => InstanceSelector::Id(miid),
        Segment::Unknown(letter) => InstanceSelector::Unknown(letter),
        Segment::All => InstanceSelector::All,
    })
}

fn path(text: &str, limits: &Limits) -> Result<Vec<Segment>, UriError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    // Peers write the addresses of interior nodes with and without a trailing slash.
    let text = text.strip_suffix('/').unwrap_or(text);
    bound_steps(text, limits)?;
    text.split('/').map(|step| segment(step, limits)).collect()
}

fn segment(text: &str, limits: &Limits) -> Result<Segment, UriError> {
    match (text, unknown(text)) {
        ("*", _) => Ok(Segment::All),
        (_, Some((letter, ""))) => Ok(Segment::Unknown(letter)),
        _ => name(text, limits).map(Segment::Name),
    }
}

fn query(text: &str, limits: &Limits) -> Result<Query, UriError> {
    let mut query = Query::default();
    for field in text.split('&').filter(|field| !field.is_empty()) {
        if let Some(condition) = field.strip_prefix("nv=") {
            query.values.push(node_value(condition, limits)?);
        } else if let (Some(validator), None) = (field.strip_prefix("cv="), &query.validator) {
            query.validator = Some(unescape(validator)?);
        } else {
            // An ignored condition would widen the set that a DELETE removes, so nothing is ignored.
            return Err(UriError::Field {
                field: excerpt(field),
            });
        }
    }
    Ok(query)
}

fn node_value(text: &str, limits: &Limits) -> Result<NodeValue, UriError> {
    let parts = unknown(text).and_then(|(letter, rest)| {
        let (steps, value) = rest.strip_prefix('/')?.split_once(':')?;
        Some((letter, steps, value))
    });
    let (unknown, steps, value) = parts.ok_or_else(|| UriError::Field {
        field: excerpt(text),
    })?;
    bound_steps(steps, limits)?;
    let path = steps
        .split('/')
        .map(|step| name(step, limits))
        .collect::<Result<_, _>>()?;
    Ok(NodeValue {
        unknown,
        path,
        value: unescape(value)?,
    })
}

/// The letter of a leading `(x)`, and what follows.
fn unknown(text: &str) -> Option<(char, &str)> {
    let mut rest = text.strip_prefix('(')?.chars();
    let letter = rest.next().filter(char::is_ascii_alphabetic)?;
    Some((letter, rest.as_str().strip_prefix(')')?))
}

/// One letter per unknown name, at least one condition per letter.
fn check_unknowns(uri: &ClientUri) -> Result<(), UriError> {
    let mut letters = Vec::new();
    if let InstanceSelector::Unknown(letter) = uri.instance {
        letters.push(letter);
    }
    for segment in &uri.path {
        if let Segment::Unknown(letter) = *segment {
            if letters.contains(&letter) {
                return Err(UriError::Repeated { letter });
            }
            letters.push(letter);
        }
    }
    let conditions = &uri.query.values;
    if let Some(stray) = conditions
        .iter()
        .find(|value| !letters.contains(&value.unknown))
    {
        return Err(UriError::Stray {
            letter: stray.unknown,
        });
    }
    let bound = |letter: &char| conditions.iter().any(|value| value.unknown == *letter);
    match letters.into_iter().find(|letter| !bound(letter)) {
        Some(letter) => Err(UriError::Unbound { letter }),
        None => Ok(()),
    }
}

fn bound_steps(text: &str, limits: &Limits) -> Result<(), UriError> {
    match text.split('/').nth(limits.depth) {
        Some(_) => Err(UriError::TooDeep {
            limit: limits.depth,
        }),
        None => Ok(()),
    }
}

fn name(text: &str, limits: &Limits) -> Result<String, UriError> {
    if text.contains(['(', ')', '*']) {
        return Err(UriError::Reserved {
            text: excerpt(text),
        });
    }
    let name = unescape(text)?;
    if !is_name(&name, limits) {
        return Err(UriError::Name {
            name: excerpt(&name),
            limit: limits.name_bytes,
        });
    }
    Ok(name)
}

/// What a MOID, a MIID and a node name have in common.
// choice: "." and ".." are refused, because RFC 3986 §5.2.4 lets anyone on the way remove them; control characters,
// because names reach logs and file systems.
pub(crate) fn is_name(name: &str, limits: &Limits) -> bool {
    (1..=limits.name_bytes).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.chars().any(char::is_control)
}

fn unescape(text: &str) -> Result<String, UriError> {
    let bad = || UriError::Escape {
        text: excerpt(text),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| bad())?);
    }
    String::from_utf8(bytes).map_err(|_| bad())
}
