//! Any Management Object type, from its DDF alone: values live in storage, and the DDF is the only law.
//!
//! An authority adds a type without code by creating an instance of `urn:oma:mo:x-bailiwick-mo-type:1.0` with the
//! MOID and the DDF document. From then on instances of that type can be created, read, changed and deleted;
//! nodes that the DDF makes executable are not supported, because nobody says what they do.

mod branch;
mod key;
mod object;
mod registry;
mod value;

use bailiwick_plugin::{
    Change, Error, ExecOutcome, ManagementObject, MoClass, Node, NodeRef, ReadOptions, Result,
    storage,
};
use bailiwick_protocol::{Ddf, Limits};
use object::Object;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where the host lays the DDF of a registered type in the storage of each instance.
const DDF_KEY: &str = "@ddf";

/// The object.
#[derive(Default)]
pub struct Generic {
    /// By MOID: the last DDF document seen, and what it says. Instances may differ if a type was registered anew.
    parsed: BTreeMap<String, (Vec<u8>, Rc<Ddf>)>,
}

impl ManagementObject for Generic {
    fn classes(&mut self) -> Result<Vec<MoClass>> {
        registry::classes()
    }

    fn instances(&mut self, _mo: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn create_instance(&mut self, mo: &str, instance: &str, initial: Vec<Node>) -> Result<()> {
        if mo == registry::MOID {
            registry::check(&initial)?;
        }
        self.object(mo, instance)?.create(initial)
    }

    fn delete_instance(&mut self, mo: &str, instance: &str) -> Result<()> {
        match mo == registry::MOID {
            true => self.object(mo, instance)?.delete(),
            false => Ok(()),
        }
    }

    fn read(&mut self, target: &NodeRef, options: ReadOptions) -> Result<Vec<Node>> {
        self.object(&target.mo, &target.instance)?
            .read(&target.path, options)
    }

    fn apply(&mut self, mo: &str, instance: &str, changes: Vec<Change>) -> Result<()> {
        if mo == registry::MOID {
            let text = "a registered type is fixed; delete it and create another";
            return Err(Error::invalid_argument(text));
        }
        self.object(mo, instance)?.apply(changes)
    }

    fn execute(&mut self, target: &NodeRef) -> Result<ExecOutcome> {
        let object = self.object(&target.mo, &target.instance)?;
        object.read(&target.path, ReadOptions::ALL)?;
        Err(Error::NotSupported)
    }
}

bailiwick_plugin::export!(object Generic);

impl Generic {
    /// The addressed instance: types share one namespace, any other instance has its own.
    fn object(&mut self, mo: &str, instance: &str) -> Result<Object> {
        if mo == registry::MOID {
            let ddf = self.ddf(mo, registry::DDF.as_bytes().to_vec())?;
            return Ok(Object::new(registry::root_key(instance), ddf));
        }
        let document = storage::get(DDF_KEY)?.ok_or_else(|| {
            Error::unavailable(format!(
                "{mo} is not registered; create a {} first",
                registry::MOID
            ))
        })?;
        Ok(Object::new(key::ROOT.into(), self.ddf(mo, document)?))
    }

    /// Reads a DDF document, or remembers having read it.
    fn ddf(&mut self, mo: &str, document: Vec<u8>) -> Result<Rc<Ddf>> {
        if let Some((known, ddf)) = self.parsed.get(mo)
            && *known == document
        {
            return Ok(ddf.clone());
        }
        let ddf = Ddf::parse(&document, &Limits::DEFAULT);
        let ddf = Rc::new(ddf.map_err(|error| Error::other(format!("DDF of {mo}: {error}")))?);
        self.parsed.insert(mo.into(), (document, ddf.clone()));
        Ok(ddf)
    }
}

#[cfg(test)]
mod tests;
