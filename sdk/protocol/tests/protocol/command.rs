//! Commands: every form of parameters, and the status that answers a bad one.

use bailiwick_protocol::{ClientUri, Command, CommandError, Limits, StatusCode};

const S: &str = "https://repository.example/new_mo";
const U: &str = "urn:oma:mo:oma-sessioninfomo:1.0//CBT";

fn parse(line: &[&str]) -> Result<Command, CommandError> {
    let parts: Vec<String> = line.iter().map(|part| part.to_string()).collect();
    Command::parse(&parts)
}

fn uri(text: &str) -> ClientUri {
    text.parse().expect("a ClientURI")
}

#[test]
fn every_form() {
    let server_uri = || S.to_owned();
    let client_uri = || uri(U);
    let other = "urn:oma:mo:oma-fumo:1.0//";
    let both = || vec![uri(U), uri(other)];
    let rows = [
        (
            vec!["HGET", S],
            Command::HGet {
                server_uri: server_uri(),
                client_uri: None,
            },
        ),
        (
            vec!["HGET", S, U],
            Command::HGet {
                server_uri: server_uri(),
                client_uri: Some(client_uri()),
            },
        ),
        (
            vec!["HPUT", S, U],
            Command::HPut {
                server_uri: server_uri(),
                client_uris: vec![client_uri()],
            },
        ),
        (
            vec!["HPOST", S, U, other],
            Command::HPost {
                server_uri: server_uri(),
                client_uris: both(),
            },
        ),
        (
            vec!["DELETE", U],
            Command::Delete {
                client_uri: client_uri(),
            },
        ),
        (
            vec!["EXEC", U],
            Command::Exec {
                client_uri: client_uri(),
                server_uri: None,
            },
        ),
        (
            vec!["EXEC", U, S],
            Command::Exec {
                client_uri: client_uri(),
                server_uri: Some(server_uri()),
            },
        ),
        (
            vec!["GET", U],
            Command::Get {
                client_uris: vec![client_uri()],
            },
        ),
        (
            vec!["GET", U, other],
            Command::Get {
                client_uris: both(),
            },
        ),
        (
            vec!["SHOW", S],
            Command::Show {
                server_uri: server_uri(),
            },
        ),
        (
            vec!["CONT", S],
            Command::Cont {
                server_uri: server_uri(),
            },
        ),
        (vec!["END"], Command::End),
        (
            vec!["DEFAULT", S, "urn:x:1"],
            Command::Default {
                server_uri: server_uri(),
                moid: "urn:x:1".into(),
            },
        ),
        (
            vec!["SUB", S, U],
            Command::Sub {
                server_uri: server_uri(),
                client_uri: client_uri(),
            },
        ),
        (
            vec!["UNSUB", U],
            Command::Unsub {
                client_uri: client_uri(),
            },
        ),
    ];
    for (line, command) in rows {
        assert_eq!(parse(&line).as_ref(), Ok(&command), "{line:?}");
        assert_eq!(command.to_parts(), line);
        assert_eq!(command.name(), line[0]);
    }
}

#[test]
fn the_scheme_tells_parameters_apart() {
    for (line, strict) in [
        (["EXEC", S, U], ["EXEC", U, S]),
        (["SUB", U, S], ["SUB", S, U]),
        (["DEFAULT", "urn:x:1", S], ["DEFAULT", S, "urn:x:1"]),
        (["hget", U, "HTTP://h/"], ["HGET", "HTTP://h/", U]),
    ] {
        assert_eq!(
            parse(&line).map(|command| command.to_parts()),
            Ok(strict.map(str::to_owned).to_vec())
        );
    }
}

#[test]
fn wrong_parameters_are_answered_with_400() {
    let rows: &[&[&str]] = &[
        &[],
        &["HGET"],
        &["HGET", U],
        &["HGET", S, S],
        &["HGET", S, U, U],
        &["HPUT", S],
        &["HPOST", U],
        &["HPOST", S, S, U],
        &["DELETE"],
        &["DELETE", U, U],
        &["DELETE", S],
        &["EXEC"],
        &["EXEC", S],
        &["EXEC", U, S, S],
        &["GET"],
        &["GET", S],
        &["SHOW"],
        &["SHOW", S, S],
        &["SHOW", U],
        &["CONT"],
        &["CONT", "ftp://h/"],
        &["END", U],
        &["DEFAULT", S],
        &["DEFAULT", S, "urn:x:1//"],
        &["DEFAULT", S, ""],
        &["SUB", S],
        &["SUB", U, U],
        &["UNSUB", S, U],
        &["HGET", "http://"],
        &["HGET", "https:///path"],
        &["HGET", "https://a b/"],
        &["HGET", "https://h/\r\nHost: other"],
        &["GET", "urn:x:1"],
        &["GET", U, "urn:x:1/(x)/"],
    ];
    for line in rows {
        let error = parse(line).expect_err(&format!("{line:?}"));
        assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{line:?}: {error}");
    }
}

#[test]
fn only_delete_writes_to_a_set() {
    let set = "urn:x:1/*/a";
    assert!(matches!(
        parse(&["HGET", S, set]),
        Err(CommandError::Wildcard { command: "HGET" })
    ));
    assert!(matches!(
        parse(&["EXEC", set]),
        Err(CommandError::Wildcard { command: "EXEC" })
    ));
    assert_eq!(
        parse(&["HGET", S, set]).map_err(|error| error.status()),
        Err(StatusCode::BAD_REQUEST)
    );
    for line in [&["DELETE", set][..], &["GET", set], &["HPUT", S, set]] {
        assert!(parse(line).is_ok(), "{line:?}");
    }
}

#[test]
fn unknown_commands_are_answered_with_501() {
    let long = "X".repeat(10_000);
    for name in ["COPY", "", "GET ", &long] {
        let error = parse(&[name, U]).expect_err(name);
        assert_eq!(error.status(), StatusCode::NOT_IMPLEMENTED);
        assert!(error.to_string().len() < 100, "{error}");
    }
}

#[test]
fn long_uris_are_answered_with_414() {
    let tail = "a".repeat(Limits::DEFAULT.uri_bytes);
    for line in [
        ["GET", &format!("urn:x:1//{tail}")],
        ["CONT", &format!("https://h/{tail}")],
    ] {
        assert_eq!(
            parse(&line).map_err(|error| error.status()),
            Err(StatusCode::URI_TOO_LONG)
        );
    }
}

#[test]
fn parameters_are_counted_before_they_are_read() {
    let limits = Limits {
        parameters: 2,
        ..Limits::default()
    };
    let line = ["GET", U, U, "not a uri"].map(str::to_owned);
    let error = Command::parse_within(&line, &limits);
    assert_eq!(
        error,
        Err(CommandError::TooMany {
            command: "GET",
            limit: 2
        })
    );
}

#[test]
fn classes_of_status_codes() {
    let rows = [
        (200, true, false),
        (299, true, false),
        (304, false, false),
        (404, false, true),
        (599, false, true),
        (600, false, false),
    ];
    for (code, success, failure) in rows {
        let code = StatusCode(code);
        assert_eq!(
            (code.is_success(), code.is_failure()),
            (success, failure),
            "{code}"
        );
    }
    assert_eq!(StatusCode::NOT_FOUND.to_string(), "404 Not Found");
    assert_eq!(StatusCode(299).reason(), "Unknown");
    assert_eq!(
        serde_json::to_string(&StatusCode::STORAGE_FULL).unwrap(),
        "507"
    );
}
