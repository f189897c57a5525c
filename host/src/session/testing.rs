//! A DM server and data repository for tests: scripted, over plain TCP behind a [`Reach`] that pretends to have
//! found the right host.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::objects::testing::Scene;
use crate::plugins::Bearer;

pub(super) const DEVICE_ID: &str = "urn:uuid:11111111-2222-3333-4444-555555555555";

/// A request that has arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    /// `https://host/path`, from the request line and the `Host` field.
    pub(super) uri: String,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) body: String,
    /// Which connection it came over, counted from 1.
    pub(super) connection: usize,
}

/// What the server answers.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: String,
    /// Closes the connection when the answer is out.
    pub(super) close: bool,
    /// Never answers.
    pub(super) silent: bool,
}

impl Reply {
    pub(super) fn new(status: u16, media_type: &str, body: impl Into<String>) -> Self {
        Self {
            status,
            fields: vec![("content-type", media_type.to_owned())],
            body: body.into(),
            close: false,
            silent: false,
        }
    }

    /// A Package#2; each command is written as its parts between blanks.
    pub(super) fn package(commands: &[&str]) -> Self {
        let commands: Vec<Vec<&str>> = commands
            .iter()
            .map(|command| command.split(' ').collect())
            .collect();
        let body = serde_json::json!({ "CMD": commands }).to_string();
        Self::new(200, bailiwick_protocol::MEDIA_REQUEST, body)
    }

    /// Management data.
    pub(super) fn data(json: serde_json::Value) -> Self {
        Self::new(200, "application/dmmo+json", json.to_string())
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    pub(super) fn closing(self) -> Self {
        Self {
            close: true,
            ..self
        }
    }
}

/// Answers to the packages, in order, and to the requests for everything else, by URI.
#[derive(Default)]
pub(super) struct Script {
    pub(super) packages: Vec<Reply>,
    pub(super) others: BTreeMap<String, Reply>,
    /// Hosts that nobody can reach.
    pub(super) unreachable: BTreeSet<String>,
}

/// A device under test and its server.
pub(super) struct World {
    pub(super) scene: Scene,
    pub(super) sessions: Sessions,
    script: Rc<RefCell<Script>>,
    asked: Rc<RefCell<Vec<Asked>>>,
}

impl World {
    /// Must run inside a `LocalSet`.
    pub(super) async fn new(scene: Scene) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Rc::<RefCell<Script>>::default();
        let asked = Rc::<RefCell<Vec<Asked>>>::default();
        tokio::task::spawn_local(serve(listener, Rc::clone(&script), Rc::clone(&asked)));
        let reach = Pretended {
            address,
            script: Rc::clone(&script),
        };
        let (objects, store) = (scene.objects.clone(), scene.store.clone());
        let sessions = Sessions::over(Rc::new(reach), objects, store, &scene.limits);
        Self {
            scene,
            sessions,
            script,
            asked,
        }
    }

    /// What the server says to the next packages; the last one is repeated.
    pub(super) fn packages(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.borrow_mut().packages = replies.into_iter().collect();
    }

    /// What the repository says to requests for this URI.
    pub(super) fn repository(&self, uri: &str, reply: Reply) {
        self.script
            .borrow_mut()
            .others
            .insert(uri.to_owned(), reply);
    }

    pub(super) fn unreachable(&self, host: &str) {
        self.script.borrow_mut().unreachable.insert(host.to_owned());
    }

    /// What arrived since the last time.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.borrow_mut())
    }

    /// Runs a session of north whose only package with commands is this one; the statuses that came back.
    pub(super) async fn run(&self, commands: &[&str]) -> Vec<serde_json::Value> {
        self.packages([Reply::package(commands), Reply::package(&["END"])]);
        self.asked();
        let north = crate::objects::testing::north();
        let report = self
            .sessions
            .run(&north, Reason::ClientInitiated)
            .await
            .unwrap();
        assert!(report.completed);
        let asked = self.asked();
        let last = asked
            .iter()
            .rfind(|asked| asked.is_package(3))
            .expect("a Package#3");
        let package: serde_json::Value = serde_json::from_str(&last.body).unwrap();
        package["Status"].as_array().unwrap().clone()
    }

    /// Only the status codes.
    pub(super) async fn codes(&self, commands: &[&str]) -> Vec<u64> {
        let statuses = self.run(commands).await;
        statuses
            .iter()
            .map(|status| status["sc"].as_u64().unwrap())
            .collect()
    }
}

