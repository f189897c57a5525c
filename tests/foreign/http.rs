//! How answers are framed, and how connections end: what HTTP/1.1 allows, and what it does not.

use super::stage::{Case, Played, Stage};
use crate::server::{Framing, Greeting, Reply};

fn get() -> Reply {
    Reply::package(&["GET $D//DevID"])
}

/// Over which connection each package came.
fn connections(played: &Played) -> Vec<usize> {
    let packages = played.packages();
    packages.iter().map(|package| package.connection).collect()
}

#[test]
fn packages_are_framed_in_any_way_that_http_allows() {
    let good = |name, reply: Reply| Case::new(name).answers([reply]).statuses([&[200]]);
    Stage::set(&[]).play_all([
        good("one chunk", get().framing(Framing::Chunked(4096))),
        good(
            "chunks of one byte, with extensions and a trailer",
            get().framing(Framing::Chunked(1)),
        ),
        good(
            "until the end of the connection",
            get().framing(Framing::UntilClose).close(),
        ),
        good("by HTTP/1.0", get().start("HTTP/1.0 200 OK").close()),
        good(
            "by HTTP/1.0, until the end",
            get()
                .start("HTTP/1.0 200 OK")
                .framing(Framing::UntilClose)
                .close(),
        ),
        good(
            "after 100 and 103",
            Reply::raw(concat!(
                "HTTP/1.1 100 Continue\r\n\r\n",
                "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"CMD\":[]}"
            )),
        )
        .statuses([&[]]),
        good("a byte at a time", get().trickle()).statuses([&[200]]),
        good("in no coding", get().with("Content-Encoding", "identity")),
    ]);
}

#[test]
fn connections_are_kept_as_long_as_the_server_keeps_them() {
    let three = |name, reply: fn() -> Reply| {
        Case::new(name)
            .answers([reply(), reply(), reply()])
            .statuses([&[200], &[200], &[200]])
    };
    let kept = |played: &Played| assert_eq!(connections(played), [0, 0, 0, 0]);
    let renewed = |played: &Played| assert_eq!(connections(played), [0, 1, 2, 3]);
    Stage::set(&[]).play_all([
        three("by HTTP/1.1, without a word", get).check(kept),
        three("by HTTP/1.1, with one", || {
            get()
                .with("Connection", "Keep-Alive")
                .with("Keep-Alive", "timeout=60")
        })
        .check(kept),
        three("by HTTP/1.0, with one", || {
            get()
                .start("HTTP/1.0 200 OK")
                .with("Connection", "keep-alive")
        })
        .check(kept),
        three("announced and closed", || {
            get().with("Connection", "close").close()
        })
        .check(renewed),
        three("announced and left open", || {
            get().with("Connection", "close")
        })
        .check(renewed),
        three("closed in order, without a word", || get().close()).check(renewed),
        three("closed by HTTP/1.0", || {
            get().start("HTTP/1.0 200 OK").close()
        })
        .check(renewed),
        three("left open by HTTP/1.0", || get().start("HTTP/1.0 200 OK")).check(renewed),
        three("TCP closed, TLS not", || get().cut()).check(renewed),
        Case::new("closed now and then")
            .answers([get(), get().close(), get(), get().close(), get()])
            .statuses([&[200], &[200], &[200], &[200], &[200]])
            .check(|played| assert_eq!(connections(played), [0, 0, 1, 1, 2, 2])),
    ]);
}

/// An answer counts when it is complete, and a package that may have arrived is never sent twice.
#[test]
fn what_breaks_off_ends_the_session_and_is_not_repeated() {
    let broken = |name, reply: Reply| {
        Case::new(name)
            .answers([reply])
            .fails("broke off")
            .check(|played| assert_eq!(played.packages().len(), 1))
    };
    let later = |name, reply: Reply| {
        Case::new(name)
            .answers([get(), reply])
            .statuses([&[200]])
            .fails("package 2")
            .check(|played| {
                assert_eq!(played.packages().len(), 2);
            })
    };
    let end = Reply::end;
    Stage::set(&[]).play_all([
        broken("no answer", Reply::raw("").close()),
        broken("no answer, and TLS does not say so", Reply::raw("").cut()),
        broken("no answer but a reset", Reply::raw("").reset()),
        broken("half a status line", end().only(5).close()),
        broken("half a head", end().only(40).close()),
        broken("half a body", end().framing(Framing::LengthOff(1)).close()),
        Case::new("a body that is longer than its length")
            .answers([end().framing(Framing::LengthOff(-1))])
            .fails("cannot be read"),
        broken(
            "half a body, and a reset",
            end().framing(Framing::LengthOff(1)).reset(),
        ),
        broken(
            "no last chunk",
            end().framing(Framing::Chunked(4)).only(90).close(),
        ),
        // Whoever can cut TCP could otherwise cut a package where it still is one.
        broken(
            "until the end, which TLS does not announce",
            end().framing(Framing::UntilClose).cut(),
        ),
        later("no answer to Package#3", Reply::raw("").close()),
        later("a reset after Package#3", Reply::raw("").reset()),
        later("half an answer to Package#3", end().only(60).cut()),
    ]);
}

