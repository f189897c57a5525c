//! ClientURI to text; everything that could be taken for syntax is escaped.

use super::{ClientUri, InstanceSelector, NodeValue, Query, Segment};
use std::fmt::{self, Display, Formatter};

impl Display for ClientUri {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/",
            Escaped {
                text: &self.moid,
                also: b":"
            },
            self.instance
        )?;
        for (index, segment) in self.path.iter().enumerate() {
            let slash = if index == 0 { "" } else { "/" };
            write!(f, "{slash}{segment}")?;
        }
        self.query.fmt(f)
    }
}

impl Display for InstanceSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            InstanceSelector::Only => Ok(()),
            InstanceSelector::Id(miid) => name(miid).fmt(f),
            InstanceSelector::Unknown(letter) => write!(f, "({letter})"),
            InstanceSelector::All => f.write_str("*"),
        }
    }
}

impl Display for Segment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Name(text) => name(text).fmt(f),
            Segment::Unknown(letter) => write!(f, "({letter})"),
            Segment::All => f.write_str("*"),
        }
    }
}

/// With its question mark; nothing if there is nothing to say.
impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "?";
        for value in &self.values {
            write!(f, "{separator}nv={value}")?;
            separator = "&";
        }
        match &self.validator {
            Some(validator) => write!(f, "{separator}cv={}", name(validator)),
            None => Ok(()),
        }
    }
}

impl Display for NodeValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({})", self.unknown)?;
        for step in &self.path {
            write!(f, "/{}", name(step))?;
        }
        write!(f, ":{}", name(&self.value))
    }
}

fn name(text: &str) -> Escaped<'_> {
    Escaped { text, also: b"" }
}

/// Keeps the unreserved characters of RFC 3986 §2.3, the delimiters without a meaning here, and `also`.
struct Escaped<'a> {
    text: &'a str,
    also: &'static [u8],
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for byte in self.text.bytes() {
            if byte.is_ascii_alphanumeric()
                || b"-._~!$'+,;=@".contains(&byte)
                || self.also.contains(&byte)
            {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}
