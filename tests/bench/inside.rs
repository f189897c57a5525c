//! What a call, a write and a crash cost, measured through the library in this process and its workers.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bailiwick::authority::{Authority, Instance};
use bailiwick::config::Config;
use bailiwick::plugins::imports::storage::Namespace;
use bailiwick::plugins::messages::{SandboxLimits, SandboxSpec};
use bailiwick::plugins::{
    AccountView, AlertRequest, Call, Kind, Manifests, Operation, PluginError, Plugins, Services,
};
use bailiwick::store::{Store, Transaction};
use bailiwick_plugin::{ManagementObject, NodeRef, ReadOptions, Tree};

use crate::table::{Table, quantile};

const MOID: &str = "urn:oma:mo:oma-sessioninfomo:1.0";

/// No accounts, no alerts.
struct Nothing;

impl Services for Nothing {
    fn accounts(&self, _: &Authority) -> std::result::Result<Vec<AccountView>, PluginError> {
        Ok(Vec::new())
    }

    fn raise_alert(
        &self,
        _: &Transaction,
        _: &Authority,
        _: AlertRequest,
    ) -> std::result::Result<(), PluginError> {
        Ok(())
    }
}

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let directory = bailiwick_tests::scratch("bench-inside")?;
    let config = Config::read(&configuration(&directory)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let store = Store::open(&config.state, Default::default())?;
        let plugins = Plugins::start(&config, Manifests::read(&config)?, Rc::new(Nothing))?;
        for (name, outcome) in plugins.compile_all().await {
            outcome.map_err(anyhow::Error::msg).context(name)?;
        }
        round_trip(table, &plugins, &store).await?;
        durable_write(table, &plugins, &store).await?;
        after_a_trap(table, &plugins, &store).await
    })?;
    sandboxed_read(table, &config.state)?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn configuration(directory: &Path) -> Result<std::path::PathBuf> {
    let plugins = ["session-info", "generic", "hostile-object"]
        .map(|name| {
            format!(
                "[[plugins]]\npath = {:?}\n",
                bailiwick_tests::plugin_dir(name)
            )
        })
        .concat();
    let path = directory.join("bailiwick.toml");
    let limits = "config = { behaviour = \"trap\" }\n[limits]\ntraps = 1000000\n";
    std::fs::write(
        &path,
        format!("state = \"state\"\nadmin-socket = \"admin\"\n{plugins}{limits}"),
    )?;
    Ok(path)
}

fn read(plugin: &str, moid: &str, path: &[&str]) -> (Rc<str>, Operation) {
    let operation = Operation::Read {
        moid: moid.into(),
        miid: "1".into(),
        path: path.iter().map(ToString::to_string).collect(),
        max_nodes: 1000,
        names_only: false,
    };
    (plugin.into(), operation)
}

fn call(store: &Store, (plugin, operation): (Rc<str>, Operation)) -> Call {
    Call {
        plugin,
        authority: Authority::server("bench"),
        instance: None,
        operation,
        transaction: Rc::new(store.begin()),
        bearer: None,
    }
}

