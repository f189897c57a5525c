//! `cargo xtask demo`: an authority and a device as real processes, and the story of one session between them.
//!
//! Nothing is simulated: the plug-ins are the built components, the session runs over TLS on the loopback interface,
//! and what is printed comes from the daemon's own report. Each command must get the status that `plot` foresees.

mod plot;
mod process;
mod story;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{self, step};
use crate::{plugins, setup, test};
use plot::{DEVICE_ID, NAME, PARTS, PERMITTED, POLICY, SRV_ID};
use process::Process;

/// Longest path that a Unix socket can have, with room for the name that the daemon gives it at first.
const SOCKET_BYTES: usize = 90;

/// Plays one of the stories.
pub(crate) fn demo(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => session(),
        [story] if story == "card" => card(),
        _ => bail!("there is `cargo xtask demo`, and `cargo xtask demo card`"),
    }
}

/// A card is inserted into an empty device. It is told by a program that has the test bed for cards.
fn card() -> Result<()> {
    setup::report(&setup::setup()?);
    let plugins = plugins::plugins()?;
    test::build()?;
    let target = plugins
        .parent()
        .context("the plug-ins lie in a directory")?;
    shell::run(&mut Command::new(target.join("debug/card-story")))
}

/// One session, command by command.
fn session() -> Result<()> {
    setup::report(&setup::setup()?);
    let plugins = plugins::plugins()?;
    test::build()?;
    let target = plugins
        .parent()
        .context("the plug-ins lie in a directory")?;
    let stage = Stage::set(target, &plugins)?;

    step("the authority: its keys, its server, its data");
    let mut server = stage.start_authority()?;
    let address = stage.authority_address(&mut server)?;
    let repository = format!("https://{address}/data/");
    let bootstrap = stage.prepare_authority(&address)?;

    step("the device: compiles its plug-ins to machine code, starts, and takes the account");
    stage.device(&["compile"])?;
    let mut daemon = stage.start_device()?;
    daemon.wait_for("an answer on its admin socket", || stage.status().ok())?;
    stage.device(&["bootstrap", path(&bootstrap)?])?;
    let before = daemon.wait_for("the first session, which reports the bootstrap", || {
        stage.status().ok().filter(first_session_ended)
    })?;

    step("the session");
    let lines = plot::lines(&repository);
    stage.queue(&lines)?;
    let report = stage.session()?;
    let after = stage.status()?;
    let results = stage.authority(&["results", DEVICE_ID, "--json"])?;
    daemon.stop()?;
    server.stop()?;

    eprintln!();
    story::cast(&address, &before);
    let surprises = story::session(&report, &lines);
    story::results(&results);
    story::epilogue(&after, &stage.directory);
    if !surprises.is_empty() {
        bail!(
            "the session did not go as foreseen: {}; the logs are in {}",
            surprises.join("; "),
            stage.directory.display()
        );
    }
    println!(
        "\nAll {} commands got the status that was foreseen.",
        lines.len()
    );
    Ok(())
}

fn first_session_ended(status: &Value) -> bool {
    status.pointer("/accounts/0/lastSession/succeeded") == Some(&Value::Bool(true))
}

/// Where the demonstration takes place.
struct Stage {
    directory: PathBuf,
    executables: PathBuf,
}

