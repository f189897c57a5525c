//! Which plug-in serves a type: first by the manifests, then by what plug-ins with dynamic types say.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use bailiwick_protocol::Ddf;
use tracing::warn;

use super::answer::is_name;
use super::{DDF_KEY, Fault, ObjectError, Objects, Request};
use crate::authority::Authority;
use crate::plugins::imports::storage::Namespace;
use crate::plugins::{Class, Operation, Output};

/// Dynamic types that one plug-in may serve for one authority. Stops a plug-in that makes Package#1 endless.
const TYPES: usize = 256;

/// A type as this device serves it.
#[derive(Clone, Debug)]
pub struct Served {
    /// MOID, plug-in and description.
    pub class: Class,
    /// The plug-in said so at run time, and for one authority; it is not in its manifest.
    pub dynamic: bool,
}

/// A plug-in, and on whose behalf it speaks.
type Sandbox = (Rc<str>, Authority);

/// What plug-ins with dynamic types said, until something is written that may change it.
#[derive(Default)]
pub(super) struct Types {
    said: RefCell<HashMap<Sandbox, Rc<[Class]>>>,
    /// How often a plug-in was forgotten: an answer that was on its way meanwhile is not kept.
    forgotten: RefCell<HashMap<Rc<str>, u64>>,
}

impl Types {
    /// Asks `plugin` again before it is believed once more.
    pub(super) fn forget(&self, plugin: &Rc<str>) {
        self.said
            .borrow_mut()
            .retain(|(known, _), _| known != plugin);
        *self
            .forgotten
            .borrow_mut()
            .entry(Rc::clone(plugin))
            .or_default() += 1;
    }

    fn get(&self, plugin: &Rc<str>, authority: &Authority) -> Option<Rc<[Class]>> {
        self.said
            .borrow()
            .get(&(Rc::clone(plugin), authority.clone()))
            .cloned()
    }

    fn age(&self, plugin: &Rc<str>) -> u64 {
        self.forgotten
            .borrow()
            .get(plugin)
            .copied()
            .unwrap_or_default()
    }

    fn keep(&self, plugin: &Rc<str>, authority: &Authority, classes: &Rc<[Class]>, age: u64) {
        if self.age(plugin) == age {
            let key = (Rc::clone(plugin), authority.clone());
            self.said.borrow_mut().insert(key, Rc::clone(classes));
        }
    }
}

