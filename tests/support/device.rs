//! A device: what is installed on it, its directory, its daemon, and what its operator can ask.
//!
//! What goes wrong on the way panics, and shows the end of the daemon's log: a test has failed then.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::daemon::{Client, Daemon};
use crate::{executable, plugin_dir, target_dir};

/// Entries of the code cache that tests share; beyond them it is emptied, most are of components that are gone.
const CODE_ENTRIES: usize = 200;

/// How the device calls itself.
pub const DEVICE_ID: &str = "IMEI:493005100592800";

/// What a device has installed, and what its operator has configured.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    plugins: Vec<(PathBuf, String)>,
    policy: Vec<(String, String, String)>,
    limits: Vec<(String, u64)>,
    sections: Vec<String>,
}

impl Setup {
    /// Every plug-in of the project; device policy lets everybody read who the device is and how it is connected.
    pub fn usual() -> Self {
        let linux = format!(
            "grant = [\"logging\", \"config\", \"os\"]\nconfig = {{ device-id = {DEVICE_ID:?} }}"
        );
        Self::default()
            .plugin(
                "tcp",
                "grant = [\"logging\", \"config\", \"session\", \"net\"]",
            )
            .plugin("linux", &linux)
            .plugin("account", "grant = [\"logging\", \"accounts\"]")
            .plugin("devinfo", "")
            .plugin("session-info", "")
            .plugin("generic", "")
            .policy("*", "urn:oma:mo:oma-dm-devinfo:1.2", "read")
            .policy("*", "urn:oma:mo:oma-sessioninfomo:1.0", "read")
    }

    /// Installs one more built plug-in; `settings` are further lines of its entry, TOML.
    pub fn plugin(mut self, name: &str, settings: &str) -> Self {
        self.plugins.push((plugin_dir(name), settings.to_owned()));
        self
    }

    /// Leaves a plug-in out.
    pub fn without(mut self, name: &str) -> Self {
        self.plugins.retain(|(path, _)| !path.ends_with(name));
        self
    }

    /// Leaves all of the device's policy out.
    pub fn without_policy(mut self) -> Self {
        self.policy.clear();
        self
    }

    /// Lets `authority` (or `*`) do something with what the device owns.
    pub fn policy(mut self, authority: &str, moid: &str, right: &str) -> Self {
        self.policy
            .push((authority.to_owned(), moid.to_owned(), right.to_owned()));
        self
    }

    /// Sets a limit.
    pub fn limit(mut self, name: &str, value: u64) -> Self {
        self.limits.push((name.to_owned(), value));
        self
    }

    /// Adds a section to the configuration, TOML.
    pub fn section(mut self, text: &str) -> Self {
        self.sections.push(text.to_owned());
        self
    }

    /// Starts the daemon on an empty state directory and waits until it serves.
    pub fn start(&self) -> Device {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        // Unix sockets lie in here, and their paths must be short.
        let directory = crate::scratch(&format!("d{number}")).expect("a directory");
        let configuration = self.configuration(Path::new("state"));
        fs::write(directory.join("bailiwick.toml"), configuration).expect("a file");
        compile(self, &directory);
        Device::start(directory)
    }

    fn configuration(&self, state: &Path) -> String {
        // Locked in as far as the kernel of the machine that runs the test can.
        let mut text = format!(
            "state = {state:?}\nadmin-socket = \"admin.sock\"\napps-socket = \"apps.sock\"\nisolation = \"best-effort\"\n"
        );
        for (path, settings) in &self.plugins {
            write!(text, "[[plugins]]\npath = {path:?}\n{settings}\n").expect("text");
        }
        for (authority, moid, right) in &self.policy {
            write!(
                text,
                "[[policy]]\nauthority = {authority:?}\nmoid = {moid:?}\nrights = [{right:?}]\n"
            )
            .expect("text");
        }
        for section in &self.sections {
            writeln!(text, "{section}").expect("text");
        }
        text += "[limits]\n";
        for (name, value) in &self.limits {
            writeln!(text, "{name} = {value}").expect("text");
        }
        text
    }
}

