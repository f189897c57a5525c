//! The daemon's report and the authority's results, for a newcomer's eyes.

use std::path::Path;

use serde_json::Value;

use super::plot::{DEVICE_ID, Line, NAME, PARTS, SRV_ID};
use crate::shell::{bold, dim, green, red, yellow};

/// Columns of the text.
const WIDTH: usize = 96;

/// Who takes part, and how the device came to know the authority.
pub(crate) fn cast(address: &str, status: &Value) {
    title("Who takes part");
    println!(
        "  {}  {NAME:?}, called {SRV_ID} by devices: a DM server on {address},",
        bold("authority")
    );
    println!("             a data repository, and a certification authority of its own");
    println!(
        "  {}     {DEVICE_ID}, with these plug-ins, each a WebAssembly component in a sandbox:",
        bold("device")
    );
    for part in PARTS {
        println!("               {:<15} {}", part.name, part.role);
    }
    println!(
        "             The processes lock themselves in: Landlock {}, seccomp {}.",
        text(status, "/isolation/landlock"),
        text(status, "/isolation/seccomp")
    );

    title("Before");
    paragraph(
        "The authority enrolled the device: it wrote a bootstrap document with its own certificate, an identity \
         for the device, and the types of objects that it wants to manage. The operator gave the document to the device, \
         which took the account and said so in a first session of its own.",
        "  ",
    );
    println!(
        "  first session: {}",
        text(status, "/accounts/0/lastSession/outcome")
    );
}

/// One session, from its report. Gives what did not go as foreseen.
pub(crate) fn session(report: &Value, lines: &[Line]) -> Vec<String> {
    title("The session");
    for connection in list(report, "connections") {
        println!(
            "  {} to {}, {}",
            dim("connected"),
            text(connection, "/server"),
            text(connection, "/over")
        );
    }
    let mut surprises = Vec::new();
    let mut expected = lines.iter();
    let mut number = 0;
    for package in list(report, "packages") {
        package_line(package);
        for command in list(package, "commands") {
            if text(command, "/name") == "END" {
                println!("\n   {}  nothing more to do", bold("END"));
                continue;
            }
            number += 1;
            let line = expected.next();
            command_lines(number, command, line);
            let status = command["status"].as_u64();
            if line.is_some_and(|line| status != Some(line.status)) {
                surprises.push(format!("command {number} got {}", command["status"]));
            }
        }
    }
    if let Some(error) = report["error"].as_str() {
        surprises.push(error.to_owned());
    }
    if number != lines.len() {
        surprises.push(format!("{number} of {} commands were run", lines.len()));
    }
    surprises
}

fn package_line(package: &Value) {
    let kind = package["kind"].as_u64().unwrap_or_default();
    let what = match kind {
        1 => "who I am, and which types of objects I have",
        _ => "the status of each command, and the data that it asked for",
    };
    println!(
        "\n {} Package#{kind}  {} bytes: {what}",
        bold("─▶"),
        package["bytes"]
    );
    for alert in list(package, "alerts") {
        println!("       alert {}", alert.as_str().unwrap_or_default());
    }
    if !list(package, "commands").is_empty() {
        println!(
            " {} Package#2  {} bytes",
            bold("◀─"),
            package["answer_bytes"]
        );
    }
}

