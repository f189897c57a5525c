//! The compiled code of each plug-in: kept while the host runs, cached between starts, compiled when it is missing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::info;

use super::cache::{CodeCache, Identity};
use super::compile::{self, compile};
use super::manifest::{Installed, read_bounded};
use crate::config::{Config, Isolation};
use crate::worker::engine;

/// A sealed memory file of compiled code, or why there is none; empty until it is asked for. The mutex keeps two
/// calls from compiling the same.
type Entry = Rc<Mutex<Option<Result<Rc<OwnedFd>, String>>>>;

/// The code of all plug-ins.
pub(super) struct Code {
    cache: CodeCache,
    isolation: Isolation,
    component_bytes: u64,
    compile: Duration,
    entries: RefCell<HashMap<Rc<str>, Entry>>,
}

impl Code {
    /// With the cache in the state directory.
    pub(super) fn open(config: &Config) -> io::Result<Self> {
        Ok(Self {
            cache: CodeCache::open(&config.state)?,
            isolation: config.isolation,
            component_bytes: config.limits.component_bytes as u64,
            compile: Duration::from_millis(config.limits.compile_ms),
            entries: RefCell::default(),
        })
    }

    /// The code of a plug-in, compiled now if need be. A failure is remembered until [`Self::forget`].
    pub(super) async fn of(&self, plugin: &Installed) -> Result<Rc<OwnedFd>, String> {
        let entry = {
            let mut entries = self.entries.borrow_mut();
            Rc::clone(entries.entry(Rc::clone(&plugin.name)).or_default())
        };
        let mut entry = entry.lock().await;
        if let Some(known) = &*entry {
            return known.clone();
        }
        let code = self.load_or_compile(plugin).await.map(Rc::new);
        *entry = Some(code.clone());
        code
    }

    /// Lets a plug-in be loaded or compiled anew.
    pub(super) fn forget(&self, plugin: &str) {
        self.entries
            .borrow_mut()
            .retain(|name, _| &**name != plugin);
    }

    async fn load_or_compile(&self, plugin: &Installed) -> Result<OwnedFd, String> {
        let component = read_bounded(&plugin.component, self.component_bytes)
            .map_err(|error| error.to_string())?;
        let identity = Identity::of(&component, engine::version());
        let cached = |error: io::Error| format!("code cache: {error}");
        if let Some(code) = self.cache.get(&identity, compile::CODE).map_err(cached)? {
            return Ok(code);
        }
        let started = Instant::now();
        let code = compile(&component, &plugin.grants, self.isolation, self.compile)
            .await
            .map_err(|error| error.to_string())?;
        info!(plugin = %plugin.name, milliseconds = started.elapsed().as_millis() as u64, "compiled");
        self.cache.put(&identity, &code).map_err(cached)?;
        let code = self.cache.get(&identity, compile::CODE).map_err(cached)?;
        code.ok_or_else(|| {
            "the code cache does not keep what is written to it; check the disk".into()
        })
    }
}
