//! Where a session goes on after CONT, and where it does not.

use super::stage::{Case, Played, Stage};
use crate::server::Reply;

/// Where each package went: `here` or `there`, path and query, and the cookies that it carried.
fn way(played: &Played) -> Vec<(&str, &str, Option<&str>)> {
    let here = played.here.requests.iter().map(|request| ("here", request));
    let there = played
        .there
        .requests
        .iter()
        .map(|request| ("there", request));
    let all = here.chain(there);
    let packages = all.filter(|(_, request)| request.is_package());
    packages
        .map(|(server, request)| (server, request.target.as_str(), request.field("Cookie")))
        .collect()
}

#[test]
fn a_session_goes_on_where_cont_says() {
    Stage::set(&[]).play_all([
        Case::new("another path, over the same connection")
            .answers([
                Reply::package(&["CONT $here/dm/session/7?x=1&y"]),
                Reply::package(&["GET $D//DevID"]),
            ])
            .statuses([&[200], &[200]])
            .check(|played| {
                let path = "/dm/session/7?x=1&y";
                assert_eq!(
                    way(played),
                    [
                        ("here", "/dm", None),
                        ("here", path, None),
                        ("here", path, None)
                    ]
                );
                assert_eq!(played.here.connections.len(), 1);
            }),
        Case::new("another server")
            .answers([Reply::package(&["CONT $there/next"])])
            .there([Reply::package(&["GET $D//DevID"])])
            .statuses([&[200], &[200]])
            .check(|played| {
                assert_eq!(
                    way(played),
                    [
                        ("here", "/dm", None),
                        ("there", "/next", None),
                        ("there", "/next", None)
                    ]
                );
                let third = played.there.requests[0].kind();
                assert_eq!(third, Some(3), "this Package#3 included");
            }),
        Case::new("another server in the middle of a session")
            .answers([
                Reply::package(&["GET $D//DevID"]),
                Reply::package(&["GET $D//Man", "CONT $there/next", "GET $D//Mod"]),
            ])
            .there([Reply::package(&["GET $D//DmV"])])
            .statuses([&[200], &[200, 200, 200], &[200]])
            .check(|played| assert_eq!(played.here.requests.len(), 2)),
        Case::new("there, and back again")
            .answers([Reply::package(&["CONT $there/next"])])
            .there([Reply::package(&["CONT $here/back"])])
            .check(|played| {
                assert_eq!(
                    way(played),
                    [
                        ("here", "/dm", None),
                        ("here", "/back", None),
                        ("there", "/next", None)
                    ]
                );
            })
            .statuses([&[200], &[200]]),
        Case::new("the last of several counts")
            .answers([Reply::package(&[
                "CONT $alien/dm",
                "CONT $there/a",
                "CONT $there/b",
            ])])
            .statuses([&[200, 200, 200]])
            .check(|played| assert_eq!(way(played)[1], ("there", "/b", None))),
        Case::new("a host by name")
            .answers([Reply::package(&["CONT https://LOCALHOST:$port/dm/named"])])
            .statuses([&[200]])
            .check(|played| assert_eq!(way(played)[1], ("here", "/dm/named", None))),
        Case::new("no path")
            .answers([Reply::package(&["CONT $here"])])
            .statuses([&[200]])
            .check(|played| assert_eq!(way(played)[1], ("here", "/", None))),
        Case::new("a fragment, which is not sent")
            .answers([Reply::package(&["CONT $here/dm#now"])])
            .statuses([&[200]])
            .check(|played| assert_eq!(way(played)[1], ("here", "/dm", None))),
    ]);
}

#[test]
fn a_session_does_not_go_on_where_it_must_not() {
    let stays = |name, to: &str| {
        let cont = format!("CONT {to}");
        Case::new(name)
            .answers([Reply::package(&["GET $D//DevID", &cont, "GET $D//Man"])])
            .statuses([&[200, 400, 200]])
            .check(|played| {
                assert_eq!(
                    way(played)[1],
                    ("here", "/dm", None),
                    "it goes on where it was"
                );
                assert_eq!(played.here.connections.len(), 1);
            })
    };
    Stage::set(&[]).play_all([
        stays("no TLS", "$plain/dm"),
        stays("another scheme", "ftp://127.0.0.1/dm"),
        stays("a path", "/dm/next"),
        stays("a server without a name", "https:///dm"),
        stays("no port", "https://127.0.0.1:0/dm"),
        stays("too large a port", "https://127.0.0.1:65536/dm"),
        stays("a user", "https://user@127.0.0.1:$port/dm"),
        stays(
            "a user and a password",
            "https://user:secret@127.0.0.1:$port/dm",
        ),
        Case::new("a server of another authority")
            .answers([Reply::package(&["GET $M/1/ID", "CONT $alien/dm"])])
            .fails("was not issued under an anchor of this account")
            .check(|played| {
                assert_eq!(played.alien.connections.len(), 1, "it was tried");
                assert!(played.alien.connections[0].error.is_some());
                assert_eq!(played.here.requests.len(), 1);
            }),
        Case::new("a server that is not there")
            .answers([Reply::package(&["CONT https://127.0.0.1:1/dm"])])
            .fails("cannot connect to 127.0.0.1:1"),
        Case::new("a host that does not exist")
            .answers([Reply::package(&["CONT https://no.such.host.invalid/dm"])])
            .fails("cannot connect to no.such.host.invalid:443"),
    ]);
}

