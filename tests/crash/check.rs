//! What is wrong with an image, as the real daemon finds it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest;
use bailiwick::accounts::{Accounts, IdentityRef};
use bailiwick::authority::Authority;
use bailiwick::certificates;
use bailiwick::permissions::Permissions;
use bailiwick::store::{Options, Store, Table, tables};
use bailiwick_tests::daemon::Daemon;
use serde_json::json;

use super::device::{PATIENCE, PLUGINS, Plugins, configure, has_account, instances, read};
use super::images::Told;
use super::scenario::{self, MOID, State};
use super::server::{Management, SRV_ID};

/// What only commands write: tables, and the beginning of the keys in them. The rest says what sessions ran and what time it
/// was; a start changes it.
const WRITTEN: [(Table, &str); 6] = [
    (Table::Accounts, ""),
    (Table::Instances, ""),
    (Table::Grants, ""),
    (Table::Values, ""),
    (Table::Types, ""),
    (Table::Meta, "validator\0"),
];

/// A hash of each table, after so many acknowledgements.
pub(crate) type Tables = BTreeMap<String, String>;

/// What is wrong with the image in `disk`. `references`: its tables may be these.
pub(crate) fn check(directory: &Path, told: Told, references: &[Tables]) -> Result<()> {
    check_with(PLUGINS, directory, told, references)
}

pub(crate) fn check_with(
    plugins: &Plugins,
    directory: &Path,
    told: Told,
    references: &[Tables],
) -> Result<()> {
    configure(directory, "full", plugins)?;
    let daemon = Daemon::start(directory)?;
    let has_account = has_account(&daemon)?;
    ensure!(has_account || told.acknowledged == 0, "the account is gone");
    check_instances(&instances(&daemon)?, told)?;
    daemon.kill()?;
    let state = directory.join("disk/state");
    let store = Store::open(&state, Options::default())?;
    let tables = tables(&store)?;
    ensure!(
        references.is_empty() || references.contains(&tables),
        "the tables are {tables:?}, and should be one of {references:?}"
    );
    if has_account {
        let is_to_be_reported = !store
            .scan(Table::Alerts, &tables::prefix(&[SRV_ID]))?
            .is_empty();
        ensure!(
            is_to_be_reported || told.sent,
            "the server is never told of the bootstrap"
        );
        check_secrets(&store, &state.join("keys"))?;
        check_identity(store, &state)?;
    }
    Ok(())
}

/// The key belongs to the certificate.
fn check_identity(store: Store, state: &Path) -> Result<()> {
    let permissions = Permissions::new(store.clone(), &[])?;
    let accounts = Accounts::new(store, permissions, state)?;
    let account = accounts.get(&Authority::server(SRV_ID))?;
    let identity = account.context("the account is gone")?.identity;
    if let IdentityRef::File { chain_der, key } = identity {
        let key = fs::read(state.join("keys").join(String::from(key)))?;
        certificates::check_pair(&chain_der, &key)?;
    }
    Ok(())
}

/// Every secret that the account refers to is there and whole: its name is a hash of its owner and of what it holds.
fn check_secrets(store: &Store, directory: &Path) -> Result<()> {
    for (_, row) in store.scan(Table::Accounts, "")? {
        let row = String::from_utf8(row)?;
        for name in row.split('"').filter(|text| text.ends_with(".pem")) {
            let secret = fs::read(directory.join(name)).with_context(|| name.to_owned())?;
            let hash = digest::digest(
                &digest::SHA256,
                &[SRV_ID.as_bytes(), b"\0", &secret].concat(),
            );
            ensure!(
                format!("{}.pem", hex(&hash.as_ref()[..16])) == name,
                "the secret {name} is damaged"
            );
        }
    }
    Ok(())
}

/// On this image, the daemon holds a session, in which the server reads what is there.
pub(crate) fn check_session(directory: &Path, told: Told, management: &Management) -> Result<()> {
    configure(directory, "full", PLUGINS)?;
    let before = management.answers().len();
    let serving = management.serve()?;
    let daemon = Daemon::start(directory)?;
    if has_account(&daemon)? {
        management.ask(&format!("{MOID}/*/"))?;
        let begun = Instant::now();
        while management.answers().len() == before {
            ensure!(
                begun.elapsed() < PATIENCE,
                "no session: {}",
                daemon.call("Accounts", json!({}))?
            );
            // Unless the daemon holds one by itself.
            let _busy = daemon.call("Session", json!({ "authority": SRV_ID }));
        }
        let answers = management.answers();
        let answer = answers.last().context("an answer")?;
        ensure!(
            matches!(answer.code, 200 | 404),
            "the command got {}",
            answer.code
        );
        check_instances(&read(&answer.objects)?, told)?;
    }
    daemon.stop()?;
    serving.stop()
}

fn check_instances(found: &State, told: Told) -> Result<()> {
    let allowed = [told.acknowledged, told.acknowledged + 1].map(state_after);
    ensure!(
        allowed.contains(found),
        "{} acknowledgements; there is {}, and there should be {}",
        told.acknowledged,
        describe(found),
        allowed
            .iter()
            .map(describe)
            .collect::<Vec<_>>()
            .join(" or ")
    );
    Ok(())
}

/// Hashes of the tables.
pub(crate) fn tables(store: &Store) -> Result<Tables> {
    let mut tables = Tables::new();
    for (table, prefix) in WRITTEN {
        let mut hash = digest::Context::new(&digest::SHA256);
        let rows = store.scan(table, prefix)?;
        for (key, value) in &rows {
            for part in [key.as_bytes(), value] {
                hash.update(&part.len().to_le_bytes());
                hash.update(part);
            }
        }
        // An empty table is none.
        if !rows.is_empty() {
            let digits = hex(&hash.finish().as_ref()[..8]);
            tables.insert(
                table.name().to_owned(),
                format!("{} rows, {digits}", rows.len()),
            );
        }
    }
    Ok(tables)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is there after so many acknowledgements, of which the first is that of the bootstrap.
fn state_after(acknowledged: usize) -> State {
    let mut state = State::new();
    for step in scenario::steps()
        .iter()
        .take(acknowledged.saturating_sub(1))
    {
        step.apply(&mut state);
    }
    state
}

pub(crate) fn describe(state: &State) -> String {
    let instance = |(name, content): (&String, &scenario::Content)| {
        let start: String = content.pair.chars().take(6).collect();
        format!(
            "{name}={start}...({}, {} items)",
            content.pair.len(),
            content.items.len()
        )
    };
    format!(
        "[{}]",
        state.iter().map(instance).collect::<Vec<_>>().join(" ")
    )
}
