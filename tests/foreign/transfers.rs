//! Transfers: uploads to a repository, downloads from it, and which repositories there are.

use serde_json::json;

use super::stage::{Case, Played, Stage};
use crate::server::{Framing, Reply};

#[test]
fn uploads_are_what_the_server_can_read() {
    let put = |name, replies: [Reply; 2], sent: fn(&Played)| {
        let [first, second] = replies;
        Case::new(name)
            .data(
                "/in",
                Reply::status("204 No Content").framing(Framing::UntilClose),
            )
            .answers([first, second])
            .check(sent)
    };
    let upload = || Reply::package(&["HPUT $here/in $M/1/ID $D//"]);
    fn types(played: &Played) -> Vec<&str> {
        let requests = played
            .here
            .requests
            .iter()
            .filter(|request| !request.is_package());
        requests
            .map(|request| request.field("Content-Type").unwrap())
            .collect()
    }
    Stage::set(&[]).play_all([
        put(
            "PUT and POST",
            [
                Reply::package(&["HPUT $here/in $M/1/ID $D//", "HPOST $here/in $M/*/ID"]),
                Reply::end(),
            ],
            |played| {
                let [put, post] = played.transfers()[..] else {
                    panic!("two uploads")
                };
                assert_eq!((put.method.as_str(), post.method.as_str()), ("PUT", "POST"));
                let body = put.json();
                assert_eq!(body[0]["MOData"], json!({ "ID": "GPS" }));
                assert_eq!(body[1]["MOData"]["DevInfo"]["DmV"], "2.0");
                let both = post.json();
                let both = both.as_array().unwrap().iter();
                let mut both: Vec<_> = both.map(|item| item["MOData"]["ID"].to_string()).collect();
                both.sort();
                assert_eq!(both, ["\"GPS\"", "\"Temperature\""]);
            },
        )
        .statuses([&[200, 200]]),
        put(
            "nothing said about types",
            [upload(), Reply::end()],
            |played| {
                assert_eq!(types(played), ["application/dmmo+json"]);
            },
        )
        .statuses([&[200]]),
        put(
            "said with the first package, and it counts for later ones",
            [
                Reply::package(&[]).with("OMADM-Accept", "text/xml, application/json;q=0.5"),
                upload(),
            ],
            |played| {
                assert_eq!(types(played), ["application/json"]);
            },
        )
        .statuses([&[], &[200]]),
        put(
            "said in two fields of odd case",
            [
                upload()
                    .with("omadm-ACCEPT", "image/png")
                    .with("OmaDM-accept", "application/vnd.oma.dm.mo+json"),
                Reply::end(),
            ],
            |played| {
                assert_eq!(types(played), ["application/vnd.oma.dm.mo+json"]);
            },
        )
        .statuses([&[200]]),
        put(
            "anything",
            [upload().with("OMADM-Accept", "*/*"), Reply::end()],
            |played| {
                assert_eq!(types(played), ["application/dmmo+json"]);
            },
        )
        .statuses([&[200]]),
        put(
            "nothing that the device writes",
            [
                upload().with("OMADM-Accept", "application/xml"),
                Reply::end(),
            ],
            |played| {
                assert!(played.transfers().is_empty());
            },
        )
        .statuses([&[406]]),
        put(
            "nothing, and then something",
            [
                upload().with("OMADM-Accept", "application/xml"),
                upload().with("OMADM-Accept", "application/*"),
            ],
            |played| {
                assert_eq!(types(played), ["application/dmmo+json"]);
            },
        )
        .statuses([&[406], &[200]]),
        put(
            "nodes that cannot be read stay here",
            [
                Reply::package(&[
                    "HPUT $here/in $M/1/Code",
                    "HPUT $here/in $M/1/ $M/9/",
                    "HPOST $here/in $M/1/",
                ]),
                Reply::end(),
            ],
            |played| {
                let [only] = played.transfers()[..] else {
                    panic!("one upload")
                };
                assert_eq!(only.json()[0]["MOData"]["Sensor"].get("Code"), None);
            },
        )
        .statuses([&[405, 404, 200]]),
    ]);
}

