//! What stands in a Package#2.

use serde_json::json;

use super::stage::{Case, Stage};
use crate::server::{Framing, Reply};

/// A Package#2 with one GET, whatever stands around it.
const GET: &str = r#"{"CMD":[["GET","$D//DevID"]]}"#;

#[test]
fn package_2_is_read_liberally() {
    let one_get = |name, reply| Case::new(name).answers([reply]).statuses([&[200]]);
    Stage::set(&[]).play_all([
        Case::new("END alone"),
        one_get("a command", Reply::text(GET)),
        one_get(
            "blanks and lines",
            Reply::text("\r\n{ \"CMD\" :\n\t[ [ \"GET\" , \"$D//DevID\" ] ] }\n"),
        ),
        one_get("a byte order mark", Reply::text(&format!("\u{feff}{GET}"))),
        one_get(
            "escapes",
            Reply::text(r#"{"\u0043MD":[["G\u0045T","$D\/\/DevID"]]}"#),
        ),
        one_get(
            "members that nobody knows",
            Reply::text(
                r#"{"Session":{"x":[1,null]},"CMD":[["GET","$D//DevID"]],"MgmtTree":null,"":0}"#,
            ),
        ),
        one_get(
            "another CMD before, of which the last one counts",
            Reply::text(r#"{"CMD":[["END"]],"CMD":[["GET","$D//DevID"]]}"#),
        ),
        one_get(
            "a command without an array around it",
            Reply::text(r#"{"CMD":["GET","$D//DevID"]}"#),
        ),
        one_get("small letters", Reply::package(&["get $D//DevID"])),
        one_get(
            "two ways to name the root of the only instance",
            Reply::package(&["GET $D//"]),
        )
        .check(|played| assert_eq!(played.mo_data(0, 0)["DevInfo"]["DmV"], "2.0")),
        one_get(
            "several nodes",
            Reply::package(&["GET $D//Man $D//Mod $D//DevID"]),
        )
        .check(|played| assert_eq!(played.status(0, 0)["MO"].as_array().unwrap().len(), 3)),
        Case::new("no command")
            .answers([Reply::text(r#"{"CMD":[]}"#)])
            .statuses([&[]]),
        Case::new("null for no command")
            .answers([Reply::text(r#"{"CMD":null}"#)])
            .statuses([&[]]),
        Case::new("END without an array around it").answers([Reply::text(r#"{"CMD":["END"]}"#)]),
        Case::new("several packages")
            .answers([
                Reply::package(&["GET $D//DevID", "GET $D//Man"]),
                Reply::package(&[]),
                Reply::package(&["GET $S//CBT"]),
            ])
            .statuses([&[200, 200], &[], &[200]]),
    ]);
}

#[test]
fn end_runs_everything_and_is_the_last_word() {
    let ends = |name, commands: &[&str]| {
        Case::new(name)
            .answers([Reply::package(commands)])
            .check(|played| {
                assert_eq!(played.packages().len(), 1, "no Package#3");
                let statuses: Vec<_> = played
                    .commands()
                    .into_iter()
                    .filter_map(|(_, status)| status)
                    .collect();
                assert_eq!(statuses, [200, 404]);
            })
    };
    Stage::set(&[]).play_all([
        ends(
            "END first",
            &["END", "GET $D//DevID", "GET $D/nobody/DevID"],
        ),
        ends(
            "END in the middle",
            &["GET $D//DevID", "END", "GET $D/nobody/DevID"],
        ),
        ends("END last", &["GET $D//DevID", "GET $D/nobody/DevID", "END"]),
        ends(
            "END three times",
            &["END", "GET $D//DevID", "END", "GET $D/nobody/DevID", "END"],
        ),
        Case::new("another package after END, on the same connection")
            .answers([Reply::raw(format!("{0}{0}", raw(r#"{"CMD":[["END"]]}"#)))])
            .check(|played| assert_eq!(played.packages().len(), 1)),
    ]);
}

#[test]
fn a_bad_command_has_its_status_in_its_place() {
    let around = |name, command: &str, status: u64| {
        let text = format!(r#"{{"CMD":[["GET","$D//DevID"],{command},["GET","$D//DevID"]]}}"#);
        let statuses = [200, status, 200];
        Case::new(name)
            .answers([Reply::text(&text)])
            .statuses([&statuses])
    };
    let long = format!(r#"["GET","$D//{}"]"#, "x/".repeat(3000));
    let many = format!(r#"["GET"{}]"#, r#","$D//DevID""#.repeat(65));
    Stage::set(&[]).play_all([
        around("unknown", r#"["FROBNICATE","$D//DevID"]"#, 501),
        around("unknown, without a name", r#"[""]"#, 501),
        around("no parameter", r#"["GET"]"#, 400),
        around("empty", "[]", 400),
        around("a text", r#""GET $D//DevID""#, 400),
        around("an object", r#"{"GET":"$D//DevID"}"#, 400),
        around("a number", "7", 400),
        around("null", "null", 400),
        around("a number as parameter", r#"["GET",7]"#, 400),
        around("an array as parameter", r#"["GET",["$D//DevID"]]"#, 400),
        around("a name that is none", r#"[7,"$D//DevID"]"#, 400),
        around("END with a parameter", r#"["END","now"]"#, 400),
        around(
            "DELETE of two nodes",
            r#"["DELETE","$M/1/Level","$M/1/On"]"#,
            400,
        ),
        around("HGET without a server", r#"["HGET","$M/1/Level"]"#, 400),
        around(
            "HGET from two servers",
            r#"["HGET","$here/a","$here/b"]"#,
            400,
        ),
        around("HPUT of nothing", r#"["HPUT","$here/a"]"#, 400),
        around("CONT to a path", r#"["CONT","/dm/next"]"#, 400),
        around("a ClientURI that is none", r#"["GET","DevID"]"#, 400),
        around(
            "a ClientURI with a broken escape",
            r#"["GET","$D//Dev%4"]"#,
            400,
        ),
        around("a ClientURI that goes up", r#"["GET","$D//../DevID"]"#, 400),
        around(
            "a ClientURI with an unknown query",
            r#"["GET","$D//DevID?x=1"]"#,
            400,
        ),
        around("a ClientURI that is too long", &long, 414),
        around("too many parameters", &many, 400),
        around("no such type", r#"["GET","urn:oma:mo:nothing:1.0//"]"#, 403),
        around("no such instance", r#"["GET","$D/9/DevID"]"#, 404),
        around("no such node", r#"["GET","$D//Nothing"]"#, 404),
        around("a node that cannot be read", r#"["GET","$M/1/Code"]"#, 405),
        around(
            "a node that cannot be executed",
            r#"["EXEC","$M/1/Level"]"#,
            405,
        ),
        around(
            "a permanent node that is to be deleted",
            r#"["DELETE","$M/1/ID"]"#,
            405,
        ),
        around("what the device owns", r#"["DELETE","$D//"]"#, 403),
    ]);
}

/// OMA DM 2.0 lets a device do without what needs a browser or a subscription; a server must be able to rely on the
/// rest of its package.
#[test]
fn a_device_without_a_screen_says_so_and_goes_on() {
    let unsupported = |name, command: &'static str| {
        Case::new(name)
            .answers([
                Reply::package(&["GET $D//DevID", command, "GET $D//Man"]),
                Reply::package(&["GET $S//CBT"]),
            ])
            .statuses([&[200, 501, 200], &[200]])
    };
    let mut stage = Stage::set(&[]);
    stage.play_all([
        unsupported("SHOW", "SHOW $here/page"),
        unsupported("SHOW on a server without TLS", "SHOW $plain/page"),
        unsupported("DEFAULT", "DEFAULT $here/default urn:oma:mo:oma-fumo:1.0"),
        unsupported("SUB", "SUB $here/changes $M/1/"),
        unsupported("UNSUB", "UNSUB $M/1/"),
        unsupported(
            "EXEC with a report elsewhere",
            "EXEC $M/1/Level $here/report",
        ),
        Case::new("SHOW and END")
            .answers([Reply::package(&["SHOW $here/page", "END", "GET $D//DevID"])])
            .check(|played| {
                let told = [
                    ("SHOW".into(), Some(501)),
                    ("END".into(), None),
                    ("GET".into(), Some(200)),
                ];
                assert_eq!(played.commands(), told);
                assert!(played.transfers().is_empty(), "nobody has opened the page");
            }),
    ]);
}

#[test]
fn what_is_no_package_2_ends_the_session() {
    let not = |name, reply| Case::new(name).answers([reply]).fails("cannot be read");
    let deep = format!(r#"{{"CMD":[],"x":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(GET.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let latin: Vec<u8> =
        br#"{"CMD":[["GET","$D//Dev"#.iter().chain(b"\xe4\xff\"]]}").copied().collect();
    Stage::set(&[]).play_all([
        not("no CMD", Reply::text("{}")),
        not("nothing", Reply::text("")),
        not("an array", Reply::text("[]")),
        not("a text", Reply::text(r#""END""#)),
        not("null", Reply::text("null")),
        not("half a package", Reply::text(r#"{"CMD":[["GET","#)),
        not(
            "something behind it",
            Reply::text(r#"{"CMD":[]} {"CMD":[]}"#),
        ),
        not("single quotes", Reply::text("{'CMD':[]}")),
        not("a comment", Reply::text(r#"{"CMD":[/* none */]}"#)),
        not("a comma too much", Reply::text(r#"{"CMD":[],}"#)),
        not("XML", Reply::text("<SyncML/>")),
        not("UTF-16", Reply::body(utf16)),
        not("no UTF-8", Reply::body(latin)),
        not("zeros", Reply::body(vec![0; 1000])),
        not("deep", Reply::text(&deep)),
        not("deeper than any stack", Reply::text(&"[".repeat(500_000))),
        not(
            "half a surrogate",
            Reply::text(r#"{"CMD":[["GET","\ud800"]]}"#),
        ),
    ]);
}

#[test]
fn the_media_type_of_package_2_decides() {
    let of = |media_type| Reply::text(GET).media_type(media_type);
    let good = |name, reply| Case::new(name).answers([reply]).statuses([&[200]]);
    let bad = |name, reply| Case::new(name).answers([reply]).fails("not a Package#2");
    Stage::set(&[]).play_all([
        good(
            "with a parameter",
            of("application/vnd.oma.dm.request+json; charset=UTF-8"),
        ),
        good("in capitals", of("Application/VND.OMA.DM.Request+JSON")),
        good("as what it is", of("application/json;charset=utf-8")),
        good("untold", Reply::text(GET).without("Content-Type")),
        bad("a web page", of("text/html")),
        bad("a Package#1", of("application/vnd.oma.dm.initiation+json")),
        bad("a Package#3", of("application/vnd.oma.dm.response+json")),
        bad("a DM 1.x message", of("application/vnd.syncml.dm+xml")),
        bad("nothing", of("")),
    ]);
}

/// A second answer to one request must never count as the answer to the next.
#[test]
fn an_answer_that_nobody_asked_for_is_dropped() {
    let two = format!("{}{}", raw(GET), raw(r#"{"CMD":[["DELETE","$M/1/"]]}"#));
    Stage::set(&[]).play_all([
        Case::new("two answers at once")
            .answers([Reply::raw(two)])
            .statuses([&[200]])
            .check(|played| {
                let connections: Vec<_> = played
                    .packages()
                    .iter()
                    .map(|package| package.connection)
                    .collect();
                assert_eq!(connections, [0, 1], "over a new connection");
                assert!(played.commands().iter().all(|(name, _)| name != "DELETE"));
            }),
        Case::new("the object is still there")
            .answers([Reply::package(&["GET $M/1/ID"])])
            .statuses([&[200]])
            .check(|played| assert_eq!(played.mo_data(0, 0), json!({ "ID": "GPS" }))),
    ]);
}

/// A whole answer with a Package#2, by hand. Its length is counted when names have been replaced.
fn raw(body: &str) -> String {
    let body = body
        .replace("$D", super::stage::DEVINFO)
        .replace("$M", super::stage::SENSOR);
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oma.dm.request+json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Two letters of a header, as RFC 9110 §5.1 allows them.
#[test]
fn names_of_header_fields_come_in_any_case() {
    let odd = |name: &str, length: &str| {
        let body = GET.replace("$D", super::stage::DEVINFO);
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\n{name}:application/vnd.oma.dm.request+json  \r\n{length}:  {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let good = |name, reply| Case::new(name).answers([reply]).statuses([&[200]]);
    Stage::set(&[]).play_all([
        good("small letters", odd("content-type", "content-length")),
        good("capitals", odd("CONTENT-TYPE", "CONTENT-LENGTH")),
        good("both", odd("cOnTeNt-TyPe", "CoNtEnT-lEnGtH")),
        good("no reason phrase", Reply::text(GET).start("HTTP/1.1 200 ")),
        good(
            "another reason phrase",
            Reply::text(GET).start("HTTP/1.1 200 Sehr wohl, gn\u{e4}dige Frau"),
        ),
        good(
            "fields that nobody knows",
            Reply::text(GET)
                .with("Date", "never")
                .with("X-\u{60}!#$%&'*+.^_|~", "\u{e4}"),
        ),
        good(
            "fields twice",
            Reply::text(GET)
                .with("Vary", "a")
                .with("Vary", "b")
                .framing(Framing::Chunked(7)),
        ),
    ]);
}
