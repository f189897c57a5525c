//! The daemon without plug-ins and without a lock-in, which would bind the tests too: what wakes it, and what it
//! leaves behind.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::*;
use crate::certificates::testing::Ca;
use crate::config::Config;
use crate::isolation::{Enforcement, Protection};
use crate::plugins::Manifests;
use crate::provisioning::Policy;
use crate::session::{Connecting, Endpoint, Reach, ReachError, Reached, Sessions};

/// A state directory with a configuration; both go with the test.
struct Device {
    directory: PathBuf,
}

/// A daemon that runs.
struct Daemon {
    tell: mpsc::Sender<Event>,
    socket: PathBuf,
    serving: JoinHandle<()>,
}

impl Device {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("bw-{name}-{}", std::process::id()));
        let _old = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        Self { directory }
    }

    fn config(&self) -> Config {
        let text = format!(
            "state = {:?}\nadmin-socket = {:?}\n[limits]\nretry-ms = 60000\ncall-ms = 500",
            self.directory.join("state"),
            self.directory.join("admin.sock"),
        );
        toml::from_str(&text).unwrap()
    }

    async fn agent(&self) -> Agent {
        let config = self.config();
        let protection = Protection {
            landlock: Enforcement::Full,
            seccomp: Enforcement::Full,
        };
        let manifests = Manifests::read(&config).unwrap();
        Agent::start(config, manifests, Policy::default(), protection)
            .await
            .unwrap()
    }

    /// Starts a daemon whose sessions reach servers that never answer, or none.
    async fn start(&self, reach: Option<Silence>) -> Daemon {
        let mut agent = self.agent().await;
        if let Some(reach) = reach {
            let rooms = &agent.rooms;
            let (objects, store) = (rooms.objects.clone(), rooms.store.clone());
            agent.rooms.sessions =
                Sessions::over(Rc::new(reach), objects, store, &rooms.config.limits);
        }
        let tell = agent.tell.clone();
        let socket = agent.rooms.config.admin_socket.clone();
        Daemon {
            tell,
            socket,
            serving: spawn_local(agent.serve()),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

impl Daemon {
    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    async fn call(&self, method: &str, parameters: Value) -> Value {
        call(&mut self.connect().await, method, parameters).await
    }

    async fn bootstrap(&self) {
        let account = bailiwick_protocol::Account {
            srv_id: "north".into(),
            srv_uri: "https://north.example/".into(),
            name: "North".into(),
            permitted_moids: vec!["urn:oma:mo:x:1.0".into()],
            auth: bailiwick_protocol::AccountAuth {
                anchors_der: vec![Ca::new("CA").der()],
                ..Default::default()
            },
            ..Default::default()
        };
        let accounts = vec![account];
        let document = bailiwick_protocol::BootstrapDocument {
            accounts,
            objects: Vec::new(),
        };
        let document = String::from_utf8(document.to_bytes()).unwrap();
        let reply = self
            .call("Bootstrap", json!({ "document": document }))
            .await;
        assert_eq!(
            reply["parameters"]["accounts"][0]["change"],
            json!("added"),
            "{reply}"
        );
    }

    /// Waits until the account looks as it should.
    async fn account(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let reply = self.call("Status", json!({})).await;
                let account = reply["parameters"]["accounts"][0].clone();
                if wanted(&account) {
                    return account;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .unwrap()
    }

    async fn stop(self) {
        self.tell.send(Event::Stop("the test")).await.unwrap();
        self.serving.await.unwrap();
        assert!(!self.socket.exists(), "the socket goes with the daemon");
    }
}

async fn call(stream: &mut UnixStream, method: &str, parameters: Value) -> Value {
    let call =
        json!({ "method": format!("org.bailiwick.Admin.{method}"), "parameters": parameters });
    // A daemon that has no room has hung up already.
    let _gone = stream.write_all(format!("{call}\0").as_bytes()).await;
    let mut reply = Vec::new();
    while reply.last() != Some(&0) {
        assert_ne!(
            stream.read_buf(&mut reply).await.unwrap(),
            0,
            "no reply to {method}"
        );
    }
    serde_json::from_slice(&reply[..reply.len() - 1]).unwrap()
}

/// Servers that never answer.
struct Silence;

impl Reach for Silence {
    fn server_uri(&self, _: &Authority) -> Result<String, ReachError> {
        Ok("https://north.example/".into())
    }

    fn device_id(&self) -> Connecting<'_, String> {
        Box::pin(async { Ok("urn:dev:1".into()) })
    }

    fn connect<'a>(&'a self, _: &'a Authority, _: &'a Endpoint) -> Connecting<'a, Reached> {
        Box::pin(std::future::pending())
    }
}

