//! `bailiwick explain AUTHORITY ACCESS CLIENTURI`: which rule decides.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Wait, call};
use super::plugins::words;
use super::{CliError, Common, NO, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// SrvID of a Management Authority
    authority: String,
    /// read, write, execute, delegate; or create, with a MOID instead of a ClientURI
    access: String,
    /// On what, such as urn:oma:mo:oma-dm-devinfo:1.2//
    #[arg(value_name = "CLIENTURI")]
    client_uri: String,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    let parameters = json!({
        "authority": arguments.authority,
        "access": arguments.access,
        "clientUri": arguments.client_uri,
    });
    let reply = call(common, "Explain", parameters, Wait::Device)?;
    let explanations = reply.get("explanations").and_then(Value::as_array);
    let explanations = explanations.map(Vec::as_slice).unwrap_or_default();
    print(&text(explanations))?;
    Ok(match explanations.iter().any(is_allowed) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NO),
    })
}

fn is_allowed(explanation: &Value) -> bool {
    explanation.get("allowed").and_then(Value::as_bool) == Some(true)
}

fn text(explanations: &[Value]) -> String {
    if explanations.is_empty() {
        return "there is no instance that this could mean\n".into();
    }
    let mut text = String::new();
    for explanation in explanations {
        let member = |name: &str| explanation.get(name).and_then(Value::as_str).unwrap_or("?");
        let status = explanation
            .get("status")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let verdict = match is_allowed(explanation) {
            true => "allowed".to_owned(),
            false => format!("denied ({status})"),
        };
        // Writing to a `String` cannot fail.
        let _infallible = writeln!(text, "{}: {verdict}: {}", member("on"), member("rule"));
        for considered in words(explanation.get("considered")) {
            let _infallible = writeln!(text, "  {considered}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_rule_and_what_was_looked_at() {
        let yes = json!({
            "on": "urn:x/1/", "allowed": true, "status": 200, "rule": "owner of the instance",
            "considered": ["the account of a permits urn:x"],
        });
        let no = json!({ "on": "urn:y", "allowed": false, "status": 403, "rule": "not permitted" });
        let expected = "urn:x/1/: allowed: owner of the instance\n  the account of a permits urn:x\n\
            urn:y: denied (403): not permitted\n";
        assert_eq!(text(&[yes, no]), expected);
        assert_eq!(text(&[]), "there is no instance that this could mean\n");
    }
}
