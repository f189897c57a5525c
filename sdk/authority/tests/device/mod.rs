//! A device as the server sees one: TLS with an identity, HTTP/1.1, packages. And an authority in a directory of its own.
#![allow(dead_code, reason = "each test program uses a part of it")]

use bailiwick_authority::{
    Authority, DeviceId, Enroll, Enrollment, Init, Limits, RunningServer, Server, ServerOptions,
    pki::{self, Identity},
};
use bailiwick_protocol::{
    Alert, ClientUri, Command, HEADER_DEV_ID, MEDIA_INITIATION, MEDIA_RESPONSE, Package1, Package2,
    Package3, Status, StatusCode, alert,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request,
    body::Bytes,
    client::conn::http1::SendRequest,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2//";

/// A directory that is removed with the value.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bailiwick-authority-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority that nobody else uses.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new();
        let init = Init {
            name: "Test".into(),
            ..Init::default()
        };
        World {
            authority: Authority::init(&dir.path().join("authority"), init).unwrap(),
            dir,
        }
    }

    pub(crate) async fn serve(&self, options: ServerOptions) -> RunningServer {
        let any = "127.0.0.1:0".parse().unwrap();
        Server::bind(self.authority.clone(), any, options)
            .await
            .unwrap()
            .spawn()
    }

    pub(crate) async fn serve_within(&self, limits: Limits) -> RunningServer {
        self.serve(ServerOptions {
            limits,
            ..ServerOptions::default()
        })
        .await
    }

    pub(crate) fn enroll(&self, device: &str) -> Device {
        let id: DeviceId = device.parse().unwrap();
        let enrollment = self.authority.enroll(&id, Enroll::default()).unwrap();
        self.device(&id, &enrollment)
    }

    pub(crate) fn device(&self, id: &DeviceId, enrollment: &Enrollment) -> Device {
        Device {
            id: id.clone(),
            tls: self.tls(Some(&enrollment.identity)),
        }
    }

    pub(crate) fn tls(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        pki::client_config(&[self.authority.ca_certificate().unwrap()], identity).unwrap()
    }

    pub(crate) fn queue(&self, device: &Device, command: &Command) -> u64 {
        self.authority
            .queue(&device.id)
            .unwrap()
            .push(command)
            .unwrap()
    }

    /// IDs that wait, and how often each was sent.
    pub(crate) fn waiting(&self, device: &Device) -> Vec<(u64, u32)> {
        let queued = self.authority.queue(&device.id).unwrap().list().unwrap();
        queued
            .iter()
            .map(|queued| (queued.id, queued.sent))
            .collect()
    }
}

pub(crate) fn get(uri: &str) -> Command {
    Command::Get {
        client_uris: vec![ClientUri::parse(uri).unwrap()],
    }
}

/// A device and how it makes connections.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) tls: Arc<ClientConfig>,
}

/// One connection of a device.
pub(crate) struct Connection {
    device: DeviceId,
    sender: SendRequest<Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Device {
    pub(crate) async fn connect(&self, server: SocketAddr) -> Result<Connection, Failure> {
        let stream = self.connect_tls(server).await?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what goes wrong shows in the answers.
        tokio::spawn(connection);
        Ok(Connection {
            device: self.id.clone(),
            sender,
        })
    }

    /// For what HTTP libraries do not let one send.
    pub(crate) async fn connect_tls(
        &self,
        server: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::from(server.ip());
        Ok(TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await?)
    }
}

impl Connection {
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await?.to_bytes().to_vec(),
        })
    }

    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        self.send(request.body(body).unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.request(Method::GET, path, &[], b"").await
    }

    pub(crate) async fn put(&mut self, path: &str, body: &[u8]) -> Answer {
        let headers = [(CONTENT_TYPE.as_str(), "application/dmmo+json")];
        self.request(Method::PUT, path, &headers, body).await
    }

    pub(crate) async fn post(&mut self, media_type: &str, body: &[u8]) -> Answer {
        let device = self.device.to_string();
        let headers = [
            (HEADER_DEV_ID, device.as_str()),
            (CONTENT_TYPE.as_str(), media_type),
        ];
        self.request(Method::POST, "/dm", &headers, body).await
    }

    /// Sends Package#1.
    pub(crate) async fn open(&mut self) -> Answer {
        let package = Package1 {
            mos: Vec::new(),
            alerts: vec![Alert::new(alert::CLIENT_INITIATED)],
        };
        self.post(MEDIA_INITIATION, &package.to_bytes()).await
    }

    /// Sends Package#3 with these statuses.
    pub(crate) async fn answer(&mut self, statuses: &[u16]) -> Answer {
        let package = Package3 {
            statuses: statuses
                .iter()
                .map(|code| Status::new(StatusCode(*code)))
                .collect(),
            alerts: Vec::new(),
        };
        self.answer_with(&package).await
    }

    pub(crate) async fn answer_with(&mut self, package: &Package3) -> Answer {
        self.post(MEDIA_RESPONSE, &package.to_bytes()).await
    }
}

impl Answer {
    /// The names of the commands of a Package#2.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.commands().iter().map(Command::name).collect()
    }

    /// The commands of a Package#2.
    pub(crate) fn commands(&self) -> Vec<Command> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(
            self.headers[CONTENT_TYPE],
            bailiwick_protocol::MEDIA_REQUEST
        );
        let package = Package2::parse(&self.body, &bailiwick_protocol::Limits::DEFAULT).unwrap();
        package.commands.into_iter().map(Result::unwrap).collect()
    }
}