async fn round_trip(table: &mut Table, plugins: &Plugins, store: &Store) -> Result<()> {
    let mut samples = Vec::new();
    for round in 0..6_000 {
        let call = call(store, read("session-info", MOID, &["CBT"]));
        let started = Instant::now();
        plugins.call(call).await?;
        if round >= 1_000 {
            samples.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    let detail = format!(
        "p50 of {}; p99 {:.1}",
        samples.len(),
        quantile(&mut samples, 0.99)
    );
    table.add(
        "host -> worker -> host",
        quantile(&mut samples, 0.5),
        "us p50",
        Some(25.0),
        detail,
    );
    Ok(())
}

/// One leaf of one instance, written through the object's plug-in and committed; and the same bytes committed straight.
async fn durable_write(table: &mut Table, plugins: &Plugins, store: &Store) -> Result<()> {
    const TIMES: usize = 150;
    let instance = Instance::new("urn:oma:mo:x-bench-leaf:1.0", "1");
    let ddf = format!(
        "<MgmtTree><VerDTD>1.2</VerDTD><Node><NodeName>Leaf</NodeName><DFProperties><AccessType><Get/></AccessType>\
         <DFFormat><node/></DFFormat><Occurrence><One/></Occurrence><DFType><DDFName>{}</DDFName></DFType></DFProperties>\
         <Node><NodeName>Value</NodeName><DFProperties><AccessType><Get/><Replace/></AccessType><DFFormat><chr/></DFFormat>\
         <Occurrence><One/></Occurrence><DFType><MIME>text/plain</MIME></DFType></DFProperties></Node></Node></MgmtTree>",
        instance.moid
    );
    let described = store.begin();
    let kept = vec![("@ddf".to_owned(), Some(ddf.into_bytes()))];
    Namespace::instance("generic", &instance).commit(&described, kept, 1 << 20)?;
    described.commit().await?;
    let root = bailiwick_protocol::Node {
        path: Vec::new(),
        value: None,
    };
    let (moid, miid) = (instance.moid.clone(), instance.miid.clone());
    let initial = vec![root, value("first")];
    write(
        plugins,
        store,
        &instance,
        Operation::Create {
            moid,
            miid,
            initial,
        },
    )
    .await?;

    let (mut through, mut straight) = (Vec::new(), Vec::new());
    for round in 0..TIMES {
        let text = format!("value {round}");
        let (moid, miid) = (instance.moid.clone(), instance.miid.clone());
        let changes = vec![bailiwick::plugins::Change::Put(value(&text))];
        let started = Instant::now();
        write(
            plugins,
            store,
            &instance,
            Operation::Apply {
                moid,
                miid,
                changes,
            },
        )
        .await?;
        through.push(started.elapsed().as_secs_f64() * 1e3);
    }
    // Apart, so that neither finds the disk in a state that the other has left.
    for round in 0..TIMES {
        let text = format!("value {round}");
        let transaction = store.begin();
        let entries = vec![("n/Value".to_owned(), Some(text.into_bytes()))];
        Namespace::instance("straight", &instance).commit(&transaction, entries, 1 << 20)?;
        let started = Instant::now();
        transaction.commit().await?;
        straight.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (through, straight) = (quantile(&mut through, 0.5), quantile(&mut straight, 0.5));
    let detail = format!("medians of {TIMES}: {through:.2} ms over {straight:.2} ms");
    table.add(
        "durable write over the store's own commit",
        through / straight,
        "x",
        Some(1.3),
        detail,
    );
    Ok(())
}

async fn write(
    plugins: &Plugins,
    store: &Store,
    instance: &Instance,
    operation: Operation,
) -> Result<()> {
    let transaction = Rc::new(store.begin());
    let call = Call {
        plugin: "generic".into(),
        authority: Authority::server("bench"),
        instance: Some(instance.clone()),
        operation,
        transaction: Rc::clone(&transaction),
        bearer: None,
    };
    plugins.call(call).await?;
    Ok(transaction.commit().await?)
}

fn value(text: &str) -> bailiwick_protocol::Node {
    let value = Some(bailiwick_protocol::Value::Chr(text.to_owned()));
    bailiwick_protocol::Node {
        path: vec!["Value".into()],
        value,
    }
}

async fn after_a_trap(table: &mut Table, plugins: &Plugins, store: &Store) -> Result<()> {
    let mut samples = Vec::new();
    for _ in 0..200 {
        let crash = read("hostile-object", "urn:example:mo:hostile:1.0", &[]);
        if plugins.call(call(store, crash)).await.is_ok() {
            bail!("the plug-in that traps did not trap");
        }
        let good = call(store, ("hostile-object".into(), Operation::Health));
        let started = Instant::now();
        plugins.call(good).await?;
        samples.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let detail = format!(
        "p50 of {}; p99 {:.2}",
        samples.len(),
        quantile(&mut samples, 0.99)
    );
    table.add(
        "trap to next served call",
        quantile(&mut samples, 0.5),
        "ms p50",
        Some(1.0),
        detail,
    );
    Ok(())
}

/// The read of `session-info` without the question to the host, which only a sandbox can ask.
#[derive(Default)]
struct Native;

impl ManagementObject for Native {
    fn read(
        &mut self,
        target: &NodeRef,
        options: ReadOptions,
    ) -> bailiwick_plugin::Result<Vec<bailiwick_plugin::Node>> {
        let unknown = std::hint::black_box(0_i64);
        Tree::new()
            .leaf("CBT", unknown)
            .leaf("ROAMING", unknown)
            .subtree(&target.path, options)
    }
}

/// The same read, compiled to this machine and compiled to Wasm, asked for the same node.
fn sandboxed_read(table: &mut Table, state: &Path) -> Result<()> {
    const TIMES: usize = 60_000;
    let code = compiled(state, "session-info")?;
    let spec = SandboxSpec {
        name: "session-info".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        kind: Kind::Object,
        authority: Some("bench".into()),
        grants: vec![
            bailiwick::plugins::Interface::Logging,
            bailiwick::plugins::Interface::Session,
        ],
        config: Vec::new(),
        limits: SandboxLimits {
            memory_bytes: 16 << 20,
            table_elements: 20_000,
            handles: 1_000,
            hostcall_bytes: 4 << 20,
            log_bytes_per_second: 1 << 14,
            nodes: 20_000,
        },
    };
    let (_, operation) = read("session-info", MOID, &["CBT"]);
    let sandboxed = bailiwick::worker::probe::time_calls(code, spec, &operation, TIMES)
        .map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
    let mut sandboxed: Vec<f64> = sandboxed
        .iter()
        .skip(TIMES / 6)
        .map(|took| took.as_secs_f64() * 1e6)
        .collect();

    let mut plugin = Native;
    let target = NodeRef {
        mo: MOID.into(),
        instance: "1".into(),
        path: vec!["CBT".into()],
    };
    let mut native = Vec::new();
    for _ in 0..TIMES {
        let options = ReadOptions {
            max_nodes: 1000,
            names_only: false,
        };
        let (plugin, target) = (
            std::hint::black_box(&mut plugin),
            std::hint::black_box(&target),
        );
        let started = Instant::now();
        let nodes = plugin.read(target, options);
        native.push(started.elapsed().as_secs_f64() * 1e6);
        std::hint::black_box(nodes).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    let (sandboxed, native) = (quantile(&mut sandboxed, 0.5), quantile(&mut native, 0.5));
    let detail = format!("medians of {TIMES}: {sandboxed:.2} us over {native:.2} us native");
    table.add(
        "inside a worker: sandboxed read over native",
        sandboxed - native,
        "us",
        Some(1.0),
        detail,
    );
    Ok(())
}

/// The entry of the code cache for a component, out of its wrapping.
fn compiled(state: &Path, plugin: &str) -> Result<OwnedFd> {
    use bailiwick::plugins::cache::{CodeCache, Identity};
    let mut component = Vec::new();
    File::open(bailiwick_tests::plugin_dir(plugin).join("plugin.wasm"))?
        .read_to_end(&mut component)?;
    let identity = Identity::of(&component, bailiwick::worker::engine::version());
    CodeCache::open(state)?
        .get(&identity, 1 << 28)?
        .context("not in the cache")
}