#[test]
fn what_is_not_http_ends_the_session() {
    let broken = |name, bytes: &str| {
        Case::new(name)
            .answers([Reply::raw(bytes).close()])
            .fails("not HTTP/1.1")
    };
    let body = "\r\n\r\n{\"CMD\":[[\"END\"]]}";
    let answer = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}{body}");
    Stage::set(&[]).play_all([
        broken("words", "hello, what can I do for you?\r\n\r\n"),
        broken("HTTP/0.9", "{\"CMD\":[[\"END\"]]}"),
        broken("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        broken(
            "the frames of HTTP/2",
            "\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04",
        ),
        broken(
            "another version",
            &answer("Content-Length: 17").replace("HTTP/1.1", "HTTP/3.0"),
        ),
        broken("a request", "GET / HTTP/1.1\r\nHost: device\r\n\r\n"),
        broken(
            "a status without digits",
            &answer("Content-Length: 17").replace("200", "OK!"),
        ),
        broken(
            "a status of two digits",
            &answer("Content-Length: 17").replace("200", "20"),
        ),
        broken(
            "a length that is no number",
            &answer("Content-Length: many"),
        ),
        broken("a negative length", &answer("Content-Length: -1")),
        broken(
            "two lengths",
            &answer("Content-Length: 17\r\nContent-Length: 18"),
        ),
        broken(
            "a length beyond all numbers",
            &answer("Content-Length: 99999999999999999999999"),
        ),
        broken(
            "a chunk without a size",
            &answer("Transfer-Encoding: chunked"),
        ),
        broken(
            "a chunk of endless size",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
        ),
        broken("a field without a colon", &answer("Content-Length")),
        broken(
            "a field with a blank in its name",
            &answer("Content Length: 17"),
        ),
        broken("zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n"),
    ]);
}

#[test]
fn compressed_packages_are_an_error_and_not_garbage() {
    let coded = |name, coding: &str| {
        Case::new(name)
            .answers([Reply::end().with("Content-Encoding", coding)])
            .fails("which was not asked for")
            .check(|played| {
                let asked = played.packages()[0]
                    .field("Accept-Encoding")
                    .map(str::to_owned);
                assert_eq!(asked.as_deref(), Some("identity"));
            })
    };
    Stage::set(&[]).play_all([
        coded("gzip", "gzip"),
        coded("in capitals", "GZIP"),
        coded("one that nobody knows", "x-zip"),
        coded("two", "gzip, br"),
        Case::new("gzip in the transfer")
            .answers([Reply::end()
                .with("Transfer-Encoding", "gzip, chunked")
                .framing(Framing::UntilClose)
                .close()])
            .fails(""),
    ]);
}

#[test]
fn connections_that_fail_at_once_end_the_session() {
    let broken = |name, greeting, words| {
        Case::new(name)
            .greetings([greeting])
            .fails(words)
            .check(|played| assert!(played.packages().is_empty()))
    };
    let later = |name, greeting, words| {
        Case::new(name)
            .greetings([Greeting::Tls, greeting])
            .answers([get().close()])
            .fails(words)
    };
    // A fatal alert: handshake_failure (RFC 8446 §6).
    let alert = || Greeting::Plain(vec![21, 3, 3, 0, 2, 2, 40]);
    Stage::set(&[]).play_all([
        broken("closed", Greeting::Closed, "closed the connection"),
        broken("reset", Greeting::Reset, "onnection"),
        broken(
            "reset in the handshake",
            Greeting::ResetInHandshake,
            "closed the connection during the TLS handshake",
        ),
        broken("an alert", alert(), "andshake"),
        broken(
            "plain HTTP",
            Greeting::Plain(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
            "does not speak TLS",
        ),
        broken(
            "nonsense",
            Greeting::Plain(vec![0xff; 64]),
            "does not speak TLS",
        ),
        later(
            "closed when it is opened again",
            Greeting::Closed,
            "closed the connection",
        ),
        later("reset when it is opened again", Greeting::Reset, ""),
        later("an alert when it is opened again", alert(), "andshake"),
        Case::new("an alert in clear text within the session")
            .answers([Reply::raw("").then_plain(&[21, 3, 3, 0, 2, 2, 40])])
            .fails("package 1"),
        Case::new("a whole answer in clear text within the session")
            .answers([Reply::raw("")
                .then_plain(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"CMD\":[[\"END\"]]}")])
            .fails("package 1"),
    ]);
}
