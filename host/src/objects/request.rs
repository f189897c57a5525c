//! One command: who asks, the transaction that it writes to, the locks that it holds, and what was decided.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde::Serialize;

use super::{ObjectError, Objects, locks::Held};
use crate::authority::{Authority, Instance};
use crate::permissions::{Access, CreatePermit, Denied, Permit};
use crate::plugins::Bearer;
use crate::store::{StoreError, Transaction};

/// Decisions that a journal keeps; the rest is counted. Stops a wildcard over thousands of instances.
const DECISIONS: usize = 32;

/// A command of a session, or a call of a local application. Dropped without [`Request::commit`], it leaves no
/// trace. Locks are released at the end either way.
pub struct Request {
    objects: Objects,
    authority: Authority,
    bearer: Option<Bearer>,
    now: u64,
    transaction: Rc<Transaction>,
    pub(super) held: Held,
    journal: RefCell<Journal>,
    /// Plug-ins whose dynamic types may look different after this command.
    touched: RefCell<BTreeSet<Rc<str>>>,
}

/// What was decided during a command, and who did the work.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Journal {
    /// Each decision once, in order.
    pub decisions: Vec<Decision>,
    /// How many more decisions there were.
    pub further: usize,
    /// The plug-ins that were called.
    pub plugins: BTreeSet<String>,
}

/// One answer of `permissions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The instance, as the ClientURI of its root; or the MOID, for making one.
    pub on: String,
    /// What was asked for: `read`, `write`, `execute`, `delegate`; `create` for making an instance, `manage` for
    /// anything at all with a type.
    pub access: &'static str,
    /// The answer.
    pub allowed: bool,
    /// The account, grant or policy behind the answer, in words.
    pub rule: String,
}

impl Request {
    pub(super) fn new(
        objects: Objects,
        authority: Authority,
        bearer: Option<Bearer>,
        transaction: Rc<Transaction>,
        now: u64,
    ) -> Self {
        Self {
            objects,
            authority,
            bearer,
            now,
            transaction,
            held: Held::default(),
            journal: RefCell::default(),
            touched: RefCell::default(),
        }
    }

    /// Who asks.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What the session of the authority runs over.
    pub fn bearer(&self) -> Option<Bearer> {
        self.bearer
    }

    /// Where the command's writes go.
    pub fn transaction(&self) -> &Rc<Transaction> {
        &self.transaction
    }

    /// What was decided so far.
    pub fn journal(&self) -> Journal {
        self.journal.borrow().clone()
    }

    /// Makes everything that the command wrote durable, all or nothing.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().await?;
        if !self.touched.borrow().is_empty() {
            self.objects.inner.brought.forget();
        }
        for plugin in self.touched.borrow().iter() {
            self.objects.inner.types.forget(plugin);
        }
        Ok(())
    }

    /// Checks one access and notes the decision.
    pub(super) fn permit(&self, access: Access, instance: &Instance) -> Result<Permit, Denied> {
        let permissions = &self.objects.inner.permissions;
        let outcome = permissions.permit(
            &self.transaction,
            &self.authority,
            access,
            instance,
            self.now,
        );
        self.note(instance.to_string(), access.name(), &outcome, |permit| {
            permit.rule().to_string()
        });
        outcome
    }

    /// Checks the making of an instance and notes the decision.
    pub(super) fn may_create(&self, moid: &str) -> Result<CreatePermit, Denied> {
        let permissions = &self.objects.inner.permissions;
        let outcome = permissions.may_create(&self.transaction, &self.authority, moid);
        self.note(moid.to_owned(), "create", &outcome, |permit| {
            permit.rule().to_string()
        });
        outcome
    }

    /// Those of the instances of one type on which the authority has any right.
    pub(super) fn visible(
        &self,
        moid: &str,
        candidates: impl Iterator<Item = Instance>,
    ) -> Result<Vec<Instance>, ObjectError> {
        let permissions = &self.objects.inner.permissions;
        Ok(permissions.visible(
            &self.transaction,
            &self.authority,
            moid,
            candidates,
            self.now,
        )?)
    }

    /// Refuses a type that the account does not permit.
    pub(super) fn may_manage(&self, moid: &str) -> Result<(), ObjectError> {
        let permissions = &self.objects.inner.permissions;
        if permissions.may_manage(&self.transaction, &self.authority, moid)? {
            return Ok(());
        }
        let denied = Denied::MoidNotPermitted {
            authority: self.authority.clone(),
            moid: moid.to_owned(),
        };
        let outcome: Result<(), Denied> = Err(denied);
        self.note(moid.to_owned(), "manage", &outcome, |()| String::new());
        Ok(outcome?)
    }

    /// Waits until the instance of the permit is this command's alone.
    pub(super) async fn lock(&self, permit: &Permit) -> Result<(), ObjectError> {
        // Two calls to a plug-in: as long as one that hangs needs to be ended and replaced.
        let patience = self.objects.inner.limits.call() * 2;
        let locks = &self.objects.inner.locks;
        let (instance, precedence) = (permit.instance(), permit.precedence());
        match locks.take(&self.held, instance, precedence, patience).await {
            true => Ok(()),
            false => Err(ObjectError::Locked {
                instance: instance.clone(),
            }),
        }
    }

    /// Takes an instance that nobody else has.
    pub(super) fn try_lock(&self, instance: &Instance) -> bool {
        self.objects.inner.locks.try_take(&self.held, instance)
    }

    pub(super) fn note_plugin(&self, plugin: &Rc<str>) {
        self.journal.borrow_mut().plugins.insert(plugin.to_string());
    }

    /// Notes that something of a plug-in was written, and with it perhaps a type that it serves.
    pub(super) fn touch(&self, plugin: &Rc<str>) {
        self.touched.borrow_mut().insert(Rc::clone(plugin));
    }

    pub(super) fn has_touched(&self, plugin: &str) -> bool {
        self.touched.borrow().contains(plugin)
    }

    fn note<P>(
        &self,
        on: String,
        access: &'static str,
        outcome: &Result<P, Denied>,
        rule: impl Fn(&P) -> String,
    ) {
        let (allowed, rule) = match outcome {
            Ok(permit) => (true, rule(permit)),
            Err(denied) => (false, denied.rule()),
        };
        let decision = Decision {
            on,
            access,
            allowed,
            rule,
        };
        let mut journal = self.journal.borrow_mut();
        if journal.decisions.contains(&decision) {
            return;
        }
        match journal.decisions.len() < DECISIONS {
            true => journal.decisions.push(decision),
            false => journal.further += 1,
        }
    }
}
