//! `bailiwick plugins`: what is installed, how it does, and another chance for what was quarantined.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Wait, call};
use super::{CliError, Common, print, print_json};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a quarantined plug-in try again
    Release {
        /// Name of the plug-in
        name: String,
    },
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    match &arguments.command {
        Some(Command::Release { name }) => {
            call(
                common,
                "ReleasePlugin",
                json!({ "name": name }),
                Wait::Device,
            )?;
        }
        None => {
            let reply = call(common, "Plugins", Value::Null, Wait::Device)?;
            let plugins = reply.get("plugins").unwrap_or(&Value::Null);
            match arguments.json {
                true => print_json(plugins)?,
                false => print(&text(plugins))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A paragraph a plug-in.
pub(super) fn text(plugins: &Value) -> String {
    let mut text = String::new();
    for plugin in plugins.as_array().into_iter().flatten() {
        // Writing to a `String` cannot fail.
        let _infallible = paragraph(&mut text, plugin);
    }
    text
}

fn paragraph(text: &mut String, plugin: &Value) -> std::fmt::Result {
    let member = |name: &str| plugin.get(name).and_then(Value::as_str).unwrap_or("?");
    writeln!(
        text,
        "{} {} ({})",
        member("name"),
        member("version"),
        member("kind")
    )?;
    for (title, name) in [
        ("serves", "moids"),
        ("granted", "grants"),
        ("withheld", "withheld"),
    ] {
        let list = words(plugin.get(name));
        if !list.is_empty() {
            writeln!(text, "  {title:8} {}", list.join(", "))?;
        }
    }
    let sandboxes = plugin.get("sandboxes").and_then(Value::as_array);
    for sandbox in sandboxes.into_iter().flatten() {
        let member = |name: &str| sandbox.get(name).and_then(Value::as_str);
        let number = |name: &str| {
            sandbox
                .get(name)
                .and_then(Value::as_u64)
                .unwrap_or_default()
        };
        let authority = member("authority").unwrap_or("?");
        write!(text, "  for {authority}: {} calls", number("calls"))?;
        if sandbox.get("quarantined").and_then(Value::as_bool) == Some(true) {
            write!(text, ", QUARANTINED after {} crashes", number("traps"))?;
        }
        if let Some(failure) = member("lastFailure") {
            write!(text, ", last failure: {failure}")?;
        }
        writeln!(text)?;
    }
    Ok(())
}

/// The texts of a list.
pub(super) fn words(list: Option<&Value>) -> Vec<&str> {
    let list = list.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarantined_plugin_stands_out() {
        let plugins = json!([{
            "name": "clock", "version": "0.1.0", "kind": "object",
            "moids": ["urn:oma:mo:x:1.0"], "grants": ["logging", "storage"], "withheld": [],
            "sandboxes": [
                { "authority": "one", "calls": 7, "traps": 0, "quarantined": false },
                { "authority": "two", "calls": 3, "traps": 3, "quarantined": true, "lastFailure": "unreachable" },
            ],
        }]);
        let expected = "clock 0.1.0 (object)\n  serves   urn:oma:mo:x:1.0\n  granted  logging, storage\n  \
            for one: 7 calls\n  for two: 3 calls, QUARANTINED after 3 crashes, last failure: unreachable\n";
        assert_eq!(text(&plugins), expected);
    }
}
