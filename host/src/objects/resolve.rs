//! From a ClientURI to the nodes that it means (OMA DM 2.0, ClientURI), among the instances that the authority
//! may see: what it may not see does not exist.
//!
//! * An empty instance means the only one, `(x)` the one that meets all its `nv` conditions, `*` all of them.
//! * Nothing that answers is 404; several where one is meant is 400.
//! * choice: `*` means all that the authority may access in the way of the command. What it sees and may not
//!   access is left out, unless nothing else is there.
//! * choice: a condition reads a value, so it needs Read on the instance, and sees no node without `Get`:
//!   otherwise a right to execute would do to guess values.
//! * choice: below a `*`, an `(x)` is matched below each node anew, and where it matches nothing, that node is
//!   left out.

mod walk;

use std::rc::Rc;

use bailiwick_protocol::{ClientUri, Ddf, InstanceSelector, NodeValue};

use super::error::Doing;
use super::{ObjectError, Objects, Request, Served, answer, rules};
use crate::authority::Instance;
use crate::permissions::{Access, Permit};
use crate::plugins::{Operation, Output};

/// A node that may be accessed.
pub struct Target {
    pub(super) permit: Rc<Permit>,
    pub(super) served: Served,
    pub(super) ddf: Rc<Ddf>,
    pub(super) path: Vec<String>,
}

impl Target {
    /// The proof that it may.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Names from the root of the instance down to the node; empty: the root.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// Its own address, without unknown names and query.
    pub fn uri(&self) -> ClientUri {
        let instance = self.permit.instance();
        ClientUri::node(&instance.moid, &instance.miid, &self.path)
    }
}

impl Objects {
    /// The nodes that a ClientURI means, locked until the end of the request. Never empty.
    ///
    /// A path of names alone is not looked up: whether there is such a node is for the plug-in to say.
    pub async fn resolve(
        &self,
        request: &Request,
        uri: &ClientUri,
        access: Access,
    ) -> Result<Vec<Target>, ObjectError> {
        let served = self.served(request, &uri.moid).await?;
        let is_set = uri.instance == InstanceSelector::All;
        let mut targets = Vec::new();
        for permit in self.choose(request, &served, uri, access).await? {
            let ddf = self.ddf_of(request, &served, permit.instance())?;
            let paths = match uri.plain_path() {
                Some(path) => Ok(vec![path]),
                None => self.walk(request, &permit, &served, &ddf, uri).await,
            };
            let paths = match paths {
                Err(error) if is_set && error.is_not_found() => continue,
                paths => paths?,
            };
            let permit = Rc::new(permit);
            targets.extend(paths.into_iter().map(|path| Target {
                permit: Rc::clone(&permit),
                served: served.clone(),
                ddf: Rc::clone(&ddf),
                path,
            }));
        }
        match targets.is_empty() {
            true => Err(not_found(uri)),
            false => Ok(targets),
        }
    }

