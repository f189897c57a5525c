//! Tests without a device: a [`Harness`] plays the host.
//!
//! Set up what the plug-in may find, make a plug-in with [`object`](Harness::object), [`transport`](Harness::transport)
//! or [`environment`](Harness::environment), call it, and look at answers, storage and log:
//!
//! ```
//! # use bailiwick_plugin::{Identity, ManagementObject, Node, NodeRef, ReadOptions, Result, Tree, device};
//! # #[derive(Default)] struct Model;
//! # impl ManagementObject for Model {
//! #     fn read(&mut self, target: &NodeRef, options: ReadOptions) -> Result<Vec<Node>> {
//! #         Tree::new().leaf("Mod", device::identity()?.model).subtree(&target.path, options)
//! #     }
//! # }
//! use bailiwick_plugin::testing::Harness;
//!
//! let harness = Harness::new();
//! harness.set_identity(Ok(Identity { model: "T-800".into(), ..Identity::default() }));
//! let mut object = harness.object::<Model>();
//! assert_eq!(object.values("urn:oma:mo:x-model:1.0", "1"), [("Mod".into(), "T-800".into())]);
//! ```
//!
//! The harness keeps the host's rules that a plug-in can notice: the namespaces of storage, the transaction round each
//! call, quotas and key lengths, refusal of what was not granted. It trusts the plug-in where the host does not:
//! permissions and the DDF of static classes are not checked.

pub(crate) mod imports;

mod plugins;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub use plugins::{EnvironmentUnderTest, ObjectUnderTest, TransportUnderTest};

use crate::accounts::Account;
use crate::applications::Grant;
use crate::certificates::Certificate;
use crate::log::Level;
use crate::net::{Candidate, NetworkInterface};
use crate::notify::Alert;
use crate::os::CommandOutput;
use crate::{
    Bearer, Environment, Error, Identity, ManagementObject, Result, StartReason, Transport,
};

/// Key under which the host lays the DDF of a dynamic class into the storage of each of its instances.
pub const DDF_KEY: &str = "@ddf";

/// A host for one plug-in and one authority.
#[derive(Clone)]
pub struct Harness {
    device: Rc<RefCell<Device>>,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Severity.
    pub level: Level,
    /// Text.
    pub message: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
}

/// A storage namespace, as the host picks it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespace {
    /// The plug-in's own.
    Plugin,
    /// That of an instance: MOID and MIID.
    Instance(String, String),
}

impl Harness {
    /// A device on which nothing is set: no identity, no files, no interfaces, an unlimited quota.
    pub fn new() -> Self {
        Self {
            device: Rc::new(RefCell::new(Device::new())),
        }
    }

    /// An object plug-in in a fresh sandbox.
    ///
    /// # Panics
    /// If its `init` fails; [`try_object`](Self::try_object) returns the error.
    pub fn object<P: ManagementObject>(&self) -> ObjectUnderTest<P> {
        started(self.try_object())
    }

    /// An object plug-in in a fresh sandbox, or why it does not start.
    pub fn try_object<P: ManagementObject>(&self) -> Result<ObjectUnderTest<P>> {
        let mut plugin = P::default();
        self.call(Namespace::Plugin, || plugin.init(StartReason::FirstUse))?;
        Ok(ObjectUnderTest {
            harness: self.clone(),
            plugin,
        })
    }

    /// A transport plug-in in a fresh sandbox.
    ///
    /// # Panics
    /// If its `init` fails; [`try_transport`](Self::try_transport) returns the error.
    pub fn transport<P: Transport>(&self) -> TransportUnderTest<P> {
        started(self.try_transport())
    }

    /// A transport plug-in in a fresh sandbox, or why it does not start.
    pub fn try_transport<P: Transport>(&self) -> Result<TransportUnderTest<P>> {
        let mut plugin = P::default();
        self.call(Namespace::Plugin, || plugin.init(StartReason::FirstUse))?;
        Ok(TransportUnderTest {
            harness: self.clone(),
            plugin,
        })
    }

