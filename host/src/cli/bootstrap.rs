//! `bailiwick bootstrap FILE`: accounts from a bootstrap document.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Wait, call};
use super::{CliError, Common, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bootstrap document; - for standard input
    file: PathBuf,
    /// Replace accounts that are there with other contents
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    let path = &arguments.file;
    let document = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    }
    .map_err(|source| CliError::Read {
        path: path.clone(),
        source,
    })?;
    let parameters = json!({ "document": document, "replace": arguments.replace });
    let reply = call(common, "Bootstrap", parameters, Wait::Device)?;
    print(&text(&reply))?;
    Ok(ExitCode::SUCCESS)
}

fn text(reply: &Value) -> String {
    let accounts = reply.get("accounts").and_then(Value::as_array);
    let line = |account: &Value| {
        let member = |name: &str| {
            account
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let what = match member("change") {
            "added" => "added, session follows",
            "replaced" => "replaced, session follows",
            _ => "unchanged",
        };
        format!("{}: {what}\n", member("authority"))
    };
    accounts.into_iter().flatten().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_became_of_each_account() {
        let reply = json!({ "accounts": [
            { "authority": "one", "change": "added" },
            { "authority": "two", "change": "unchanged" },
        ] });
        assert_eq!(
            text(&reply),
            "one: added, session follows\ntwo: unchanged\n"
        );
    }
}
