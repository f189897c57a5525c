//! Asks the host for too much of what it may have.

use bailiwick_plugin::log::{self, Level};
use bailiwick_plugin::notify::{self, Alert};
use bailiwick_plugin::storage::{self, Entry};
use bailiwick_plugin::{Node, Result, call, device};

use crate::harmless;

/// Milliseconds before its deadline at which a storm ends, so that it is answered.
const REST: u32 = 50;

fn time_is_left() -> bool {
    call::current().remaining_ms > REST
}

pub(crate) fn log_flood() -> Vec<Node> {
    let line = "flood ".repeat(100);
    while time_is_left() {
        for _ in 0..50 {
            log::error(&line);
        }
    }
    harmless()
}

/// One line of 1 MiB that would like to be many, and to speak to the terminal.
pub(crate) fn log_line() -> Vec<Node> {
    let line =
        "\u{1b}]0;title\u{7}\r\n2026-11-24T00:00:00Z  INFO bailiwick: all is well\u{2028}\u{202e}";
    log::error(&line.repeat((1 << 20) / line.len()));
    harmless()
}

/// 20 000 fields.
pub(crate) fn log_fields() -> Vec<Node> {
    log::write(Level::Error, "fields", &[("\n", "\n"); 20_000]);
    harmless()
}

/// Alerts of 16 KiB until the host has had enough.
pub(crate) fn alerts() -> Result<Vec<Node>> {
    let alert = Alert {
        alert_type: "urn:example:at:storm".into(),
        source: None,
        mark: None,
        data: Some("x".repeat(16 << 10)),
    };
    while time_is_left() {
        notify::raise_alert(&alert)?;
    }
    Ok(harmless())
}

/// One value again and again: within the quota, but what it replaces may have to be kept for a rollback.
pub(crate) fn rewrite() -> Result<Vec<Node>> {
    let mut value = vec![0; 64 << 10];
    while time_is_left() {
        storage::put("value", &value)?;
        value[0] = 1 - value[0];
    }
    Ok(harmless())
}

/// Keys that come and go: within the quota, but each leaves a mark in the transaction.
pub(crate) fn put_and_delete() -> Result<Vec<Node>> {
    let long = "k".repeat(500);
    let mut number = 0;
    while time_is_left() {
        let keys: Vec<String> = (0..1000)
            .map(|_| {
                number += 1;
                format!("{long}{number}")
            })
            .collect();
        let put: Vec<Entry> = keys
            .iter()
            .map(|key| Entry::put(key.as_str(), []))
            .collect();
        let delete: Vec<Entry> = keys.iter().map(|key| Entry::delete(key.as_str())).collect();
        storage::commit(&put)?;
        storage::commit(&delete)?;
    }
    Ok(harmless())
}

/// Deletes keys that never were.
pub(crate) fn delete_nothing() -> Result<Vec<Node>> {
    let long = "k".repeat(500);
    let mut number = 0;
    while time_is_left() {
        let delete: Vec<Entry> = (0..1000)
            .map(|_| {
                number += 1;
                Entry::delete(format!("{long}{number}"))
            })
            .collect();
        storage::commit(&delete)?;
    }
    Ok(harmless())
}

/// Everything that it has, again and again: work for the host, not for the sandbox.
pub(crate) fn scan() -> Result<Vec<Node>> {
    if storage::scan("")?.is_empty() {
        for number in 0..3 {
            storage::put(&format!("block-{number}"), &vec![1; 1 << 20])?;
        }
    }
    // A host that takes its time is heard out.
    while call::current().remaining_ms > 600 {
        storage::scan("")?;
    }
    Ok(harmless())
}

/// Small questions without end, which keep two other processes busy.
pub(crate) fn ask_the_environment() -> Result<Vec<Node>> {
    while time_is_left() {
        device::facts(&["nothing"])?;
    }
    Ok(harmless())
}
