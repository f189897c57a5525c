//! Plug-ins under test, each with the calls of its kind. Paths are written with `/`; the empty text is the root.

use super::{DDF_KEY, Harness, Namespace};
use crate::transport::Connection;
use crate::{
    Bearer, Change, Endpoint, Environment, ExecOutcome, Identity, LeafValue, ManagementObject,
    MoClass, Node, NodeRef, ReadOptions, Result, StartReason, Transport,
};
use bailiwick_protocol::{Ddf, DdfNode, Limits};

/// An object plug-in, called as the host calls it.
pub struct ObjectUnderTest<P> {
    pub(super) harness: Harness,
    pub(super) plugin: P,
}

impl<P: ManagementObject> ObjectUnderTest<P> {
    /// The self test.
    pub fn health(&mut self) -> Result<()> {
        self.harness
            .call(Namespace::Plugin, || self.plugin.health())
    }

    /// The dynamic classes.
    pub fn classes(&mut self) -> Result<Vec<MoClass>> {
        self.harness
            .call(Namespace::Plugin, || self.plugin.classes())
    }

    /// The instances that the plug-in brings itself.
    pub fn instances(&mut self, mo: &str) -> Result<Vec<String>> {
        self.harness
            .call(Namespace::Plugin, || self.plugin.instances(mo))
    }

    /// Makes an instance. If its class is a dynamic one, its DDF is laid into the instance's storage first.
    pub fn create(&mut self, mo: &str, instance: &str, initial: Vec<Node>) -> Result<()> {
        let namespace = self.harness.namespace(mo, instance);
        if let Some(class) = self.classes()?.into_iter().find(|class| class.id == mo) {
            self.harness.store(namespace.clone(), DDF_KEY, class.ddf);
        }
        let plugin = &mut self.plugin;
        let made = self.harness.call(namespace.clone(), || {
            plugin.create_instance(mo, instance, initial)
        });
        if made.is_err() {
            self.forget(&namespace);
        }
        made
    }

    /// Deletes an instance and what it stored.
    pub fn delete(&mut self, mo: &str, instance: &str) -> Result<()> {
        let namespace = self.harness.namespace(mo, instance);
        let plugin = &mut self.plugin;
        self.harness
            .call(namespace.clone(), || plugin.delete_instance(mo, instance))?;
        self.forget(&namespace);
        Ok(())
    }

    /// Reads a subtree, whole.
    pub fn read(&mut self, mo: &str, instance: &str, path: &str) -> Result<Vec<Node>> {
        self.read_with(mo, instance, path, ReadOptions::ALL)
    }

    /// Reads a subtree with options.
    pub fn read_with(
        &mut self,
        mo: &str,
        instance: &str,
        path: &str,
        options: ReadOptions,
    ) -> Result<Vec<Node>> {
        let target = target(mo, instance, path);
        let plugin = &mut self.plugin;
        self.harness.call(self.harness.namespace(mo, instance), || {
            plugin.read(&target, options)
        })
    }

    /// The leaves of a whole instance, path and value as text: what a test wants to compare. Interior nodes without
    /// children are listed with a `/` behind the path and no value.
    ///
    /// # Panics
    /// If the instance cannot be read.
    pub fn values(&mut self, mo: &str, instance: &str) -> Vec<(String, String)> {
        let nodes = match self.read(mo, instance, "") {
            Ok(nodes) => nodes,
            Err(error) => panic!("{mo}/{instance} cannot be read: {error}"),
        };
        let mut listed = Vec::new();
        for (index, node) in nodes.iter().enumerate().skip(1) {
            let path = node.path.join("/");
            let has_children = nodes
                .get(index + 1)
                .is_some_and(|next| next.path.starts_with(&node.path));
            match &node.value {
                Some(value) => listed.push((path, text(value))),
                None if has_children => {}
                None => listed.push((path + "/", String::new())),
            }
        }
        listed
    }

