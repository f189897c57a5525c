//! Management Objects: the trait behind `bailiwick:mo/handler`.

pub use crate::bindings::object::exports::bailiwick::mo::handler::{
    Change, ExecOutcome, MoClass, ReadOptions,
};
use crate::{Error, Node, NodeRef, Result, StartReason};

/// One Management Object type, or several.
///
/// Only [`read`](Self::read) must be written. The defaults are those of an object that the plug-in
/// brings itself, once, under the MIID `1`, and that nobody can change.
pub trait ManagementObject: Default + 'static {
    /// Optional features, for discovery.
    const FEATURES: &'static [&'static str] = &[];

    /// First call of a fresh sandbox; short, and repeated after a trap. May check the [`config`](crate::config).
    fn init(&mut self, reason: StartReason) -> Result<()> {
        let _ = reason;
        Ok(())
    }

    /// A cheap self test.
    fn health(&mut self) -> Result<()> {
        Ok(())
    }

    /// Types beyond those of the manifest; asked only where it says `dynamic-classes`.
    fn classes(&mut self) -> Result<Vec<MoClass>> {
        Ok(Vec::new())
    }

    /// Instances that the plug-in brings itself. The host remembers the others.
    fn instances(&mut self, mo: &str) -> Result<Vec<String>> {
        let _ = mo;
        Ok(vec!["1".into()])
    }

    /// Makes an instance under a MIID that the host has chosen. Paths are from its root.
    fn create_instance(&mut self, mo: &str, instance: &str, initial: Vec<Node>) -> Result<()> {
        let _ = (mo, instance, initial);
        Err(Error::NotSupported)
    }

    /// Deletes an instance. The host then drops its storage.
    fn delete_instance(&mut self, mo: &str, instance: &str) -> Result<()> {
        let _ = (mo, instance);
        Err(Error::NotSupported)
    }

    /// The node and all below it in pre-order, the node itself first. [`Tree::subtree`](crate::Tree::subtree) does
    /// the cutting for objects that fit a table.
    fn read(&mut self, target: &NodeRef, options: ReadOptions) -> Result<Vec<Node>>;

    /// Applies all changes or none. Paths are from the root of the instance.
    fn apply(&mut self, mo: &str, instance: &str, changes: Vec<Change>) -> Result<()> {
        let _ = (mo, instance, changes);
        Err(Error::NotSupported)
    }

    /// Runs an executable node.
    fn execute(&mut self, target: &NodeRef) -> Result<ExecOutcome> {
        let _ = target;
        Err(Error::NotSupported)
    }
}

impl ReadOptions {
    /// Everything, however much it is.
    pub const ALL: Self = Self {
        max_nodes: u32::MAX,
        names_only: false,
    };
}
