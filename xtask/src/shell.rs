//! Running other programs, and saying so.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The project's root directory.
pub(crate) fn root() -> PathBuf {
    // Set by `cargo run`; the other is for those who start the executable themselves.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    let mut root = PathBuf::from(package);
    root.pop();
    root
}

/// Cargo in the project's root, as if a developer had typed it.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // `cargo run` describes this package in them; build scripts that look at them would run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Announces a step: what it does, and why it takes its time.
pub(crate) fn step(what: &str) {
    eprintln!("{} {what}", green("==>"));
}

/// Runs `command` to its end; its output goes to the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    eprintln!("    {}", dim(&line));
    let begun = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}; what it printed above says why");
    }
    eprintln!(
        "    {}",
        dim(&format!("done in {}", seconds(begun.elapsed())))
    );
    Ok(())
}

/// Runs `command` to its end and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program lies, if it is installed.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// Copies a file unless the same is there already, so that nothing looks newer than it is.
pub(crate) fn copy_if_different(from: &Path, to: &Path) -> Result<()> {
    let new = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // Removed first: an executable that runs cannot be overwritten.
    let _ = std::fs::remove_file(to);
    std::fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// `93.4 s` or `3 min 12 s`.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..100 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

pub(crate) fn green(text: &str) -> String {
    colour("32;1", text)
}

pub(crate) fn red(text: &str) -> String {
    colour("31;1", text)
}

pub(crate) fn yellow(text: &str) -> String {
    colour("33;1", text)
}

pub(crate) fn bold(text: &str) -> String {
    colour("1", text)
}

pub(crate) fn dim(text: &str) -> String {
    colour("2", text)
}

fn colour(code: &str, text: &str) -> String {
    let terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
    if !terminal || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A command as one would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let mut line = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