impl Objects {
    /// Who serves the type for this authority. A type outside its account does not exist for it.
    pub async fn served(&self, request: &Request, moid: &str) -> Result<Served, ObjectError> {
        request.may_manage(moid)?;
        if let Some(class) = self.inner.plugins.class(moid) {
            return Ok(Served {
                class,
                dynamic: false,
            });
        }
        let mut failed = None;
        for plugin in self.inner.plugins.dynamic() {
            match self.dynamic_types(request, &plugin).await {
                Ok(classes) => {
                    if let Some(class) = classes.iter().find(|class| class.moid == moid) {
                        return Ok(Served {
                            class: class.clone(),
                            dynamic: true,
                        });
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        if request.authority().is_local()
            && let Some(served) = self.served_for_another(request, moid)?
        {
            return Ok(served);
        }
        // The plug-in that cannot be asked now may be the one: it would be wrong to deny the type.
        Err(failed.unwrap_or(ObjectError::NotFound {
            uri: format!("{moid}//"),
        }))
    }

    /// A dynamic type that some authority added, from what those of its instances keep of its description on which the
    /// asker has a right. For the operator and for local applications, who add no types.
    fn served_for_another(
        &self,
        request: &Request,
        moid: &str,
    ) -> Result<Option<Served>, ObjectError> {
        let tx = request.transaction();
        let dynamic = self.inner.plugins.dynamic();
        for (instance, record) in self.inner.permissions.instances_of(tx, moid)? {
            if request
                .visible(moid, std::iter::once(instance.clone()))?
                .is_empty()
            {
                continue;
            }
            let Some(plugin) = dynamic.iter().find(|plugin| ***plugin == *record.plugin) else {
                continue;
            };
            let kept = Namespace::instance(plugin, &instance).get(tx, DDF_KEY);
            let kept = kept
                .ok()
                .flatten()
                .and_then(|ddf| String::from_utf8(ddf).ok());
            let class = kept.map(|ddf_text| self.dynamic_type(plugin, &[], moid, &ddf_text));
            if let Some(Ok(class)) = class {
                return Ok(Some(Served {
                    class,
                    dynamic: true,
                }));
            }
        }
        Ok(None)
    }

    /// All types that this authority may manage and that somebody serves, sorted by MOID.
    pub async fn all_served(&self, request: &Request) -> Result<Vec<Served>, ObjectError> {
        let mut all: Vec<Served> = Vec::new();
        for class in self.inner.plugins.classes() {
            all.push(Served {
                class,
                dynamic: false,
            });
        }
        for plugin in self.inner.plugins.dynamic() {
            match self.dynamic_types(request, &plugin).await {
                Ok(classes) => {
                    all.extend(classes.iter().map(|class| Served {
                        class: class.clone(),
                        dynamic: true,
                    }));
                }
                Err(error) => {
                    warn!(authority = %request.authority(), %error, "its types are left out")
                }
            }
        }
        let mut mine = Vec::new();
        let mut seen = BTreeSet::new();
        for served in all {
            let moid = &served.class.moid;
            let (tx, who) = (request.transaction(), request.authority());
            if seen.insert(moid.clone()) && self.inner.permissions.may_manage(tx, who, moid)? {
                mine.push(served);
            }
        }
        mine.sort_by(|a, b| a.class.moid.cmp(&b.class.moid));
        Ok(mine)
    }

    /// What one plug-in serves for this authority beyond its manifest.
    async fn dynamic_types(
        &self,
        request: &Request,
        plugin: &Rc<str>,
    ) -> Result<Rc<[Class]>, ObjectError> {
        let types = &self.inner.types;
        // What this command wrote is known to nobody else, and may still be dropped: neither used nor kept.
        let private = request.has_touched(plugin);
        if let Some(known) = types.get(plugin, request.authority()).filter(|_| !private) {
            return Ok(known);
        }
        let age = types.age(plugin);
        let Output::Classes(said) = self.ask(request, plugin, Operation::Classes).await? else {
            return Err(self.unfit(plugin));
        };
        if said.len() > TYPES {
            let fault = Fault::TooManyTypes {
                found: said.len(),
                limit: TYPES,
            };
            return Err(ObjectError::Faulty {
                plugin: plugin.to_string(),
                fault,
            });
        }
        let mut classes: Vec<Class> = Vec::new();
        for (moid, ddf_text) in said {
            match self.dynamic_type(plugin, &classes, &moid, &ddf_text) {
                Ok(class) => classes.push(class),
                Err(reason) => {
                    let moid: String = moid.chars().take(64).collect();
                    warn!(%plugin, authority = %request.authority(), ?moid, reason, "a type is left out");
                }
            }
        }
        let classes: Rc<[Class]> = classes.into();
        if !private {
            types.keep(plugin, request.authority(), &classes, age);
        }
        Ok(classes)
    }

    /// Checks one type that a plug-in claims to serve.
    fn dynamic_type(
        &self,
        plugin: &Rc<str>,
        others: &[Class],
        moid: &str,
        ddf_text: &str,
    ) -> Result<Class, String> {
        if !is_name(moid, &self.inner.wire) || moid.contains(['/', '?']) {
            return Err("its MOID is none".to_owned());
        }
        if let Some(class) = self.inner.plugins.class(moid) {
            return Err(format!(
                "the manifest of plug-in {} has it already",
                class.plugin
            ));
        }
        if others.iter().any(|class| class.moid == moid) {
            return Err("it is given twice".to_owned());
        }
        let ddf = Ddf::parse(ddf_text.as_bytes(), &self.inner.wire).map_err(|e| e.to_string())?;
        Ok(Class {
            moid: moid.to_owned(),
            plugin: Rc::clone(plugin),
            ddf: Rc::new(ddf),
            ddf_text: ddf_text.into(),
            shared_storage: false,
        })
    }
}