/// Brings the compiled code of the plug-ins into the state directory of a device. It is made only once for all tests:
/// in a state directory that they share.
fn compile(setup: &Setup, directory: &Path) {
    let shared = target_dir().join("tmp/compiled");
    let code = shared.join("code");
    fs::create_dir_all(&shared).expect("a directory");
    let lock = File::create(target_dir().join("tmp/compiled.lock")).expect("a file");
    lock.lock().expect("a lock");
    if code.is_dir() && files(&code).len() > CODE_ENTRIES {
        fs::remove_dir_all(&code).expect("a directory to be removed");
    }
    let config = directory.join("compile.toml");
    fs::write(&config, setup.configuration(&shared)).expect("a file");
    let output = Command::new(executable("bailiwick"))
        .args(["compile", "--config"])
        .arg(&config)
        .output()
        .expect("a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`bailiwick compile`: {said}");

    let own = directory.join("state/code");
    fs::create_dir_all(&own).expect("a directory");
    for name in files(&code) {
        fs::copy(code.join(&name), own.join(&name)).expect("a copy");
    }
}

fn files(directory: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").file_name())
        .collect()
}

/// A device whose daemon runs. Dropped, the daemon is killed and the directory removed.
pub struct Device {
    directory: PathBuf,
    daemon: Option<Daemon>,
}

impl Device {
    fn start(directory: PathBuf) -> Self {
        let mut command = Command::new(executable("bailiwick"));
        // As much as there is: nothing of it may be a secret.
        command.env("BAILIWICK_LOG", "debug");
        let daemon = Daemon::start_with(&mut command, &directory).expect("a daemon that serves");
        Self {
            directory,
            daemon: Some(daemon),
        }
    }

    /// What the operator can ask.
    pub fn admin(&self) -> Admin {
        let daemon = self.daemon.as_ref().expect("a daemon");
        Admin(daemon.client())
    }

    /// Where its configuration and its `state` are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything that the daemon has logged.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Panics if the daemon has ended.
    pub fn assert_running(&mut self) {
        let daemon = self.daemon.as_mut().expect("a daemon");
        daemon.assert_running().expect("a running daemon");
    }

    /// Ends the daemon as a service manager does, and starts it again on what it left behind.
    pub fn restart(mut self) -> Self {
        self.end();
        let directory = std::mem::take(&mut self.directory);
        Self::start(directory)
    }

    /// Ends the daemon as a service manager does, and waits until it has ended well.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.assert_running();
        let daemon = self.daemon.take().expect("a daemon");
        daemon.stop().expect("a daemon that ends well");
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.directory.as_os_str().is_empty() {
            return;
        }
        self.daemon = None;
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n  ");
            eprintln!("the end of the daemon's log:\n  {last}");
        }
        let _stays = fs::remove_dir_all(&self.directory);
    }
}

/// What the operator can ask.
pub struct Admin(Client);

impl Admin {
    /// Calls a method of `org.bailiwick.Admin`.
    pub fn call(&self, method: &str, parameters: Value) -> io::Result<Value> {
        self.0.call(method, parameters)
    }

    /// Takes the accounts of a document.
    pub fn bootstrap(&self, document: &[u8]) -> io::Result<Value> {
        let document = String::from_utf8_lossy(document);
        self.call("Bootstrap", json!({ "document": document }))
    }

    /// Holds a session and gives its report.
    pub fn session(&self, authority: &str) -> io::Result<Value> {
        let mut held = self.call("Session", json!({ "authority": authority }))?;
        Ok(held["report"].take())
    }

    /// Reads what a ClientURI names, as the operator.
    pub fn get(&self, client_uri: &str) -> io::Result<Vec<Value>> {
        let read = self.call("Get", json!({ "clientUri": client_uri }))?;
        Ok(read["items"].as_array().expect("items").clone())
    }

    /// What runs, and what protects it.
    pub fn status(&self) -> Value {
        self.call("Status", json!({})).expect("a status")
    }
}