    /// An environment plug-in in a fresh sandbox.
    ///
    /// # Panics
    /// If its `init` fails; [`try_environment`](Self::try_environment) returns the error.
    pub fn environment<P: Environment>(&self) -> EnvironmentUnderTest<P> {
        started(self.try_environment())
    }

    /// An environment plug-in in a fresh sandbox, or why it does not start.
    pub fn try_environment<P: Environment>(&self) -> Result<EnvironmentUnderTest<P>> {
        let mut plugin = P::default();
        self.call(Namespace::Plugin, || plugin.init(StartReason::FirstUse))?;
        Ok(EnvironmentUnderTest {
            harness: self.clone(),
            plugin,
        })
    }

    /// Sets a setting of `config`.
    pub fn set_config(&self, key: &str, value: &str) {
        self.device
            .borrow_mut()
            .config
            .insert(key.into(), value.into());
    }

    /// Sets what `device` answers, or how it fails.
    pub fn set_identity(&self, identity: Result<Identity>) {
        self.device.borrow_mut().identity = identity;
    }

    /// Sets a fact that `device` tells.
    pub fn set_fact(&self, name: &str, value: &str) {
        self.device
            .borrow_mut()
            .facts
            .insert(name.into(), value.into());
    }

    /// Sets the authority that `call` names.
    pub fn set_authority(&self, authority: Option<&str>) {
        self.device.borrow_mut().authority = authority.map(Into::into);
    }

    /// Sets what the session runs over; `None` outside a session.
    pub fn set_bearer(&self, bearer: Option<Bearer>) {
        self.device.borrow_mut().bearer = bearer;
    }

    /// Adds an account.
    pub fn add_account(&self, account: Account) {
        self.device.borrow_mut().accounts.push(account);
    }

    /// Adds a certificate that is there already.
    pub fn add_certificate(&self, certificate: Certificate) {
        self.device.borrow_mut().certificates.push(certificate);
    }

    /// The certificates that are there.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.device.borrow().certificates.clone()
    }

    /// What local applications were given, by anybody.
    pub fn grants(&self) -> Vec<Grant> {
        self.device.borrow().grants.clone()
    }

    /// Adds an interface that is up.
    pub fn add_interface(&self, name: &str, kind: Bearer) {
        self.device.borrow_mut().interfaces.push(NetworkInterface {
            name: name.into(),
            kind,
        });
    }

    /// Lets the resolver know a host name.
    pub fn add_host(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|&address| address.into()).collect();
        self.device
            .borrow_mut()
            .hosts
            .insert(name.into(), addresses);
    }

    /// Lets connections to an address succeed: over one interface, or over any.
    pub fn add_reachable(&self, address: &str, via: Option<&str>) {
        self.device
            .borrow_mut()
            .reachable
            .push((address.into(), via.map(Into::into)));
    }

    /// Adds a file below an os root; the root and its directories come with it.
    pub fn add_file(&self, root: &str, path: &str, content: impl AsRef<[u8]>) {
        let content = content.as_ref().to_vec();
        self.device
            .borrow_mut()
            .files
            .insert((root.into(), path.into()), content);
    }

    /// Adds a symbolic link below an os root. As on a device, links are not followed out of the root, and here not at all.
    pub fn add_link(&self, root: &str, path: &str, target: &str) {
        self.device
            .borrow_mut()
            .links
            .insert((root.into(), path.into()), target.into());
    }

    /// Adds a command with the arguments that it is run with.
    pub fn add_command(&self, name: &str, arguments: &[&str], output: CommandOutput) {
        let arguments = arguments.iter().map(|&argument| argument.into()).collect();
        self.device
            .borrow_mut()
            .commands
            .insert((name.into(), arguments), output);
    }

    /// Marks a class `shared-storage`: calls on its instances use the plug-in's own namespace.
    pub fn share_storage(&self, moid: &str) {
        self.device.borrow_mut().shared.insert(moid.into());
    }

    /// Limits the bytes of keys and values in each namespace.
    pub fn set_quota(&self, bytes: usize) {
        self.device.borrow_mut().quota = bytes;
    }

    /// Writes to storage as if an earlier call had.
    pub fn store(&self, namespace: Namespace, key: &str, value: impl AsRef<[u8]>) {
        let mut device = self.device.borrow_mut();
        device
            .storage
            .entry(namespace)
            .or_default()
            .insert(key.into(), value.as_ref().to_vec());
    }

    /// What a namespace holds.
    pub fn stored(&self, namespace: &Namespace) -> BTreeMap<String, Vec<u8>> {
        self.device
            .borrow()
            .storage
            .get(namespace)
            .cloned()
            .unwrap_or_default()
    }

    /// What was logged so far.
    pub fn log(&self) -> Vec<LogLine> {
        self.device.borrow().log.clone()
    }

    /// The alerts that were raised so far.
    pub fn alerts(&self) -> Vec<Alert> {
        self.device.borrow().alerts.clone()
    }

    /// The candidates and the stagger of every `net::connect` so far.
    pub fn connects(&self) -> Vec<(Vec<Candidate>, u32)> {
        self.device.borrow().connects.clone()
    }

    /// Serves one call as the host does: with this device behind the imports, in a namespace, and undone if it fails.
    pub fn call<R>(&self, namespace: Namespace, serve: impl FnOnce() -> Result<R>) -> Result<R> {
        let before = {
            let mut device = self.device.borrow_mut();
            device.namespace = namespace;
            device.calls += 1;
            let kept = (device.certificates.clone(), device.grants.clone());
            (device.storage.clone(), device.alerts.len(), kept)
        };
        let answer = imports::with_device(&self.device, serve);
        if answer.is_err() {
            let mut device = self.device.borrow_mut();
            device.storage = before.0;
            device.alerts.truncate(before.1);
            (device.certificates, device.grants) = before.2;
        }
        answer
    }

    /// The namespace of calls that address an instance of this class.
    fn namespace(&self, moid: &str, miid: &str) -> Namespace {
        match self.device.borrow().shared.contains(moid) {
            true => Namespace::Plugin,
            false => Namespace::Instance(moid.into(), miid.into()),
        }
    }
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