    /// The instances that a ClientURI means, with the proof that each may be accessed.
    async fn choose(
        &self,
        request: &Request,
        served: &Served,
        uri: &ClientUri,
        access: Access,
    ) -> Result<Vec<Permit>, ObjectError> {
        match &uri.instance {
            InstanceSelector::Id(miid) => {
                let instance = Instance::new(&uri.moid, miid);
                match self
                    .lock_and_permit(request, served, uri, access, &instance)
                    .await
                {
                    Ok(permit) => Ok(vec![permit]),
                    Err(ObjectError::Denied(_))
                        if !self.exists(request, served, &instance).await? =>
                    {
                        Err(not_found(uri))
                    }
                    Err(error) => Err(error),
                }
            }
            InstanceSelector::Only => {
                let seen = self.seen(request, served).await?;
                let only = single(uri, seen)?;
                Ok(vec![
                    self.lock_and_permit(request, served, uri, access, &only)
                        .await?,
                ])
            }
            InstanceSelector::Unknown(letter) => {
                let mut matching = Vec::new();
                for instance in self.seen(request, served).await? {
                    if self.meets(request, served, uri, *letter, &instance).await? {
                        matching.push(instance);
                    }
                }
                let only = single(uri, matching)?;
                Ok(vec![request.permit(access, &only)?])
            }
            InstanceSelector::All => {
                let mut refused = None;
                let mut permits = Vec::new();
                for instance in self.seen(request, served).await? {
                    match self
                        .lock_and_permit(request, served, uri, access, &instance)
                        .await
                    {
                        Ok(permit) => permits.push(permit),
                        Err(error) if error.is_denied() => refused = Some(error),
                        // Gone since it was listed.
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error),
                    }
                }
                match refused {
                    Some(error) if permits.is_empty() => Err(error),
                    _ => Ok(permits),
                }
            }
        }
    }

    /// Whoever has no right must not get the lock: that could hinder others. While it is waited for, another
    /// command may delete the instance or take away the right.
    async fn lock_and_permit(
        &self,
        request: &Request,
        served: &Served,
        uri: &ClientUri,
        access: Access,
        instance: &Instance,
    ) -> Result<Permit, ObjectError> {
        let permit = request.permit(access, instance)?;
        request.lock(&permit).await?;
        match self.exists(request, served, instance).await? {
            true => Ok(request.permit(access, instance)?),
            false => Err(not_found(uri)),
        }
    }

    /// Whether an instance meets all conditions on its unknown name.
    async fn meets(
        &self,
        request: &Request,
        served: &Served,
        uri: &ClientUri,
        letter: char,
        instance: &Instance,
    ) -> Result<bool, ObjectError> {
        let permit = match self
            .lock_and_permit(request, served, uri, Access::Read, instance)
            .await
        {
            Ok(permit) => permit,
            Err(error) if error.is_denied() || error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        let ddf = self.ddf_of(request, served, instance)?;
        for condition in conditions(uri, letter) {
            let leaf = self
                .leaf(request, &permit, served, &ddf, &condition.path)
                .await?;
            if leaf.as_ref() != Some(&condition.value) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The text of one readable leaf, if there is such a leaf.
    async fn leaf(
        &self,
        request: &Request,
        permit: &Permit,
        served: &Served,
        ddf: &Ddf,
        path: &[String],
    ) -> Result<Option<String>, ObjectError> {
        let is_leaf = ddf.find(path).is_some_and(|node| node.is_leaf());
        if !is_leaf || !rules::is_readable(ddf, path) {
            return Ok(None);
        }
        match self.fetch(request, permit, served, ddf, path).await {
            Ok(nodes) => {
                let value = nodes.into_iter().next().and_then(|node| node.value);
                Ok(value.map(|value| value.as_text()))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Everything at and below a node, as the plug-in knows it. Not yet fit to leave the device.
    pub(super) async fn fetch(
        &self,
        request: &Request,
        permit: &Permit,
        served: &Served,
        ddf: &Ddf,
        path: &[String],
    ) -> Result<Vec<bailiwick_protocol::Node>, ObjectError> {
        let Instance { moid, miid } = permit.instance().clone();
        let operation = Operation::Read {
            moid,
            miid,
            path: path.to_vec(),
            max_nodes: self.inner.limits.nodes,
            names_only: false,
        };
        let plugin = &served.class.plugin;
        match self
            .call(request, permit, served, operation, Doing::Reading)
            .await?
        {
            Output::Nodes(nodes) => match answer::check(ddf, path, &nodes, &self.inner.wire) {
                Ok(()) => Ok(nodes),
                Err(fault) => Err(ObjectError::Faulty {
                    plugin: plugin.to_string(),
                    fault,
                }),
            },
            _ => Err(self.unfit(plugin)),
        }
    }
}

/// The conditions on one unknown name.
fn conditions(uri: &ClientUri, letter: char) -> impl Iterator<Item = &NodeValue> {
    uri.query
        .values
        .iter()
        .filter(move |condition| condition.unknown == letter)
}

/// The one that is meant.
fn single<T>(uri: &ClientUri, mut found: Vec<T>) -> Result<T, ObjectError> {
    match (found.pop(), found.len()) {
        (None, _) => Err(not_found(uri)),
        (Some(only), 0) => Ok(only),
        (Some(_), others) => Err(ObjectError::Ambiguous {
            uri: uri.to_string(),
            found: others + 1,
        }),
    }
}

fn not_found(uri: &ClientUri) -> ObjectError {
    ObjectError::NotFound {
        uri: uri.to_string(),
    }
}
