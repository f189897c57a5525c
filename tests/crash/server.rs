//! A real Management Authority in this process: one command a package, and the moment at which each status came.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use bailiwick_authority::policy::PolicyError;
use bailiwick_authority::{
    Authority, CommandResult, DeviceId, Enroll, Init, Limits, Order, Policy, QueuePolicy,
    ResourceName, Server, ServerOptions,
};
use bailiwick_protocol::{ClientUri, Command, MoItem, Package1};
use serde_json::Value;
use tokio::sync::oneshot;

use super::scenario::{PERMITTED, Step};

/// The name of the authority.
pub(crate) const SRV_ID: &str = "crash.example";
/// The name of the device.
pub(crate) const DEVICE: &str = "crash:1";

/// A status that has come.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Number of the command in the queue, from 1.
    pub(crate) id: u64,
    /// Its status.
    pub(crate) code: u16,
    /// Microseconds since 1970.
    pub(crate) time: u64,
    /// The items that came with it, as JSON.
    pub(crate) objects: Value,
}

/// The authority.
pub(crate) struct Management {
    authority: Authority,
    device: DeviceId,
    address: SocketAddr,
    /// What the device is given.
    pub(crate) bootstrap: String,
    answers: Arc<Mutex<Vec<Answer>>>,
}

/// The authority's server, while it serves.
pub(crate) struct Serving {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// The queue; notes each answer before anything else is done with it.
struct Clocked {
    queue: QueuePolicy,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Policy for Clocked {
    fn commands(&self, device: &DeviceId, opened: &Package1) -> Result<Vec<Order>, PolicyError> {
        self.queue.commands(device, opened)
    }

    fn sending(&self, device: &DeviceId, orders: &[Order]) -> Result<(), PolicyError> {
        self.queue.sending(device, orders)
    }

    fn results(&self, device: &DeviceId, results: &[CommandResult]) -> Result<(), PolicyError> {
        let time = microseconds();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        for result in results {
            if let (Some(id), Some(status)) = (result.order.id, &result.status) {
                let objects = MoItem::to_bytes(&status.objects);
                let objects = serde_json::from_slice(&objects).unwrap_or_default();
                answers.push(Answer {
                    id,
                    code: status.code.0,
                    time,
                    objects,
                });
            }
        }
        drop(answers);
        self.queue.results(device, results)
    }
}

/// The clock that strace reads, too.
pub(crate) fn microseconds() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_micros() as u64
}

impl Management {
    /// Makes an authority in `directory`, on a port that is free now, and enrols the device.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let init = Init {
            name: "Crash".into(),
            srv_id: Some(SRV_ID.into()),
            hosts: vec!["127.0.0.1".into()],
        };
        let authority = Authority::init(directory, init)?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let device: DeviceId = DEVICE.parse()?;
        let enroll = Enroll {
            moids: PERMITTED.map(String::from).to_vec(),
            uri: Some(format!("https://{address}/dm")),
            ..Enroll::default()
        };
        let bootstrap = authority.enroll(&device, enroll)?.bootstrap;
        Ok(Self {
            authority,
            device,
            address,
            bootstrap: String::from_utf8(bootstrap.to_bytes())?,
            answers: Arc::default(),
        })
    }

    /// Starts to serve.
    pub(crate) fn serve(&self) -> Result<Serving> {
        let clocked = Clocked {
            queue: QueuePolicy::new(self.authority.clone()),
            answers: self.answers.clone(),
        };
        let options = ServerOptions {
            limits: Limits {
                batch_commands: 1,
                ..Limits::default()
            },
            policy: Some(Arc::new(clocked)),
            ..ServerOptions::default()
        };
        let (authority, address) = (self.authority.clone(), self.address);
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let serve = async {
                let server = Server::bind(authority, address, options).await?;
                let _waits = tell.send(());
                server.run(async { drop(stopped.await) }).await;
                anyhow::Ok(())
            };
            if let Err(error) = runtime
                .map_err(Into::into)
                .and_then(|runtime| runtime.block_on(serve))
            {
                eprintln!("the authority: {error:#}");
            }
        });
        told.recv().context("the authority did not start")?;
        Ok(Serving { stop, thread })
    }

    /// Puts a step into the queue; its number there.
    pub(crate) fn queue(&self, step: &Step) -> Result<u64> {
        let queue = self.authority.queue(&self.device)?;
        let name = format!("{}.json", microseconds());
        let (command, data) = step.command(&format!("https://{}/data/{name}", self.address));
        if let Some(data) = data {
            let name: ResourceName = name.parse()?;
            self.authority
                .repository()
                .put_bytes(&name, &serde_json::to_vec(&data)?)?;
        }
        Ok(queue.push(&command)?)
    }

    /// Puts a GET into the queue.
    pub(crate) fn ask(&self, client_uri: &str) -> Result<()> {
        let get = Command::Get {
            client_uris: vec![ClientUri::parse(client_uri)?],
        };
        self.authority.queue(&self.device)?.push(&get)?;
        Ok(())
    }

    /// How many commands wait for their status.
    pub(crate) fn waiting(&self) -> Result<usize> {
        Ok(self.authority.queue(&self.device)?.list()?.len())
    }

    /// Every status that has come.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Every status that has come; each must be 200.
    pub(crate) fn good_answers(&self) -> Result<Vec<Answer>> {
        let answers = self.answers();
        for Answer { id, code, .. } in &answers {
            ensure!(*code == 200, "command {id} got {code}");
        }
        Ok(answers)
    }
}

impl Serving {
    /// Stops serving, and waits for it.
    pub(crate) fn stop(self) -> Result<()> {
        drop(self.stop);
        self.thread
            .join()
            .map_err(|_| anyhow!("the authority panicked"))
    }
}
