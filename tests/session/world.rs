//! A device, two authorities with their servers, and how commands are run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bailiwick_authority::{
    Authority, DeviceId, Enroll, Entry, Event, Init, Observer, Repository, Server, ServerOptions,
};
use bailiwick_protocol::{Command, Package1};
use bailiwick_tests::device::{Admin, DEVICE_ID, Device, Setup};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// How long a package that has been answered may take to be told.
const PATIENCE: Duration = Duration::from_secs(60);

/// Device information; in commands `$D`.
pub(crate) const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2";
/// The accounts; in commands `$A`.
pub(crate) const ACCOUNT: &str = "urn:oma:mo:oma-dm-dmacc:1.2";
/// How the session is connected; in commands `$S`.
pub(crate) const SESSION: &str = "urn:oma:mo:oma-sessioninfomo:1.0";
/// Types that are served from their description; in commands `$T`.
pub(crate) const TYPE: &str = "urn:oma:mo:x-bailiwick-mo-type:1.0";
/// Such a type; in commands `$M`.
pub(crate) const SENSOR: &str = "urn:oma:mo:x-foreign-sensor:1.0";

/// A device and two authorities.
pub(crate) struct World {
    pub(crate) device: Device,
    pub(crate) admin: Admin,
    pub(crate) north: Managed,
    pub(crate) south: Managed,
}

/// An authority that manages the device, with its server.
pub(crate) struct Managed {
    pub(crate) authority: Authority,
    pub(crate) name: &'static str,
    device: DeviceId,
    uri: String,
    server: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    /// Each Package#1, as it comes.
    opened: Receiver<Arc<Package1>>,
}

/// What became of one command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) status: u16,
    pub(crate) uris: Vec<String>,
    pub(crate) objects: Vec<Value>,
}

/// One session: how it was opened, what became of its commands, and the device's report.
pub(crate) struct Held {
    pub(crate) opened: Arc<Package1>,
    pub(crate) done: Vec<Done>,
    pub(crate) report: Value,
}

impl World {
    /// The usual device; both authorities may manage all types that tests name.
    pub(crate) fn new() -> Self {
        Self::with(&Setup::usual(), &[DEVINFO, ACCOUNT, SESSION, TYPE, SENSOR])
    }

    /// A device that is set up like this, and accounts that permit these types.
    pub(crate) fn with(setup: &Setup, moids: &[&str]) -> Self {
        let device = setup.start();
        let directory = device.directory().join("authorities");
        let north = Managed::new("north", &directory);
        let south = Managed::new("south", &directory);
        let world = Self {
            admin: device.admin(),
            device,
            north,
            south,
        };
        for managed in [&world.north, &world.south] {
            let document = managed.enroll(moids);
            world.admin.bootstrap(&document).unwrap();
        }
        for name in ["north", "south"] {
            let report = world.admin.session(name).unwrap();
            assert_eq!(report["completed"], true, "{report:#}");
        }
        world.north.package_1();
        world.south.package_1();
        world
    }

    /// Stops the daemon as a service manager does, and starts it again.
    pub(crate) fn restart(self) -> Self {
        let device = self.device.restart();
        Self {
            admin: device.admin(),
            device,
            ..self
        }
    }

    /// Runs these commands of north in one session.
    pub(crate) fn north(&mut self, commands: &[&str]) -> Held {
        self.north.run(&self.admin, commands)
    }

    /// Runs these commands of south in one session.
    pub(crate) fn south(&mut self, commands: &[&str]) -> Held {
        self.south.run(&self.admin, commands)
    }

    /// Gives north the type of the tests, and as many instances.
    pub(crate) fn north_makes(&mut self, ids: &[&str]) -> Vec<String> {
        self.north.put("type", &json!([type_item()]));
        let sensors: Vec<Value> = ids.iter().map(|id| sensor(id)).collect();
        self.north.put("sensors", &json!(sensors));
        let made = self.north(&["HGET $R/type", "HGET $R/sensors"]);
        assert_eq!(made.statuses(), [200, 200]);
        made.done[1].uris.clone()
    }
}

impl Managed {
    fn new(name: &'static str, directory: &Path) -> Self {
        let init = Init {
            name: name.to_owned(),
            srv_id: Some(name.to_owned()),
            ..Init::default()
        };
        std::fs::create_dir_all(directory).unwrap();
        let authority = Authority::init(&directory.join(name), init).unwrap();
        let (tell, opened) = sync_channel(100);
        let (address, stop, thread) = serve(authority.clone(), tell);
        Self {
            authority,
            name,
            device: DEVICE_ID.parse().unwrap(),
            uri: format!("https://127.0.0.1:{}", address.port()),
            server: Some((stop, thread)),
            opened,
        }
    }

    /// A bootstrap document for the device.
    fn enroll(&self, moids: &[&str]) -> Vec<u8> {
        let enroll = Enroll {
            moids: moids.iter().map(|moid| (*moid).to_owned()).collect(),
            uri: Some(format!("{}/dm", self.uri)),
            ..Enroll::default()
        };
        let enrollment = self.authority.enroll(&self.device, enroll).unwrap();
        enrollment.bootstrap.to_bytes()
    }

    /// Puts data into the repository; in commands it is `$R/` and the name.
    pub(crate) fn put(&self, name: &str, data: &Value) {
        let name = format!("{name}.json").parse().unwrap();
        let bytes = data.to_string().into_bytes();
        self.repository().put_bytes(&name, &bytes).unwrap();
    }

