//! Every table and the schema version, on one page.
//!
//! Each table maps a key to a value, both bytes to the database. Keys are text made by [`key`] and are
//! kept in byte order; values are JSON of the room that owns the table, except in [`Table::Values`].

/// Where a value is kept. The comment names the key and the room that reads and writes the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// A name: what the store itself and the agent remember.
    Meta,
    /// `<authority>`: `accounts`.
    Accounts,
    /// `<moid>\0<miid>`: owner and grants of an instance, `permissions`.
    Instances,
    /// `<what>\0<authority>`: what an account permits its authority, `permissions`.
    Grants,
    /// `<plugin>\0i\0<moid>\0<miid>\0<key>` for an instance, `<plugin>\0a\0<authority>\0<key>` for the
    /// plug-in's own state: bytes that plug-ins keep, `plugins`. Sealed.
    Values,
    /// `<authority>...`: what outlives a session, `session`.
    Sessions,
    /// `<authority>...`: alerts that wait for a package, `session`.
    Alerts,
    /// `<authority>...`: results that wait for a package, `session`.
    Results,
    /// `<moid>...`: types that plug-ins brought beyond their manifests, `objects`.
    Types,
    /// `<plugin>...`: what is known of an installed plug-in, `plugins`.
    Plugins,
    /// `<plugin>\0i\0<moid>\0<miid>` or `<plugin>\0a\0<authority>`: the wrapped keys of the sealed values, the
    /// store's own.
    Keys,
    /// `<authority>\0<id>\0<role>`: anchors, identities and intermediates that were provisioned, `certificates`.
    Credentials,
    /// `<number>`: what was provisioned, refused and withdrawn, and why, newest last, `provisioning`.
    Audit,
}

impl Table {
    /// All of them, in the order of the schema.
    pub const ALL: [Table; 13] = [
        Table::Meta,
        Table::Accounts,
        Table::Instances,
        Table::Grants,
        Table::Values,
        Table::Sessions,
        Table::Alerts,
        Table::Results,
        Table::Types,
        Table::Plugins,
        Table::Keys,
        Table::Credentials,
        Table::Audit,
    ];

    /// Its name in SQL and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Accounts => "accounts",
            Table::Instances => "instances",
            Table::Grants => "grants",
            Table::Values => "stored_values",
            Table::Sessions => "sessions",
            Table::Alerts => "alerts",
            Table::Results => "results",
            Table::Types => "types",
            Table::Plugins => "plugins",
            Table::Keys => "keys",
            Table::Credentials => "credentials",
            Table::Audit => "audit",
        }
    }
}

/// The schema that this program reads and writes: the number of [`MIGRATIONS`].
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// `MIGRATIONS[n]` turns schema `n` into schema `n + 1`; schema 0 is the empty file. A released entry
/// never changes: what comes later is appended.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta          (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE accounts      (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE instances     (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE grants        (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE stored_values (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE sessions      (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE alerts        (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE results       (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE types         (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE plugins       (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE keys          (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
", "
    CREATE TABLE credentials   (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE audit         (key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
"];

/// The key with these parts: joined by `\0`, with `\0` and `\x01` inside a part escaped, so that no part
/// can reach into its neighbour. Text without those two characters stays as it is.
///
/// An escaped part is a prefix of another exactly when the parts are, so `key(&[a, b, "x"])` is the scan
/// prefix of all keys whose third part starts with `x`.
pub fn key(parts: &[&str]) -> String {
    let mut key = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            key.push('\0');
        }
        for character in part.chars() {
            match character {
                '\0' => key.push_str("\x01\x01"),
                '\x01' => key.push_str("\x01\x02"),
                other => key.push(other),
            }
        }
    }
    key
}

/// The scan prefix of all keys that have these parts and at least one more.
pub fn prefix(parts: &[&str]) -> String {
    let mut prefix = key(parts);
    prefix.push('\0');
    prefix
}

/// The parts of a key that [`key`] made.
pub fn parts(key: &str) -> Vec<String> {
    key.split('\0').map(unescape).collect()
}

fn unescape(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    let mut characters = part.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x01' => text.push(if characters.next() == Some('\x01') {
                '\0'
            } else {
                '\x01'
            }),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_the_schema_and_nothing_else() {
        let schema = MIGRATIONS.concat();
        assert_eq!(schema.matches("CREATE TABLE").count(), Table::ALL.len());
        for table in Table::ALL {
            assert!(
                schema.contains(&format!("CREATE TABLE {} ", table.name())),
                "{table:?}"
            );
        }
    }

    #[test]
    fn keys_keep_their_parts_apart() {
        let rows: [(&[&str], &str); 5] = [
            (
                &["clock", "i", "urn:oma:mo:x:1.0", "one", "a"],
                "clock\0i\0urn:oma:mo:x:1.0\0one\0a",
            ),
            (&[""], ""),
            (&["a", ""], "a\0"),
            (&["a\0b", "c"], "a\x01\x01b\0c"),
            (&["a", "b\x01c"], "a\0b\x01\x02c"),
        ];
        for (made_of, text) in rows {
            assert_eq!(key(made_of), text);
            assert_eq!(parts(text), made_of);
        }
        assert_ne!(key(&["a\0b", "c"]), key(&["a", "b\0c"]));
        assert!(!key(&["a\0b"]).starts_with(&prefix(&["a"])));
    }

    #[test]
    fn a_prefix_of_the_last_part_is_a_prefix_of_the_key() {
        let texts = [
            "", "a", "a\0", "a\0b", "\x01", "\x01\x01", "\x01\x02", "ä\0",
        ];
        for whole in texts {
            for start in texts {
                assert_eq!(
                    key(&["p", whole]).starts_with(&key(&["p", start])),
                    whole.starts_with(start),
                    "{whole:?} {start:?}"
                );
            }
        }
    }
}
