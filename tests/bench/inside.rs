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
use bailiwick_plugin::{ManagementObject, NodeRef, ReadOptions};

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

/// The same bytes to the same store, once through the transaction of a command and once straight.
async fn durable_write(table: &mut Table, plugins: &Plugins, store: &Store) -> Result<()> {
    let moid = "urn:oma:mo:x-bailiwick-mo-type:1.0";
    let (mut through, mut straight) = (Vec::new(), Vec::new());
    let ddf =
        std::fs::read_to_string(bailiwick_tests::root().join("tests/vectors/devinfo-v1_2.ddf"))?;
    for round in 0..120 {
        let miid = (round + 1).to_string();
        let transaction = Rc::new(store.begin());
        let initial = vec![
            bailiwick_protocol::Node {
                path: vec![],
                value: None,
            },
            leaf("MOID", bailiwick_protocol::Value::Chr(type_moid(round))),
            leaf(
                "DDF",
                bailiwick_protocol::Value::Xml(
                    ddf.replace(bailiwick_protocol::DEVINFO_MOID, &type_moid(round)),
                ),
            ),
        ];
        let started = Instant::now();
        plugins
            .call(Call {
                plugin: "generic".into(),
                authority: Authority::server("bench"),
                instance: None,
                operation: Operation::Create {
                    moid: moid.into(),
                    miid: miid.clone(),
                    initial,
                },
                transaction: Rc::clone(&transaction),
                bearer: None,
            })
            .await?;
        transaction.commit().await?;
        through.push(started.elapsed().as_secs_f64() * 1e3);

        let transaction = store.begin();
        let namespace = Namespace::instance("straight", &Instance::new(moid, &miid));
        namespace.commit(
            &transaction,
            vec![("v".into(), Some(ddf.clone().into_bytes()))],
            1 << 20,
        )?;
        let started = Instant::now();
        transaction.commit().await?;
        straight.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (through, straight) = (quantile(&mut through, 0.5), quantile(&mut straight, 0.5));
    let detail = format!("medians of 120: {through:.2} ms over {straight:.2} ms");
    table.add(
        "durable write over the store's own commit",
        through / straight,
        "x",
        Some(1.3),
        detail,
    );
    Ok(())
}

fn type_moid(round: usize) -> String {
    format!("urn:oma:mo:x-bench-{round}:1.0")
}

fn leaf(name: &str, value: bailiwick_protocol::Value) -> bailiwick_protocol::Node {
    bailiwick_protocol::Node {
        path: vec![name.into()],
        value: Some(value),
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

/// The same plug-in, compiled to this machine and compiled to Wasm, asked for the same node.
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

    let mut plugin = session_info::SessionInfo;
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