    /// An upload whose name begins like this.
    pub(crate) fn upload(&self, name: &str) -> Value {
        let uploads = self.uploads();
        let file = uploads.iter().find(|file| file.starts_with(name));
        let file = file.unwrap_or_else(|| panic!("no {name} among {uploads:?}"));
        let path = self.repository().uploads_of(&self.device).join(file);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn repository(&self) -> Repository {
        self.authority.repository()
    }

    /// Types of the alerts that have come so far, and the package that each came with.
    pub(crate) fn alerts(&self) -> Vec<(u8, String)> {
        let entries = self.entries().into_iter().filter_map(|entry| match entry {
            Entry::Alert { package, alert, .. } => {
                Some((package, alert["AlertType"].as_str().unwrap().to_owned()))
            }
            _ => None,
        });
        entries.collect()
    }

    fn entries(&self) -> Vec<Entry> {
        let journal = self.authority.journal(&self.device).unwrap();
        journal.entries().unwrap()
    }

    /// The latest Package#1; waits for one.
    pub(crate) fn package_1(&self) -> Arc<Package1> {
        let first = self.opened.recv_timeout(PATIENCE).unwrap();
        self.opened.try_iter().last().unwrap_or(first)
    }

    /// Names of all uploads so far.
    pub(crate) fn uploads(&self) -> Vec<String> {
        let uploads = self.repository().uploads(&self.device).unwrap();
        uploads.iter().map(|(name, _)| name.to_string()).collect()
    }

    /// Queues commands, holds a session, and gathers what came back.
    fn run(&self, admin: &Admin, commands: &[&str]) -> Held {
        let ids = self.queue(commands);
        let report = admin.session(self.name).unwrap();
        assert_eq!(report["completed"], true, "{report:#}");
        let queue = self.authority.queue(&self.device).unwrap();
        assert_eq!(queue.list().unwrap(), [], "all are answered");
        let mut done: BTreeMap<u64, Done> = BTreeMap::new();
        for entry in self.entries() {
            if let Entry::Result {
                id: Some(id),
                status: Some(status),
                uris,
                objects,
                ..
            } = entry
            {
                let result = Done {
                    status,
                    uris,
                    objects,
                };
                done.insert(id, result);
            }
        }
        let done = ids.iter().map(|id| done.remove(id).unwrap()).collect();
        let opened = self.package_1();
        Held {
            opened,
            done,
            report,
        }
    }

    /// Queues commands, each written as its parts between blanks; gives their numbers.
    pub(crate) fn queue(&self, commands: &[&str]) -> Vec<u64> {
        let repository = format!("{}/data", self.uri);
        let names = [
            ("$D", DEVINFO),
            ("$A", ACCOUNT),
            ("$S", SESSION),
            ("$T", TYPE),
            ("$M", SENSOR),
            ("$R", &repository),
        ];
        let full = |part: &str| {
            let end = if part.starts_with("$R/") { ".json" } else { "" };
            let named = |text: String, (name, is): &(&str, &str)| text.replace(name, is);
            names.iter().fold(format!("{part}{end}"), named)
        };
        let commands: Vec<Command> = commands
            .iter()
            .map(|command| command.split(' ').map(full).collect())
            .map(|parts: Vec<String>| Command::parse(&parts).unwrap())
            .collect();
        let queue = self.authority.queue(&self.device).unwrap();
        queue.push_all(&commands).unwrap()
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.server.take() {
            drop(stop);
            let _panicked = thread.join();
        }
    }
}

impl Held {
    /// The types and instances that Package#1 listed.
    pub(crate) fn listed(&self) -> Vec<(&str, Vec<&str>)> {
        let entries = self.opened.mos.iter().map(|entry| {
            let miids = entry.miids.iter().map(String::as_str).collect();
            (entry.moid.as_str(), miids)
        });
        entries.collect()
    }

    /// The status of each command.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.done.iter().map(|done| done.status).collect()
    }

    /// `MOData` of the first object that a command gave.
    pub(crate) fn mo_data(&self, command: usize) -> &Value {
        &self.done[command].objects[0]["MOData"]
    }

    /// All commands of the report.
    pub(crate) fn commands(&self) -> Vec<Value> {
        let packages = self.report["packages"].as_array().unwrap();
        let commands = packages
            .iter()
            .flat_map(|package| package["commands"].as_array().unwrap());
        commands.cloned().collect()
    }
}

/// Runs a server on a thread of its own until it is told to stop.
fn serve(
    authority: Authority,
    opened: SyncSender<Arc<Package1>>,
) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let any = "127.0.0.1:0".parse().unwrap();
            let server = Server::bind(authority, any, ServerOptions::default());
            let server = server.await.unwrap();
            tell.send(server.local_addr()).unwrap();
            let observing = pass_on(server.observe(), opened);
            // Whether it is told or the test is gone: it stops.
            let serving = server.run(async { stopped.await.unwrap_or(()) });
            tokio::join!(serving, observing);
        });
    });
    (told.recv().unwrap(), stop, thread)
}

/// Passes on how sessions are opened, until the server is gone.
async fn pass_on(mut observer: Observer, opened: SyncSender<Arc<Package1>>) {
    while let Some(event) = observer.next().await {
        if let Event::Opened { package, .. } = event {
            // The test may have ended.
            let _gone = opened.send(package);
        }
    }
}

/// The type of the tests.
pub(crate) fn type_item() -> Value {
    let description = include_str!("../foreign/sensor.ddf");
    json!({
        "ClientURI": format!("{TYPE}//"),
        "MOData": { "MOType": { "MOID": SENSOR, "DDF": description } },
    })
}

/// A new instance of it.
pub(crate) fn sensor(id: &str) -> Value {
    json!({
        "ClientURI": format!("{SENSOR}//"),
        "MOData": { "Sensor": { "ID": id, "Level": 1, "Data": { "1": { "Date": "12.1", "Value": 11 } } } },
    })
}
