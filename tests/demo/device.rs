//! The device: the real daemon, configured with one line of policy for cards, and its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_tests::card::CardBed;
use bailiwick_tests::daemon::{Daemon, pause};
use bailiwick_tests::device::DEVICE_ID;
use bailiwick_tests::{executable, plugin_dir};
use serde_json::Value;

use crate::authority::Application;
use crate::tell::{printed, typed};

/// How long something may take that takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// A plug-in, and what its entry in the configuration says.
const PLUGINS: [(&str, &str); 7] = [
    (
        "tcp",
        "grant = [\"logging\", \"config\", \"session\", \"net\"]",
    ),
    ("linux", "grant = [\"logging\", \"config\", \"os\"]"),
    ("account", "grant = [\"logging\", \"accounts\"]"),
    (
        "certificate",
        "grant = [\"logging\", \"call-context\", \"storage\", \"certificates\", \"applications\"]",
    ),
    ("devinfo", ""),
    ("session-info", ""),
    ("generic", ""),
];

pub(crate) struct Device {
    config: PathBuf,
    daemon: Daemon,
}

impl Device {
    /// An empty one.
    pub(crate) fn start(directory: &Path, bed: &CardBed, pin: &str) -> Result<Self> {
        let directory = directory.join("device");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("card.pin"), pin)?;
        let mut text = format!(
            "state = \"state\"\nadmin-socket = \"admin.sock\"\napps-socket = \"apps.sock\"\nisolation = \"best-effort\"\n\
             [keys]\npcsc-socket = {:?}\n\
             [[card]]\nauthority = \"north\"\nissuer = \"../north.pem\"\npin-file = \"card.pin\"\n\
             purposes = [\"sessions\", \"applications\"]\n\
             [[policy]]\nauthority = \"*\"\nmoid = \"urn:oma:mo:oma-dm-devinfo:1.2\"\nrights = [\"read\"]\n",
            bed.socket()
        );
        for (name, settings) in PLUGINS {
            let id = match name {
                "linux" => format!("\nconfig = {{ device-id = {DEVICE_ID:?} }}"),
                _ => String::new(),
            };
            text.push_str(&format!(
                "[[plugins]]\npath = {:?}\n{settings}{id}\n",
                plugin_dir(name)
            ));
        }
        let config = directory.join("bailiwick.toml");
        fs::write(&config, text)?;
        let compiled = Command::new(executable("bailiwick"))
            .arg("--config")
            .arg(&config)
            .arg("compile")
            .output()?;
        ensure!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        let daemon = Daemon::start(&directory)?;
        Ok(Self { config, daemon })
    }

    pub(crate) fn stop(self) -> Result<()> {
        Ok(self.daemon.stop()?)
    }

    fn output(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(executable("bailiwick"));
        command.arg("--config").arg(&self.config).args(words);
        command.output().context("bailiwick")
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.output(words)?;
        if !output.status.success() {
            bail!(
                "`bailiwick {}`: {}",
                words.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same, for the reader's eyes.
    pub(crate) fn show(&self, words: &[&str]) -> Result<()> {
        typed(&[&["bailiwick"], words].concat());
        printed(&self.run(words)?);
        Ok(())
    }

    /// A command that should be refused; whether it was.
    pub(crate) fn show_refused(&self, words: &[&str]) -> Result<bool> {
        typed(&[&["bailiwick"], words].concat());
        let output = self.output(words)?;
        printed(&String::from_utf8_lossy(&output.stdout));
        printed(&String::from_utf8_lossy(&output.stderr));
        Ok(!output.status.success())
    }

    /// An application does something; its exit code.
    pub(crate) fn app(&self, who: &Application, wants: &[&str]) -> Result<i32> {
        let short = [
            &[
                "bailiwick",
                "app",
                "--authority",
                "north",
                "--cert",
                who.name,
            ],
            wants,
        ]
        .concat();
        typed(&short);
        let (cert, key) = (
            who.cert.display().to_string(),
            who.key.display().to_string(),
        );
        let words = [
            "app",
            "--authority",
            "north",
            "--cert",
            &cert,
            "--key",
            &key,
        ];
        let output = self.output(&[&words, wants].concat())?;
        printed(&String::from_utf8_lossy(&output.stdout));
        printed(&String::from_utf8_lossy(&output.stderr));
        output
            .status
            .code()
            .context("a signal ended the application")
    }

    fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(&["status", "--json"])?)?)
    }

    /// Waits for a session that the device has held of its own accord.
    pub(crate) fn wait_for_session(&self, authority: &str) -> Result<()> {
        self.wait_until("a session", |status| {
            status
                .pointer("/accounts/0/authority")
                .and_then(Value::as_str)
                == Some(authority)
                && status.pointer("/accounts/0/lastSession/succeeded") == Some(&Value::Bool(true))
        })
    }

    /// Waits until the status is as it should be.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<()> {
        let begun = Instant::now();
        loop {
            let status = self.status()?;
            if is_so(&status) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("waited in vain for {what}: {status:#}");
            }
            pause(Duration::from_millis(50));
        }
    }
}
