//! How a plug-in is called. A call that addresses an instance needs the proof that it is permitted.

use std::rc::Rc;

use super::error::Doing;
use super::{Fault, ObjectError, Objects, Request, Served};
use crate::authority::Instance;
use crate::permissions::{CreatePermit, Permit};
use crate::plugins::{Call, Operation, Output};

impl Objects {
    /// Calls the plug-in that serves the instance of the permit.
    pub(super) async fn call(
        &self,
        request: &Request,
        permit: &Permit,
        served: &Served,
        operation: Operation,
        doing: Doing,
    ) -> Result<Output, ObjectError> {
        let namespace = self.namespace_of(served, permit.instance());
        let output = self
            .send(request, &served.class.plugin, namespace, operation, doing)
            .await?;
        if doing == Doing::Writing {
            self.changed(request, served, permit.instance())?;
        }
        Ok(output)
    }

    /// Calls the plug-in that is to serve the new instance of the permit.
    pub(super) async fn call_new(
        &self,
        request: &Request,
        permit: &CreatePermit,
        served: &Served,
        miid: &str,
        operation: Operation,
    ) -> Result<Output, ObjectError> {
        let instance = Instance::new(permit.moid(), miid);
        let namespace = self.namespace_of(served, &instance);
        let plugin = &served.class.plugin;
        let output = self
            .send(request, plugin, namespace, operation, Doing::Writing)
            .await?;
        self.changed(request, served, &instance)?;
        Ok(output)
    }

    /// Asks a plug-in something about itself.
    pub(super) async fn ask(
        &self,
        request: &Request,
        plugin: &Rc<str>,
        operation: Operation,
    ) -> Result<Output, ObjectError> {
        self.send(request, plugin, None, operation, Doing::Reading)
            .await
    }

    /// The fault of an answer of the wrong kind.
    pub(super) fn unfit(&self, plugin: &str) -> ObjectError {
        ObjectError::Faulty {
            plugin: plugin.to_owned(),
            fault: Fault::OtherAnswer,
        }
    }

    fn namespace_of(&self, served: &Served, instance: &Instance) -> Option<Instance> {
        (!served.class.shared_storage).then(|| instance.clone())
    }

    fn changed(
        &self,
        request: &Request,
        served: &Served,
        instance: &Instance,
    ) -> Result<(), ObjectError> {
        request.touch(&served.class.plugin);
        self.renew_validator(request, instance)
    }

    async fn send(
        &self,
        request: &Request,
        plugin: &Rc<str>,
        instance: Option<Instance>,
        operation: Operation,
        doing: Doing,
    ) -> Result<Output, ObjectError> {
        request.note_plugin(plugin);
        let call = Call {
            plugin: Rc::clone(plugin),
            authority: request.authority().clone(),
            instance,
            operation,
            transaction: Rc::clone(request.transaction()),
            bearer: request.bearer(),
        };
        let outcome = self.inner.plugins.call(call).await;
        outcome.map_err(|source| ObjectError::Call { source, doing })
    }
}
