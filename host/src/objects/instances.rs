//! Which instances of a type there are: those that the plug-in brings itself, and those that commands made.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bailiwick_protocol::Ddf;
use tracing::warn;

use super::answer::is_name;
use super::{DDF_KEY, Fault, ObjectError, Objects, Request, Served};
use crate::authority::{Authority, Instance};
use crate::plugins::imports::storage::Namespace;
use crate::plugins::{Operation, Output};

/// Names that are tried for a new instance. More than one is hardly ever taken.
const NAMES: usize = 64;

/// How a new instance of a type is called, beside those that exist.
pub(super) type Naming = fn(&str, &BTreeSet<Instance>) -> Option<Instance>;

/// The instances of a type that an authority may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The type.
    pub moid: String,
    /// Its instances, sorted.
    pub miids: Vec<String>,
}

/// How long the answer of a plug-in about its own instances is good.
const FRESH: Duration = Duration::from_secs(1);
/// Answers that are kept.
const ANSWERS: usize = 256;

/// What plug-ins said lately about their own instances, by authority and type.
#[derive(Default)]
pub(super) struct Brought(RefCell<HashMap<(Authority, String), Answer>>);

/// When it was given, and what it was.
type Answer = (Instant, BTreeSet<Instance>);

impl Brought {
    fn fresh(&self, of: &(Authority, String)) -> Option<BTreeSet<Instance>> {
        let answers = self.0.borrow();
        let (since, instances) = answers.get(of)?;
        (since.elapsed() < FRESH).then(|| instances.clone())
    }

    fn note(&self, of: (Authority, String), instances: BTreeSet<Instance>) {
        let mut answers = self.0.borrow_mut();
        if answers.len() >= ANSWERS {
            answers.clear();
        }
        answers.insert(of, (Instant::now(), instances));
    }

    /// A command has changed something.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Objects {
    /// What Package#1 tells a server: each type that its account permits and somebody serves, with the instances
    /// on which it has any right (OMA DM 2.0 §7.2.1.1).
    ///
    /// A plug-in that cannot be asked costs the listing of its own instances and no more.
    pub async fn list(&self, request: &Request) -> Result<Vec<Listed>, ObjectError> {
        let mut listed = Vec::new();
        for served in self.all_served(request).await? {
            let mut candidates = self.recorded(request, &served)?;
            match self.brought(request, &served).await {
                Ok(brought) => candidates.extend(brought),
                Err(error) => warn!(
                    authority = %request.authority(), moid = served.class.moid, %error,
                    "its own instances are left out"
                ),
            }
            let moid = served.class.moid;
            let visible = request.visible(&moid, candidates.into_iter())?;
            let miids = visible.into_iter().map(|instance| instance.miid).collect();
            listed.push(Listed { moid, miids });
        }
        Ok(listed)
    }

    /// The instances of a type that this authority may see, sorted.
    pub(super) async fn seen(
        &self,
        request: &Request,
        served: &Served,
    ) -> Result<Vec<Instance>, ObjectError> {
        let candidates = self.existing(request, served).await?;
        let mut seen = request.visible(&served.class.moid, candidates.into_iter())?;
        seen.sort();
        Ok(seen)
    }

    /// Whether there is such an instance, visible or not.
    pub(super) async fn exists(
        &self,
        request: &Request,
        served: &Served,
        instance: &Instance,
    ) -> Result<bool, ObjectError> {
        Ok(self.recorded(request, served)?.contains(instance)
            || self.brought(request, served).await?.contains(instance))
    }

    /// All instances of a type, visible or not.
    pub(super) async fn existing(
        &self,
        request: &Request,
        served: &Served,
    ) -> Result<BTreeSet<Instance>, ObjectError> {
        let mut all = self.recorded(request, served)?;
        all.extend(self.brought(request, served).await?);
        Ok(all)
    }

    /// The instances that have an owner on record.
    pub(super) fn recorded(
        &self,
        request: &Request,
        served: &Served,
    ) -> Result<BTreeSet<Instance>, ObjectError> {
        let records = self
            .inner
            .permissions
            .instances_of(request.transaction(), &served.class.moid)?;
        Ok(records.into_iter().map(|(instance, _)| instance).collect())
    }

    /// The instances that the plug-in brings itself, as of at most a second ago: every command asks whether its
    /// instance is there, and a plug-in that lost one since says so when it is called.
    async fn brought(
        &self,
        request: &Request,
        served: &Served,
    ) -> Result<BTreeSet<Instance>, ObjectError> {
        let known = (request.authority().clone(), served.class.moid.clone());
        if let Some(instances) = self.inner.brought.fresh(&known) {
            return Ok(instances);
        }
        let instances = self.ask_what_it_brings(request, served).await?;
        self.inner.brought.note(known, instances.clone());
        Ok(instances)
    }

    async fn ask_what_it_brings(
        &self,
        request: &Request,
        served: &Served,
    ) -> Result<BTreeSet<Instance>, ObjectError> {
        let Served { class, .. } = served;
        let operation = Operation::Instances {
            moid: class.moid.clone(),
        };
        let Output::Instances(miids) = self.ask(request, &class.plugin, operation).await? else {
            return Err(self.unfit(&class.plugin));
        };
        let faulty = |fault| ObjectError::Faulty {
            plugin: class.plugin.to_string(),
            fault,
        };
        let limit = self.inner.wire.nodes;
        if miids.len() > limit {
            return Err(faulty(Fault::TooManyNodes { limit }));
        }
        let mut instances = BTreeSet::new();
        for miid in miids {
            if !is_name(&miid, &self.inner.wire) {
                return Err(faulty(Fault::name(&miid)));
            }
            if !instances.insert(Instance::new(&class.moid, &miid)) {
                return Err(faulty(Fault::Repeated { node: miid }));
            }
        }
        Ok(instances)
    }

    /// The description that an instance follows: a dynamic type may have changed since it was made.
    pub(super) fn ddf_of(
        &self,
        request: &Request,
        served: &Served,
        instance: &Instance,
    ) -> Result<Rc<Ddf>, ObjectError> {
        let Served { class, dynamic } = served;
        if !dynamic {
            return Ok(Rc::clone(&class.ddf));
        }
        let faulty = |fault| ObjectError::Faulty {
            plugin: class.plugin.to_string(),
            fault,
        };
        let namespace = Namespace::instance(&class.plugin, instance);
        let kept = namespace
            .get(request.transaction(), DDF_KEY)
            .map_err(|error| faulty(Fault::Description(error.to_string())))?;
        match kept {
            Some(text) if text != class.ddf_text.as_bytes() => {
                let ddf = Ddf::parse(&text, &self.inner.wire)
                    .map_err(|error| faulty(Fault::Description(error.to_string())))?;
                Ok(Rc::new(ddf))
            }
            _ => Ok(Rc::clone(&class.ddf)),
        }
    }

    /// A free name for a new instance, locked.
    pub(super) async fn new_instance(
        &self,
        request: &Request,
        served: &Served,
    ) -> Result<Instance, ObjectError> {
        let mut taken = self.existing(request, served).await?;
        for _ in 0..NAMES {
            let name = (self.inner.naming)(&served.class.moid, &taken);
            let instance = name.ok_or(ObjectError::NoRandomness)?;
            // Another command may have made it since the instances were listed.
            let is_free = !taken.contains(&instance)
                && request.try_lock(&instance)
                && !self.recorded(request, served)?.contains(&instance);
            if is_free {
                return Ok(instance);
            }
            taken.insert(instance);
        }
        Err(ObjectError::NoRandomness)
    }
}
