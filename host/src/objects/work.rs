//! What can be done with a node that may be accessed: read, replace, delete, execute; and making an instance.

use bailiwick_protocol::{ClientUri, MoItem, Node};

use super::error::Doing;
use super::{DDF_KEY, ObjectError, Objects, Request, Served, Target, rules};
use crate::authority::Instance;
use crate::permissions::{Access, CreatePermit};
use crate::plugins::imports::storage::Namespace;
use crate::plugins::{CallError, Change, ExecOutcome, Operation, Output, PluginError};

/// The result of a read.
#[derive(Debug)]
pub enum Reading {
    /// The cache validator that the reader holds is still that of the instance (OMA DM 2.0, cache validators).
    NotModified,
    /// What is there and may leave the device.
    Data(Data),
}

/// A node that was read, with all below it that may leave the device.
#[derive(Debug)]
pub struct Data {
    /// Where it is.
    pub uri: ClientUri,
    /// Its name in a serialization: the root's name, or the last segment of the path.
    pub name: String,
    /// Pre-order, relative to the node.
    pub nodes: Vec<Node>,
    /// The cache validator, if the node is the root of a cacheable instance.
    pub validator: Option<String>,
}

impl Data {
    /// As an item of an MO serialization.
    pub fn into_item(self) -> MoItem {
        MoItem::from_nodes(
            self.uri.to_string(),
            &self.name,
            &self.nodes,
            self.validator,
        )
    }

    /// Whether it is a leaf that exists and has no value now.
    pub fn is_without_value(&self) -> bool {
        matches!(
            self.nodes.as_slice(),
            [Node {
                value: Some(bailiwick_protocol::Value::Null),
                ..
            }]
        )
    }
}

