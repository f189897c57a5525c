//! A device with good plug-ins and a hostile one, and three processes that serve them: one for the authority that
//! installed the hostile one, one for another authority, one for the device itself.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bailiwick::authority::{Authority, Instance};
use bailiwick::config::Config;
use bailiwick::plugins::{
    AccountView, AlertRequest, Bearer, Call, CallError, Manifests, Operation, Output, PluginError,
    Plugins, Services,
};
use bailiwick::store::{Store, Table, Transaction};
use bailiwick_tests::plugin_dir;

/// How long a sandbox may rest before it is dropped.
pub(crate) const IDLE: Duration = Duration::from_millis(200);
/// Deadline of a call to a hostile plug-in.
pub(crate) const DEADLINE: Duration = Duration::from_millis(400);
/// The plug-in that always behaves.
pub(crate) const GOOD: &str = "session-info";
/// Its object.
pub(crate) const GOOD_MOID: &str = "urn:oma:mo:oma-sessioninfomo:1.0";

/// Whose plug-in misbehaves.
pub(crate) fn mean() -> Authority {
    Authority::server("mean.example")
}

/// Who must not notice.
pub(crate) fn good() -> Authority {
    Authority::server("good.example")
}

/// A plug-in to be installed.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// `plugin.toml`.
    pub(crate) manifest: String,
    /// The component; `None`: there is no file.
    pub(crate) component: Vec<u8>,
    /// What the operator grants; `None`: all that asks for no privilege.
    pub(crate) grant: Option<Vec<&'static str>>,
    /// Overrides of the settings.
    pub(crate) settings: BTreeMap<String, String>,
}

impl Installation {
    /// A plug-in as it was built by `cargo xtask plugins`.
    pub(crate) fn built(name: &str) -> Self {
        let directory = plugin_dir(name);
        let read = |name: &str| std::fs::read(directory.join(name)).expect("a built plug-in");
        Self {
            manifest: String::from_utf8(read("plugin.toml")).expect("text"),
            component: read("plugin.wasm"),
            grant: None,
            settings: BTreeMap::new(),
        }
    }

    /// Grants these interfaces by name.
    pub(crate) fn grant(mut self, interfaces: &[&'static str]) -> Self {
        self.grant = Some(interfaces.to_vec());
        self
    }

    /// Sets a setting.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.into(), value.into());
        self
    }

    /// Replaces the component.
    pub(crate) fn component(mut self, component: Vec<u8>) -> Self {
        self.component = component;
        self
    }

    /// Replaces a text in the manifest.
    pub(crate) fn edit(mut self, from: &str, to: &str) -> Self {
        assert!(
            self.manifest.contains(from),
            "{from} is not in the manifest"
        );
        self.manifest = self.manifest.replace(from, to);
        self
    }

    /// Adds limits to the manifest.
    pub(crate) fn limits(mut self, limits: &str) -> Self {
        self.manifest.push_str(&format!("\n[limits]\n{limits}\n"));
        self
    }

    fn write(&self, directory: &Path) {
        std::fs::create_dir_all(directory).expect("a directory");
        let ddf = include_bytes!("../plugins/object/object.ddf");
        let files: [(&str, &[u8]); 3] = [
            ("plugin.toml", self.manifest.as_bytes()),
            ("plugin.wasm", &self.component),
            ("object.ddf", ddf),
        ];
        for (name, content) in files {
            std::fs::write(directory.join(name), content).expect("a file");
        }
    }
}

/// What all devices of this test share: the state directory (with its code cache) and the store in it.
pub(crate) struct Ground {
    directory: PathBuf,
    pub(crate) store: Store,
}

