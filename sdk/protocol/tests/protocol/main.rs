//! The behaviour of the crate, a module per format; `hostile` holds what an attacker would send to all of them.

mod bootstrap;
mod client_uri;
mod command;
mod ddf;
mod hostile;
mod notification;
mod object;
mod package;
mod value;

/// A test vector of `tests/vectors`.
macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/vectors/", $name)).as_slice()
    };
}
use vector;

/// A path from text with slashes; `""` is the empty path.
fn path(text: &str) -> Vec<String> {
    text.split('/')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A list of nodes from (path, value).
fn nodes(rows: &[(&str, Option<bailiwick_protocol::Value>)]) -> Vec<bailiwick_protocol::Node> {
    rows.iter()
        .map(|(text, value)| bailiwick_protocol::Node {
            path: path(text),
            value: value.clone(),
        })
        .collect()
}
