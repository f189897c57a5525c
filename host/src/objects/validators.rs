//! Cache validators: opaque texts that change whenever the content of an instance changes.
//!
//! An instance has one if a command made it: what it holds then is what commands wrote. What a plug-in brought
//! along, such as the device's own description, may change by itself and has none (OMA DM 2.0: which instances
//! are cacheable is the client's business).
//!
//! choice: random, not counted. A count would tell an authority how much others write, and that of an instance
//! whose MIID is used again would repeat.

use super::{ObjectError, Objects, Request};
use crate::authority::Instance;
use crate::store::{Table, tables};

impl Objects {
    /// The validator of an instance, if it is cacheable.
    pub(super) fn validator(
        &self,
        request: &Request,
        instance: &Instance,
    ) -> Result<Option<String>, ObjectError> {
        Ok(request
            .transaction()
            .get_json(Table::Meta, &place(instance))?)
    }

    /// Makes an instance cacheable.
    pub(super) fn begin_validator(
        &self,
        request: &Request,
        instance: &Instance,
    ) -> Result<(), ObjectError> {
        Ok(request
            .transaction()
            .put_json(Table::Meta, &place(instance), &fresh()?)?)
    }

    /// The content changes with this command: what readers hold is stale.
    pub(super) fn renew_validator(
        &self,
        request: &Request,
        instance: &Instance,
    ) -> Result<(), ObjectError> {
        match self.validator(request, instance)? {
            Some(_) => self.begin_validator(request, instance),
            None => Ok(()),
        }
    }

    /// Forgets the validator with its instance.
    pub(super) fn end_validator(&self, request: &Request, instance: &Instance) {
        request.transaction().delete(Table::Meta, &place(instance));
    }
}

fn place(instance: &Instance) -> String {
    tables::key(&["validator", &instance.moid, &instance.miid])
}

/// 64 random bits, in hexadecimal.
fn fresh() -> Result<String, ObjectError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ObjectError::NoRandomness)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