    /// Checks that an instance is as a DDF document describes it; nodes without `Get` must not be shown.
    ///
    /// # Panics
    /// If it is not, or cannot be read.
    pub fn assert_follows(&mut self, ddf: &str, mo: &str, instance: &str) {
        let mut ddf = match Ddf::parse(ddf.as_bytes(), &Limits::DEFAULT) {
            Ok(ddf) => ddf,
            Err(error) => panic!("{error}"),
        };
        leave_readable(&mut ddf.root);
        let nodes = match self.read(mo, instance, "") {
            Ok(nodes) => nodes.into_iter(),
            Err(error) => panic!("{mo}/{instance} cannot be read: {error}"),
        };
        let nodes: Vec<_> = nodes
            .map(|Node { path, value }| bailiwick_protocol::Node {
                path,
                value: value.map(Into::into),
            })
            .collect();
        if let Err(error) = ddf.check(&nodes) {
            panic!("{mo}/{instance}: {error}");
        }
    }

    /// Applies changes.
    pub fn apply(&mut self, mo: &str, instance: &str, changes: Vec<Change>) -> Result<()> {
        let plugin = &mut self.plugin;
        self.harness.call(self.harness.namespace(mo, instance), || {
            plugin.apply(mo, instance, changes)
        })
    }

    /// Runs an executable node.
    pub fn execute(&mut self, mo: &str, instance: &str, path: &str) -> Result<ExecOutcome> {
        let target = target(mo, instance, path);
        let plugin = &mut self.plugin;
        self.harness.call(self.harness.namespace(mo, instance), || {
            plugin.execute(&target)
        })
    }

    /// Puts the plug-in into a fresh sandbox, as after a trap: its fields are gone, its storage is not.
    pub fn restart(&mut self) -> Result<()> {
        self.plugin = P::default();
        self.harness.call(Namespace::Plugin, || {
            self.plugin.init(StartReason::AfterTrap)
        })
    }

    /// Drops what an instance stored; the plug-in's own namespace is not the instance's to drop.
    fn forget(&self, namespace: &Namespace) {
        if *namespace != Namespace::Plugin {
            self.harness.device.borrow_mut().storage.remove(namespace);
        }
    }
}

/// A transport plug-in, called as the host calls it.
pub struct TransportUnderTest<P> {
    pub(super) harness: Harness,
    pub(super) plugin: P,
}

impl<P: Transport> TransportUnderTest<P> {
    /// The self test.
    pub fn health(&mut self) -> Result<()> {
        self.harness
            .call(Namespace::Plugin, || self.plugin.health())
    }

    /// The bearers that can be dialled over now.
    pub fn bearers(&mut self) -> Result<Vec<Bearer>> {
        self.harness
            .call(Namespace::Plugin, || self.plugin.bearers())
    }

    /// Connects.
    pub fn dial(&mut self, host: &str, port: u16, preferred: Bearer) -> Result<Connection> {
        let endpoint = Endpoint {
            host: host.into(),
            port,
        };
        self.harness
            .call(Namespace::Plugin, || self.plugin.dial(&endpoint, preferred))
    }
}

/// An environment plug-in, called as the host calls it.
pub struct EnvironmentUnderTest<P> {
    pub(super) harness: Harness,
    pub(super) plugin: P,
}

impl<P: Environment> EnvironmentUnderTest<P> {
    /// The self test.
    pub fn health(&mut self) -> Result<()> {
        self.harness
            .call(Namespace::Plugin, || self.plugin.health())
    }

    /// Who the device is.
    pub fn identity(&mut self) -> Result<Identity> {
        self.harness
            .call(Namespace::Plugin, || self.plugin.identity())
    }

    /// Named facts; no names means all.
    pub fn facts(&mut self, names: &[&str]) -> Result<Vec<(String, String)>> {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        self.harness
            .call(Namespace::Plugin, || self.plugin.facts(&names))
    }
}

fn leave_readable(node: &mut DdfNode) {
    node.children.retain(|child| child.access.get);
    node.children.iter_mut().for_each(leave_readable);
}

/// Points at a node by a path written with `/`.
fn target(mo: &str, instance: &str, path: &str) -> NodeRef {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    NodeRef::new(mo, instance, &names)
}

fn text(value: &LeafValue) -> String {
    match value {
        LeafValue::Null => String::new(),
        LeafValue::Boolean(value) => value.to_string(),
        LeafValue::Integer(value) => value.to_string(),
        LeafValue::Floating(value) => value.to_string(),
        LeafValue::Binary(bytes) => format!("{bytes:02x?}"),
        LeafValue::Chars(text) | LeafValue::Base64(text) | LeafValue::Xml(text) => text.clone(),
        LeafValue::Date(text) | LeafValue::Time(text) => text.clone(),
    }
}
