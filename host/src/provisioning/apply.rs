//! From steps to what is stored: all of a plan in one transaction, with what is written down about it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use bailiwick_protocol::MoItem;

use super::audit::{self, Entry, Refused};
use super::lifecycle::{forget, settle};
use super::plan::{Plan, Refusal, There, plan};
use super::step::{Shown, Step};
use super::{Policy, Proofs, ProvisioningError};
use crate::accounts::{
    AccountError, Accounts, BootstrapError, Changing, Command, Overwrite, Prepared, Stored,
    store_objects,
};
use crate::authority::Authority;
use crate::certificates::Credential;
use crate::keys::{CardId, Contents};
use crate::objects::{ObjectError, Objects, Request};
use crate::permissions::Permissions;
use crate::store::{Store, StoreError, Transaction};

/// What cards and other sources give, and what is kept of it; a cheap handle.
#[derive(Clone)]
pub struct Provisioning {
    inner: Rc<Inner>,
}

struct Inner {
    store: Store,
    accounts: Accounts,
    permissions: Permissions,
    objects: Objects,
    policy: Policy,
}

/// What has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Accounts that are new or have other contents: their servers are to be told.
    pub bootstrapped: BTreeSet<Authority>,
    /// Accounts that hold no sessions any more.
    pub at_rest: BTreeSet<Authority>,
    /// Accounts that hold sessions again.
    pub awake: BTreeSet<Authority>,
    /// Every change in words.
    pub steps: Vec<Shown>,
    /// What was refused, as it was written down.
    pub refusals: Vec<Refused>,
}

/// Why something is done, for whoever reads about it later.
struct Occasion {
    event: &'static str,
    source: String,
    now: u64,
}

impl Provisioning {
    /// Over these rooms, with the `[[card]]` lines of the configuration.
    pub fn new(
        store: Store,
        accounts: Accounts,
        permissions: Permissions,
        objects: Objects,
        policy: Policy,
    ) -> Self {
        Self {
            inner: Rc::new(Inner {
                store,
                accounts,
                permissions,
                objects,
                policy,
            }),
        }
    }

    /// The `[[card]]` lines.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// What the contents of a card would change now. Changes nothing.
    pub fn plan(
        &self,
        contents: &Contents,
        proofs: &Proofs,
        present: BTreeSet<CardId>,
        now: u64,
    ) -> Result<Plan, ProvisioningError> {
        let there = self.there(&self.inner.store.begin(), present)?;
        Ok(plan(contents, proofs, &self.inner.policy, &there, now))
    }

    /// Takes what a card gives, all in one transaction. What was taken already changes nothing and writes nothing; nor
    /// does a card that is not among those that are there (`present`) when its turn comes.
    pub async fn provision(
        &self,
        contents: &Contents,
        proofs: &Proofs,
        present: impl FnOnce() -> BTreeSet<CardId>,
        now: u64,
    ) -> Result<Applied, ProvisioningError> {
        let tx = Rc::new(self.inner.store.begin());
        let changing = self.inner.accounts.change(tx.clone()).await;
        // Planned here, and not earlier: nobody else changes what there is until this has ended.
        let there = self.there(&tx, present())?;
        if !there.present.contains(&contents.card) {
            return Ok(Applied::default());
        }
        let plan = plan(contents, proofs, &self.inner.policy, &there, now);
        let refusals = plan.lines.iter().flat_map(|line| {
            line.refusals.iter().map(|refusal| Refused {
                authority: line.authority.to_string(),
                refusal: refusal.clone(),
            })
        });
        let refusals = refusals.collect();
        let occasion = Occasion {
            event: "a card was read",
            source: format!("card {}", plan.card.serial),
            now,
        };
        let steps = plan.lines.into_iter().flat_map(|line| line.steps).collect();
        self.carry_out(changing, steps, refusals, occasion).await
    }

    /// Lets rest, or removes, what has no source among the cards that are there.
    pub async fn settle(
        &self,
        present: impl FnOnce() -> BTreeSet<CardId>,
        now: u64,
    ) -> Result<Applied, ProvisioningError> {
        let tx = Rc::new(self.inner.store.begin());
        let changing = self.inner.accounts.change(tx.clone()).await;
        let steps = settle(&self.there(&tx, present())?, &self.inner.policy);
        let occasion = Occasion {
            event: "a card has gone",
            source: "the device".to_owned(),
            now,
        };
        self.carry_out(changing, steps, Vec::new(), occasion).await
    }

