//! What a plug-in says about itself (`plugin.toml`), and what the operator makes of it.
//!
//! Two yeses: the manifest asks, the configuration grants. Privileged interfaces (`accounts`, `certificates`,
//! `applications`, `net`, `os`) are granted only by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bailiwick_protocol::{Ddf, Limits as ProtocolLimits};
use serde::Deserialize;

use super::Class;
use super::messages::{Interface, Kind, SandboxLimits};
use crate::config::{Limits, PluginSource};

/// Largest `plugin.toml`, bytes.
const MANIFEST_BYTES: u64 = 64 << 10;

/// `plugin.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    name: String,
    version: String,
    kind: Kind,
    #[serde(default)]
    imports: Vec<Interface>,
    #[serde(default)]
    dynamic_classes: bool,
    #[serde(default)]
    class: Vec<ClassEntry>,
    #[serde(default)]
    limits: Wishes,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    os: Os,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClassEntry {
    moid: String,
    ddf: PathBuf,
    #[serde(default)]
    shared_storage: bool,
}

/// Limits that a plug-in asks for; it gets the smaller of these and the operator's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Wishes {
    memory_bytes: Option<usize>,
    call_ms: Option<u64>,
    storage_bytes: Option<usize>,
}

/// What the `os` interface may touch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Os {
    /// Directories by label.
    #[serde(default)]
    pub roots: BTreeMap<String, PathBuf>,
    /// Argument vectors by label; `{}` is a slot.
    #[serde(default)]
    pub commands: BTreeMap<String, Vec<String>>,
}

/// A plug-in as it is installed on this device.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its name.
    pub name: Rc<str>,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub kind: Kind,
    /// What it is granted.
    pub grants: Vec<Interface>,
    /// What it asked for and was not granted.
    pub withheld: Vec<Interface>,
    /// Its settings, sorted by key.
    pub config: Vec<(String, String)>,
    /// The types that it serves.
    pub classes: Vec<Class>,
    /// Whether it may serve more types, which authorities add.
    pub dynamic_classes: bool,
    /// What `os` may touch.
    pub os: Os,
    /// What one sandbox may use up.
    pub limits: SandboxLimits,
    /// Deadline of one call, milliseconds.
    pub call_ms: u64,
    /// Storage of one namespace, bytes.
    pub storage_bytes: usize,
    /// The component.
    pub component: PathBuf,
}

/// Why a plug-in was not installed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl Installed {
    /// Reads the plug-in in `source.path`.
    pub fn read(source: &PluginSource, limits: &Limits) -> Result<Self, ManifestError> {
        let path = source.path.join("plugin.toml");
        let text = read_bounded(&path, MANIFEST_BYTES)?;
        let invalid = |reason: String| ManifestError::Invalid {
            path: path.clone(),
            reason,
        };
        let text = String::from_utf8(text).map_err(|_| invalid("it is not UTF-8".into()))?;
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        check_name(&manifest.name).map_err(invalid)?;
        let granted = grants(&manifest, source).map_err(invalid)?;
        let name: Rc<str> = manifest.name.as_str().into();
        let classes = manifest
            .class
            .iter()
            .map(|entry| class(&source.path, &name, entry))
            .collect::<Result<Vec<_>, _>>()?;
        let fits = match manifest.kind {
            Kind::Object => !classes.is_empty(),
            Kind::Transport | Kind::Environment => classes.is_empty() && !manifest.dynamic_classes,
        };
        if !fits {
            let reason =
                "an `object` has at least one [[class]], a `transport` or `environment` none";
            return Err(invalid(reason.into()));
        }
        let wishes = &manifest.limits;
        let config: BTreeMap<_, _> = manifest
            .config
            .iter()
            .chain(&source.config)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(Self {
            withheld: manifest
                .imports
                .iter()
                .filter(|asked| !granted.contains(asked))
                .copied()
                .collect(),
            grants: granted,
            name,
            version: manifest.version,
            kind: manifest.kind,
            config: config.into_iter().collect(),
            classes,
            dynamic_classes: manifest.dynamic_classes,
            os: manifest.os,
            limits: SandboxLimits {
                memory_bytes: smaller(wishes.memory_bytes, limits.memory_bytes),
                table_elements: limits.table_elements,
                handles: limits.handles,
                hostcall_bytes: limits.hostcall_bytes,
                log_bytes_per_second: limits.log_bytes_per_second,
                nodes: limits.nodes,
            },
            call_ms: wishes.call_ms.unwrap_or(limits.call_ms).min(limits.call_ms),
            storage_bytes: smaller(wishes.storage_bytes, limits.storage_bytes),
            component: source.path.join("plugin.wasm"),
        })
    }
}