#[test]
fn data_are_framed_and_typed_in_any_way_that_http_allows() {
    let body = json!({ "MOData": { "Setting": "fetched" } });
    let data = || Reply::data(&body);
    let fetched = |name, reply: Reply| {
        Case::new(name)
            .data("/data?of=device&x=%2F", reply)
            .answers([Reply::package(&[
                "HGET $here/data?of=device&x=%2F $M/1/Setting",
            ])])
            .statuses([&[200]])
            .check(|played| {
                let [request] = played.transfers()[..] else {
                    panic!("one transfer")
                };
                let accepted = request.field("Accept").unwrap();
                assert_eq!(
                    accepted,
                    "application/dmmo+json, application/vnd.oma.dm.mo+json, application/json"
                );
            })
    };
    let refused = |name, reply: Reply, status: u64| {
        let statuses = [status];
        Case::new(name)
            .data("/data", reply)
            .answers([Reply::package(&["HGET $here/data $M/1/Setting"])])
            .statuses([&statuses])
    };
    let compressed = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    Stage::set(&[]).play_all([
        fetched("by length", data()),
        fetched("in chunks", data().framing(Framing::Chunked(5))),
        fetched("until the end", data().framing(Framing::UntilClose).close()),
        fetched(
            "by HTTP/1.0",
            data()
                .start("HTTP/1.0 200 OK")
                .framing(Framing::UntilClose)
                .close(),
        ),
        fetched("created", data().start("HTTP/1.1 201 Created")),
        fetched(
            "with a byte order mark",
            Reply::data_text(&format!("\u{feff}{body}")),
        ),
        fetched(
            "as OMA might call it",
            data().media_type("application/vnd.oma.dm.mo+json"),
        ),
        fetched(
            "as what it is",
            data().media_type("application/json; charset=utf-8"),
        ),
        fetched("untold", data().without("Content-Type")),
        fetched(
            "with a cookie, which nobody keeps",
            data().with("Set-Cookie", "a=b"),
        ),
        refused("a web page", data().media_type("text/html"), 415),
        refused(
            "compressed",
            Reply::body(compressed)
                .media_type("application/json")
                .with("Content-Encoding", "gzip"),
            415,
        ),
        refused(
            "compressed and untold",
            Reply::body(compressed).media_type("application/json"),
            400,
        ),
        refused(
            "in two codings",
            data().with("Content-Encoding", "br, gzip"),
            415,
        ),
        refused(
            "no content",
            Reply::status("204 No Content").framing(Framing::UntilClose),
            415,
        ),
        refused(
            "cut off",
            data().framing(Framing::LengthOff(10)).close(),
            502,
        ),
        refused(
            "cut off without a word",
            data().framing(Framing::UntilClose).cut(),
            502,
        ),
        refused("reset", data().only(60).reset(), 502),
        refused("no HTTP", Reply::raw("what?\r\n\r\n").close(), 502),
        refused("400", Reply::status("400 Bad Request"), 502),
        refused(
            "401",
            Reply::status("401 Unauthorized").with("WWW-Authenticate", "Basic realm=x"),
            502,
        ),
        refused("403", Reply::status("403 Forbidden"), 502),
        refused("404", Reply::status("404 Not Found"), 502),
        refused("406", Reply::status("406 Not Acceptable"), 502),
        refused("500", Reply::status("500 Internal Server Error"), 502),
        refused(
            "503",
            Reply::status("503 Service Unavailable").with("Retry-After", "0"),
            502,
        ),
        refused(
            "301",
            Reply::status("301 Moved Permanently").with("Location", "$there/data"),
            502,
        ),
        refused(
            "302 to the same server",
            Reply::status("302 Found").with("Location", "$here/other"),
            502,
        ),
        refused(
            "307",
            Reply::status("307 Temporary Redirect").with("Location", "$alien/data"),
            502,
        ),
        refused(
            "300 with a choice",
            Reply::status("300 Multiple Choices"),
            502,
        ),
    ]);
}

/// A repository may be any server that the account's own anchors vouch for, and no other.
#[test]
fn data_come_from_servers_of_the_authority_alone() {
    let data = || Reply::data(&json!({ "MOData": { "Setting": "fetched" } }));
    Stage::set(&[]).play_all([
        Case::new("another server of the authority")
            .data_there("/data", data())
            .answers([Reply::package(&[
                "HGET $there/data $M/1/Setting",
                "GET $M/1/Setting",
            ])])
            .statuses([&[200, 200]])
            .check(|played| {
                assert_eq!(played.there.requests.len(), 1);
                assert_eq!(played.mo_data(0, 1), json!({ "Setting": "fetched" }));
            }),
        Case::new("a server of another authority")
            .answers([Reply::package(&[
                "HGET $alien/data $M/1/Setting",
                "HPUT $alien/in $M/1/",
                "GET $M/1/ID",
            ])])
            .statuses([&[503, 503, 200]])
            .check(|played| {
                assert_eq!(
                    played.alien.connections.len(),
                    2,
                    "refused while they shook hands"
                )
            }),
        Case::new("no TLS")
            .answers([Reply::package(&[
                "HGET $plain/data $M/1/Setting",
                "HPUT $plain/in $M/1/",
                "GET $M/1/ID",
            ])])
            .statuses([&[400, 400, 200]])
            .check(|played| assert_eq!(played.here.connections.len(), 1, "not even tried")),
        Case::new("other places that are none")
            .answers([Reply::package(&[
                "HGET https://user:secret@127.0.0.1:$port/data $M/1/Setting",
                "HGET https://127.0.0.1:0/data $M/1/Setting",
                "HGET https://127.0.0.1:1/data $M/1/Setting",
                "HGET file:///etc/passwd $M/1/Setting",
            ])])
            .statuses([&[400, 400, 503, 400]]),
    ]);
}
