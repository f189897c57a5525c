//! Paths as storage keys whose byte order is the pre-order of the tree.
//!
//! Every name ends with [`END`], so that the key of a node is a prefix of the keys below it and of no other.
//! What sorts up to `%` in a name is written `%XX`, so that [`END`] sorts before everything that may follow in a longer name.

use bailiwick_plugin::{Error, Result};

/// The root of an instance that has a namespace to itself.
pub(crate) const ROOT: &str = "n!";

const END: char = '!';
const MAX_KEY: usize = 512;

/// The key of a node below the root that has the key `root`.
pub(crate) fn of(root: &str, path: &[String]) -> Result<String> {
    let mut key = String::from(root);
    path.iter().for_each(|name| push(&mut key, name));
    match key.len() <= MAX_KEY && path.iter().all(|name| !name.is_empty()) {
        true => Ok(key),
        false => Err(Error::invalid_argument(format!(
            "the path {} is too long or has an empty name; use shorter names",
            path.join("/").chars().take(64).collect::<String>()
        ))),
    }
}

/// Adds a name to a key.
pub(crate) fn push(key: &mut String, name: &str) {
    for character in name.chars() {
        match character {
            '\0'..='%' => *key += &format!("%{:02X}", u32::from(character)),
            _ => key.push(character),
        }
    }
    key.push(END);
}

/// The path of a key that is `root` or below it.
pub(crate) fn path(root: &str, key: &str) -> Result<Vec<String>> {
    let names = key
        .strip_prefix(root)
        .map(|names| names.split_terminator(END));
    let path = names.and_then(|names| names.map(name).collect());
    path.ok_or_else(|| Error::other(format!("the stored key {key:?} is damaged")))
}

fn name(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('%');
    let mut name = String::from(parts.next()?);
    for part in parts {
        name.push(u8::from_str_radix(part.get(..2)?, 16).ok()?.into());
        name += &part[2..];
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(path: &[&str]) -> Vec<String> {
        path.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn keys_and_paths_are_two_forms_of_one_thing() {
        for names in [
            &[][..],
            &["a"],
            &["a", "b"],
            &["1%", "!", " x\0", "é/ü", "%21", "~"],
        ] {
            let key = of(ROOT, &owned(names)).unwrap();
            assert_eq!(path(ROOT, &key), Ok(owned(names)), "{key}");
        }
        assert_eq!(of(ROOT, &owned(&["a!", "b"])).unwrap(), "n!a%21!b!");
        for damaged in ["m!a!", "n!%2", "n!%zz!"] {
            assert!(
                matches!(path(ROOT, damaged), Err(Error::Other(_))),
                "{damaged}"
            );
        }
    }

    #[test]
    fn the_order_of_keys_is_pre_order() {
        let paths = [
            &[][..],
            &["a"],
            &["a", "z"],
            &["a "],
            &["a%"],
            &["a-"],
            &["a-", "b"],
            &["ab"],
        ];
        let keys: Vec<String> = paths
            .iter()
            .map(|names| of(ROOT, &owned(names)).unwrap())
            .collect();
        assert!(keys.is_sorted(), "{keys:?}");
        assert!(!keys[7].starts_with(&keys[1]));
    }

    #[test]
    fn names_that_give_no_key_are_refused() {
        for names in [&[""][..], &["a", "", "b"], &[&"x".repeat(600)]] {
            assert!(matches!(
                of(ROOT, &owned(names)),
                Err(Error::InvalidArgument(Some(_)))
            ));
        }
    }
}