/// What the fake host knows and remembers.
pub(crate) struct Device {
    config: BTreeMap<String, String>,
    identity: Result<Identity>,
    facts: BTreeMap<String, String>,
    authority: Option<String>,
    bearer: Option<Bearer>,
    accounts: Vec<Account>,
    certificates: Vec<Certificate>,
    grants: Vec<Grant>,
    interfaces: Vec<NetworkInterface>,
    hosts: BTreeMap<String, Vec<String>>,
    reachable: Vec<(String, Option<String>)>,
    files: BTreeMap<(String, String), Vec<u8>>,
    links: BTreeMap<(String, String), String>,
    commands: BTreeMap<(String, Vec<String>), CommandOutput>,
    shared: BTreeSet<String>,
    quota: usize,
    storage: BTreeMap<Namespace, BTreeMap<String, Vec<u8>>>,
    log: Vec<LogLine>,
    alerts: Vec<Alert>,
    connects: Vec<(Vec<Candidate>, u32)>,
    namespace: Namespace,
    calls: u64,
}

impl Device {
    fn new() -> Self {
        Self {
            config: BTreeMap::new(),
            identity: Err(Error::unavailable("the test sets no identity")),
            facts: BTreeMap::new(),
            authority: None,
            bearer: None,
            accounts: Vec::new(),
            certificates: Vec::new(),
            grants: Vec::new(),
            interfaces: Vec::new(),
            hosts: BTreeMap::new(),
            reachable: Vec::new(),
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            commands: BTreeMap::new(),
            shared: BTreeSet::new(),
            quota: usize::MAX,
            storage: BTreeMap::new(),
            log: Vec::new(),
            alerts: Vec::new(),
            connects: Vec::new(),
            namespace: Namespace::Plugin,
            calls: 0,
        }
    }
}

fn started<P>(plugin: Result<P>) -> P {
    match plugin {
        Ok(plugin) => plugin,
        Err(error) => panic!("init failed: {error}"),
    }
}
