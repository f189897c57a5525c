//! The device: its directory, its daemon, and what its operator sees.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bailiwick_tests::daemon::{Daemon, pause};
use bailiwick_tests::{executable, plugin_dir};
use serde_json::{Value, json};

use super::record;
use super::scenario::{self, MOID, State};
use super::server::{self, Management, SRV_ID};

/// How long a session that the daemon holds by itself may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Plug-ins of a device, with what the operator says about them.
pub(crate) type Plugins = [(&'static str, &'static str)];

/// What it takes to hold sessions.
pub(crate) const PLUGINS: &Plugins = &[
    ("account", "grant = ['logging', 'accounts']"),
    ("generic", ""),
    ("tcp", "grant = ['logging', 'config', 'session', 'net']"),
    (
        "linux",
        "grant = ['logging', 'config', 'os']\nconfig = { device-id = 'crash:1' }",
    ),
];

/// The first of them: enough to take an account, and not much to compile.
pub(crate) const FEW_PLUGINS: usize = 2;

/// Writes the configuration of a device, whose state is in `disk`.
pub(crate) fn configure(directory: &Path, durability: &str, plugins: &Plugins) -> Result<()> {
    let mut text = format!(
        "state = 'disk/state'\nadmin-socket = 'admin.sock'\nisolation = 'best-effort'\n\
         [testing]\ndurability = '{durability}'\n"
    );
    for (name, settings) in plugins {
        write!(
            text,
            "[[plugins]]\npath = '{}'\n{settings}\n",
            plugin_dir(name).canonicalize()?.display()
        )?;
    }
    Ok(fs::write(directory.join("bailiwick.toml"), text)?)
}

/// A device whose plug-ins are compiled, and nothing else: `disk` has only compiled code.
pub(crate) fn prepare(directory: &Path, durability: &str) -> Result<()> {
    fs::create_dir_all(directory.join("disk"))?;
    configure(directory, durability, PLUGINS)?;
    let mut compile = Command::new(executable("bailiwick"));
    let out = compile
        .arg("--config")
        .arg(directory.join("bailiwick.toml"))
        .arg("compile")
        .output()?;
    ensure!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

/// Gives the account to a daemon and waits until the session that reports it has ended. The time at which the
/// daemon had answered.
pub(crate) fn bootstrap(daemon: &Daemon, management: &Management) -> Result<u64> {
    daemon.call("Bootstrap", json!({ "document": management.bootstrap }))?;
    let answered = server::microseconds();
    let begun = Instant::now();
    loop {
        let accounts = daemon.call("Accounts", json!({}))?;
        if accounts.pointer("/accounts/0/lastSession/succeeded") == Some(&json!(true)) {
            return Ok(answered);
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "the bootstrap is not reported: {accounts}"
        );
        pause(Duration::from_millis(10));
    }
}

/// Runs a session, which must end well.
pub(crate) fn session(daemon: &Daemon) -> Result<()> {
    let held = daemon.call("Session", json!({ "authority": SRV_ID }))?;
    ensure!(held["succeeded"] == true, "the session failed: {held}");
    Ok(())
}

/// Starts the daemon under strace.
pub(crate) fn start_traced(device: &Path, trace: &Path) -> Result<Daemon> {
    let mut command = record::traced(&executable("bailiwick"), trace);
    let mut daemon = Daemon::start_with(&mut command, device)?;
    daemon.is_inside()?;
    Ok(daemon)
}

/// Whether the account is there; then it must be whole.
pub(crate) fn has_account(daemon: &Daemon) -> Result<bool> {
    let accounts = daemon.call("Accounts", json!({}))?;
    let accounts = accounts["accounts"].as_array().context("no accounts")?;
    let Some(account) = accounts.first() else {
        return Ok(false);
    };
    let permitted: Vec<&str> = account["permitted"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    ensure!(
        accounts.len() == 1
            && account["authority"] == SRV_ID
            && permitted.len() == scenario::PERMITTED.len(),
        "half of an account: {accounts:?}"
    );
    Ok(true)
}

/// All instances, read through the plug-in.
pub(crate) fn instances(daemon: &Daemon) -> Result<State> {
    match daemon.call("Get", json!({ "clientUri": format!("{MOID}/*/") })) {
        Ok(found) => read(&found["items"]),
        // There is no such type yet, or no instance.
        Err(error) if error.to_string().contains("\"status\":404") => Ok(State::new()),
        Err(error) => Err(error.into()),
    }
}

/// Reads the items that a GET gives.
pub(crate) fn read(items: &Value) -> Result<State> {
    scenario::read(items).map_err(|problem| anyhow!(problem))
}

/// Copies a directory with all below it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