impl Ground {
    /// Fresh.
    pub(crate) fn new() -> Self {
        let directory =
            std::env::temp_dir().join(format!("bailiwick-hostile-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let store = Store::open(&directory.join("state"), Default::default()).expect("a store");
        Self { directory, store }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A device with its plug-ins.
pub(crate) struct Device {
    pub(crate) plugins: Plugins,
    store: Store,
}

impl Device {
    /// Installs the good plug-ins and these.
    pub(crate) fn new(
        ground: &Ground,
        others: &[&Installation],
        limits: &str,
    ) -> Result<Self, String> {
        let mut text = format!(
            "state = \"state\"\nadmin-socket = \"socket\"\nisolation = \"best-effort\"\n\
             [limits]\nidle-ms = {}\n{limits}\n\
             [[plugins]]\npath = {:?}\n",
            IDLE.as_millis(),
            plugin_dir(GOOD)
        );
        for (number, other) in others.iter().enumerate() {
            let path = format!("plugin-{number}");
            other.write(&ground.directory.join(&path));
            text.push_str(&format!("[[plugins]]\npath = {path:?}\n"));
            if let Some(grant) = &other.grant {
                text.push_str(&format!("grant = {grant:?}\n"));
            }
            text.push_str("[plugins.config]\n");
            for (key, value) in &other.settings {
                text.push_str(&format!("{key} = {value:?}\n"));
            }
        }
        let file = ground.directory.join("bailiwick.toml");
        std::fs::write(&file, text).map_err(|error| error.to_string())?;
        let config = Config::read(&file).map_err(|error| error.to_string())?;
        let manifests = Manifests::read(&config).map_err(|error| error.to_string())?;
        let services = Rc::new(Alerts::default());
        let plugins = Plugins::start(&config, manifests, services).map_err(|e| e.to_string())?;
        Ok(Self {
            plugins,
            store: ground.store.clone(),
        })
    }

    /// A call whose writes are forgotten. Fails as well if a call that failed leaves a write behind.
    pub(crate) async fn call(
        &self,
        authority: &Authority,
        plugin: &str,
        operation: Operation,
    ) -> Result<Output, CallError> {
        let transaction = Rc::new(self.store.begin());
        let outcome = self
            .call_in(authority, plugin, operation, &transaction)
            .await;
        if let Ok(Output::Dialled { connection, .. }) = &outcome {
            let taken = self.plugins.take_connection(*connection);
            assert!(taken.is_some(), "there is no connection {connection}");
        }
        if outcome.is_err() {
            assert!(
                transaction.is_empty(),
                "a failed call has written something"
            );
        }
        outcome
    }

    /// A call within a transaction.
    pub(crate) async fn call_in(
        &self,
        authority: &Authority,
        plugin: &str,
        operation: Operation,
        transaction: &Rc<Transaction>,
    ) -> Result<Output, CallError> {
        let instance = match &operation {
            Operation::Read { moid, miid, .. } | Operation::Execute { moid, miid, .. } => {
                Some(Instance::new(moid, miid))
            }
            _ => None,
        };
        let call = Call {
            plugin: plugin.into(),
            authority: authority.clone(),
            instance,
            operation,
            transaction: Rc::clone(transaction),
            bearer: Some(Bearer::Wlan),
        };
        self.plugins.call(call).await
    }

    /// A call of the good plug-in, whose answer is known.
    pub(crate) async fn good_call(&self, authority: &Authority) -> Result<(), String> {
        match self.call(authority, GOOD, read(GOOD_MOID, "1")).await {
            Ok(Output::Nodes(nodes)) if nodes.len() == 3 => Ok(()),
            other => Err(format!("the good plug-in for {authority}: {other:?}")),
        }
    }
}

/// Reads an instance from its root.
pub(crate) fn read(moid: &str, miid: &str) -> Operation {
    Operation::Read {
        moid: moid.into(),
        miid: miid.into(),
        path: Vec::new(),
        max_nodes: 10_000,
        names_only: false,
    }
}

/// Takes every alert, as nobody would.
#[derive(Default)]
struct Alerts(Cell<usize>);

impl Services for Alerts {
    fn accounts(&self, _: &Authority) -> Result<Vec<AccountView>, PluginError> {
        Ok(Vec::new())
    }

    fn raise_alert(
        &self,
        transaction: &Transaction,
        who: &Authority,
        alert: AlertRequest,
    ) -> Result<(), PluginError> {
        let number = self.0.get() + 1;
        self.0.set(number);
        let data = alert.data.unwrap_or_default().into_bytes();
        transaction.put(Table::Alerts, &format!("{who}\0{number}"), data);
        Ok(())
    }
}