    /// Removes all that the card of this serial number gave. One that is still there gives it again when it is read.
    pub async fn forget(
        &self,
        serial: &str,
        present: BTreeSet<CardId>,
        now: u64,
    ) -> Result<Applied, ProvisioningError> {
        let tx = Rc::new(self.inner.store.begin());
        let changing = self.inner.accounts.change(tx.clone()).await;
        let there = self.there(&tx, present)?;
        let steps: Vec<_> = cards_of(&there)
            .filter(|card| card.serial == serial)
            .flat_map(|card| forget(&there, card))
            .collect();
        if steps.is_empty() {
            let serial = serial.to_owned();
            return Err(ProvisioningError::NoCard { serial });
        }
        let occasion = Occasion {
            event: "the operator forgot a card",
            source: format!("card {serial}"),
            now,
        };
        self.carry_out(changing, steps, Vec::new(), occasion).await
    }

    /// Removes a certificate, whatever gave it: the operator's word.
    pub async fn remove(
        &self,
        authority: &Authority,
        id: &str,
        now: u64,
    ) -> Result<Applied, ProvisioningError> {
        let tx = Rc::new(self.inner.store.begin());
        let changing = self.inner.accounts.change(tx.clone()).await;
        let all = Credential::of(&tx, authority)?;
        let steps: Vec<_> = all
            .into_iter()
            .filter(|credential| credential.id == id)
            .map(|credential| Step::Credential {
                before: Some(credential),
                after: None,
            })
            .collect();
        if steps.is_empty() {
            return Err(ProvisioningError::NoCredential {
                authority: authority.clone(),
                id: id.chars().take(80).collect(),
            });
        }
        let occasion = Occasion {
            event: "the operator removed a certificate",
            source: "the operator".to_owned(),
            now,
        };
        self.carry_out(changing, steps, Vec::new(), occasion).await
    }

    /// All credentials, in the order of their authorities.
    pub fn credentials(&self) -> Result<Vec<Credential>, ProvisioningError> {
        Ok(Credential::all(&self.inner.store.begin())?)
    }

    /// What was written down, oldest first.
    pub fn audit(&self) -> Result<Vec<Entry>, ProvisioningError> {
        Ok(audit::entries(&self.inner.store)?)
    }

    fn there(
        &self,
        tx: &Transaction,
        present: BTreeSet<CardId>,
    ) -> Result<There, ProvisioningError> {
        let mut accounts = Vec::new();
        for account in self.inner.accounts.list()? {
            let permitted = self
                .inner
                .permissions
                .permitted_moids(tx, &account.authority);
            accounts.push((account, permitted.map_err(AccountError::from)?));
        }
        Ok(There {
            accounts,
            credentials: Credential::all(tx)?,
            present,
        })
    }

    /// Does the steps, writes them down, and makes everything durable at once.
    async fn carry_out(
        &self,
        mut changing: Changing<'_>,
        steps: Vec<Step>,
        mut refusals: Vec<Refused>,
        occasion: Occasion,
    ) -> Result<Applied, ProvisioningError> {
        let tx = changing.transaction().clone();
        let mut applied = Applied::default();
        let mut commands = Vec::new();
        for step in steps {
            match self
                .carry_out_one(&mut changing, &step, occasion.now)
                .await?
            {
                Ok(command) => {
                    commands.extend(command);
                    applied.note(&step);
                }
                Err(refusal) => refusals.push(Refused {
                    authority: step
                        .authority()
                        .map(Authority::to_string)
                        .unwrap_or_default(),
                    refusal,
                }),
            }
        }
        applied.refusals = refusals;
        let entry = Entry {
            at: occasion.now,
            event: occasion.event.to_owned(),
            source: occasion.source,
            steps: applied.steps.clone(),
            refusals: applied.refusals.clone(),
        };
        audit::record(&tx, entry.clone())?;
        if tx.is_empty() {
            return Ok(applied);
        }
        let commit = async {
            // One transaction: the first commits it, the others only tell their plug-ins' caches.
            for command in commands {
                command.commit().await?;
            }
            tx.commit().await
        };
        changing.commit(commit).await?;
        tell(&entry);
        Ok(applied)
    }