impl Stage {
    /// An empty directory with the device's configuration in it.
    fn set(target: &Path, plugins: &Path) -> Result<Self> {
        let directory = target.join("demo");
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot empty {}", directory.display()));
            }
            _ => fs::create_dir_all(directory.join("device"))?,
        }
        let stage = Self {
            directory,
            executables: target.join("debug"),
        };
        fs::write(stage.config(), stage.configuration(plugins)?)?;
        Ok(stage)
    }

    fn configuration(&self, plugins: &Path) -> Result<String> {
        let mut socket = self.directory.join("device/admin.sock");
        if socket.as_os_str().len() > SOCKET_BYTES {
            socket =
                std::env::temp_dir().join(format!("bailiwick-demo-{}.sock", std::process::id()));
        }
        let mut text = format!(
            "state = \"state\"\nadmin-socket = {:?}\n\
             # Locks itself in as far as the kernel can; on a device: \"required\".\n\
             isolation = \"best-effort\"\n",
            path(&socket)?
        );
        for part in PARTS {
            let plugin = plugins.join(part.name);
            write!(text, "\n[[plugins]]\npath = {:?}\n", path(&plugin)?)?;
            if !part.settings.is_empty() {
                writeln!(text, "{}", part.settings)?;
            }
        }
        for (moid, right) in POLICY {
            write!(
                text,
                "\n[[policy]]\nauthority = \"*\"\nmoid = {moid:?}\nrights = [{right:?}]\n"
            )?;
        }
        Ok(text)
    }

    fn config(&self) -> PathBuf {
        self.directory.join("device/bailiwick.toml")
    }

    fn authority_directory(&self) -> PathBuf {
        self.directory.join("authority")
    }

    fn start_authority(&self) -> Result<Process> {
        self.authority(&["init", "--name", NAME, "--srv-id", SRV_ID])?;
        let mut serve = self.authority_command(&["serve", "--listen", "127.0.0.1:0"]);
        serve.arg("--ready-file").arg(self.ready_file());
        Process::start(
            "the authority",
            &mut serve,
            &self.directory.join("authority.log"),
        )
    }

    fn authority_address(&self, server: &mut Process) -> Result<String> {
        server.wait_for("its address", || {
            let address = fs::read_to_string(self.ready_file()).ok()?;
            Some(address.trim().to_owned())
        })
    }

    fn ready_file(&self) -> PathBuf {
        self.directory.join("authority.address")
    }

    /// Fills the repository and enrols the device; gives the bootstrap document.
    fn prepare_authority(&self, address: &str) -> Result<PathBuf> {
        for (name, content) in plot::repository() {
            let file = self.directory.join(name);
            fs::write(&file, serde_json::to_vec_pretty(&content)?)?;
            self.authority(&["data", "put", name, path(&file)?])?;
        }
        let bootstrap = self.directory.join("bootstrap.json");
        let uri = format!("https://{address}/dm");
        let mut enroll = vec![
            "enroll",
            DEVICE_ID,
            "--uri",
            &uri,
            "--out",
            path(&bootstrap)?,
        ];
        for moid in PERMITTED {
            enroll.extend(["--moid", moid]);
        }
        self.authority(&enroll)?;
        Ok(bootstrap)
    }

    fn queue(&self, lines: &[plot::Line]) -> Result<()> {
        let commands: Vec<_> = lines.iter().map(|line| &line.command).collect();
        let file = self.directory.join("commands.json");
        fs::write(&file, serde_json::to_vec_pretty(&commands)?)?;
        self.authority(&["queue", DEVICE_ID, "--file", path(&file)?])?;
        Ok(())
    }

    fn start_device(&self) -> Result<Process> {
        let mut run = self.device_command(&["run"]);
        Process::start("the device", &mut run, &self.directory.join("device.log"))
    }

    fn status(&self) -> Result<Value> {
        let output = self.device_command(&["status", "--json"]).output()?;
        serde_json::from_slice(&output.stdout).context("the status of the device")
    }

    /// A session now, and its report, whether it went well or not.
    fn session(&self) -> Result<Value> {
        let output = self
            .device_command(&["session", SRV_ID, "--json"])
            .output()?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "no report of the session: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    fn device(&self, arguments: &[&str]) -> Result<String> {
        told(self.device_command(arguments))
    }

    fn device_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.executables.join("bailiwick"));
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    fn authority(&self, arguments: &[&str]) -> Result<String> {
        told(self.authority_command(arguments))
    }

    fn authority_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.executables.join("bailiwick-authority"));
        command
            .args(arguments)
            .arg("--dir")
            .arg(self.authority_directory());
        command
    }
}

/// What a command printed, once it has succeeded.
fn told(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| shell::line_of(&command))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` ended with {}: {}",
            shell::line_of(&command),
            output.status,
            why.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8; choose another folder", path.display()))
}
