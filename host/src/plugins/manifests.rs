//! All plug-ins of the configuration, as far as their manifests tell: who serves which type, and what the host must be
//! able to reach on their behalf. Read before the process locks itself in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::Class;
use super::manifest::{Installed, ManifestError, Os};
use super::messages::Interface;
use crate::config::Config;

/// Why plug-ins cannot be served at all.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// A plug-in is not fit to be installed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Two plug-ins claim the same.
    #[error(
        "plug-ins {one} and {other} both claim {what}; remove one of them from the configuration"
    )]
    Clash {
        /// The first.
        one: String,
        /// The second.
        other: String,
        /// A name or a MOID.
        what: String,
    },
    /// The code cache cannot be used.
    #[error("code cache: {0}")]
    Cache(#[from] std::io::Error),
}

/// The manifests of the configured plug-ins.
pub struct Manifests {
    pub(super) installed: BTreeMap<Rc<str>, Rc<Installed>>,
    pub(super) classes: BTreeMap<String, Class>,
}

impl Manifests {
    /// Reads them all.
    pub fn read(config: &Config) -> Result<Self, PluginsError> {
        let mut installed: BTreeMap<Rc<str>, Rc<Installed>> = BTreeMap::new();
        let mut classes: BTreeMap<String, Class> = BTreeMap::new();
        for source in &config.plugins {
            let plugin = Rc::new(Installed::read(source, &config.limits)?);
            for class in &plugin.classes {
                if let Some(other) = classes.insert(class.moid.clone(), class.clone()) {
                    return Err(clash(&other.plugin, &plugin.name, &class.moid));
                }
            }
            if let Some(other) = installed.insert(Rc::clone(&plugin.name), Rc::clone(&plugin)) {
                return Err(clash(&other.name, &plugin.name, "the same name"));
            }
        }
        Ok(Self { installed, classes })
    }

    /// Directories that environments were granted: the host reads them on their behalf.
    pub fn readable(&self) -> Vec<PathBuf> {
        self.granted_os()
            .flat_map(|os| os.roots.values().cloned())
            .collect()
    }

    /// Programs that environments were granted: the host runs them on their behalf.
    pub fn executable(&self) -> Vec<PathBuf> {
        self.granted_os()
            .flat_map(|os| {
                os.commands
                    .values()
                    .filter_map(|argv| argv.first().map(PathBuf::from))
            })
            .collect()
    }

    fn granted_os(&self) -> impl Iterator<Item = &Os> {
        self.installed
            .values()
            .filter(|plugin| plugin.grants.contains(&Interface::Os))
            .map(|plugin| &plugin.os)
    }
}

fn clash(one: &str, other: &str, what: &str) -> PluginsError {
    PluginsError::Clash {
        one: one.into(),
        other: other.into(),
        what: what.into(),
    }
}