    /// Does one step. One that the device refuses leaves nothing, and the rest stands.
    async fn carry_out_one(
        &self,
        changing: &mut Changing<'_>,
        step: &Step,
        now: u64,
    ) -> Result<Result<Option<AccountCommand>, Refusal>, ProvisioningError> {
        let tx = changing.transaction().clone();
        match step {
            Step::Credential { before, after } => {
                match (before, after) {
                    (_, Some(after)) => after.put(&tx)?,
                    (Some(before), None) => before.remove(&tx),
                    (None, None) => {}
                }
                if let Some(authority) = step.authority() {
                    changing.touch(authority);
                }
            }
            Step::Rest { account, suspended } => {
                changing.suspend(&account.authority, *suspended)?
            }
            Step::Remove { account } => changing.remove(&account.authority)?,
            Step::Account {
                prepared, objects, ..
            } => {
                let mark = tx.mark();
                return match self.put_account(changing, prepared, objects, now).await {
                    Ok(command) => Ok(Ok(Some(command))),
                    // Not the document's fault.
                    Err(BootstrapError::Account(error)) => Err(error.into()),
                    Err(error) => {
                        tx.roll_back_to(mark);
                        Ok(Err(Refusal {
                            what: "bootstrap object".to_owned(),
                            reason: error.to_string(),
                        }))
                    }
                };
            }
        }
        Ok(Ok(None))
    }

    async fn put_account(
        &self,
        changing: &mut Changing<'_>,
        prepared: &Prepared,
        objects: &[MoItem],
        now: u64,
    ) -> Result<AccountCommand, BootstrapError> {
        let authority = &prepared.account().authority;
        let tx = changing.transaction().clone();
        changing.put(prepared.clone(), Overwrite::Replace)?;
        let request = self.inner.objects.begin_within(authority, tx, now);
        let command = AccountCommand::new(self.inner.objects.clone(), request);
        let stored = store_objects(&command, objects).await;
        match command.failed.take() {
            Some(error) => Err(error.into()),
            None => stored.map(|()| command),
        }
    }
}

impl Applied {
    fn note(&mut self, step: &Step) {
        self.steps.push(step.shown());
        match step {
            Step::Account { prepared, .. } => {
                self.bootstrapped
                    .insert(prepared.account().authority.clone());
            }
            Step::Rest { account, suspended } => {
                let set = match suspended {
                    Some(_) => &mut self.at_rest,
                    None => &mut self.awake,
                };
                set.insert(account.authority.clone());
            }
            Step::Remove { account } => {
                self.at_rest.insert(account.authority.clone());
            }
            Step::Credential { .. } => {}
        }
    }
}

/// The cards that something is kept of.
fn cards_of(there: &There) -> impl Iterator<Item = &CardId> {
    let accounts = there
        .accounts
        .iter()
        .filter_map(|(account, _)| account.origin.card());
    let credentials = there
        .credentials
        .iter()
        .flat_map(|credential| &credential.origins);
    let cards: BTreeSet<&CardId> = credentials
        .filter_map(|origin| origin.card())
        .chain(accounts)
        .collect();
    cards.into_iter()
}

fn tell(entry: &Entry) {
    let Entry { event, source, .. } = entry;
    for step in &entry.steps {
        let Shown {
            authority,
            change,
            what,
            id,
            name,
        } = step;
        tracing::info!(
            event,
            source,
            authority,
            what,
            change,
            id,
            name,
            "provisioned"
        );
    }
    for Refused { authority, refusal } in &entry.refusals {
        let Refusal { what, reason } = refusal;
        tracing::warn!(event, source, authority, what, reason, "not provisioned");
    }
}

/// What a document brings, stored as a command of the account's authority, which owns it.
pub struct AccountCommand {
    objects: Objects,
    request: Request,
    /// What the store failed at, if that is why an object was not stored.
    failed: RefCell<Option<StoreError>>,
}

impl AccountCommand {
    /// As the command of `request`.
    pub fn new(objects: Objects, request: Request) -> Self {
        Self {
            objects,
            request,
            failed: RefCell::default(),
        }
    }
}

impl Command for AccountCommand {
    fn transaction(&self) -> Rc<Transaction> {
        self.request.transaction().clone()
    }

    async fn store(&self, item: &MoItem) -> Result<Stored, String> {
        match self.objects.store(&self.request, None, item).await {
            Ok(_) => Ok(Stored::Done),
            Err(error) if error.is_not_found() => Ok(Stored::Unknown),
            Err(error) => {
                let reason = error.to_string();
                if let ObjectError::Store(error) = error {
                    *self.failed.borrow_mut() = Some(error);
                }
                Err(reason)
            }
        }
    }

    async fn commit(self) -> Result<(), StoreError> {
        self.request.commit().await
    }
}

#[cfg(test)]
mod tests;