impl Objects {
    /// All that a ClientURI means, in order; with `cv` in it, also what has not changed (GET, HPUT, HPOST).
    ///
    /// Of a set, nodes that are not there or have no `Get` are left out; if nothing else is there, that is the
    /// error.
    pub async fn read_all(
        &self,
        request: &Request,
        uri: &ClientUri,
    ) -> Result<Vec<Reading>, ObjectError> {
        let mut readings = Vec::new();
        let mut missing = None;
        for target in self.resolve(request, uri, Access::Read).await? {
            match self
                .read(request, target, uri.query.validator.as_deref())
                .await
            {
                Ok(reading) => readings.push(reading),
                Err(error) if uri.is_set() && may_be_left_out(&error) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        match missing {
            Some(error) if readings.is_empty() => Err(error),
            _ => Ok(readings),
        }
    }

    /// Reads one node and all below it. `held` is the cache validator that the reader has.
    pub async fn read(
        &self,
        request: &Request,
        target: Target,
        held: Option<&str>,
    ) -> Result<Reading, ObjectError> {
        let Target {
            permit,
            served,
            ddf,
            path,
        } = &target;
        check_access(&target, Access::Read)?;
        rules::may_read(ddf, path)?;
        let validator = self.validator(request, permit.instance())?;
        if held.is_some() && held == validator.as_deref() {
            return Ok(Reading::NotModified);
        }
        let nodes = self.fetch(request, permit, served, ddf, path).await?;
        let name = path
            .last()
            .cloned()
            .unwrap_or_else(|| ddf.root_name().to_owned());
        Ok(Reading::Data(Data {
            uri: target.uri(),
            name,
            nodes: rules::readable_part(ddf, path, nodes),
            validator: validator.filter(|_| path.is_empty()),
        }))
    }

    /// Replaces what is at a node by `wanted`, whose paths are relative to it; what is missing is created (HGET).
    pub async fn replace(
        &self,
        request: &Request,
        target: Target,
        wanted: &[Node],
    ) -> Result<(), ObjectError> {
        check_access(&target, Access::Write)?;
        let Target {
            permit,
            served,
            ddf,
            path,
        } = &target;
        let current = self.fetch(request, permit, served, ddf, &[]).await?;
        let changes = rules::replacement(ddf, &current, path, wanted, &self.inner.wire)?;
        self.apply(request, &target, changes).await
    }

    /// Deletes all that a ClientURI means. Of a set, nodes that are gone already are left out.
    pub async fn delete_all(&self, request: &Request, uri: &ClientUri) -> Result<(), ObjectError> {
        let mut missing = None;
        let mut deleted = 0_usize;
        for target in self.resolve(request, uri, Access::Write).await? {
            match self.delete(request, target).await {
                Ok(()) => deleted += 1,
                Err(error) if uri.is_set() && error.is_not_found() => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        match missing {
            Some(error) if deleted == 0 => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes a node with all below it; the root: the instance with all that is known of it (DELETE).
    pub async fn delete(&self, request: &Request, target: Target) -> Result<(), ObjectError> {
        check_access(&target, Access::Write)?;
        if target.path.is_empty() {
            return self.delete_instance(request, target).await;
        }
        let Target {
            permit,
            served,
            ddf,
            path,
        } = &target;
        let current = self.fetch(request, permit, served, ddf, &[]).await?;
        let changes = rules::deletion(ddf, &current, path)?;
        self.apply(request, &target, changes).await
    }

    /// Runs the one node that a ClientURI means (EXEC).
    pub async fn execute_one(
        &self,
        request: &Request,
        uri: &ClientUri,
    ) -> Result<ExecOutcome, ObjectError> {
        let mut targets = self.resolve(request, uri, Access::Execute).await?;
        match (targets.pop(), targets.len()) {
            (Some(target), 0) => self.execute(request, target).await,
            (_, others) => Err(ObjectError::Ambiguous {
                uri: uri.to_string(),
                found: others + 1,
            }),
        }
    }

    /// Runs an executable node.
    pub async fn execute(
        &self,
        request: &Request,
        target: Target,
    ) -> Result<ExecOutcome, ObjectError> {
        check_access(&target, Access::Execute)?;
        let Target {
            permit,
            served,
            ddf,
            path,
        } = &target;
        rules::may_execute(ddf, path)?;
        let Instance { moid, miid } = permit.instance().clone();
        let operation = Operation::Execute {
            moid,
            miid,
            path: path.clone(),
        };
        match self
            .call(request, permit, served, operation, Doing::Writing)
            .await?
        {
            Output::Executed(outcome) => Ok(outcome),
            _ => Err(self.unfit(&served.class.plugin)),
        }
    }

    /// Checks that the authority of the request may make an instance of the type.
    pub fn may_create(&self, request: &Request, moid: &str) -> Result<CreatePermit, ObjectError> {
        Ok(request.may_create(moid)?)
    }

    /// Makes an instance with this content, and records whose it is. The device chooses the MIID.
    pub async fn create(
        &self,
        request: &Request,
        permit: CreatePermit,
        content: &[Node],
    ) -> Result<Instance, ObjectError> {
        let moid = permit.moid().to_owned();
        let served = self.served(request, &moid).await?;
        let class = &served.class;
        rules::may_come_and_go(&class.ddf, "created")?;
        let initial = rules::initial(&class.ddf, content, &self.inner.wire)?;

        let instance = self.new_instance(request, &served).await?;
        let miid = instance.miid.clone();
        let transaction = request.transaction();
        self.inner
            .permissions
            .record_instance(transaction, &permit, &instance, &class.plugin)?;
        if !class.shared_storage {
            self.begin_validator(request, &instance)?;
        }
        if served.dynamic {
            self.keep_ddf(request, &served, &instance)?;
        }
        let operation = Operation::Create {
            moid,
            miid: miid.clone(),
            initial,
        };
        match self
            .call_new(request, &permit, &served, &miid, operation)
            .await?
        {
            Output::Done => Ok(instance),
            _ => Err(self.unfit(&class.plugin)),
        }
    }

    async fn delete_instance(&self, request: &Request, target: Target) -> Result<(), ObjectError> {
        let Target {
            permit,
            served,
            ddf,
            ..
        } = &target;
        let instance = permit.instance();
        rules::may_come_and_go(ddf, "deleted")?;
        if !self.recorded(request, served)?.contains(instance) {
            return Err(ObjectError::Built {
                instance: instance.clone(),
            });
        }
        let Instance { moid, miid } = instance.clone();
        let operation = Operation::DeleteInstance { moid, miid };
        match self
            .call(request, permit, served, operation, Doing::Writing)
            .await?
        {
            Output::Done => {}
            _ => return Err(self.unfit(&served.class.plugin)),
        }
        let transaction = request.transaction();
        self.inner
            .permissions
            .forget_instance(transaction, permit)?;
        Namespace::instance(&served.class.plugin, instance).clear(transaction)?;
        self.end_validator(request, instance);
        Ok(())
    }

    async fn apply(
        &self,
        request: &Request,
        target: &Target,
        changes: Vec<Change>,
    ) -> Result<(), ObjectError> {
        if changes.is_empty() {
            return Ok(());
        }
        let Target { permit, served, .. } = target;
        let Instance { moid, miid } = permit.instance().clone();
        let operation = Operation::Apply {
            moid,
            miid,
            changes,
        };
        match self
            .call(request, permit, served, operation, Doing::Writing)
            .await?
        {
            Output::Done => Ok(()),
            _ => Err(self.unfit(&served.class.plugin)),
        }
    }

    /// Puts the description where the plug-in finds it before its first call.
    fn keep_ddf(
        &self,
        request: &Request,
        served: &Served,
        instance: &Instance,
    ) -> Result<(), ObjectError> {
        let class = &served.class;
        let entries = vec![(DDF_KEY.to_owned(), Some(class.ddf_text.as_bytes().to_vec()))];
        let quota = self.inner.plugins.storage_quota(&class.plugin);
        Namespace::instance(&class.plugin, instance)
            .commit(request.transaction(), entries, quota)
            .map_err(|error| in_storage(served, error))
    }
}

/// What went wrong in the storage of a plug-in is told as if the plug-in itself had met it.
fn in_storage(served: &Served, error: PluginError) -> ObjectError {
    let plugin = served.class.plugin.to_string();
    ObjectError::Call {
        source: CallError::Refused { plugin, error },
        doing: Doing::Writing,
    }
}

/// Whether a set goes on without the node.
fn may_be_left_out(error: &ObjectError) -> bool {
    error.is_not_found()
        || matches!(
            error,
            ObjectError::Refused(rules::Refusal::NotAllowed { .. })
        )
}

/// The permit must be for what is being done.
fn check_access(target: &Target, asked: Access) -> Result<(), ObjectError> {
    match target.permit.access() {
        permitted if permitted == asked => Ok(()),
        permitted => Err(ObjectError::WrongPermit { permitted, asked }),
    }
}
