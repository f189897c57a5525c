//! `bailiwick status`: the daemon on one page.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::client::{Wait, call};
use super::plugins::{self, words};
use super::{CliError, Common, print, print_json};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    let status = call(common, "Status", Value::Null, Wait::Device)?;
    match arguments.json {
        true => print_json(&status)?,
        false => print(&text(&status))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(status: &Value) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _infallible = page(&mut text, status);
    text
}

fn page(text: &mut String, status: &Value) -> std::fmt::Result {
    let at = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("?")
    };
    let list = |name: &str| {
        status
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let uptime = status
        .get("uptimeSeconds")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    writeln!(
        text,
        "bailiwick {}, up {}",
        at("/version"),
        duration(uptime)
    )?;
    writeln!(
        text,
        "isolation {}: Landlock {}, seccomp {}",
        at("/isolation/policy"),
        at("/isolation/landlock"),
        at("/isolation/seccomp"),
    )?;
    for warning in words(status.get("warnings")) {
        writeln!(text, "WARNING {warning}")?;
    }
    writeln!(text, "\nAccounts")?;
    for entry in list("accounts") {
        account(text, entry)?;
    }
    writeln!(text, "\nWorkers")?;
    for worker in list("workers") {
        let process = worker
            .get("process")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let authority = worker
            .get("authority")
            .and_then(Value::as_str)
            .unwrap_or("?");
        writeln!(text, "{authority}: process {process}")?;
    }
    if let Some(keys) = status.get("keys") {
        keys_process(text, keys)?;
    }
    writeln!(text, "\nPlug-ins")?;
    text.push_str(&plugins::text(
        status.get("plugins").unwrap_or(&Value::Null),
    ));
    Ok(())
}

fn keys_process(text: &mut String, keys: &Value) -> std::fmt::Result {
    let number = |name: &str| keys.get(name).and_then(Value::as_u64);
    let word = |name: &str| keys.get(name).and_then(Value::as_str).unwrap_or("?");
    match number("process") {
        Some(process) => write!(
            text,
            "keys: process {process}, Landlock {}, seccomp {}",
            word("landlock"),
            word("seccomp")
        )?,
        None => write!(text, "keys: not needed now")?,
    }
    match number("restarts") {
        None | Some(0) => writeln!(text),
        Some(restarts) => writeln!(text, ", started again {restarts} times"),
    }
}

fn account(text: &mut String, account: &Value) -> std::fmt::Result {
    let member = |name: &str| account.get(name).and_then(Value::as_str).unwrap_or("?");
    let flag = |name: &str| account.get(name).and_then(Value::as_bool) == Some(true);
    writeln!(
        text,
        "{} \"{}\" at {}",
        member("authority"),
        member("name"),
        member("server")
    )?;
    if let Some(why) = account.get("suspended").and_then(Value::as_str) {
        writeln!(text, "  HOLDS NO SESSIONS: {why}")?;
    }
    if let Some(origin) = account.get("origin").and_then(Value::as_str) {
        writeln!(text, "  from {origin}")?;
    }
    if !flag("identity") {
        writeln!(text, "  no certificate to show to its servers")?;
    }
    let permitted = words(account.get("permitted"));
    writeln!(text, "  may manage {}", permitted.join(", "))?;
    if flag("sessionRunning") {
        writeln!(text, "  a session is running")?;
    }
    if let Some(last) = account.get("lastSession") {
        let ago = last
            .get("secondsAgo")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let outcome = last.get("outcome").and_then(Value::as_str).unwrap_or("?");
        writeln!(text, "  last session {} ago: {outcome}", duration(ago))?;
    }
    if let Some(wait) = account.get("retryInSeconds").and_then(Value::as_u64) {
        writeln!(text, "  next try in {}", duration(wait))?;
    }
    Ok(())
}

/// `3 d 4 h`, the two largest units.
fn duration(seconds: u64) -> String {
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let shown = units
        .iter()
        .skip_while(|(number, unit)| *number == 0 && *unit != "s")
        .take(2);
    shown
        .map(|(number, unit)| format!("{number} {unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_worth_knowing_is_on_the_page() {
        let status = json!({
            "version": "0.1.0", "uptimeSeconds": 90_061,
            "isolation": { "policy": "required", "landlock": "full", "seccomp": "full" },
            "warnings": ["commits do not survive a power cut"],
            "accounts": [{
                "authority": "one.example", "name": "Ops", "server": "https://one.example/dm", "instance": "1",
                "identity": false, "permitted": ["urn:a", "urn:b"], "sessionRunning": true, "retryInSeconds": 5,
                "lastSession": { "secondsAgo": 61, "succeeded": true, "outcome": "ended well" },
            }],
            "workers": [{ "authority": "one.example", "process": 77 }],
            "keys": { "process": 78, "restarts": 2, "landlock": "full", "seccomp": "full", "watchesCards": true },
            "plugins": [{ "name": "devinfo", "version": "0.1.0", "kind": "object" }],
        });
        let expected = "bailiwick 0.1.0, up 1 d 1 h\n\
            isolation required: Landlock full, seccomp full\n\
            WARNING commits do not survive a power cut\n\
            \nAccounts\n\
            one.example \"Ops\" at https://one.example/dm\n  \
            no certificate to show to its servers\n  \
            may manage urn:a, urn:b\n  \
            a session is running\n  \
            last session 1 min 1 s ago: ended well\n  \
            next try in 5 s\n\
            \nWorkers\none.example: process 77\n\
            keys: process 78, Landlock full, seccomp full, started again 2 times\n\
            \nPlug-ins\ndevinfo 0.1.0 (object)\n";
        assert_eq!(text(&status), expected);
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3_600, "1 h 0 min"),
            (172_800, "2 d 0 h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }
}
