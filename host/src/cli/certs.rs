//! `bailiwick certs`: the certificates that were provisioned, where they came from and what they are for; what a card
//! would change; what was done and refused.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::cards::{change_line, paragraph, print_changes};
use super::client::{Wait, call};
use super::plugins::words;
use super::{CliError, Common, NO, import, print, print_json};
use crate::certificates::day;

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
    /// Show one certificate with its chain in PEM
    Show {
        /// The first digits of its id or fingerprint
        id: String,
    },
    /// Say what a card would change, and change nothing
    Plan {
        /// Name of the reader; without it, the first one with a card
        reader: Option<String>,
    },
    /// Keep certificates, and perhaps a private key, from a file
    Import(import::Arguments),
    /// Renew an identity now, from the service that its authority names
    Renew {
        /// SrvID of the Management Authority
        authority: String,
        /// Its id; without it, the one in use
        id: Option<String>,
    },
    /// Remove a certificate, whatever gave it
    Remove {
        /// SrvID of the Management Authority
        authority: String,
        /// Its id
        id: String,
    },
    /// Show what was provisioned, refused and taken back
    Log,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    let json = arguments.json;
    match &arguments.command {
        None => {
            let certificates = certificates(common)?;
            show(&certificates, json, |text| {
                for certificate in certificates.as_array().into_iter().flatten() {
                    of_certificate(text, certificate)?;
                }
                Ok(())
            })?;
        }
        Some(Command::Show { id }) => {
            let all = certificates(common)?;
            let all = all.as_array().into_iter().flatten();
            let wanted = |certificate: &&Value| {
                let fingerprint = certificate.get("fingerprint").and_then(Value::as_str);
                fingerprint.is_some_and(|fingerprint| fingerprint.starts_with(id.as_str()))
            };
            let found: Vec<Value> = all.filter(wanted).cloned().collect();
            if found.is_empty() {
                eprintln!(
                    "bailiwick: no certificate begins with {id}; `bailiwick certs` lists them"
                );
                return Ok(ExitCode::from(NO));
            }
            show(&json!(found), json, |text| {
                for certificate in &found {
                    of_certificate(text, certificate)?;
                    details(text, certificate)?;
                }
                Ok(())
            })?;
        }
        Some(Command::Plan { reader }) => {
            let parameters = match reader {
                Some(reader) => json!({ "reader": reader }),
                None => json!({}),
            };
            let reply = call(common, "PlanCard", parameters, Wait::Servers)?;
            let card = reply.get("card").unwrap_or(&Value::Null);
            show(card, json, |text| paragraph(text, card))?;
        }
        Some(Command::Import(arguments)) => return import::run(common, arguments),
        Some(Command::Renew { authority, id }) => {
            let parameters = json!({ "authority": authority, "id": id });
            let reply = call(common, "RenewCertificate", parameters, Wait::Servers)?;
            let renewed = reply.get("certificate").unwrap_or(&Value::Null);
            show(renewed, json, |text| {
                writeln!(text, "{}", renewed.as_str().unwrap_or_default())
            })?;
        }
        Some(Command::Remove { authority, id }) => {
            let parameters = json!({ "authority": authority, "id": id });
            let reply = call(common, "RemoveCertificate", parameters, Wait::Device)?;
            print_changes(&reply, json)?;
        }
        Some(Command::Log) => {
            let reply = call(common, "Audit", Value::Null, Wait::Device)?;
            let entries = reply.get("entries").unwrap_or(&Value::Null);
            show(entries, json, |text| {
                for entry in entries.as_array().into_iter().flatten() {
                    of_entry(text, entry)?;
                }
                Ok(())
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn certificates(common: &Common) -> Result<Value, CliError> {
    let mut reply = call(common, "Certificates", Value::Null, Wait::Device)?;
    let certificates = reply.get_mut("certificates").map(Value::take);
    Ok(certificates.unwrap_or_default())
}

/// As JSON, or in words.
fn show(
    value: &Value,
    json: bool,
    write: impl FnOnce(&mut String) -> std::fmt::Result,
) -> Result<(), CliError> {
    if json {
        return print_json(value);
    }
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _infallible = write(&mut text);
    print(&text)
}

fn of_certificate(text: &mut String, certificate: &Value) -> std::fmt::Result {
    let member = |name: &str| certificate.get(name).and_then(Value::as_str).unwrap_or("?");
    let until = certificate.get("notAfter").and_then(Value::as_i64);
    let state = match member("state") {
        "active" => String::new(),
        other => format!(", {}", other.to_uppercase()),
    };
    writeln!(
        text,
        "{} {} for {}{state}",
        member("role"),
        member("id"),
        member("authority")
    )?;
    writeln!(
        text,
        "  {}, issued by {}, until {}",
        member("subject"),
        member("issuer"),
        day(until.unwrap_or_default())
    )?;
    let (purposes, origins) = (
        words(certificate.get("purposes")),
        words(certificate.get("origins")),
    );
    writeln!(
        text,
        "  for {}; from {}",
        purposes.join(", "),
        origins.join(" and ")
    )
}

fn details(text: &mut String, certificate: &Value) -> std::fmt::Result {
    let member = |name: &str| certificate.get(name).and_then(Value::as_str).unwrap_or("?");
    writeln!(
        text,
        "  key {}, serial number {}",
        member("key"),
        member("serial")
    )?;
    writeln!(text, "  SHA-256 {}", member("fingerprint"))?;
    for pem in words(certificate.get("chain")) {
        text.push_str(pem);
    }
    Ok(())
}

fn of_entry(text: &mut String, entry: &Value) -> std::fmt::Result {
    let member = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("?");
    let list = |name: &str| {
        entry
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let at = entry.get("at").and_then(Value::as_i64).unwrap_or_default();
    let time = at.rem_euclid(86_400);
    writeln!(
        text,
        "{} {:02}:{:02} UTC: {} ({})",
        day(at),
        time / 3_600,
        time / 60 % 60,
        member("event"),
        member("source")
    )?;
    for step in list("steps") {
        writeln!(text, "  {}", change_line(step))?;
    }
    for refused in list("refusals") {
        let of = |name: &str| refused.get(name).and_then(Value::as_str).unwrap_or("?");
        let (what, reason, authority) = (of("what"), of("reason"), of("authority"));
        writeln!(text, "  refused for {authority}: {what}: {reason}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_and_entries_are_told_in_words() {
        let certificate = json!({
            "authority": "north", "id": "0123456789abcdef", "role": "identity", "subject": "CN=device",
            "issuer": "CN=CA", "notAfter": 1_798_761_600, "purposes": ["sessions"],
            "origins": ["card 8949", "file /x"], "state": "suspended", "key": "RSA 2048", "serial": "01",
            "fingerprint": "01", "chain": ["-----BEGIN\n"],
        });
        let mut text = String::new();
        of_certificate(&mut text, &certificate).unwrap();
        details(&mut text, &certificate).unwrap();
        assert_eq!(
            text,
            "identity 0123456789abcdef for north, SUSPENDED\n  \
             CN=device, issued by CN=CA, until 2027-01-01\n  \
             for sessions; from card 8949 and file /x\n  \
             key RSA 2048, serial number 01\n  SHA-256 01\n-----BEGIN\n"
        );
        let entry = json!({
            "at": 1_798_761_600 + 3_725, "event": "a card was read", "source": "card 8949",
            "steps": [{ "authority": "north", "change": "added", "what": "anchor", "id": "0f", "name": "CN=CA" }],
            "refusals": [{ "authority": "north", "what": "object", "reason": "it is damaged" }],
        });
        let mut text = String::new();
        of_entry(&mut text, &entry).unwrap();
        assert_eq!(
            text,
            "2027-01-01 01:02 UTC: a card was read (card 8949)\n  added anchor 0f (CN=CA) for north\n  \
             refused for north: object: it is damaged\n"
        );
    }
}
