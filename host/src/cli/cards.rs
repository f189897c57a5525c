//! `bailiwick cards`: the readers, what their cards hold, and what the device policy makes of them.

use std::fmt::Write;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::client::{Wait, call};
use super::plugins::words;
use super::{CliError, Common, print, print_json};
use crate::certificates::day;

/// Bytes of a PIN. Stops a file that is no PIN; cards take up to 16.
const PIN: u64 = 256;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Give the PIN of a card; it is asked for at the terminal, or read from standard input
    Unlock {
        /// Serial number of the card
        serial: String,
    },
    /// Remove all that a card gave: accounts with their instances, certificates
    Forget {
        /// Serial number of the card
        serial: String,
    },
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    match &arguments.command {
        None => {
            let reply = call(common, "Cards", Value::Null, Wait::Device)?;
            let cards = reply.get("cards").unwrap_or(&Value::Null);
            match arguments.json {
                true => print_json(cards)?,
                false => print(&text(cards))?,
            }
        }
        Some(Command::Unlock { serial }) => {
            let parameters = json!({ "serial": serial, "pin": pin()? });
            let reply = call(common, "UnlockCard", parameters, Wait::Device)?;
            if arguments.json {
                print_json(&reply)?;
            }
        }
        Some(Command::Forget { serial }) => {
            let reply = call(
                common,
                "ForgetCard",
                json!({ "serial": serial }),
                Wait::Device,
            )?;
            print_changes(&reply, arguments.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The changes that an order has made.
pub(super) fn print_changes(reply: &Value, json: bool) -> Result<(), CliError> {
    let changes = reply.get("changes").unwrap_or(&Value::Null);
    if json {
        return print_json(changes);
    }
    let mut text = String::new();
    for change in changes.as_array().into_iter().flatten() {
        // Writing to a `String` cannot fail.
        let _infallible = writeln!(text, "{}", change_line(change));
    }
    print(&text)
}

/// `added anchor 0123… (CN=…) for north`
pub(super) fn change_line(change: &Value) -> String {
    let member = |name: &str| change.get(name).and_then(Value::as_str).unwrap_or("?");
    format!(
        "{} {} {} ({}) for {}",
        member("change"),
        member("what"),
        member("id"),
        member("name"),
        member("authority")
    )
}

/// Asks at the terminal without showing what is typed; without a terminal, the first line.
fn pin() -> Result<String, CliError> {
    let input = std::io::stdin();
    let before = match input.is_terminal() {
        true => Some(tcgetattr(&input).map_err(std::io::Error::from)?),
        false => None,
    };
    if let Some(before) = &before {
        eprint!("PIN: ");
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Flush, &hidden).map_err(std::io::Error::from)?;
    }
    let mut line = String::new();
    let read = std::io::Read::take(input.lock(), PIN).read_line(&mut line);
    if let Some(before) = &before {
        eprintln!();
        tcsetattr(&input, OptionalActions::Flush, before).map_err(std::io::Error::from)?;
    }
    read.map_err(|source| CliError::Read {
        path: "standard input".into(),
        source,
    })?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A paragraph a reader.
fn text(cards: &Value) -> String {
    let mut text = String::new();
    let cards = cards.as_array().map(Vec::as_slice).unwrap_or_default();
    if cards.is_empty() {
        text.push_str(
            "no reader; `[keys] cards = true` watches them where no [[card]] line does\n",
        );
    }
    for card in cards {
        // Writing to a `String` cannot fail.
        let _infallible = paragraph(&mut text, card);
    }
    text
}

/// A card, as `certs plan` shows it too.
pub(super) fn paragraph(text: &mut String, card: &Value) -> std::fmt::Result {
    let member = |name: &str| card.get(name).and_then(Value::as_str);
    let list = |name: &str| {
        card.get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let reader = member("reader").unwrap_or("?");
    match (member("serial"), member("state")) {
        (Some(serial), _) => writeln!(
            text,
            "{reader}: card {serial} \"{}\" ({})",
            member("label").unwrap_or_default(),
            member("kind").unwrap_or("?")
        )?,
        (None, state) => writeln!(text, "{reader}: {}", state.unwrap_or("?"))?,
    }
    if let Some(problem) = member("problem") {
        writeln!(text, "  PROBLEM {problem}")?;
    }
    for found in list("certificates") {
        let of = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or("?");
        let until = found.get("notAfter").and_then(Value::as_i64);
        let until = until.map(|until| format!(", until {}", day(until)));
        writeln!(
            text,
            "  {} certificate {} at {}{}",
            of("shelf"),
            of("subject"),
            of("path"),
            until.unwrap_or_default()
        )?;
    }
    for found in list("keys") {
        let of = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or("?");
        let tries = found.get("triesLeft").and_then(Value::as_u64);
        let tries = tries.map(|tries| format!(", {tries} tries left"));
        let (kind, id, pin) = (of("kind"), of("id"), of("pin"));
        writeln!(
            text,
            "  key {id} ({kind}): PIN {pin}{}",
            tries.unwrap_or_default()
        )?;
    }
    for found in list("objects") {
        let of = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or("?");
        let bytes = found
            .get("bytes")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        writeln!(
            text,
            "  object {} at {}, {bytes} bytes",
            of("oid"),
            of("path")
        )?;
    }
    for skipped in words(card.get("skipped")) {
        writeln!(text, "  skipped: {skipped}")?;
    }
    for line in list("lines") {
        of_line(text, line)?;
    }
    Ok(())
}

fn of_line(text: &mut String, line: &Value) -> std::fmt::Result {
    let member = |name: &str| line.get(name).and_then(Value::as_str);
    let list = |name: &str| {
        line.get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let number = line.get("line").and_then(Value::as_u64).unwrap_or_default();
    let authority = member("authority").unwrap_or("?");
    match member("unbound") {
        Some(why) => writeln!(
            text,
            "  [[card]] {number} for {authority}: does not bind it, {why}"
        )?,
        None => writeln!(text, "  [[card]] {number} for {authority}: binds it")?,
    }
    for step in list("steps") {
        writeln!(text, "    to do: {}", change_line(step))?;
    }
    for refusal in list("refusals") {
        let of = |name: &str| refusal.get(name).and_then(Value::as_str).unwrap_or("?");
        writeln!(text, "    refused: {}: {}", of("what"), of("reason"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_explained_in_a_paragraph() {
        let cards = json!([
            { "reader": "Reader 1", "state": "empty" },
            {
                "reader": "Reader 2", "state": "card", "serial": "8949", "kind": "pkcs15", "label": "OMA DM card",
                "certificates": [
                    { "shelf": "own", "id": "45", "path": "3F00", "subject": "CN=device", "notAfter": 1_798_761_600 }
                ],
                "keys": [{ "id": "45", "label": "key", "kind": "RSA", "pin": "needed", "triesLeft": 3 }],
                "objects": [{ "oid": "2.23.43.7.1", "label": "boot", "path": "6430", "bytes": 812 }],
                "skipped": ["EF 4333: not found"],
                "lines": [
                    {
                        "line": 1, "authority": "north", "steps": [
                            { "authority": "north", "change": "added", "what": "anchor", "id": "0f", "name": "CN=CA" }
                        ],
                        "refusals": [{ "what": "object", "reason": "it is damaged" }]
                    },
                    { "line": 2, "authority": "south", "unbound": "its serial number is not 1" }
                ],
            },
        ]);
        let expected = "Reader 1: empty\n\
            Reader 2: card 8949 \"OMA DM card\" (pkcs15)\n  \
            own certificate CN=device at 3F00, until 2027-01-01\n  \
            key 45 (RSA): PIN needed, 3 tries left\n  \
            object 2.23.43.7.1 at 6430, 812 bytes\n  \
            skipped: EF 4333: not found\n  \
            [[card]] 1 for north: binds it\n    \
            to do: added anchor 0f (CN=CA) for north\n    \
            refused: object: it is damaged\n  \
            [[card]] 2 for south: does not bind it, its serial number is not 1\n";
        assert_eq!(text(&cards), expected);
        assert!(text(&json!([])).contains("no reader"));
    }
}
