//! What is managed: types of Management Objects, their instances, and every access to them.
//!
//! The one door to an object, for sessions and for local applications:
//!
//! ```text
//!  ClientURI ─▶ resolve    which nodes of which instances, among those that the authority may see; a Permit each
//!            ─▶ rules      what the description of the type (DDF) lets anybody do at most
//!            ─▶ plug-in    asked only what is permitted; what it answers is checked before it is believed
//! ```
//!
//! A [`Request`] is a command: one authority, one transaction, the locks of the instances that it touches.
//! Nothing that it wrote counts before [`Request::commit`].

mod answer;
mod call;
mod error;
mod instances;
mod locks;
mod place;
mod registry;
mod request;
mod resolve;
mod rules;
mod serve;
mod validators;
mod work;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use bailiwick_protocol as protocol;

use crate::authority::{Authority, Instance};
use crate::config::Limits;
use crate::permissions::Permissions;
use crate::plugins::Bearer;
use crate::store::{Store, Transaction};

pub use answer::Fault;
pub use error::{Doing, ObjectError};
pub use instances::Listed;
pub use place::Placed;
pub use registry::Served;
pub use request::{Decision, Journal, Request};
pub use resolve::Target;
pub use rules::Refusal;
pub use serve::{Answer, Serve};
pub use work::{Data, Reading};

use instances::{Brought, Naming};
use locks::Locks;
use registry::Types;

/// Storage key under which an instance of a dynamic type finds the description it was made by.
pub const DDF_KEY: &str = "@ddf";

/// Every Management Object of the device; a cheap handle.
#[derive(Clone)]
pub struct Objects {
    inner: Rc<Inner>,
}

struct Inner {
    plugins: Rc<dyn Serve>,
    permissions: Permissions,
    store: Store,
    limits: Limits,
    wire: protocol::Limits,
    types: Types,
    locks: Locks,
    brought: Brought,
    naming: Naming,
}

impl Objects {
    /// The objects that `plugins` serve, as far as `permissions` allow.
    pub fn new(
        plugins: impl Serve + 'static,
        permissions: Permissions,
        store: Store,
        limits: &Limits,
    ) -> Self {
        let wire = protocol::Limits {
            object_bytes: limits.object_bytes,
            nodes: usize::try_from(limits.nodes).unwrap_or(usize::MAX),
            ..protocol::Limits::DEFAULT
        };
        Self {
            inner: Rc::new(Inner {
                plugins: Rc::new(plugins),
                permissions,
                store,
                limits: limits.clone(),
                wire,
                types: Types::default(),
                locks: Locks::default(),
                brought: Brought::default(),
                naming: |moid, _| Instance::at_random(moid),
            }),
        }
    }

    /// Begins a command of `authority`, whose session runs over `bearer`, at the Unix time `now`, in seconds.
    pub fn begin(&self, authority: &Authority, bearer: Option<Bearer>, now: u64) -> Request {
        let transaction = Rc::new(self.inner.store.begin());
        Request::new(self.clone(), authority.clone(), bearer, transaction, now)
    }

    /// Begins a command of `authority` in a transaction that others write to as well: who commits one, commits all.
    pub fn begin_within(
        &self,
        authority: &Authority,
        transaction: Rc<Transaction>,
        now: u64,
    ) -> Request {
        Request::new(self.clone(), authority.clone(), None, transaction, now)
    }
}