fn command_lines(number: usize, command: &Value, line: Option<&Line>) {
    println!("\n {number:>2}  {}", bold(text(command, "/name")));
    for parameter in list(command, "parameters") {
        println!("       {}", parameter.as_str().unwrap_or_default());
    }
    if let Some(line) = line {
        paragraph(line.why, "     ");
    }
    let mut rules = Vec::new();
    for decision in list(command, "decisions") {
        let (verdict, rule) = (decision["allowed"] == true, text(decision, "/rule"));
        let marked = if verdict {
            green("allowed")
        } else {
            red("denied ")
        };
        println!(
            "     {marked}  {} {}",
            access(command, decision),
            text(decision, "/on")
        );
        println!("              {}", dim(&format!("rule: {rule}")));
        rules.push((verdict, rule));
    }
    let plugins: Vec<_> = list(command, "plugins")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if !plugins.is_empty() && rules.iter().any(|(allowed, _)| *allowed) {
        println!("     served by {}", plugins.join(", "));
    }
    if let Some(error) = command["error"].as_str()
        && rules.iter().all(|(_, rule)| *rule != error)
    {
        paragraph(error, "     ! ");
    }
    let status = command["status"].as_u64().unwrap_or_default();
    let words = format!("{status} {}", text(command, "/reason"));
    let words = match status {
        200..300 => green(&words),
        500.. => yellow(&words),
        _ => red(&words),
    };
    println!("     {words}, after {} ms", command["milliseconds"]);
}

/// What was decided about. Only making an instance, and any use of a type that the account does not list, has none.
fn access<'a>(command: &Value, decision: &'a Value) -> &'a str {
    let nameless = match text(command, "/name") {
        "HGET" => "create",
        _ => "any use of",
    };
    decision["access"].as_str().unwrap_or(nameless)
}

/// What the authority has in its hands now.
pub(crate) fn results(lines: &str) {
    title("What the authority has now");
    let entries = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for entry in entries {
        match text(&entry, "/kind") {
            "alert" => println!("  alert    {}", text(&entry, "/alert/AlertType")),
            "upload" => println!(
                "  upload   {}, {} bytes",
                text(&entry, "/name"),
                entry["bytes"]
            ),
            _ => {
                for object in list(&entry, "objects") {
                    println!("  object   {}", text(object, "/ClientURI"));
                    leaves(&object["MOData"], &mut Vec::new());
                }
                for uri in list(&entry, "uris") {
                    println!("  stored   {}", uri.as_str().unwrap_or_default());
                }
            }
        }
    }
}

fn leaves<'a>(value: &'a Value, path: &mut Vec<&'a str>) {
    let Some(members) = value.as_object() else {
        let shown = format!("{}: {value}", path.join("/"));
        println!("             {}", shorten(&shown));
        return;
    };
    for (name, value) in members {
        path.push(name);
        leaves(value, path);
        path.pop();
    }
}

/// What is left behind.
pub(crate) fn epilogue(status: &Value, directory: &Path) {
    title("Afterwards");
    for plugin in list(status, "plugins") {
        for sandbox in list(plugin, "sandboxes") {
            if sandbox["traps"] != 0 {
                crashed(text(plugin, "/name"), sandbox);
            }
        }
    }
    for worker in list(status, "workers") {
        println!(
            "  sandboxes of {}: process {}",
            text(worker, "/authority"),
            worker["process"]
        );
    }
    println!(
        "  Device and authority have stopped. Their files and logs are in {}",
        directory.display()
    );
}

fn crashed(plugin: &str, sandbox: &Value) {
    let then = match sandbox["quarantined"] == true {
        true => "and is quarantined for it",
        false => "and may try again; several in a row would quarantine it",
    };
    let whom = text(sandbox, "/authority");
    paragraph(
        &format!("{plugin}: {} crash for {whom}, {then}", sandbox["traps"]),
        "  ",
    );
}

fn title(words: &str) {
    println!("\n{}", bold(words));
}

/// Prints words in lines of at most [`WIDTH`] columns, each after `margin`; what marks the first is blank in the others.
fn paragraph(words: &str, margin: &str) {
    let blank = " ".repeat(margin.chars().count());
    let mut line = String::from(margin);
    let mut is_empty = true;
    for word in words.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            println!("{line}");
            line.clone_from(&blank);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    println!("{line}");
}

fn shorten(text: &str) -> String {
    let line = text.replace(['\n', '\r'], " ");
    match line.char_indices().nth(WIDTH - 16) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("?")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}
