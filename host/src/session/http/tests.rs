//! Against a server of raw bytes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;

const BOUNDS: Bounds = Bounds {
    body: 64,
    time: Duration::from_millis(300),
};

/// Opens a connection to a server that runs `script` with its end of it.
async fn connect<F>(script: impl FnOnce(TcpStream) -> F + 'static) -> Connection
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        script(stream).await;
    });
    let stream = TcpStream::connect(address).await.expect("a connection");
    Connection::open(stream).await.expect("HTTP")
}

fn post() -> Outgoing {
    Outgoing {
        method: Method::POST,
        to: Endpoint::parse("https://dm.example:8443/oma?x=1").expect("an endpoint"),
        fields: vec![(CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
        body: Bytes::from_static(b"hello"),
    }
}

/// Reads until the request is complete; `post()` ends with its body.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"hello") {
        let mut chunk = [0; 512];
        match stream.read(&mut chunk).await.expect("a request") {
            0 => break,
            n => request.extend_from_slice(&chunk[..n]),
        }
    }
    String::from_utf8(request).expect("text")
}

/// What becomes of a request that is answered with these bytes, after which the server closes.
async fn answered(bytes: &'static [u8]) -> Result<Answer, HttpError> {
    LocalSet::new()
        .run_until(async move {
            let mut connection = connect(async move |mut stream| {
                read_request(&mut stream).await;
                stream
                    .write_all(bytes)
                    .await
                    .expect("a client that listens");
            })
            .await;
            connection.exchange(post(), BOUNDS).await
        })
        .await
}

#[tokio::test]
async fn answers_within_bounds_are_read() {
    let rows: [(&[u8], u16, &str); 5] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, "{}"),
        (
            b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
            200,
            "until the end",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            200,
            "abc",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            404,
            "",
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            204,
            "",
        ),
    ];
    for (bytes, status, body) in rows {
        let answer = answered(bytes).await.expect(body);
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (status, body.as_bytes())
        );
    }
}

#[tokio::test]
async fn hostile_answers_are_errors() {
    let many_fields = [
        b"HTTP/1.1 200 OK\r\n".as_slice(),
        &b"x: y\r\n".repeat(FIELDS + 1),
        b"content-length: 0\r\n\r\n",
    ];
    let long_field = [
        b"HTTP/1.1 200 OK\r\nx: ".as_slice(),
        &b"y".repeat(2 * HEAD_BYTES),
        b"\r\n\r\n",
    ];
    let long_body = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice(),
        &b"10\r\n0123456789abcdef\r\n".repeat(5),
    ];
    let rows: [(&str, Vec<u8>, Fits); 10] = [
        (
            "truncated body",
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".into(),
            is_broken,
        ),
        (
            "truncated chunk",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nab".into(),
            is_broken,
        ),
        (
            "truncated head",
            b"HTTP/1.1 200 OK\r\ncontent-le".into(),
            is_broken,
        ),
        ("nothing", Vec::new(), is_broken),
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n\r\n".into(), is_broken),
        ("too many fields", many_fields.concat(), is_broken),
        ("a field too long", long_field.concat(), is_broken),
        (
            "a body too long, as it says",
            b"HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n".into(),
            is_too_large,
        ),
        (
            "a body too long, as it turns out",
            long_body.concat(),
            is_too_large,
        ),
        (
            "a coding",
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}".into(),
            |error| matches!(error, HttpError::Encoded { coding } if coding == "gzip"),
        ),
    ];
    for (what, bytes, fits) in rows {
        let error = answered(Vec::leak(bytes)).await.expect_err(what);
        assert!(fits(&error), "{what}: {error}");
    }
}

/// Whether an error is the one that is expected.
type Fits = fn(&HttpError) -> bool;

fn is_broken(error: &HttpError) -> bool {
    matches!(error, HttpError::Broken { .. })
}

fn is_too_large(error: &HttpError) -> bool {
    matches!(error, HttpError::TooLarge { limit: 64 })
}

#[tokio::test]
async fn a_request_says_what_the_specification_asks_for_and_no_more() {
    LocalSet::new()
        .run_until(async {
            let (seen, asked) = tokio::sync::oneshot::channel();
            let mut connection = connect(async move |mut stream| {
                seen.send(read_request(&mut stream).await)
                    .expect("a test that listens");
                stream
                    .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                    .await
                    .expect("a client");
            })
            .await;
            connection
                .exchange(post(), BOUNDS)
                .await
                .expect("an answer");
            let asked = asked.await.expect("a request");
            assert!(asked.starts_with("POST /oma?x=1 HTTP/1.1\r\n"), "{asked}");
            for line in [
                "host: dm.example:8443",
                "accept-encoding: identity",
                "content-length: 5",
            ] {
                assert!(
                    asked.contains(&format!("\r\n{line}\r\n")),
                    "{line} in {asked}"
                );
            }
        })
        .await;
}

#[tokio::test]
async fn silence_and_trickle_end_with_the_deadline() {
    LocalSet::new()
        .run_until(async {
            let mut silent = connect(async |mut stream| {
                read_request(&mut stream).await;
                std::future::pending::<()>().await;
            })
            .await;
            let mut trickling = connect(async |mut stream| {
                read_request(&mut stream).await;
                let mut head: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
                loop {
                    let (now, later) = head.split_at(head.len().min(1));
                    head = if later.is_empty() { b"." } else { later };
                    if stream.write_all(now).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            for connection in [&mut silent, &mut trickling] {
                let error = connection
                    .exchange(post(), BOUNDS)
                    .await
                    .expect_err("no answer");
                assert!(
                    matches!(error, HttpError::TimedOut { milliseconds: 300 }),
                    "{error}"
                );
            }
        })
        .await;
}

#[tokio::test]
async fn a_connection_is_used_again_until_the_server_closes_it() {
    LocalSet::new()
        .run_until(async {
            let mut connection = connect(async |mut stream| {
                for _ in 0..2 {
                    read_request(&mut stream).await;
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(answer).await.expect("a client");
                }
            })
            .await;
            for _ in 0..2 {
                connection
                    .exchange(post(), BOUNDS)
                    .await
                    .expect("an answer");
            }
            // The end of the connection travels.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let error = connection
                .exchange(post(), BOUNDS)
                .await
                .expect_err("closed");
            assert!(matches!(error, HttpError::NotSent), "{error}");
        })
        .await;
}
