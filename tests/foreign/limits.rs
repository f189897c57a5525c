//! Too much, too long, too slow: each costs the server its session, or one command, and nobody else anything.

use std::time::{Duration, Instant};

use super::stage::{Case, Stage};
use crate::server::{Framing, Greeting, Reply};

/// Milliseconds for a request; enough for a good one on a busy machine.
const REQUEST: u64 = 2_000;
const MEGABYTE: usize = 1 << 20;

fn get() -> Reply {
    Reply::package(&["GET $D//DevID"])
}

#[test]
fn answers_without_end_are_not_read_to_their_end() {
    let large = |name, reply: Reply| {
        Case::new(name)
            .answers([reply])
            .fails("more than 1048576 bytes")
    };
    let package = |bytes: usize| format!(r#"{{"CMD":[["END"]],"x":"{}"}}"#, "x".repeat(bytes));
    let full = MEGABYTE - package(0).len();
    let data = format!(r#"{{"MOData":"{}"}}"#, "x".repeat(10 * MEGABYTE));
    let fields = (0..100).fold(Reply::end(), |reply, number| {
        reply.with(&format!("X-{number}"), "x")
    });
    Stage::set(&[]).play_all([
        Case::new("a package of exactly one megabyte").answers([Reply::text(&package(full))]),
        large("one byte more", Reply::text(&package(full + 1))),
        large("ten megabytes", Reply::text(&package(10 * MEGABYTE))),
        large(
            "ten megabytes in chunks",
            Reply::text(&package(10 * MEGABYTE)).framing(Framing::Chunked(60_000)),
        ),
        large(
            "ten megabytes until the end",
            Reply::text(&package(10 * MEGABYTE))
                .framing(Framing::UntilClose)
                .close(),
        ),
        large(
            "a length of many gigabytes",
            Reply::end().framing(Framing::LengthOff(1 << 40)),
        ),
        Case::new("a head of 100 kilobytes")
            .answers([Reply::end().with("X", &"x".repeat(100_000))])
            .fails("not HTTP/1.1"),
        Case::new("a name of 100 kilobytes")
            .answers([Reply::end().with(&"x".repeat(100_000), "x")])
            .fails("not HTTP/1.1"),
        Case::new("100 fields")
            .answers([fields])
            .fails("not HTTP/1.1"),
        Case::new("a status line of 100 kilobytes")
            .answers([Reply::end().start(&format!("HTTP/1.1 200 {}", "x".repeat(100_000)))])
            .fails("not HTTP/1.1"),
        Case::new("interim answers without end")
            .answers([Reply::raw("HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000)).close()])
            .fails(""),
        Case::new("a trailer without end")
            .answers([Reply::raw(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}",
                "X: x\r\n".repeat(100_000)
            ))
            .close()])
            .fails(""),
        Case::new("a chunk extension without end")
            .answers([Reply::raw(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
                "x".repeat(MEGABYTE)
            ))
            .close()])
            .fails(""),
        Case::new("ten megabytes of data")
            .data("/data", Reply::data_text(&data))
            .data(
                "/chunks",
                Reply::data_text(&data).framing(Framing::Chunked(60_000)),
            )
            .answers([Reply::package(&[
                "HGET $here/data $M/1/Setting",
                "HGET $here/chunks $M/1/Setting",
                "GET $D//DevID",
            ])])
            .statuses([&[413, 413, 200]]),
        Case::new("a receipt of ten megabytes")
            .data(
                "/in",
                Reply::status("200 OK")
                    .with("X", "y")
                    .framing(Framing::LengthOff(10 << 20)),
            )
            .answers([Reply::package(&["HPUT $here/in $M/1/ID", "GET $D//DevID"])])
            .statuses([&[413, 200]]),
    ]);
}

#[test]
fn packages_of_too_many_commands_are_refused() {
    let many = |number: usize| Reply::package(&vec!["GET $D//DevID"; number]);
    let statuses: Vec<u64> = vec![200; 256];
    Stage::set(&[]).play_all([
        Case::new("as many as there may be")
            .answers([many(256)])
            .statuses([&statuses]),
        Case::new("one more")
            .answers([many(257)])
            .fails("at most 256 are read"),
        Case::new("empty ones")
            .answers([Reply::text(&format!(
                r#"{{"CMD":[{}[]]}}"#,
                "[],".repeat(100_000)
            ))])
            .fails("more than 20000 values"),
    ]);
}

#[test]
fn sessions_without_end_are_ended() {
    let mut stage = Stage::set(&[("packages", 90)]);
    stage.play(
        &Case::new("packages without end")
            .forever(Reply::package(&[]))
            .statuses([[].as_slice(); 89])
            .fails("had not said END after 90 packages"),
    );
    stage.hold_a_good_session();

    let flood = vec!["SHOW $here/page"; 250];
    let statuses: Vec<u64> = vec![501; 250];
    let statuses: [&[u64]; 80] = [&statuses; 80];
    stage.play(
        &Case::new("commands without end")
            .forever(Reply::package(&flood))
            .statuses(statuses)
            .fails("more than 20000 commands"),
    );
    stage.hold_a_good_session();

    let mut stage = Stage::set(&[("session-ms", 3_000), ("packages", 1_000_000)]);
    let began = Instant::now();
    let report = endless(&mut stage);
    assert!(
        report.contains("had not said END after 3000 ms"),
        "{report}"
    );
    assert!(began.elapsed() < Duration::from_secs(60));
    stage.hold_a_good_session();
}

/// A session whose number of packages nobody knows beforehand; what the report says at its end.
fn endless(stage: &mut Stage) -> String {
    let script = crate::server::Script {
        afterwards: Some(Reply::package(&["GET $S//CBT"])),
        ..Default::default()
    };
    let names = stage.names();
    stage.here.play(&script, &names);
    let report = stage.admin.session("alpha").unwrap();
    stage.here.take();
    report["error"].as_str().unwrap_or("no error").to_owned()
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let late = |name, reply: Reply| {
        Case::new(name)
            .answers([reply])
            .fails("did not answer within 2000 ms")
    };
    let later = |name, reply: Reply| {
        Case::new(name)
            .answers([get(), reply])
            .statuses([&[200]])
            .fails("did not answer within 2000 ms")
    };
    let data = |name, reply: Reply| {
        Case::new(name)
            .data("/data", reply)
            .answers([Reply::package(&[
                "HGET $here/data $M/1/Setting",
                "GET $D//DevID",
            ])])
            .statuses([&[408, 200]])
    };
    let began = Instant::now();
    let mut stage = Stage::set(&[("request-ms", REQUEST)]);
    stage.play_all([
        Case::new("a silent server")
            .greetings([Greeting::Silence])
            .fails("2000 ms"),
        Case::new("half a handshake")
            .greetings([Greeting::Plain(vec![22, 3, 3, 0, 100, 2])])
            .fails("2000 ms"),
        late("no answer", Reply::raw("").stall()),
        late("half a head", Reply::end().only(30).stall()),
        late(
            "half a body",
            Reply::end().framing(Framing::LengthOff(1)).stall(),
        ),
        late(
            "no last chunk",
            Reply::end().framing(Framing::Chunked(4)).only(90).stall(),
        ),
        late(
            "a body that drips",
            Reply::text(&format!("{{{}}}", " ".repeat(5_000))).trickle(),
        ),
        later("no answer to Package#3", Reply::raw("").stall()),
        later(
            "an answer to Package#3 that drips",
            Reply::text(&format!("{{{}}}", " ".repeat(5_000))).trickle(),
        ),
        data("no data", Reply::raw("").stall()),
        data(
            "data that drip",
            Reply::data_text(&" ".repeat(5_000)).trickle(),
        ),
    ]);
    assert!(began.elapsed() < Duration::from_secs(100));
}