fn smaller(wish: Option<usize>, limit: usize) -> usize {
    wish.unwrap_or(limit).min(limit)
}

/// A name is part of file names, storage keys and log lines.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(format!("`name` is {name:?}; use 1 to 64 of a-z, 0-9 and -"));
    }
    Ok(())
}

/// What the manifest asks for, the kind allows and the operator grants.
fn grants(manifest: &Manifest, source: &PluginSource) -> Result<Vec<Interface>, String> {
    if let Some(odd) = manifest
        .imports
        .iter()
        .find(|asked| !allowed(manifest.kind, **asked))
    {
        return Err(format!(
            "a plug-in of kind {:?} cannot import {odd:?}",
            manifest.kind
        ));
    }
    let mut granted = match &source.grant {
        None => manifest
            .imports
            .iter()
            .filter(|asked| !privileged(**asked))
            .copied()
            .collect(),
        Some(names) => {
            let named = names
                .iter()
                .map(|name| parse_interface(name))
                .collect::<Result<Vec<_>, _>>()?;
            manifest
                .imports
                .iter()
                .filter(|asked| named.contains(asked))
                .copied()
                .collect::<Vec<_>>()
        }
    };
    granted.sort_unstable();
    granted.dedup();
    Ok(granted)
}

fn parse_interface(name: &str) -> Result<Interface, String> {
    use serde::de::IntoDeserializer;
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        name.into_deserializer();
    Interface::deserialize(name).map_err(|error| format!("in `grant`: {error}"))
}

/// Interfaces that reach beyond the sandbox: never granted without being named.
fn privileged(interface: Interface) -> bool {
    matches!(
        interface,
        Interface::Accounts
            | Interface::Certificates
            | Interface::Applications
            | Interface::Net
            | Interface::Os
    )
}

/// The worlds of `wit/worlds.wit`.
fn allowed(kind: Kind, interface: Interface) -> bool {
    match interface {
        Interface::Logging | Interface::CallContext | Interface::Config | Interface::Storage => {
            true
        }
        Interface::Notify
        | Interface::Accounts
        | Interface::Certificates
        | Interface::Applications => kind == Kind::Object,
        Interface::Session => kind != Kind::Environment,
        Interface::Net => kind == Kind::Transport,
        Interface::Os => kind == Kind::Environment,
        Interface::Device => kind != Kind::Transport,
    }
}

fn class(directory: &Path, plugin: &Rc<str>, entry: &ClassEntry) -> Result<Class, ManifestError> {
    let limits = ProtocolLimits::default();
    let path = directory.join(&entry.ddf);
    let text = read_bounded(&path, limits.ddf_bytes as u64)?;
    let invalid = |reason: String| ManifestError::Invalid {
        path: path.clone(),
        reason,
    };
    let ddf = Ddf::parse(&text, &limits).map_err(|error| invalid(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| invalid("it is not UTF-8".into()))?;
    Ok(Class {
        moid: entry.moid.clone(),
        plugin: Rc::clone(plugin),
        ddf: Rc::new(ddf),
        ddf_text: text.into(),
        shared_storage: entry.shared_storage,
    })
}

/// Reads a regular file of at most `limit` bytes.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ManifestError> {
    use std::io::Read;
    let failed = |reason: String| ManifestError::Read {
        path: path.into(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(failed(format!(
            "it is larger than the limit of {limit} bytes"
        )));
    }
    Ok(bytes)
}
