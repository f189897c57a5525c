//! What this room needs of the plug-ins, so that its rules can be tested without a sandbox.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::plugins::{Call, CallError, Class, Output, Plugins};

/// A call that is under way.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Output, CallError>> + 'a>>;

/// Plug-ins that serve objects.
pub trait Serve {
    /// Makes a call; ends within the deadline of a call.
    fn call(&self, call: Call) -> Answer<'_>;
    /// The type of this MOID, by the manifests.
    fn class(&self, moid: &str) -> Option<Class>;
    /// All types, by the manifests.
    fn classes(&self) -> Vec<Class>;
    /// Plug-ins that may serve more types than their manifests say, in the order in which they are asked.
    fn dynamic(&self) -> Vec<Rc<str>>;
    /// Bytes that one namespace of a plug-in may hold.
    fn storage_quota(&self, plugin: &str) -> usize;
}

impl Serve for Plugins {
    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(Plugins::call(self, call))
    }

    fn class(&self, moid: &str) -> Option<Class> {
        Plugins::class(self, moid)
    }

    fn classes(&self) -> Vec<Class> {
        Plugins::classes(self)
    }

    fn dynamic(&self) -> Vec<Rc<str>> {
        Plugins::dynamic(self)
    }

    fn storage_quota(&self, plugin: &str) -> usize {
        Plugins::storage_quota(self, plugin)
    }
}