/// One life of a daemon: like the real one, it ends with all its tasks, and the store is closed.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let whole = async {
        tokio::time::timeout(Duration::from_secs(60), test)
            .await
            .unwrap();
    };
    LocalSet::new().block_on(&runtime, whole);
}

#[test]
fn a_bootstrap_is_reported_until_it_was_even_after_a_restart() {
    let device = Device::new("agent-boot");
    run(async {
        let daemon = device.start(None).await;
        daemon.bootstrap().await;
        // Nobody says who the device is, so the session fails, and is worth another try.
        let account = daemon
            .account(|account| account["lastSession"].is_object())
            .await;
        assert_eq!(account["lastSession"]["succeeded"], json!(false));
        let wait = daemon
            .account(|account| account["retryInSeconds"].is_u64())
            .await;
        let wait = wait["retryInSeconds"].as_u64().unwrap();
        assert!((29..=60).contains(&wait), "{wait}");
        daemon.stop().await;
    });
    run(async {
        let daemon = device.start(None).await;
        daemon
            .account(|account| account["retryInSeconds"].is_u64())
            .await;
        daemon.stop().await;
    });
}

#[test]
fn a_session_stops_nobody_else_and_ends_with_the_daemon() {
    let device = Device::new("agent-session");
    run(async {
        let daemon = device.start(Some(Silence)).await;
        daemon.bootstrap().await;
        let mut operator = daemon.connect().await;
        let waiting = spawn_local(async move {
            call(&mut operator, "Session", json!({ "authority": "north" })).await
        });
        let account = daemon
            .account(|account| account["sessionRunning"] == json!(true))
            .await;
        assert!(account["lastSession"].is_null());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        daemon.stop().await;
        let reply = waiting.await.unwrap();
        assert_eq!(reply["parameters"]["succeeded"], json!(false), "{reply}");
        let error = reply["parameters"]["report"]["error"].as_str().unwrap();
        assert!(error.contains("the daemon stops"), "{error}");
    });
    // It is held again, and what it was to report is not lost.
    run(async {
        let daemon = device.start(Some(Silence)).await;
        daemon
            .account(|account| account["sessionRunning"] == json!(true))
            .await;
        daemon.stop().await;
    });
}

#[test]
fn no_more_connections_than_may_be_open() {
    run(async {
        let device = Device::new("agent-many");
        let daemon = device.start(None).await;
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = daemon.connect().await;
            call(&mut stream, "Accounts", json!({})).await;
            open.push(stream);
        }
        let reply = daemon.call("Accounts", json!({})).await;
        assert_eq!(reply["error"], json!("org.bailiwick.Admin.Busy"));
        drop(open.pop());
        let again =
            async { while daemon.call("Accounts", json!({})).await["error"].is_string() {} };
        tokio::time::timeout(Duration::from_secs(10), again)
            .await
            .unwrap();
        daemon.stop().await;
    });
}

#[test]
fn a_session_with_nobody_is_refused_at_once() {
    run(async {
        let device = Device::new("agent-nobody");
        let daemon = device.start(None).await;
        let reply = daemon
            .call("Session", json!({ "authority": "nobody" }))
            .await;
        assert_eq!(reply["error"], json!("org.bailiwick.Admin.Failed"));
        assert!(
            reply["parameters"]["message"]
                .as_str()
                .unwrap()
                .contains("nobody has no account")
        );
        daemon.stop().await;
    });
}

#[test]
fn two_daemons_do_not_share_a_state() {
    let device = Device::new("agent-two");
    run(async {
        let daemon = device.start(None).await;
        let protection = Protection {
            landlock: Enforcement::Full,
            seccomp: Enforcement::Full,
        };
        let config = device.config();
        let manifests = Manifests::read(&config).unwrap();
        let second = Agent::start(config, manifests, Policy::default(), protection).await;
        assert!(matches!(second.map(drop), Err(AgentError::Store(_))));
        daemon.call("Status", json!({})).await;
        daemon.stop().await;
    });
    run(async {
        device.start(None).await.stop().await;
    });
}