#[test]
fn cookies_go_back_to_their_origin_alone() {
    let set = |reply: Reply| {
        reply
            .with("Set-Cookie", "sid=1; Path=/; Secure; HttpOnly")
            .with("sEt-CoOkIe", "lang=de")
    };
    Stage::set(&[]).play_all([
        Case::new("set, changed and taken away")
            .answers([
                set(Reply::package(&[])),
                Reply::package(&[]).with("Set-Cookie", "sid=2"),
                Reply::package(&[]).with("Set-Cookie", "sid=; Max-Age=0"),
                Reply::package(&[])
                    .with("Set-Cookie", "malformed")
                    .with("Set-Cookie", "=x"),
            ])
            .statuses([&[], &[], &[], &[]])
            .check(|played| {
                let cookies: Vec<_> = way(played).iter().map(|(_, _, cookies)| *cookies).collect();
                let both = |cookies: Option<&str>| {
                    let mut pairs: Vec<_> = cookies
                        .unwrap_or_default()
                        .split("; ")
                        .map(str::to_owned)
                        .collect();
                    pairs.sort();
                    pairs.join("; ")
                };
                assert_eq!(cookies[0], None);
                assert_eq!(both(cookies[1]), "lang=de; sid=1");
                assert_eq!(both(cookies[2]), "lang=de; sid=2");
                assert_eq!(&cookies[3..], [Some("lang=de"), Some("lang=de")]);
            }),
        Case::new("not known in the next session")
            .check(|played| assert_eq!(way(played)[0].2, None)),
        Case::new("neither to another server nor to a repository")
            .answers([set(Reply::package(&[
                "HGET $here/data $M/1/Setting",
                "CONT $there/next",
            ]))])
            .there([
                Reply::package(&[]).with("Set-Cookie", "sid=there; Domain=127.0.0.1"),
                Reply::package(&["CONT $here/back"]),
            ])
            .data(
                "/data",
                Reply::data(&serde_json::json!({ "MOData": "x" })).with("Set-Cookie", "data=1"),
            )
            .statuses([&[200], &[200, 200], &[]])
            .check(|played| {
                let way: Vec<_> = way(played)
                    .into_iter()
                    .map(|(server, path, cookies)| (server, path, cookies.is_some()))
                    .collect();
                assert_eq!(
                    way,
                    [
                        ("here", "/dm", false),
                        ("here", "/back", true),
                        ("there", "/next", false),
                        ("there", "/next", true),
                    ]
                );
                let back = played
                    .here
                    .requests
                    .iter()
                    .rfind(|request| request.target == "/back")
                    .unwrap();
                let cookies = back.field("Cookie").unwrap();
                assert!(
                    cookies.contains("sid=1")
                        && !cookies.contains("there")
                        && !cookies.contains("data"),
                    "{cookies}"
                );
            }),
        Case::new("more fields than a head may have")
            .answers([
                (0..100).fold(Reply::package(&[]), |reply, number| {
                    reply.with("Set-Cookie", &format!("c{number}=x"))
                }),
                Reply::package(&[]),
            ])
            .fails("not HTTP/1.1"),
        Case::new("too many")
            .answers([
                (0..40).fold(Reply::package(&[]), |reply, number| {
                    reply.with("Set-Cookie", &format!("c{number}=x"))
                }),
                Reply::package(&[]),
            ])
            .statuses([&[], &[]])
            .check(|played| assert_eq!(way(played)[2].2.unwrap().split("; ").count(), 16)),
        Case::new("too large")
            .answers([
                Reply::package(&[]).with("Set-Cookie", &format!("huge={}", "x".repeat(5000))),
                Reply::package(&[]),
            ])
            .statuses([&[], &[]])
            .check(|played| assert!(way(played).iter().all(|(_, _, cookies)| cookies.is_none()))),
    ]);
}