impl Asked {
    pub(super) fn is_package(&self, kind: u8) -> bool {
        let media_type = match kind {
            1 => bailiwick_protocol::MEDIA_INITIATION,
            _ => bailiwick_protocol::MEDIA_RESPONSE,
        };
        self.fields
            .get("content-type")
            .is_some_and(|field| field == media_type)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The alert types of a package.
    pub(super) fn alerts(&self) -> Vec<String> {
        let package = self.json();
        let alerts = package["Alert"].as_array().cloned().unwrap_or_default();
        alerts
            .iter()
            .map(|alert| alert["AlertType"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Every host is the one server of the test.
struct Pretended {
    address: SocketAddr,
    script: Rc<RefCell<Script>>,
}

impl Reach for Pretended {
    fn server_uri(&self, _authority: &Authority) -> Result<String, ReachError> {
        Ok("https://dm.example/oma".to_owned())
    }

    fn device_id(&self) -> Connecting<'_, String> {
        Box::pin(async { Ok(DEVICE_ID.to_owned()) })
    }

    fn connect<'a>(
        &'a self,
        _authority: &'a Authority,
        to: &'a Endpoint,
    ) -> Connecting<'a, Reached> {
        Box::pin(async move {
            if self.script.borrow().unreachable.contains(to.host()) {
                let reasons = vec!["nobody is there".to_owned()];
                let (host, port) = (to.host().to_owned(), to.port());
                return Err(ReachError::Unreachable {
                    host,
                    port,
                    reasons,
                });
            }
            let stream = TcpStream::connect(self.address).await.unwrap();
            let connection = Connection::open(stream).await?;
            Ok(Reached {
                connection,
                bearer: Bearer::Wireline,
                over: "a test".to_owned(),
            })
        })
    }
}

async fn serve(listener: TcpListener, script: Rc<RefCell<Script>>, asked: Rc<RefCell<Vec<Asked>>>) {
    for connection in 1.. {
        let (stream, _) = listener.accept().await.unwrap();
        let (script, asked) = (Rc::clone(&script), Rc::clone(&asked));
        tokio::task::spawn_local(attend(stream, connection, script, asked));
    }
}

async fn attend(
    mut stream: TcpStream,
    connection: usize,
    script: Rc<RefCell<Script>>,
    asked: Rc<RefCell<Vec<Asked>>>,
) {
    let mut read = Vec::new();
    while let Some(mut request) = next_request(&mut stream, &mut read).await {
        request.connection = connection;
        asked.borrow_mut().push(request.clone());
        let reply = script.borrow_mut().reply_to(&request);
        if reply.silent {
            std::future::pending::<()>().await;
        }
        let mut answer = format!(
            "HTTP/1.1 {} x\r\ncontent-length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for (name, value) in &reply.fields {
            answer += &format!("{name}: {value}\r\n");
        }
        answer += &format!("\r\n{}", reply.body);
        if stream.write_all(answer.as_bytes()).await.is_err() || reply.close {
            return;
        }
    }
}

impl Script {
    fn reply_to(&mut self, request: &Asked) -> Reply {
        if !request.is_package(1) && !request.is_package(3) {
            let known = self.others.get(&request.uri).cloned();
            return known.unwrap_or_else(|| Reply::new(404, "text/plain", "no such thing"));
        }
        match self.packages.len() {
            0 => Reply::new(500, "text/plain", "nothing is scripted"),
            1 => self.packages[0].clone(),
            _ => self.packages.remove(0),
        }
    }
}

async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(request) = take_request(read) {
            return Some(request);
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => read.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Takes one complete request off the front.
fn take_request(read: &mut Vec<u8>) -> Option<Asked> {
    let text = String::from_utf8(read.clone()).unwrap();
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next().unwrap().split(' ');
    let fields: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = fields
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let body = rest.get(..length)?.to_owned();
    let (method, target) = (request_line.next().unwrap(), request_line.next().unwrap());
    let uri = format!("https://{}{target}", fields["host"]);
    let used = head.len() + 4 + length;
    read.drain(..used);
    Some(Asked {
        method: method.to_owned(),
        uri,
        fields,
        body,
        connection: 0,
    })
}
