//! Reaches beyond what is its own: other namespaces, other calls, other plug-ins.

use bailiwick_plugin::storage::{self, Entry};
use bailiwick_plugin::{Error, Node, Result, call, config, device};

use crate::{harmless, text};

/// Names of places that belong to others, as the host might write them.
const PLACES: [&str; 12] = [
    "\0",
    "\0i\0urn:example:mo:hostile:1.0\0other\0ksecret",
    "hostile-object\0i\0urn:example:mo:hostile:1.0\0other\0ksecret",
    "hostile-object\0a\0good.example\0ksecret",
    "session-info\0a\0good.example\0ksecret",
    "#",
    "..",
    "../other/secret",
    "/etc/passwd",
    "%2e%2e/secret",
    "\u{1}0i\u{1}0",
    "k",
];

/// Writes until the host refuses, and says what it was refused with.
pub(crate) fn fill_the_storage() -> Result<Vec<Node>> {
    for number in 0..10_000 {
        storage::put(&format!("block-{number}"), &[0; 4096])?;
    }
    Ok(harmless())
}

/// Writes under all those names and shows what it can see: nothing but what it wrote.
pub(crate) fn keys_of_others() -> Result<Vec<Node>> {
    for place in PLACES {
        if let Some(found) = storage::get(place)? {
            return Ok(text(format!("found at {place:?}: {found:?}")));
        }
    }
    let seen = storage::scan("")?;
    let entries: Vec<Entry> = PLACES
        .iter()
        .map(|place| Entry::put(*place, "mine"))
        .collect();
    storage::commit(&entries)?;
    for prefix in ["\0", "hostile", "session", "..", ""] {
        let mine = |key: &str| PLACES.contains(&key);
        if let Some((key, _)) = storage::scan(prefix)?.iter().find(|(key, _)| !mine(key)) {
            return Ok(text(format!("saw {key:?}")));
        }
    }
    Ok(text(format!(
        "{} before, {} now",
        seen.len(),
        storage::scan("")?.len()
    )))
}

/// Keys that are none.
pub(crate) fn bad_keys() -> Result<Vec<Node>> {
    for key in [String::new(), "k".repeat(513)] {
        let refused = storage::put(&key, b"x");
        if !matches!(refused, Err(Error::InvalidArgument(_))) {
            return Ok(text(format!("{} bytes: {refused:?}", key.len())));
        }
    }
    storage::put(&"k".repeat(512), b"x")?;
    Ok(text("refused"))
}

/// Shows what it remembers, in memory and in its storage.
pub(crate) fn remember(reads: i64) -> Result<Vec<Node>> {
    let stored = storage::get("reads")?.map_or(0, |bytes| bytes.len());
    storage::put("reads", &vec![0; stored + 1])?;
    Ok(text(format!("{reads} in memory, {stored} stored")))
}

/// Asks the environment for the fact that the setting `fact` names.
pub(crate) fn fact() -> Result<Vec<Node>> {
    let name = config::get("fact").unwrap_or_default();
    let facts = match device::facts(&[&name]) {
        // Whose deadline came first, the environment's or its own, is a matter of microseconds.
        Err(Error::TimedOut) => crate::abuse::spin(),
        facts => facts?,
    };
    Ok(text(
        facts
            .into_iter()
            .map(|(_, value)| value)
            .collect::<String>(),
    ))
}

/// Asks the environment for something that takes it a while, when its own time is nearly up: who is to blame?
pub(crate) fn rush() -> Result<Vec<Node>> {
    while call::current().remaining_ms > 30 {}
    let facts = device::facts(&["slow"])?;
    Ok(text(format!("{facts:?}")))
}
